"""FAULTS 21, 27, 54: metrics with a class absent, a full disk under the results, a hand-edited result."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from helpers import make_bundle, make_corpus, make_run, make_split

from benchmark import bundle, files, metrics
from benchmark.report import leaderboard
from benchmark.schema import SerbenchError


def serbench(*arguments):
    command = [sys.executable, "-m", "benchmark.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_fault_21_class_list_is_fixed_and_a_class_without_support_is_left_out_of_means():
    confusion = metrics.confusion(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2]), 4)
    assert metrics.support(confusion).tolist() == [2, 2, 0, 0]
    assert metrics.recall(confusion).tolist() == [1, 0.5, 0, 0]
    assert metrics.uar(confusion) == 0.75  # not .50, the mean over three classes
    assert metrics.macro(metrics.f1, confusion) == pytest.approx((1 + 2 / 3) / 2)  # neither .556 nor .417
    assert metrics.macro(metrics.precision, confusion) == 1
    assert metrics.confusion(np.array([0]), np.array([0]), 4).shape == (4, 4)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MiB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], capture_output=True)
    if done.returncode:
        pytest.skip("mounting a tmpfs is not permitted here")
    yield place
    subprocess.run(["umount", place], check=True)


def fill(place):
    with (place / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            pass


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_fault_27_disk_full_in_results_keeps_every_old_byte_and_exits_with_1(small_disk, tmp_path):
    folder = small_disk / "made"
    shutil.copytree(make_bundle(tmp_path), folder)
    before = content(folder)
    fill(small_disk)
    done = serbench("report", folder)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert content(folder) == before
    (small_disk / "ballast").unlink()
    assert leaderboard.verify(folder) == []
    assert serbench("report", folder).returncode == 0


def test_fault_27_a_run_on_a_full_disk_is_an_error_and_never_half_a_run(small_disk):
    corpus = make_corpus(40, 20)
    run = make_run(corpus, make_split(corpus).folds[0], "svm", 1, 1.0, np.random.default_rng(0))
    files.write_json(small_disk / "corpus.json", {"classes": list(corpus.card.classes)})
    fill(small_disk)
    result = {"parameters": 1, "seconds": 1.0, "cpus": 1, "gpus": 0}
    with pytest.raises(SerbenchError, match="results must be writable"):
        bundle.write_run(small_disk, run, result, [], corpus.card.classes)
    assert bundle.read_runs(small_disk) == []
    assert not [path for path in small_disk.rglob("*") if path.is_file() and "seed-1" in str(path)]


def test_fault_27_a_table_that_does_not_fit_leaves_the_old_ones(small_disk, tmp_path):
    """Room for the first tables but not for all: none of them is swapped in."""
    folder = small_disk / "made"
    shutil.copytree(make_bundle(tmp_path), folder)
    for table in (*folder.glob("leaderboard.*"), *folder.glob("per_class/*"), folder / "pairwise.csv"):
        table.write_text("old")
    before = content(folder)
    fill(small_disk)
    with (small_disk / "ballast").open("rb+") as file:
        file.truncate((small_disk / "ballast").stat().st_size - 6 * 4096)
    with pytest.raises(SerbenchError, match="No space left"):
        leaderboard.write(folder)
    assert content(folder) == before


def test_fault_54_verify_names_a_hand_edited_result(tmp_path):
    folder = make_bundle(tmp_path)
    assert serbench("verify", folder).returncode == 0
    table = folder / "leaderboard.csv"
    rows = files.read_csv(table)
    better = str(float(rows[1]["uar"]) + 0.01)
    rows[1]["uar"] = better
    files.write_csv(table, list(rows[0]), rows)
    done = serbench("verify", folder)
    assert done.returncode == 1
    assert "wrong checksum: leaderboard.csv" in done.stdout
    assert f"leaderboard.csv: {rows[1]['system']}: uar: stored {better}" in done.stdout
    (folder / bundle.SUMS).unlink()
    bundle.seal(folder)  # whoever edits can reseal too
    done = serbench("verify", folder)
    assert done.returncode == 1 and "checksum" not in done.stdout and "uar: stored" in done.stdout
