"""FAULTS 34, 35, 36, 41, 43: a study that is killed, interrupted, edited or torn, and goes on as unbroken."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import studies
from tracking_tools import stored

from benchmark import files, tracking
from benchmark.report import leaderboard

pytestmark = pytest.mark.slow
TRIALS = 2 * 2 * 4  # systems × folds × budget


def ended(folder: Path) -> list[str]:
    """Return the ids of the trials whose end stands in the journal."""
    return [event["trial_id"] for event in studies.events(folder, "trial_ended")]


def test_fault_34_a_driver_killed_between_the_seal_and_its_end(
    finished: Any, clone: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished.bundle, tmp_path / "tiny")
    (tmp_path / "tiny" / ".tune").mkdir()
    (tmp_path / "tiny" / "journal.jsonl").write_text('{"event": "search_started"}\n')
    status, _, said = studies.run(clone, "run", finished.study, "--out", tmp_path, "--resume")
    assert status == 0, said
    assert leaderboard.verify(tmp_path / "tiny") == []
    assert studies.content(tmp_path / "tiny") == studies.content(finished.bundle)
    assert not (tmp_path / "tiny" / ".tune").exists()


class Interrupted(NamedTuple):
    """A study that Ctrl-C ended, and what a second driver was told before."""

    out: Path
    second: tuple[int, str, str]
    status: int
    printed: str
    said: str
    left: list[Any]


@pytest.fixture(scope="module")
def interrupted(
    finished: Any, corpus_csv: Path, clone: Path, tmp_path_factory: pytest.TempPathFactory
) -> Interrupted:
    out = tmp_path_factory.mktemp("interrupted") / "my results"
    arguments = ("run", finished.study, "--root", corpus_csv, "--out", out)
    command = studies.Command(clone, *arguments)
    command.until(lambda: len(ended(out / "tiny")) >= 1)
    second = studies.run(clone, *arguments, "--resume")
    assert str(command.process.pid) in second[2], second
    command.interrupt()
    printed = command.process.communicate(timeout=studies.PATIENCE)[0].decode()
    said = command.said
    command.gone()
    left = [process.cmdline() for process in command.left()]
    command.sweep()
    return Interrupted(out, second, command.process.returncode, printed, said, left)


def test_fault_35_a_second_driver_is_refused_and_told_who_holds_the_study(interrupted: Interrupted) -> None:
    status, out, said = interrupted.second
    assert (status, out) == (1, "")
    last = said.splitlines()[-1]
    assert re.match(r"serbench: study tiny is being run by process \d+ on \S+: wait for it", last)
    assert "Traceback" not in said


def test_fault_43_ctrl_c_keeps_the_state_and_prints_how_to_go_on(interrupted: Interrupted) -> None:
    assert (interrupted.status, interrupted.printed) == (130, "")
    assert "Traceback" not in interrupted.said
    assert interrupted.said.splitlines()[-1].startswith("serbench: interrupted: go on with `serbench run ")
    assert interrupted.left == []
    folder = interrupted.out / "tiny"
    assert 1 <= len(ended(folder)) < TRIALS
    states = {event["state"] for event in studies.events(folder, "trial_ended")}
    assert states <= {"COMPLETE", "PRUNED", "FAILED"}
    assert not (folder / ".lock").exists()
    runs = stored(tracking.default_uri(interrupted.out), "tiny")
    assert "RUNNING" not in {run.info.status for run in runs.values()}


@pytest.mark.parametrize(
    ("edited", "told"),
    [
        ("space", "spaces.mlp.search.epochs.high: 6 → 7"),
        ("data", "clips.1-angry-0.wav: "),
        ("code", "code: "),
        ("packages", "packages.numpy: 1.0 → "),
        ("budget", "trials: 4 → 5"),
    ],
)
def test_fault_36_edited_inputs_are_refused_with_the_difference(
    interrupted: Interrupted,
    finished: Any,
    corpus_csv: Path,
    clone: Path,
    tmp_path: Path,
    edited: str,
    told: str,
) -> None:
    shutil.copytree(interrupted.out / "tiny", tmp_path / "out" / "tiny")
    before = (tmp_path / "out" / "tiny" / "journal.jsonl").read_bytes()
    place, corpus, extra = clone, corpus_csv, ["--trials", "5"] if edited == "budget" else []
    if edited == "packages":
        made = tmp_path / "out" / "tiny" / "environment.json"
        made.write_text(re.sub(r'"numpy": "[^"]+"', '"numpy": "1.0"', made.read_text()))
    elif edited in ("space", "code"):
        place = Path(shutil.copytree(clone, tmp_path / "serbench"))
        name, old, new = {
            "space": ("search_spaces/mlp.yaml", "high: 6", "high: 7"),
            "code": ("benchmark/metrics.py", "import numpy", "import numpy  # edited\nimport numpy"),
        }[edited]
        text = (place / name).read_text()
        assert old in text
        (place / name).write_text(text.replace(old, new, 1))
    elif edited == "data":
        corpus = Path(shutil.copytree(corpus_csv.parent, tmp_path / "clips")) / "clips.csv"
        data = bytearray((corpus.parent / "1-angry-0.wav").read_bytes())
        data[-2] ^= 1  # the last sample
        (corpus.parent / "1-angry-0.wav").write_bytes(data)
    status, out, said = studies.run(
        place, "run", finished.study, "--root", corpus, "--out", tmp_path / "out", "--resume", *extra
    )
    assert (status, out) == (1, "")
    last = said.splitlines()[-1]
    assert last.startswith("serbench: tiny was made with other inputs and can't go on (")
    assert told in last
    assert last.endswith(": restore them, or start a new study with --name")
    assert "Traceback" not in said
    assert (tmp_path / "out" / "tiny" / "journal.jsonl").read_bytes() == before


def test_fault_34_41_torn_killed_at_three_points_and_moved_it_ends_as_the_unbroken_study(
    interrupted: Interrupted, finished: Any, corpus_csv: Path, clone: Path, tmp_path: Path
) -> None:
    first = interrupted.out / "tiny"
    lines = (first / "journal.jsonl").read_bytes().splitlines(keepends=True)
    last = max(n for n, line in enumerate(lines) if b'"trial_ended"' in line)
    torn = b"".join(lines[:last]) + lines[last][:40]  # an ending that was half written
    (first / "journal.jsonl").write_bytes(torn)
    done = ended(first)
    printed = re.findall(r"go on with `serbench (.+)`$", interrupted.said)[-1]
    command = studies.Command(clone, *shlex.split(printed))
    command.until(lambda: len(ended(first)) >= len(done) + 3)  # in the midst of a search
    command.kill()
    assert ended(first)[: len(done)] == done  # nothing was run again

    there = tmp_path / "another clone"  # on another machine, as far as the program can tell
    shutil.copytree(clone, there / "serbench")
    shutil.copytree(corpus_csv.parent, there / "clips")
    second, openings = there / "results" / "tiny", there / "results" / "openings.csv"
    shutil.copytree(first, second)

    def resume() -> studies.Command:
        return studies.Command(
            there / "serbench", "run", finished.study, "--root", there / "clips" / "clips.csv",
            "--out", there / "results", "--resume",
        )  # fmt: skip

    command = resume()
    command.until(lambda: len(ended(second)) >= TRIALS - 3)  # among the last trials
    command.kill()
    command = resume()
    command.until(lambda: openings.exists() and openings.stat().st_size > 0)  # as a test part is opened
    command.kill()
    assert len(ended(second)) == len(set(ended(second))) == TRIALS
    status, _, said = resume().end()
    assert status == 0, said
    assert leaderboard.verify(second) == []
    assert studies.differences(finished.bundle, second, "README.md") == []  # it tells the openings
    assert [row["fold"] for row in files.read_csv(openings)] in (["1", "1", "2"], ["1", "2"])

    runs = stored(tracking.default_uri(there / "results"), "tiny")  # fails on doubles
    assert "RUNNING" not in {run.info.status for run in runs.values()}
    states = {record: run.data.tags["state"] for record, run in runs.items()}
    for _, rows in studies.trials(second):
        assert {row["trial_id"]: row["state"] for row in rows}.items() <= states.items()
    assert sum(run.data.tags["kind"] == "trial" for run in runs.values()) == TRIALS
