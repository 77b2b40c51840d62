"""MLflow mirrors the journal and never decides: the only importer of MLflow, and only when it is needed.

One experiment a study name; runs: study → search → trial, and `final` runs (the refits) below the study. A
run is found again by its tags `study_digest` and `record`, so a journal may be mirrored any number of times.
Trials show the inner validation UAR per step as `uar` and, if they reached their last step, as `score`;
pruned ones end as KILLED, without a `score`. Test metrics begin with `test_`.
"""

from __future__ import annotations

import contextlib
import csv
import logging
import math
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from benchmark import metrics
from benchmark.schema import SerbenchError, UsageError

log = logging.getLogger("serbench.tracking")
STATUS = {"": "RUNNING", "COMPLETE": "FINISHED", "FAILED": "FAILED", "PRUNED": "KILLED", "KILLED": "KILLED"}
BEST_FIRST = "searchFilter=tags.kind%20%3D%20%27trial%27&orderByKey=metrics.%60score%60&orderByAsc=false"
CURVES = ("uar", "loss", "lr")
TEXT = 6000  # characters that MLflow takes in a parameter
REFUSED = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "MALFORMED_REQUEST"}  # trying again would not help
LINGER, BACKOFF = 0.5, 5.0  # seconds: to gather a batch; longest pause while the server is away
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
class _Record:
    """What a run must show; `steps`: step → (uar, loss, lr, unix time); `state`: a key of STATUS."""

    kind: str  # study | search | trial | final
    key: str
    parent: str
    name: str
    tags: dict[str, Any]
    start: float
    params: dict[str, Any] = field(default_factory=dict)
    steps: dict[int, tuple[Any, Any, Any, float]] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    state: str = ""
    reason: str = ""
    end: float = 0.0
    folder: str = ""


@dataclass
class _Stored:
    """What the store holds of a record; `steps` is None until the store was asked."""

    run_id: str
    status: str = "RUNNING"
    state: str = ""
    steps: set[int] | None = None


class _Mirror:
    """One study's records and the way into a store; `flush` raises on an outage and may be called again."""

    def __init__(self, uri: str, study: Mapping[str, Any], out: Path) -> None:
        self.uri, self.out = uri, out
        self.study = {key: value for key, value in study.items() if value is not None}
        self.records: dict[str, _Record] = {}
        self.dirty: dict[str, None] = {}  # keys, in order of arrival
        self.refused = 0
        self.client: Any = None
        self.experiment = ""
        self.found: dict[str, _Stored] = {}
        self._touch("study", "study", "", str(study["study"]), {}, time.time())

    def _touch(self, kind: str, key: str, parent: str, name: str, tags: dict[str, Any], at: float) -> _Record:
        self.dirty[key] = None
        return self.records.setdefault(key, _Record(kind, key, parent, name, tags, at))

    def absorb(self, event: Mapping[str, Any]) -> None:
        """Fold one event of the journal into its record."""
        what, now = event["event"], float(event.get("time") or time.time())
        tags = {key: event[key] for key in ("system", "family", "fold", "sampler", "seed") if key in event}
        if what == "refit":
            self._absorb_refit(event, now, tags)
        elif what.startswith("search_"):
            search = self._touch("search", event["search"], "study", event["search"], tags, now)
            search.state, search.end = ("COMPLETE" if what == "search_ended" else ""), now
        else:
            self._absorb_trial(event, now, tags)

    def _absorb_trial(self, event: Mapping[str, Any], now: float, tags: dict[str, Any]) -> None:
        key, what = event["trial_id"], event["event"]
        if key not in self.records:
            if event["search"] not in self.records:
                self._touch("search", event["search"], "study", event["search"], tags, now)
            tags = tags | {"number": event["number"], "trial_id": key}
            name = f"{event['search']}/trial-{event['number']}"
            self._touch("trial", key, event["search"], name, tags, now - float(event.get("seconds") or 0))
        trial = self.records[key]
        self.dirty[key] = None
        trial.params |= event.get("params") or {}
        if what == "step":
            trial.steps[int(event["step"])] = (event["score"], event.get("loss"), event.get("lr"), now)
        elif what == "trial_started":
            trial.state = ""
        elif what == "trial_ended":
            trial.state, trial.reason, trial.end = event["state"], event.get("reason") or "", now
            score = event.get("score") if trial.state == "COMPLETE" else None
            trial.metrics |= {"seconds": event.get("seconds"), "score": score}

    def _absorb_refit(self, event: Mapping[str, Any], now: float, tags: dict[str, Any]) -> None:
        seconds = float(event.get("seconds") or 0)
        final = self._touch("final", event["run_id"], "study", event["folder"], tags, now - seconds)
        final.params, final.folder = dict(event.get("params") or {}), event["folder"]
        final.metrics = {f"test_{key}": value for key, value in (event.get("metrics") or {}).items()}
        final.metrics["seconds"] = seconds
        history = event.get("history") or ()
        final.steps = {int(row["step"]): (None, row.get("loss"), row.get("lr"), now) for row in history}
        final.state, final.end = "COMPLETE", now

    def settle(self, state: str) -> None:
        """End what is open: the study and its searches with `state`, trials as KILLED."""
        for record in self.records.values():
            if not record.state:
                record.state = "KILLED" if record.kind == "trial" else state
                record.end = max((step[-1] for step in record.steps.values()), default=time.time())
                self.dirty[record.key] = None

    def flush(self, between: Callable[[], None] = lambda: None) -> int:
        """Write the dirty records, return how many runs changed; an outage raises what the client raises."""
        written = 0
        try:
            while self.dirty:
                if self.client is None:
                    self._connect()
                key = next(iter(self.dirty))
                try:
                    written += self._write(self.records[key])
                except Exception as error:
                    if getattr(error, "error_code", "") not in REFUSED:
                        raise
                    self.refused += 1
                    log.warning("MLflow refuses %s, which is left out: %s", key, _line(error))
                del self.dirty[key]
                between()
        except Exception:
            self.client = None  # look all up again: a request without an answer may have been done
            raise
        return written

    def _connect(self) -> None:
        client, name = _client(self.uri), str(self.study["study"])
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            # A server knows best where its artifacts lie; for a bare database we say so.
            place = None if self.uri.startswith("http") else (self.out / "mlartifacts").resolve().as_uri()
            self.experiment = client.create_experiment(name, artifact_location=place)
        else:
            self.experiment = experiment.experiment_id
            if experiment.lifecycle_stage == "deleted":
                client.restore_experiment(self.experiment)
        found: dict[str, _Stored] = {}
        query, token = f"tags.study_digest = '{self.study['study_digest']}'", None
        while token != "":
            page = client.search_runs([self.experiment], query, 1, 1000, ["start_time ASC"], token)
            for run in page:
                key, tags = run.data.tags.get("record", ""), run.data.tags
                if key in found:  # an answer was lost once, so the run was opened twice
                    client.delete_run(run.info.run_id)
                else:
                    found[key] = _Stored(run.info.run_id, run.info.status, tags.get("state", ""))
            token = page.token or ""
        self.dirty |= dict.fromkeys(key for key in self.records if key not in found)  # a new, empty store
        self.client, self.found = client, found

    def _open(self, record: _Record) -> _Stored:
        """Return the run of `record`, created (below its parent's) where the store has none."""
        if record.key not in self.found:
            tags = {**self.study, **record.tags, "kind": record.kind, "record": record.key}
            tags["mlflow.source.name"] = "serbench"
            if record.parent:
                tags["mlflow.parentRunId"] = self._open(self.records[record.parent]).run_id
            text, at = {key: str(value)[:TEXT] for key, value in tags.items()}, int(record.start * 1000)
            run = self.client.create_run(self.experiment, start_time=at, tags=text, run_name=record.name)
            self.found[record.key] = _Stored(run.info.run_id, steps=set())
        return self.found[record.key]

    def _write(self, record: _Record) -> bool:
        """Bring the run of `record` up to date; False where it was. The client splits large batches."""
        from mlflow.entities import Metric, Param, RunTag

        stored, status = self._open(record), STATUS.get(record.state, "FAILED")
        if record.state and (stored.state, stored.status) == (record.state, status):
            return False
        if stored.steps is None:
            names = ("uar", "loss") if record.steps else ()
            histories = [self.client.get_metric_history(stored.run_id, name) for name in names]
            stored.steps = {metric.step for history in histories for metric in history}
        new = [step for step in sorted(record.steps) if step not in stored.steps]
        curves = [
            (step, zip(CURVES, record.steps[step], strict=False), record.steps[step][-1]) for step in new
        ]
        rows = [(name, value, at, step) for step, values, at in curves for name, value in values]
        tags, last = [], max(record.steps, default=0)
        if record.state:
            rows += [(name, value, record.end, last) for name, value in record.metrics.items()]
            tags = [RunTag("state", record.state), RunTag("reason", record.reason[:TEXT])]
        values = [Metric(name, float(v), int(at * 1000), step) for name, v, at, step in rows if _finite(v)]
        params = [] if stored.steps else [Param(name, str(v)[:TEXT]) for name, v in record.params.items()]
        self.client.log_batch(stored.run_id, values, params, tags)
        stored.steps.update(new)
        folder = self.out / str(self.study["study"]) / record.folder
        if record.folder and folder.is_dir():
            self.client.log_text(stored.run_id, _report(folder / "predictions.csv"), "report.csv")
            self.client.log_artifact(stored.run_id, str(folder / "result.json"))
        if record.state:  # last: state and status together say that all is there
            self.client.set_terminated(stored.run_id, status, end_time=int(record.end * 1000))
        elif stored.status != "RUNNING":
            self.client.update_run(stored.run_id, status="RUNNING")  # resumed
        stored.status, stored.state = status, record.state
        return True


class Syncer:
    """Mirrors events while a study runs, in a thread of its own: `offer` neither blocks nor raises.

    After a resume, offer the whole journal again: what MLflow already has costs nothing.
    """

    def __init__(self, uri: str, study: Mapping[str, Any], out: Path) -> None:
        """Start the thread. `study`: tags of every run, `study` (its name) and `study_digest` among them;
        `out`: where bundles lie, and, unless `uri` is a server, `mlartifacts`."""
        self._mirror = _Mirror(uri, {**study, "host": socket.gethostname()}, out)
        self._queue: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
        self._closing, self._deadline, self._state = threading.Event(), math.inf, "COMPLETE"
        self._thread = threading.Thread(target=self._loop, name="mlflow-syncer", daemon=True)
        self._thread.start()

    def offer(self, event: Mapping[str, Any]) -> None:
        """Take one event of the journal."""
        self._queue.put(event)

    def close(self, timeout: float = 60.0, *, finished: bool = True) -> int:
        """Flush, end the open runs (KILLED unless `finished`), return how many records MLflow lacks.

        Gives up after `timeout` seconds, sooner if nobody answers: a resume or `serbench ui` catches up.
        """
        self._state, self._deadline = ("COMPLETE" if finished else "KILLED"), time.monotonic() + timeout
        self._closing.set()
        self._thread.join(timeout)
        return self._queue.qsize() + len(self._mirror.dirty) + self._mirror.refused

    def _drain(self) -> None:
        while not self._queue.empty():
            self._mirror.absorb(self._queue.get())
        if time.monotonic() > self._deadline:
            raise TimeoutError("closed before all was written")

    def _loop(self) -> None:
        pause, failed, last_tries = LINGER, 0, LAST_TRIES
        while last_tries and time.monotonic() < self._deadline:
            last = self._closing.wait(pause)
            try:
                self._drain()
                if last:
                    self._mirror.settle(self._state)
                self._mirror.flush(self._drain)
            except Exception as error:  # whatever it is, the search goes on
                if not failed:
                    log.warning("MLflow is away, its records wait: %s", _line(error))
                failed, pause, last_tries = failed + 1, min(BACKOFF, 2 * pause), last_tries - last
                time.sleep(LINGER * last)
                continue
            if failed:
                log.warning("MLflow is back and has all records")
            failed, pause = 0, LINGER
            if last:
                return


def mirror(events: Iterable[Mapping[str, Any]], uri: str, study: Mapping[str, Any], out: Path) -> int:
    """Mirror a whole journal and return how many runs changed: 0 the second time; arguments as for `Syncer`.

    Raises:
        SerbenchError: MLflow does not answer.
    """
    whole = _Mirror(uri, study, out)
    for event in events:
        whole.absorb(event)
    whole.settle("COMPLETE")
    try:
        return whole.flush()
    except Exception as error:
        raise SerbenchError(f"MLflow at {_plain(uri)} must answer: start it ({_line(error)})") from None


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
        raise UsageError(f"{_plain(uri)} serves its own pages: open {_plain(uri)}{where}")
    try:
        with socket.create_server(("127.0.0.1", port)) as free:
            port = free.getsockname()[1]
    except OSError:
        raise SerbenchError(f"port {port} must be free, but is taken: choose another with --port") from None
    base = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--no-serve-artifacts"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with tempfile.TemporaryFile() as said:
        # A session of its own: Ctrl-C reaches the caller alone, who ends the server in order.
        process = subprocess.Popen(
            command, env=SETTINGS | os.environ, stdout=said, stderr=said, start_new_session=True
        )
        for _ in range(240):
            time.sleep(0.5)
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{base}/health", timeout=5):
                return process, base + where
            if process.poll() is not None:
                break
        process.terminate()
        said.seek(0)
        why = said.read().decode(errors="replace").strip().rpartition("\n")[2]
    raise SerbenchError(f"MLflow must start on port {port} within two minutes, but did not: {why}")


def _client(uri: str) -> Any:
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow

    for name in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return mlflow.MlflowClient(tracking_uri=uri)


def _report(path: Path) -> str:
    """Return the scores of each class and, in the columns behind them, what its clips were taken for."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    classes = [column[2:] for column in rows[0] if column.startswith("p_")]
    truth, predicted = (np.array([classes.index(row[key]) for row in rows]) for key in ("label", "predicted"))
    counts = metrics.confusion(truth, predicted, len(classes))
    scores = (metrics.precision(counts), metrics.recall(counts), metrics.f1(counts), metrics.support(counts))
    lines = [",".join(["class", "precision", "recall", "f1", "support", *(f"as {name}" for name in classes)])]
    table = np.column_stack([*scores, counts])
    lines += [",".join([n, *(f"{v:.4g}" for v in row)]) for n, row in zip(classes, table, strict=True)]
    return "\n".join(lines) + "\n"


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _plain(uri: str) -> str:
    """Return the address in `uri` without a password."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
