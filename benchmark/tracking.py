"""MLflow mirrors the journal and never decides: the only importer of MLflow, and only when it is needed.

One experiment a study name; runs: study → search → trial, and `final` runs (the refits) below the study. A
run is found again by its tags `study_digest` and `record`, so a journal may be mirrored any number of times.
Trials show the inner validation UAR per step as `uar` and, if they reached their last step, as `score`;
pruned ones end as KILLED, without a `score`. Test metrics begin with `test_`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import queue
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark import metrics
from benchmark.files import csv_text, read_csv
from benchmark.journal import COMPLETE, CURVES, FAILED, PRUNED
from benchmark.schema import SerbenchError, UsageError

Event = Mapping[str, Any]

log = logging.getLogger("serbench.tracking")
KILLED = "KILLED"  # the state of what a stopped study leaves open
STATUS = {COMPLETE: "FINISHED", FAILED: "FAILED", PRUNED: "KILLED", KILLED: "KILLED"}
KIND = {"study_started": "study", "search_started": "search", "trial_started": "trial", "refit": "final"}
LABELS = ("system", "family", "fold", "sampler", "seed", "trial_id", "number")
# A saved view of an experiment (MLflow keeps it as a tag, and lists it under Views): the trials that could be
# selected, so without the random search beside TPE, best first; its address has no room for the columns.
COLUMNS = {"attributes.`Run Name`": 300, "metrics.`score`": 100}  # in this order, this wide
TRIALS = {
    "searchFilter": "tags.kind = 'trial' and tags.sampler != 'baseline'",
    "orderByKey": "metrics.`score`", "orderByAsc": False,
    "selectedColumns": ["metrics.`score`", "tags.`system`", "tags.`fold`"],
    "columnOrder": [*COLUMNS], "columnWidths": COLUMNS,
}  # fmt: skip
VIEW = {"name": "Trials, best first", "createdAt": 0, "state": json.dumps(TRIALS)}
BEST_FIRST = "workflowType=machine_learning&viewStateShareKey=trials"
TEXT, MOST_RUNS = 6000, 50_000  # MLflow's limits: characters of a parameter, runs of an answer
LINGER, AWAY = 0.5, 3.0  # seconds: to gather a batch; between tries while the server is away
LAST_TRIES = 8  # of a closing study, half a second apart, at a server that does not answer
# MLflow's own retries block a call for minutes, and may repeat a request that the server did carry out.
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # standard output belongs to --json
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


@dataclass
class _Run:
    """What the store holds of one run; `state` is a key of STATUS or, while it is open, empty."""

    run_id: str
    state: str = ""
    steps: set[int] = field(default_factory=set)  # asked for only where the run may go on


class _Mirror:
    """A study's events by the run that shows them (`study`, a search's name, a trial's or final's id)."""

    def __init__(self, uri: str, study: Mapping[str, str], out: Path) -> None:
        self.uri, self.study, self.out = uri, study, out
        self.first: dict[str, Event] = {}
        self.last: dict[str, Event] = {}
        self.steps: defaultdict[str, dict[int, Event]] = defaultdict(dict)
        self.client: Any = None
        self.experiment = ""
        self.found: dict[str, _Run] = {}
        self.absorb({"event": "study_started", "run_id": "study", "folder": study["study"]})

    def absorb(self, event: Event) -> None:
        """Take in one event of the journal; one that was rebuilt from a bundle has no time."""
        event = {"time": time.time(), **event}
        key = event.get("trial_id") or event.get("run_id") or event["search"]
        self.first.setdefault(key, event)
        self.last[key] = event
        for step in [event] if event["event"] == "step" else event.get("history", ()):
            self.steps[key][int(step["step"])] = {"time": event["time"], **step}

    def settle(self, state: str) -> None:
        """End what is open: the study and its searches with `state`, trials as KILLED."""
        for key, first in self.first.items():
            if not self._state(key):
                ending = KILLED if first["event"] == "trial_started" else state
                self.last[key] = {"event": "settled", "state": ending, "time": time.time()}

    def behind(self) -> list[str]:
        """Return the keys of what the store lacks or shows as it was."""
        return [key for key in self.first if key not in self.found or self._differs(key, self.found[key])]

    def flush(self, *, ended_only: bool = False) -> int:
        """Write what is behind, return how many runs that were; an outage raises what the client raises."""
        try:
            if self.client is None:
                self._connect()
            keys = [key for key in self.behind() if self._state(key) or not ended_only]
            for key in keys:
                self._write(key, self._open(key))
        except Exception:
            self.client = None  # look all up again: a request without an answer may have been done
            raise
        return len(keys)

    def _state(self, key: str) -> str:
        last = self.last[key]
        return last.get("state") or (COMPLETE if last["event"] in ("search_ended", "refit") else "")

    def _differs(self, key: str, run: _Run) -> bool:
        state = self._state(key)
        return run.state != state or (not state and not self.steps[key].keys() <= run.steps)

    def _connect(self) -> None:
        client, name = _client(self.uri), self.study["study"]
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            # A server knows best where its artifacts lie; for a bare database we say so.
            place = None if self.uri.startswith("http") else (self.out / "mlartifacts").resolve().as_uri()
            self.experiment = client.create_experiment(name, artifact_location=place)
        else:
            self.experiment = experiment.experiment_id
            if experiment.lifecycle_stage == "deleted":
                client.restore_experiment(self.experiment)
        client.set_experiment_tag(self.experiment, "mlflow.sharedViewState.trials", json.dumps(VIEW))
        found: dict[str, _Run] = {}
        query = f"tags.study_digest = '{self.study['study_digest']}'"
        for stored in client.search_runs([self.experiment], query, max_results=MOST_RUNS):
            tags, run = stored.data.tags, _Run(stored.info.run_id, stored.data.tags.get("state", ""))
            if found.setdefault(tags["record"], run) is not run:
                client.delete_run(run.run_id)  # an answer was lost once, so the run was opened twice
            elif run.state in ("", KILLED):
                curves = [client.get_metric_history(run.run_id, name) for name in ("uar", "loss")]
                run.steps = {point.step for curve in curves for point in curve}
        self.client, self.found = client, found

    def _open(self, key: str) -> _Run:
        """Return the run of `key`, created (below its parent's) where the store has none."""
        if key not in self.found:
            first, last = self.first[key], self.last[key]
            kind, name, parent = KIND[first["event"]], first.get("folder") or first["search"], "study"
            if kind == "trial":
                name, parent = f"{name}/trial-{first['number']}", first["search"]
            tags = {**self.study, "kind": kind, "record": key, "mlflow.source.name": "serbench"}
            tags |= {label: str(first[label]) for label in LABELS if label in first}
            if kind != "study":
                tags["mlflow.parentRunId"] = self._open(parent).run_id
            begun = min(first["time"], last["time"] - last.get("seconds", 0.0))
            run = self.client.create_run(self.experiment, int(1000 * begun), tags, name)
            self.found[key] = _Run(run.info.run_id)
        return self.found[key]

    def _write(self, key: str, run: _Run) -> None:
        """Bring `run` up to date. The client splits large batches."""
        from mlflow.entities import Param, RunTag

        first, last, steps, state = self.first[key], self.last[key], self.steps[key], self._state(key)
        points = []
        for number in sorted(steps.keys() - run.steps):
            step = steps[number]
            curves = {"uar": step.get("score"), "loss": step["loss"], "lr": step["lr"]}
            curves |= {name: step[name] for name in CURVES if name in step}
            points += _metrics(curves, step["time"], number)
        if state:
            score = last.get("score") if state == COMPLETE else None
            tested = {f"test_{name}": value for name, value in last.get("metrics", {}).items()}
            values = {"score": score, "seconds": last.get("seconds"), **tested}
            points += _metrics(values, last["time"], max(steps, default=0))
        given = {} if run.steps else first.get("params", {})
        params = [Param(name, str(value)[:TEXT]) for name, value in given.items()]
        self.client.log_batch(run.run_id, points, params, [RunTag("reason", last.get("reason", ""))])
        run.steps |= steps.keys()
        folder = self.out / self.study["study"] / first.get("folder", "")
        if first["event"] == "refit" and folder.is_dir():
            self.client.log_text(run.run_id, _report(folder / "predictions.csv"), "report.csv")
            self.client.log_artifact(run.run_id, str(folder / "result.json"))
        if state:
            self.client.set_terminated(run.run_id, STATUS[state], int(1000 * last["time"]))
        elif run.state:
            self.client.update_run(run.run_id, "RUNNING")  # resumed
        if state != run.state:
            self.client.set_tag(run.run_id, "state", state)  # last: it says that all is there
            run.state = state


class Syncer:
    """Mirrors events while a study runs, in a thread of its own: `offer` neither blocks nor raises.

    After a resume, offer the whole journal again: what MLflow already has costs nothing.
    """

    def __init__(self, uri: str, study: Mapping[str, str], out: Path) -> None:
        """Start the thread. `study`: tags of every run, `study` (its name) and `study_digest` among them;
        `out`: where bundles lie, and, unless `uri` is a server, `mlartifacts`."""
        self._mirror = _Mirror(uri, {**study, "host": socket.gethostname()}, out)
        self._queue: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._closing, self._state = threading.Event(), COMPLETE
        self._thread = threading.Thread(target=self._loop, name="mlflow-syncer", daemon=True)
        self._thread.start()

    def offer(self, event: Event) -> None:
        """Take one event of the journal."""
        self._queue.put(event)

    def close(self, timeout: float = 60.0, *, finished: bool = True) -> int:
        """Flush, end the open runs (KILLED unless `finished`), return how many records MLflow lacks.

        Gives up after `timeout` seconds, sooner if nobody answers: a resume or `serbench ui` catches up.
        """
        self._state = COMPLETE if finished else KILLED
        self._closing.set()
        self._thread.join(timeout)
        return self._queue.qsize() + len(self._mirror.behind())

    def _loop(self) -> None:
        away, tries = False, LAST_TRIES
        while tries:
            closing = self._closing.wait(AWAY if away else LINGER)
            try:
                while not self._queue.empty():
                    self._mirror.absorb(self._queue.get())
                if closing:
                    self._mirror.settle(self._state)
                self._mirror.flush()
            except Exception as error:  # whatever it is, the search goes on
                if not away:
                    log.warning("MLflow is away, its records wait: %s", _line(error))
                away, tries = True, tries - closing
                time.sleep(LINGER)
            else:
                if away:
                    log.warning("MLflow is back and has all records")
                away, tries = False, 0 if closing else LAST_TRIES


def mirror(
    events: Iterable[Event], uri: str, study: Mapping[str, str], out: Path, *, finished: bool = True
) -> int:
    """Mirror a whole journal and return how many runs changed: 0 the second time; arguments as for `Syncer`.

    What is open ends if the study is `finished`; else it is left to the driver at work.

    Raises:
        SerbenchError: MLflow does not answer.
    """
    whole = _Mirror(uri, study, out)
    for event in events:
        whole.absorb(event)
    if finished:
        whole.settle(COMPLETE)
    try:
        return whole.flush(ended_only=not finished)
    except Exception as error:
        raise SerbenchError(f"MLflow at {_shown(uri)} must answer: start it ({_line(error)})") from None


def default_uri(out: Path) -> str:
    """Return the address of the SQLite file in `out`."""
    return f"sqlite:///{out.resolve() / 'mlflow.db'}"


def serve_ui(uri: str, port: int = 0, experiment: str | None = None) -> tuple[subprocess.Popen[bytes], str]:
    """Start MLflow's server on a database, on loopback; return it and the address of the trials, best first.

    Port 0 takes a free one. `terminate()` ends the server and its worker.

    Raises:
        UsageError: `uri` is a server already.
        SerbenchError: no such experiment, or the server does not come up.
    """
    found = _client(uri).get_experiment_by_name(experiment) if experiment else None
    if experiment and found is None:
        raise SerbenchError(f"MLflow's store must hold study {experiment!r}, but does not: name its bundle")
    where = f"/#/experiments/{found.experiment_id}/runs?{BEST_FIRST}" if found else "/#/experiments"
    if uri.startswith("http"):
        raise UsageError(f"{_shown(uri)} serves its own pages: open {_shown(uri)}{where}")
    try:
        with socket.create_server(("127.0.0.1", port)) as free:
            port = free.getsockname()[1]
    except OSError:
        raise SerbenchError(f"port {port} must be free, but is taken: choose another with --port") from None
    base = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--no-serve-artifacts"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=SETTINGS | os.environ, stdout=said, stderr=said)
        while process.poll() is None:
            time.sleep(0.5)
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{base}/health", timeout=5):
                return process, base + where
        said.seek(0)
        why = said.read().decode(errors="replace").strip().rpartition("\n")[2]
    raise SerbenchError(f"MLflow must start on port {port}, but did not: {why}")


def _client(uri: str) -> Any:
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow

    for name in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return mlflow.MlflowClient(tracking_uri=uri)


def _metrics(values: Mapping[str, Any], at: float, step: int) -> list[Any]:
    """Return MLflow's metrics of those values that are numbers; `at`: unix time."""
    from mlflow.entities import Metric

    numbers = {name: v for name, v in values.items() if v is not None and math.isfinite(v)}
    return [Metric(name, float(v), int(at * 1000), step) for name, v in numbers.items()]


def _report(predictions: Path) -> str:
    """Return the scores of each class and, in the columns behind them, what its clips were taken for."""
    clips = read_csv(predictions)
    classes = [column[2:] for column in clips[0] if column.startswith("p_")]
    truth, predicted = ([classes.index(clip[key]) for clip in clips] for key in ("label", "predicted"))
    counts = metrics.confusion(truth, predicted, len(classes))
    columns = {name: getattr(metrics, name)(counts) for name in ("precision", "recall", "f1", "support")}
    columns |= {f"as {name}": counts[:, k] for k, name in enumerate(classes)}
    rows = [{"class": c} | {n: f"{v[k]:.4g}" for n, v in columns.items()} for k, c in enumerate(classes)]
    return csv_text(["class", *columns], rows)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _shown(uri: str) -> str:
    """Return the address without a password."""
    return re.sub("//[^/]*@", "//", uri)
