"""FAULTS 22 to 26 and 28 to 30: the cache is damaged, full, read-only, shared, or the clock is wrong."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import small
import soundfile

from benchmark.cache import Cache
from benchmark.prepare import feature_table, prepare
from benchmark.schema import FeatureTable

FEATURE = "functionals"
KEY = "cd" * 32
RUN = """
import sys
from pathlib import Path
from benchmark.prepare import feature_table, prepare
corpus, root = prepare("manifest", Path(sys.argv[1]), Path(sys.argv[2]))
feature_table(corpus, root, "functionals", Path(sys.argv[2]))
"""


def table(csv: Path, cache: Path) -> FeatureTable:
    corpus, root = prepare("manifest", csv, cache)
    return feature_table(corpus, root, FEATURE, cache)


def start(csv: Path, cache: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", RUN, str(csv), str(cache)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def entries(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cache.rglob("*") if path.is_file()}


def test_fault_22_changed_under_the_same_name(tmp_path: Path) -> None:
    csv = small.write(tmp_path / "in")
    path = tmp_path / "in" / "c002.wav"
    before, stat = table(csv, tmp_path / "cache"), path.stat()
    soundfile.write(path, small.noise(99), small.RATE)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # same name, size and time
    assert path.stat().st_size == stat.st_size
    after = table(csv, tmp_path / "cache")
    assert (before.values[2] != after.values[2]).any()
    np.testing.assert_array_equal(after.values, table(csv, tmp_path / "fresh").values)


def test_fault_23_entry_cut_short(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    csv = small.write(tmp_path / "in")
    before = table(csv, tmp_path / "cache")
    sound = entries(tmp_path / "cache")
    first, second, third = sorted((tmp_path / "cache" / "features").rglob("*.array"))[:3]
    for path, length in ((first, 0), (second, 10), (third, third.stat().st_size - 1)):
        os.truncate(path, length)
    after = table(csv, tmp_path / "cache")
    assert sum("damaged" in message for message in caplog.messages) == 3
    np.testing.assert_array_equal(before.values, after.values)
    assert entries(tmp_path / "cache") == sound  # mended


def test_fault_24_any_bit_flipped(tmp_path: Path) -> None:
    array = np.array([1.5, -2.5], dtype=np.float32)
    Cache(tmp_path).put(KEY, array)
    (path,) = tmp_path.rglob("*.array")
    sound = path.read_bytes()
    for position in range(len(sound) * 8):
        damaged = bytearray(sound)
        damaged[position // 8] ^= 1 << position % 8
        path.write_bytes(damaged)
        assert Cache(tmp_path).get(KEY) is None, f"bit {position} goes unseen"


def test_fault_24_another_entry_s_content(tmp_path: Path) -> None:
    Cache(tmp_path).put(KEY, np.ones(3))
    (path,) = tmp_path.rglob("*.array")
    other = "cd" + "0" * 62
    path.with_name(f"{other}.array").write_bytes(path.read_bytes())
    assert Cache(tmp_path).get(other) is None


def test_fault_25_read_only(tmp_path: Path, tmpfs: Path, caplog: pytest.LogCaptureFixture) -> None:
    csv = small.write(tmp_path / "in")
    Cache(tmpfs / "features").put(KEY, np.ones(3))
    subprocess.run(["mount", "-o", "remount,ro", tmpfs], check=True)
    values = table(csv, tmpfs).values
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "can't be written" in caplog.text
    assert len(entries(tmpfs)) == 1
    assert Cache(tmpfs / "features").get(KEY) is not None  # what is there still serves
    np.testing.assert_array_equal(values, table(csv, tmp_path / "fresh").values)


@pytest.mark.slow
def test_fault_25_read_only_and_a_corpus_that_generates_itself(tmpfs: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", tmpfs], check=True)
    corpus, root = prepare("synthetic", None, tmpfs)
    assert corpus.complete
    assert (root / corpus.utterances[0].path).is_file()


def test_fault_26_disk_full(tmp_path: Path, tmpfs: Path, caplog: pytest.LogCaptureFixture) -> None:
    csv = small.write(tmp_path / "in")
    (tmpfs / "ballast").write_bytes(bytes(56 * 1024))  # two blocks are left
    values = table(csv, tmpfs).values
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "No space left" in caplog.text
    assert not list(tmpfs.rglob("*.partial"))
    np.testing.assert_array_equal(values, table(csv, tmp_path / "fresh").values)
    caplog.clear()
    (tmpfs / "ballast").unlink()
    np.testing.assert_array_equal(values, table(csv, tmpfs).values)
    assert "damaged" not in caplog.text  # nothing half-written stood at its final path


@pytest.mark.slow
def test_fault_28_two_at_once(tmp_path: Path) -> None:
    csv = small.write(tmp_path / "in", clips=40)
    both = [start(csv, tmp_path / "shared") for _ in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    table(csv, tmp_path / "alone")
    assert entries(tmp_path / "shared") == entries(tmp_path / "alone")


def wait_for_entries(process: subprocess.Popen, cache: Path, count: int) -> dict[Path, int]:
    """The inode of each entry, once there are `count`."""
    while len(found := {path: path.stat().st_ino for path in cache.rglob("*.array")}) < count:
        assert process.poll() is None
        time.sleep(0.01)
    return found


@pytest.mark.slow
def test_fault_29_killed_while_writing(tmp_path: Path) -> None:
    csv = small.write(tmp_path / "in", clips=80)
    started = time.monotonic()
    process = start(csv, tmp_path / "cache")
    wait_for_entries(process, tmp_path / "cache", 1)
    undisturbed = time.monotonic() - started  # to the first entry: processes start slowly on a busy machine
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_ino for path in (tmp_path / "cache").rglob("*.array")}
    assert 0 < len(kept) < 80
    started = time.monotonic()
    next_one = start(csv, tmp_path / "cache")
    wait_for_entries(next_one, tmp_path / "cache", len(kept) + 1)
    assert time.monotonic() - started < undisturbed + 10
    assert next_one.wait(timeout=120) == 0
    now = {path: path.stat().st_ino for path in (tmp_path / "cache").rglob("*.array")}
    assert len(now) == 80
    assert now.items() >= kept.items()  # what was there was not made again
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


def test_fault_30_the_clock_goes_back(tmp_path: Path) -> None:
    csv = small.write(tmp_path / "in")
    before = table(csv, tmp_path / "cache")
    old = entries(tmp_path / "cache")
    ahead = time.time() + 3_600  # what was written before the clock went back
    for path in [*(tmp_path / "cache").rglob("*"), *(tmp_path / "in").iterdir()]:
        os.utime(path, (ahead, ahead))
    soundfile.write(tmp_path / "in" / "c002.wav", small.noise(99), small.RATE)  # older than its entry
    after = table(csv, tmp_path / "cache")
    assert (before.values[2] != after.values[2]).any()
    assert entries(tmp_path / "cache").items() >= old.items()  # nothing overwritten
