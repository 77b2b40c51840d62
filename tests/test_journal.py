"""The journal: appended by one driver, read back to its last whole line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmark import journal
from benchmark.journal import Journal
from benchmark.schema import SerbenchError

LABELS = {"search": "svm/fold-1/tpe", "system": "svm", "family": "svm", "fold": 1, "sampler": "tpe"}


def started(trial_id: str = "a", number: int = 1) -> dict[str, Any]:
    return {
        "event": "trial_started",
        "trial_id": trial_id,
        "number": number,
        "params": {"C": number},
        **LABELS,
    }


def step(trial_id: str, number: int, score: float) -> dict[str, Any]:
    return {"event": "step", "trial_id": trial_id, "step": number, "score": score, "loss": None, "lr": None}


def ended(trial_id: str, state: str = "COMPLETE", score: float | None = 0.5) -> dict[str, Any]:
    values = {"state": state, "reason": "", "score": score, "seconds": 2.0, "steps": 1}
    return {"event": "trial_ended", "trial_id": trial_id, **values, **LABELS}


def write(folder: Path, events: list[dict[str, Any]]) -> None:
    opened = Journal(folder)
    for event in events:
        opened.append(event)
    opened.close()


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    write(tmp_path, [started(), step("a", 1, 0.1 + 0.2), ended("a", score=0.1 + 0.2)])
    opened = Journal(tmp_path)
    (trial,) = opened.state.ended("svm/fold-1/tpe")
    assert (trial.trial_id, trial.number, trial.params, trial.state) == ("a", 1, {"C": 1}, "COMPLETE")
    assert trial.steps == {1: {"score": 0.1 + 0.2, "loss": None, "lr": None}}
    assert trial.score == 0.1 + 0.2  # to the last bit
    opened.close()


def test_a_trial_that_starts_again_begins_anew_and_ended_ones_keep_their_order(tmp_path: Path) -> None:
    events = [started("a", 1), step("a", 1, 0.9), started("b", 2), ended("b", score=0.2)]
    events += [started("a", 1), step("a", 1, 0.4), ended("a", score=0.4)]
    write(tmp_path, events)
    state = journal.State(journal.read(tmp_path / "journal.jsonl")[0])
    assert [trial.trial_id for trial in state.ended("svm/fold-1/tpe")] == ["b", "a"]
    assert state.trials["a"].steps == {1: {"score": 0.4, "loss": None, "lr": None}}


def test_a_trial_ends_once_in_the_list(tmp_path: Path) -> None:
    write(tmp_path, [started(), ended("a"), ended("a")])
    state = journal.State(journal.read(tmp_path / "journal.jsonl")[0])
    assert len(state.ended("svm/fold-1/tpe")) == 1


@pytest.mark.parametrize(
    "torn", [b'{"event":"step","tri', b'{"event":"step"}', b"\x00\x00\x00\n", b"[1]\n", b"\xff\xfe\n"]
)
def test_fault_41_a_torn_last_line_is_cut_off_and_the_next_one_is_whole(tmp_path: Path, torn: bytes) -> None:
    write(tmp_path, [started(), ended("a")])
    path = tmp_path / "journal.jsonl"
    good = path.read_bytes()
    path.write_bytes(good + torn)
    opened = Journal(tmp_path)
    assert [trial.trial_id for trial in opened.state.ended("svm/fold-1/tpe")] == ["a"]
    opened.append(started("b", 2))
    opened.close()
    events, length = journal.read(path)
    assert [event["event"] for event in events] == ["trial_started", "trial_ended", "trial_started"]
    assert length == path.stat().st_size


def test_cut_at_any_byte_the_journal_opens(tmp_path: Path) -> None:
    write(tmp_path, [started(), step("a", 1, 0.3), ended("a")])
    whole = (tmp_path / "journal.jsonl").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "journal.jsonl").write_bytes(whole[:length])
        opened = Journal(tmp_path)
        assert len(opened.state.events) == whole[:length].count(b"\n")
        opened.close()


def test_fault_35_a_second_driver_is_told_who_holds_the_study(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    held = Journal(folder)
    code = f"from pathlib import Path; from benchmark.journal import Journal; Journal(Path({str(folder)!r}))"
    second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert second.returncode != 0
    assert f"study tiny is being run by process {os.getpid()} on {os.uname().nodename}" in second.stderr
    with pytest.raises(SerbenchError, match="end it and use --resume"):  # one process, twice: refused alike
        Journal(folder)
    held.append(started())
    held.close()
    assert [path.name for path in folder.iterdir()] == ["journal.jsonl"]
    Journal(folder).close()


def test_fault_35_the_lock_of_a_killed_driver_holds_nobody_up(tmp_path: Path) -> None:
    code = (
        "import os, signal; from pathlib import Path; from benchmark.journal import Journal\n"
        f"Journal(Path({str(tmp_path)!r})); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode < 0
    assert (tmp_path / ".owner").exists()
    Journal(tmp_path).close()


def test_numbers_that_are_none_are_never_written(tmp_path: Path) -> None:
    opened = Journal(tmp_path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        opened.append(step("a", 1, float("nan")))
    opened.close()
    assert (tmp_path / "journal.jsonl").read_bytes() == b""
