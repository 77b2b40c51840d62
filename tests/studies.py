"""A tiny corpus, tiny spaces and `serbench run` as a process of its own: what the tests of the search share.

Studies run from a copy of the package, so that its code may be edited (FAULT 36) or stay as it is while a
study is stopped and resumed.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import soundfile
import yaml

from benchmark import files
from benchmark.corpora import synthetic

REPOSITORY = Path(__file__).parents[1]
SPEAKERS, EMOTIONS, CLIPS = range(1, 6), ("angry", "happy", "sad"), 4
PATIENCE = 400  # seconds; machines that run tests are often busy
FOREST = """
family: random_forest
features: functionals
search:
  n_estimators: {type: int, low: 25, high: 100, step: 25}
  max_depth: {type: int, low: 2, high: 8}
fixed: {max_features: 0.1, min_samples_leaf: 1, criterion: gini, class_weight: "none"}
published: {n_estimators: 50, max_depth: 64}
pruning: {grace: 1, reduction: 2}
"""
MLP = """
family: mlp
features: functionals
search:
  lr: {type: float, low: 0.001, high: 0.01, log: true}
  epochs: {type: int, low: 2, high: 6}
fixed: {layers: 1, units: 16, dropout: 0.2, batch_norm: true, batch_size: 64, label_smoothing: 0.0,
        schedule: constant, class_weight: "none"}
published: {lr: 1e38, epochs: 1}   # finite loss, weights that are none: the trial and the refits fail
pruning: {grace: 1, reduction: 2}
"""
STUDY = {
    "name": "tiny", "corpus": "manifest", "protocol": "speaker-5fold",
    "systems": ["svm", "mlp"], "folds": [1, 2], "trials": 4, "seeds": 2,
    "random_baseline": False,
}  # fmt: skip


def make_corpus(folder: Path) -> Path:
    """Write 60 clips of the synthetic voices and their CSV; return its path."""
    folder.mkdir(parents=True)
    lines = ["path,speaker,label"]
    for speaker in SPEAKERS:
        for emotion in EMOTIONS:
            for number in range(CLIPS):
                name = f"{speaker}-{emotion}-{number}.wav"
                samples = synthetic.clip(speaker, emotion, 1 + number // 2, 1 + number % 2)
                soundfile.write(folder / name, samples, synthetic.RATE)
                lines.append(f"{name},s{speaker},{emotion}")
    (folder / "clips.csv").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return folder / "clips.csv"


def make_clone(folder: Path) -> Path:
    """Copy the package and the tiny spaces into `folder`."""
    shutil.copytree(
        REPOSITORY / "benchmark", folder / "benchmark", ignore=shutil.ignore_patterns("__pycache__")
    )
    spaces = folder / "search_spaces"
    spaces.mkdir()
    shutil.copy(REPOSITORY / "search_spaces" / "svm.yaml", spaces)
    (spaces / "random_forest.yaml").write_text(FOREST, encoding="utf-8")
    (spaces / "mlp.yaml").write_text(MLP, encoding="utf-8")
    return folder


def write_study(path: Path, **changes: Any) -> Path:
    """Write STUDY with `changes` as a study file."""
    path.write_text(yaml.safe_dump(STUDY | changes), encoding="utf-8")
    return path


def marked(mark: str) -> list[psutil.Process]:
    """Return the running processes whose environment has SERBENCH_TEST_MARK=`mark`."""
    found = []
    for process in psutil.process_iter():
        try:
            same = process.environ().get("SERBENCH_TEST_MARK") == mark
            if same and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


class Command:
    """`serbench …` as a process that leads its own session; every process it leaves can be found."""

    def __init__(self, clone: Path, *args: Any, cwd: Path | None = None):
        self.mark = uuid.uuid4().hex
        self.log = Path(tempfile.gettempdir()) / f"serbench-{self.mark}.log"
        env = os.environ | {"PYTHONPATH": str(clone), "SERBENCH_TEST_MARK": self.mark, "TERM": "dumb"}
        command = [sys.executable, "-m", "benchmark.cli", *map(str, args)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, env=env, cwd=cwd or clone, stdout=subprocess.PIPE, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def end(self) -> tuple[int, str, str]:
        """Wait; return (exit status, standard output, standard error)."""
        try:
            out = self.process.communicate(timeout=PATIENCE)[0].decode()
        finally:
            self.sweep()
        said = self.said
        self.log.unlink()
        return self.process.returncode, out, said

    @property
    def said(self) -> str:
        """What stands on standard error so far."""
        return self.log.read_text(encoding="utf-8")

    def until(self, reached: Callable[[], bool]) -> None:
        """Wait until `reached()`; fails where the process ends before."""
        begun = time.monotonic()
        while not reached():
            assert self.process.poll() is None, f"ended too early: {self.said}"
            assert time.monotonic() - begun < PATIENCE, f"never reached: {self.said}"
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL to the driver alone, as the system's out-of-memory killer does."""
        self.process.kill()
        self.process.communicate()
        assert self.gone(), [p.cmdline() for p in self.left()]
        self.log.unlink()

    def interrupt(self) -> None:
        """SIGINT to the whole group, as Ctrl-C in a terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def left(self) -> list[psutil.Process]:
        """Return what runs of the command, Ray's processes included."""
        return marked(self.mark)

    def gone(self, seconds: float = 60) -> bool:
        """Whether all of the command's processes are gone, within `seconds`."""
        deadline = time.monotonic() + seconds
        while self.left() and time.monotonic() < deadline:
            time.sleep(0.2)
        return not self.left()

    def sweep(self) -> None:
        """End what is left, one by one: a failing test leaves nothing behind."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if not self.gone(20):
            for process in self.left():
                process.kill()


def run(clone: Path, *args: Any, cwd: Path | None = None) -> tuple[int, str, str]:
    """Run `serbench …` to its end; return (exit status, standard output, standard error)."""
    return Command(clone, *args, cwd=cwd).end()


def events(folder: Path, kind: str = "") -> list[dict[str, Any]]:
    """Return the journal's events of one kind, a line that is being written left out."""
    path = folder / "journal.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [event for event in map(json.loads, lines) if not kind or event["event"] == kind]


PICTURES = ("figures", "report.html")  # of the tables and of times
TIMED = ("leaderboard.md", "leaderboard.tex", "README.md")  # with hours; leaderboard.csv has all else
TIMES = {"seconds", "search_seconds", "cpu_hours", "gpu_hours", "trial_seconds"}


def content(bundle: Path) -> dict[str, Any]:
    """Return every file of a bundle without its times, pictures and what stands for the whole."""
    kept = {}
    for path in sorted(p for p in bundle.rglob("*") if p.is_file()):
        name = path.relative_to(bundle).as_posix()
        if name in ("SHA256SUMS", "environment.json", *TIMED) or name.split("/")[0] in PICTURES:
            continue
        if path.suffix == ".csv":
            kept[name] = _without_times(files.read_csv(path))
        elif path.suffix == ".json":
            kept[name] = _without_times(files.read_json(path))
        else:
            kept[name] = path.read_text(encoding="utf-8")
    return kept


def _without_times(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_times(inner) for inner in value]
    if isinstance(value, dict):
        return {key: _without_times(inner) for key, inner in value.items() if key not in TIMES}
    return value


def differences(one: Path, other: Path, *leave_out: str) -> list[str]:
    """Return the names of the files in which two bundles differ, times aside."""
    first, second = content(one), content(other)
    return [n for n in sorted(first | second) if first.get(n) != second.get(n) and n not in leave_out]


def trials(bundle: Path) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Yield the name and the rows of each table of trials in a bundle."""
    for path in sorted([*bundle.glob("searches/*/*/trials.csv"), *bundle.glob("searches/*/*/random.csv")]):
        yield path.relative_to(bundle).as_posix(), files.read_csv(path)


@functools.cache
def study_of(path: Path) -> dict[str, Any]:
    """Return the content of a study file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))
