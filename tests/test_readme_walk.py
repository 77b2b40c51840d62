"""The README's shell lines are run, from the first to the last, on 60 clips and at the least budget.

Not run here: `make demo` and `make test` (this suite is the latter); `fetch`, against a local HTTP server in
tests/test_fetch.py; `ui`, in tests/test_tracking.py; `ray stop`, which would end other clusters on this
machine (processes are ended one by one); the study of the base-sized AST, whose weights cannot be had here.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import soundfile
import studies
from test_readme import LINES

from benchmark import files

pytestmark = pytest.mark.slow
LEAST = "--families random_forest --trials 1 --inner-folds 1 --seeds 1"
ELSEWHERE = ("make ", ".venv/bin/serbench fetch", ".venv/bin/serbench ui", ".venv/bin/ray stop")
NAME = "ravdess-luna-jimenez-5fold"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, corpus_csv: Path) -> Path:
    """A folder as the README's reader has it: `.venv`, a corpus of their own, a colleague's files."""
    folder = tmp_path_factory.mktemp("home")
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "my").symlink_to(corpus_csv.parent)
    (folder / "their").mkdir()
    shutil.copy(corpus_csv, folder / "their" / "clips.csv")
    rows = files.read_csv(corpus_csv)
    sides = {
        side: [row["path"] for row in rows if (row["speaker"] == "s1") == (side == "test")]
        for side in ("train", "test")
    }
    files.write_json(folder / "their" / "folds.json", sides)
    for row in rows:
        shutil.copy(corpus_csv.parent / row["path"], folder / "their")
    shutil.copy(corpus_csv.parent / rows[0]["path"], folder / "clip.wav")
    assert soundfile.info(folder / "clip.wav").duration > 1
    return folder


class Shell:
    """Runs lines in the reader's folder; ends what they leave running, process by process."""

    def __init__(self, folder: Path):
        self.folder, self.mark = folder, uuid.uuid4().hex
        self.ray = tempfile.mkdtemp(prefix="w", dir="/tmp")  # short: Ray puts sockets below it
        self.env = os.environ | {
            "HOME": str(folder), "RAY_TMPDIR": self.ray, "SERBENCH_TEST_MARK": self.mark,
            "PYTHONPATH": str(studies.REPOSITORY),
        }  # fmt: skip

    def __call__(self, line: str) -> str:
        """Run a line; return what it printed."""
        done = subprocess.run(
            shlex.split(line), cwd=self.folder, env=self.env, capture_output=True, text=True,
            timeout=studies.PATIENCE,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def end(self) -> None:
        for process in studies.marked(self.mark):
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        shutil.rmtree(self.ray, ignore_errors=True)


@pytest.fixture(scope="module")
def shell(home: Path) -> Iterator[Shell]:
    shell = Shell(home)
    yield shell
    shell.end()


def lines(first: str, last: str) -> list[str]:
    """Return the README's lines from the one that begins with `first` to the one with `last`."""
    begin = next(n for n, line in enumerate(LINES) if line.startswith(first))
    end = next(n for n, line in enumerate(LINES) if n >= begin and line.startswith(last))
    return [line for line in LINES[begin : end + 1] if not line.startswith(ELSEWHERE)]


def test_a_study_one_on_an_own_corpus_an_import_and_an_audit(home: Path, shell: Shell) -> None:
    first, second = ".venv/bin/serbench fetch ravdess", ".venv/bin/serbench audit"
    seen = []
    for line in lines(first, second):
        seen.append(line.split()[1])
        if line.endswith("run --corpus ravdess"):
            line = line.replace("ravdess", f"manifest --root my/clips.csv --name {NAME}")
        if seen[-1] == "run":
            line += f" {LEAST}"
        if seen[-1] == "import":
            runs = (home / "results" / "my-corpus" / "runs" / "random_forest").glob("*/*/predictions.csv")
            rows = [row for path in runs for row in files.read_csv(path)]
            their = [{"utterance_id": row["utterance_id"], "predicted": row["label"]} for row in rows]
            files.write_csv(home / "their" / "predictions.csv", ["utterance_id", "predicted"], their)
        told = shell(line)
        if seen[-1] == "import":
            rows = files.read_csv(home / "results" / "my-corpus" / "leaderboard.csv")
            assert {row["system"]: row["uar"] for row in rows}["theirs"] == "1.0"
        if seen[-1] == "audit":
            assert "speakers" in told
    assert seen == ["run", "verify", "run", "import", "audit"]


def test_a_cluster_of_two_nodes_behind_a_token(home: Path, shell: Shell) -> None:
    mode, token, head, other, study = lines("export RAY_AUTH_MODE", ".venv/bin/serbench run")
    with socket.create_server(("127.0.0.1", 0)) as free:
        here = f"127.0.0.1:{free.getsockname()[1]}"
    node = "--node-ip-address 127.0.0.1 --num-cpus 1"
    shell.env |= dict([mode.removeprefix("export ").split("=")])
    shell(token)
    shell(head.replace("6379", f"{here.partition(':')[2]} {node} --include-dashboard false"))
    shell(other.replace("HEAD:6379", f"{here} {node}"))
    study = study.replace("ravdess", "manifest --root my/clips.csv --name on-a-cluster")
    study = study.replace("/shared", str(home / "shared"))
    shell(f"{study} {LEAST}")
    shell(".venv/bin/serbench verify results/on-a-cluster")
    stranger = shell.env | {"RAY_AUTH_MODE": "disabled"}
    asked = [*shlex.split(study), *shlex.split(LEAST), "--name", "stranger"]
    told = subprocess.run(asked, cwd=home, env=stranger, capture_output=True, text=True)
    assert told.returncode == 1 and "no Ray cluster at 'auto'" in told.stderr and "token" in told.stderr
    assert not (home / "results" / "stranger" / "leaderboard.csv").exists()


def test_a_clip_is_labelled(home: Path, shell: Shell) -> None:
    (line,) = lines(".venv/bin/serbench predict", ".venv/bin/serbench predict")
    line = line.replace("BUNDLE", "my-corpus").replace("cnn@audioset", "random_forest")
    told = shell(line)
    assert "clip.wav" in told and any(emotion in told for emotion in studies.EMOTIONS)
