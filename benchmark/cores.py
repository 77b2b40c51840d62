"""One function over many items on all cores.

A worker imports this module first and limits its threads before numpy is loaded, so none is here.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def spread(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Yield `function(item)` for every item, in order, computed by one spawned process a core.

    `function` and items must be picklable. A worker computes on one thread, so that results don't depend on
    the number of cores, and ends with this process, however that ends.

    Raises:
        SerbenchError: a worker died.
    """
    if not items:
        return
    workers = min(os.cpu_count() or 1, len(items))
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker)
    try:
        yield from pool.map(function, items, chunksize=max(1, min(16, len(items) // workers)))
    except BrokenProcessPool as error:
        from benchmark.schema import SerbenchError  # here, because it loads numpy

        raise SerbenchError(
            "a worker process died while reading audio, killed or out of memory: run the command again"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """One thread for numpy and torch (imported later), no Ctrl-C of its own, no life after the parent."""
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
