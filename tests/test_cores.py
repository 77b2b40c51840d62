"""Work spread over processes: order, one thread each, deaths."""

import os
import signal
import subprocess
import sys

import pytest

from benchmark.cores import spread
from benchmark.schema import SerbenchError


def threads(_: int) -> set[int]:
    import numpy  # noqa: F401, loads OpenBLAS
    import threadpoolctl

    return {library["num_threads"] for library in threadpoolctl.threadpool_info()}


def die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_order_is_kept() -> None:
    assert list(spread(abs, range(-50, 0))) == list(range(50, 0, -1))
    assert list(spread(abs, [])) == []


def test_a_worker_has_one_thread_and_the_parent_s_environment_is_restored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    assert set().union(*spread(threads, [1, 2])) == {1}
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "OPENBLAS_NUM_THREADS" not in os.environ


def test_a_killed_worker_is_one_line() -> None:
    with pytest.raises(SerbenchError, match="died"):
        list(spread(die, range(8)))


def test_ctrl_c_ends_it_quietly() -> None:
    script = (
        "import time\nfrom benchmark.cores import spread\n"
        "for _ in spread(time.sleep, [0.1] * 400): print('on', flush=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert errors.count("Traceback") <= 1  # the parent's own; `cli` turns it into exit status 130
    assert "KeyboardInterrupt" in errors
