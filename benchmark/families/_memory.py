"""Memory of a training on a CPU: a third of an epoch of mn04 went into page faults.

Every batch frees hundreds of MiB and asks for as much again. Huge pages make that cheaper, and so does
keeping what is free for the next batch. Kept for ever it grew to 7 GiB in 30 epochs, as clips differ in
length: what is free at the end of an epoch is given back. Only glibc on Linux knows these wishes; elsewhere
nothing happens.
"""

from __future__ import annotations

import ctypes
import os
import platform

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h
GLIBC = platform.libc_ver()[0] == "glibc"


# Huge pages, where Linux gives them: torch reads this when it makes its first tensor.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


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
