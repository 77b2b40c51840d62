"""FAULT 37, the whole line: a real MLflow server is killed in the midst of a search and comes back."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import studies
from tracking_tools import Server, curve, stored

from benchmark import files
from benchmark.report import leaderboard

pytestmark = pytest.mark.slow


def test_fault_37_the_search_goes_on_and_the_backlog_is_synced(
    corpus_csv: Path, clone: Path, tmp_path: Path
) -> None:
    study = studies.write_study(tmp_path / "svm.yaml", systems=["svm"], folds=[1], trials=12, seeds=1)
    folder = tmp_path / "results" / "tiny"
    server = Server(tmp_path).start()
    try:
        command = studies.Command(
            clone, "run", study, "--root", corpus_csv, "--out", tmp_path / "results", "--mlflow", server.uri
        )
        command.until(lambda: len(studies.events(folder, "trial_ended")) >= 2)
        server.kill()
        away = len(studies.events(folder, "trial_ended"))
        command.until(lambda: len(studies.events(folder, "trial_ended")) >= away + 5)
        os.kill(command.process.pid, signal.SIGSTOP)  # the driver, so that it ends after the server is back
        server.start()
        os.kill(command.process.pid, signal.SIGCONT)
        status, _, said = command.end()
        assert status == 0, said
        assert "could not be reached" not in said
        assert leaderboard.verify(folder) == []
        runs = stored(server.uri, "tiny")  # fails on doubles
        assert "RUNNING" not in {run.info.status for run in runs.values()}
        assert len(runs) == 1 + 2 + 2 * 12 + 3  # study, searches, trials, refits
        steps = files.read_csv(folder / "searches/svm/fold-1/steps.csv")
        for _, rows in studies.trials(folder):
            for row in rows:
                assert runs[row["trial_id"]].data.tags["state"] == row["state"]
        for id_ in {row["trial_id"] for row in steps}:
            own = [
                (int(row["step"]), round(float(row["score"]), 3)) for row in steps if row["trial_id"] == id_
            ]
            assert curve(server.uri, runs[id_], "uar") == own
    finally:
        server.kill()
