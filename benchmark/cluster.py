"""The only importer of Ray's core: connect, share data, run functions where there is room."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.queue import Empty, Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from benchmark.schema import SerbenchError

STARTS = 2  # tries to start a cluster of one's own
ROUNDING = 1e-6  # of sums of shares of a GPU
ATTEMPTS = 3  # of a task whose worker or node dies


@contextlib.contextmanager
def connect(address: str | None = None) -> Iterator[None]:
    """Join the cluster at `address` (`auto` or HOST:PORT), or start a private one on this machine.

    Raises:
        SerbenchError: no cluster answers at `address`.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")  # a task without a GPU sees none
    quiet: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "configure_logging": True,
    }
    owned = not ray.is_initialized()
    on_termination = signal.getsignal(signal.SIGTERM)
    try:
        if owned and address and address != "auto":  # where nobody answers, Ray would wait for minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
        if owned and address:
            ray.init(address=address, **quiet)
        elif owned:  # "local": a cluster that happens to run here is never joined by accident
            _start(quiet)
    except (OSError, ValueError, RuntimeError) as error:
        first_line = str(error).splitlines()[0]
        if not address:
            raise SerbenchError(
                f"Ray must start on this machine, but: {first_line}; run again when it is less busy, "
                "with --resume"
            ) from None
        raise SerbenchError(
            f"no Ray cluster at {address!r} ({first_line}): start one, or leave --address out; "
            "one with a token needs RAY_AUTH_MODE=token here, too"
        ) from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_termination)  # Ray's own handler aborts the driver
    try:
        yield
    finally:
        if owned:
            ray.shutdown()


def _start(options: dict[str, Any]) -> None:
    """Start a private cluster; a busy machine may need a second try."""
    for attempt in range(STARTS):
        try:
            ray.init(address="local", include_dashboard=False, **options)
            return
        except Exception as error:  # Ray's "timed out during startup" is a bare Exception
            ray.shutdown()
            if attempt + 1 == STARTS:
                raise RuntimeError(str(error)) from error


def resources() -> dict[str, float]:
    """Return the cluster's CPUs, GPUs, memory for tasks in GiB, and nodes."""
    total, nodes = ray.cluster_resources(), sum(node["Alive"] for node in ray.nodes())
    return {
        "cpus": total.get("CPU", 1.0), "gpus": total.get("GPU", 0.0), "nodes": nodes,
        "memory_gb": total.get("memory", 0.0) / 2**30,
    }  # fmt: skip


def holds(room: float, needs: Iterable[float]) -> bool:
    """Whether `needs` of one resource find room together."""
    return sum(needs) <= room + ROUNDING


def put(value: Any) -> Any:
    """Place `value` in the object store once; hand the reference to tasks inside a tuple."""
    return ray.put(value)


def get(reference: Any) -> Any:
    """Return the value behind a reference of `put`, arrays shared and read-only."""
    return ray.get(reference)


def map(
    function: Callable[..., Any], tasks: Sequence[tuple], needs: Sequence[tuple[float, float]] = ()
) -> Iterator[tuple[int, Any]]:
    """Run `function(*task)` for every task; yield (position, result or the exception) as they end.

    A task whose worker or node dies is started again elsewhere, `ATTEMPTS` times in all.

    Args:
        needs: (CPUs, GPUs) of each task; one CPU, if left out.
    """
    remote = ray.remote(max_retries=ATTEMPTS - 1)(function)
    waiting = {
        remote.options(num_cpus=cpus, num_gpus=gpus).remote(*task): position
        for position, (task, (cpus, gpus)) in enumerate(
            zip(tasks, needs or [(1, 0)] * len(tasks), strict=True)
        )
    }
    while waiting:
        done, _ = ray.wait(list(waiting), num_returns=1)
        for reference in done:
            position = waiting.pop(reference)
            try:
                yield position, ray.get(reference)
            except RayError as error:
                yield position, error


class Pool:
    """Runs coordinators, which need no CPU of their own, on the driver's node."""

    def __init__(self, function: Callable[..., Any]):
        here: Any = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._remote: Any = ray.remote(num_cpus=0, scheduling_strategy=here)(_Coordinator)
        self._function = function
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[str, Any]] = {}
        self._queue: Queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})

    @property
    def busy(self) -> list[str]:
        """Names of what runs now."""
        return [name for name, _ in self._busy.values()]

    def start(self, name: str, *args: Any) -> None:
        """Run `function(emit, *args)` on an idle coordinator or a new one; `emit(event)` reaches `events`."""
        actor = self._idle.pop() if self._idle else self._remote.remote(self._function)
        self._busy[actor.run.remote(self._queue, *args)] = (name, actor)

    def events(self, timeout: float = 0.5) -> list[Any]:
        """Return the events that came in, waiting up to `timeout` seconds for the first."""
        try:
            first = self._queue.get(timeout=timeout)
        except Empty:
            return []
        return [first, *self._queue.get_nowait_batch(self._queue.size())]

    def finished(self) -> list[tuple[str, Exception | None]]:
        """Return what has ended since the last call, with its error if its process died.

        Raises:
            SerbenchError: the function itself failed, and would again.
        """
        busy = list(self._busy)
        done, _ = ray.wait(busy, num_returns=len(busy), timeout=0) if busy else ([], [])
        ended: list[tuple[str, Exception | None]] = []
        for reference in done:
            name, actor = self._busy.pop(reference)
            try:
                ray.get(reference)
                ended.append((name, None))
            except RayTaskError as error:
                raise SerbenchError(f"{name}: {one_line(error.cause)}") from None
            except RayError as error:  # what is sent to a new process waits until that one has started
                actor = self._remote.remote(self._function)
                ended.append((name, error))
            self._idle.append(actor)
        return ended


def one_line(error: BaseException | None) -> str:
    """Return an error of another process as one line of bounded length."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


class _Coordinator:
    """One process that runs one search after another."""

    def __init__(self, function: Callable[..., Any]):
        self._function = function

    def run(self, queue: Queue, *args: Any) -> None:
        self._function(queue.put_nowait, *args)
