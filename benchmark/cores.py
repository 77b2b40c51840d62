"""One function over many items on all cores, in processes that end with this one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from benchmark.schema import SerbenchError

Item = TypeVar("Item")
Result = TypeVar("Result")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def spread(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Yield `function(item)` for every item, in order; both must be picklable.

    Each spawned process computes on one thread, so that no result depends on the number of cores.

    Raises:
        SerbenchError: a process died.
    """
    if not items:
        return
    workers = min(os.cpu_count() or 1, len(items))
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker)
    try:
        with _one_thread():  # `map` starts the processes, which inherit the environment
            results = pool.map(function, items, chunksize=max(1, min(16, len(items) // workers)))
        yield from results
    except BrokenProcessPool as error:
        raise SerbenchError("a process that reads audio died (killed, out of memory?): run again") from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _one_thread() -> Iterator[None]:
    saved = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name in THREADS:
            del os.environ[name]
        os.environ.update({name: value for name, value in saved.items() if value is not None})


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and don't outlive it, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
