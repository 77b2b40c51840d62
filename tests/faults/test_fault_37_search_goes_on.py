"""FAULT 37, the whole line: a real MLflow server is killed in the midst of a search and comes back."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import studies
from tracking_tools import Server, curve, stored

from benchmark import files
from benchmark.report import leaderboard

pytestmark = pytest.mark.slow


def test_fault_37_a_study_run_again_beside_an_outage_gives_the_same_bundle(
    finished: Any, corpus_csv: Path, clone: Path, tmp_path: Path
) -> None:
    """From its own frozen file: all that was missed is synced, once; every file is the same, times aside."""
    frozen, folder = finished.bundle / "study.yaml", tmp_path / "results" / "tiny"
    server = Server(tmp_path).start()
    try:
        command = studies.Command(
            clone, "run", frozen, "--root", corpus_csv, "--out", tmp_path / "results", "--mlflow", server.uri
        )
        command.until(lambda: len(studies.events(folder, "trial_ended")) >= 2)
        server.kill()
        away = len(studies.events(folder, "trial_ended"))
        command.until(lambda: len(studies.events(folder, "trial_ended")) >= away + 3)
        os.kill(command.process.pid, signal.SIGSTOP)  # the driver, so that it ends after the server is back
        server.start()
        os.kill(command.process.pid, signal.SIGCONT)
        status, _, said = command.end()
        assert status == 0, said
        assert "could not be reached" not in said
        assert leaderboard.verify(folder) == []
        assert studies.differences(finished.bundle, folder) == []
        assert (folder / "study.yaml").read_text() == frozen.read_text()
        made = [files.read_json(bundle / "environment.json") for bundle in (finished.bundle, folder)]
        assert made[0] == made[1]

        runs = stored(server.uri, "tiny")  # fails on doubles
        assert "RUNNING" not in {run.info.status for run in runs.values()}
        assert len(runs) == 1 + 4 + 16 + 20  # study, searches, trials, refits
        for name, rows in studies.trials(folder):
            steps = files.read_csv((folder / name).with_name("steps.csv"))
            for row in rows:
                assert runs[row["trial_id"]].data.tags["state"] == row["state"]
                own = [step for step in steps if step["trial_id"] == row["trial_id"]]
                told = [(int(step["step"]), round(float(step["score"]), 3)) for step in own]
                assert curve(server.uri, runs[row["trial_id"]], "uar") == told
    finally:
        server.kill()
