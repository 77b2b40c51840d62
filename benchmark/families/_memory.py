"""Memory of a training on a CPU: a third of an epoch of mn04 went into page faults.

Every batch frees hundreds of MiB and asks for as much again: what is free is kept for the next batch, and
given back when a training begins or ends. Torch's huge pages (THP_MEM_ALLOC_ENABLE) stay off: their alignment
leaves holes that no later request fits into, so that the heap grew with every epoch (mn04 on whole clips of
RAVDESS' lengths: to 7 GiB in 30; without them to 2.7 GiB, most of it in two). Only glibc on Linux knows these
wishes; elsewhere nothing happens.
"""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h
GLIBC = platform.libc_ver()[0] == "glibc"


def keep_freed() -> None:
    """Keep what is freed from now on, in this process, until `give_back`."""
    if GLIBC:
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)  # no large block on its own, which would be returned at once
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(M_TOP_PAD, 2**26)  # bytes more at a time


def give_back() -> None:
    """Return to the system all that is free."""
    if GLIBC:
        ctypes.CDLL(None).malloc_trim(0)
