"""`serbench --help` is instant, because nothing heavy is imported for it."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_layers import HEAVY

COMMAND = [sys.executable, "-m", "benchmark.cli"]


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["list", "families"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    command = [sys.executable, "-X", "importtime", *COMMAND[1:], *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    names = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "argparse" in names  # the table is there, and read rightly
    assert names & HEAVY == set()


def test_help_takes_less_than_three_tenths_of_a_second() -> None:
    serbench = str(Path(sys.executable).with_name("serbench"))
    seconds = []
    for _ in range(10):  # the best of ten: other work on the machine is not what is measured
        begun = time.perf_counter()
        done = subprocess.run([serbench, "--help"], capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - begun)
    assert "usage: serbench" in done.stdout
    assert min(seconds) < 0.3
