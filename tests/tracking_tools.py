"""A real MLflow server as a process, a journal as the driver writes it, and a look into a store."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from benchmark import tracking

START = 1_700_000_000.0
STUDY = {
    "study": "tiny",
    "study_digest": "d1",
    "corpus_digest": "c1",
    "protocol": "loso",
    "fingerprint": "f1",
}


class Server:
    """`mlflow server` over HTTP on one SQLite file, killed and started again at one address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        store = ["--backend-store-uri", f"sqlite:///{self.folder}/server.db"]
        store += ["--artifacts-destination", str(self.folder / "server-artifacts")]
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            *store,
            "--port",
            str(self.port),
            "--workers",
            "1",
        ]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=os.environ | tracking.SETTINGS, stdout=log, stderr=log, start_new_session=True
            )
        for _ in range(400):
            assert self.process.poll() is None, (self.folder / "server.log").read_text()
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                    return self
            except OSError:
                time.sleep(0.3)
        raise AssertionError("the MLflow server did not start")

    def kill(self) -> None:
        """End the server and its worker at once (SIGKILL to the group that it leads)."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


def journal(trials: int = 4, steps: int = 3, system: str = "mlp") -> list[dict[str, Any]]:
    """Return a search and a refit: the last trial FAILED, the one before it PRUNED, the others COMPLETE."""
    search = f"{system}/fold-1/tpe"
    labels = {"search": search, "system": system, "family": system, "fold": 1, "sampler": "tpe"}
    events: list[dict[str, Any]] = [{"event": "search_started", **labels, "time": START}]
    for number in range(1, trials + 1):
        trial = {"trial_id": f"{system}-{number}", **labels}
        at, params = START + 10 * number, {"lr": 1e-3 * number, "layers": number, "norm": True}
        events.append({"event": "trial_started", **trial, "number": number, "params": params, "time": at})
        events += [
            {"event": "step", **trial, "step": k, "score": 0.1 * k, "loss": 1 / k, "lr": 1e-3, "time": at + k}
            for k in range(1, steps + 1)
        ]
        state, reason = {0: ("FAILED", "loss is NaN"), 1: ("PRUNED", "")}.get(
            trials - number, ("COMPLETE", "")
        )
        end = {"state": state, "reason": reason, "score": 0.1 * steps, "steps": steps, "seconds": 5.0}
        events.append({"event": "trial_ended", **trial, **end, "params": params, "time": at + 5})
    events.append({"event": "search_ended", **labels, "reason": "", "seconds": 99.0, "time": START + 99})
    refit = {"run_id": f"{system}-final", "system": system, "family": system, "fold": 1, "seed": 1}
    history = [{"step": k, "loss": 1 / k, "lr": 1e-3} for k in range(1, steps + 1)]
    events.append(
        {"event": "refit", **refit, "params": {"lr": 0.1}, "metrics": {"uar": 0.5, "accuracy": 0.6},
         "seconds": 2.0, "folder": f"runs/{system}/fold-1/seed-1", "history": history, "time": START + 120}
    )  # fmt: skip
    return events


def stored(uri: str, study: str = "tiny") -> dict[str, Any]:
    """Return the runs of a study by their `record` tag; fails where one is there twice."""
    client = tracking._client(uri)
    experiment = client.get_experiment_by_name(study)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    keys = [run.data.tags["record"] for run in runs]
    assert len(keys) == len(set(keys)), f"doubled runs: {sorted(keys)}"
    return dict(zip(keys, runs, strict=True))


def curve(uri: str, run: Any, name: str) -> list[tuple[int, float]]:
    """Return (step, value) of a metric as the store has it, doubled points included."""
    history = tracking._client(uri).get_metric_history(run.info.run_id, name)
    return sorted((point.step, round(point.value, 3)) for point in history)
