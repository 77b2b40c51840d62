"""The record of trials and refits: one JSON object a line, appended by the driver alone.

Everything else about a running study can be thrown away; on resume this file tells what is done.
A line that was cut short by a crash is dropped, so the last good state is what counts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from benchmark.schema import SerbenchError, canonical_json

COMPLETE, PRUNED, FAILED = "COMPLETE", "PRUNED", "FAILED"
CURVES = ("train_uar", "validation_loss")  # of a step, where a family trains by epochs: MLflow shows them


@dataclass
class TrialRecord:
    """One configuration tried: what `trials.csv` and `steps.csv` hold of it."""

    trial_id: str
    number: int
    params: dict[str, Any]
    state: str = ""  # empty while it runs
    reason: str = ""
    score: float | None = None
    seconds: float = 0.0
    steps: dict[int, dict[str, Any]] = field(default_factory=dict)  # step → score, loss, lr

    @property
    def ended(self) -> bool:
        """Whether the trial has reached one of the three final states."""
        return bool(self.state)


class State:
    """What the journal's events add up to, search by search, in the order of their end."""

    def __init__(self, events: Iterable[dict[str, Any]] = ()):
        self.events: list[dict[str, Any]] = []
        self.trials: dict[str, TrialRecord] = {}
        self.searches: dict[str, list[TrialRecord]] = {}  # ended trials, in order of their end
        self.closed: dict[str, str] = {}  # searches that ended, with the reason
        self.refits: dict[str, dict[str, Any]] = {}  # run folder → event
        for event in events:
            self.apply(event)

    def apply(self, event: dict[str, Any]) -> None:
        """Take in one event; a trial that starts again begins anew."""
        self.events.append(event)
        kind = event["event"]
        if kind == "trial_started":
            trial_id = event["trial_id"]
            self.trials[trial_id] = TrialRecord(trial_id, event["number"], event["params"])
        elif kind == "step":
            values = {key: event[key] for key in ("score", "loss", "lr")}
            self.trials[event["trial_id"]].steps[event["step"]] = values
        elif kind == "trial_ended":
            trial = self.trials[event["trial_id"]]
            if not trial.ended:
                self.searches.setdefault(event["search"], []).append(trial)
            trial.state, trial.reason = event["state"], event["reason"]
            trial.score, trial.seconds = event["score"], event["seconds"]
        elif kind == "search_ended":
            self.closed[event["search"]] = event["reason"]
        elif kind == "refit":
            self.refits[event["folder"]] = event

    def ended(self, search: str) -> list[TrialRecord]:
        """Return the ended trials of `search`, in the order of their end."""
        return self.searches.get(search, [])


def read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the events of a journal and the length in bytes of its good part."""
    events: list[dict[str, Any]] = []
    good = 0
    if not path.exists():
        return events, good
    with path.open("rb") as lines:
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n") or not isinstance(event, dict) or "event" not in event:
                break
            events.append(event)
            good += len(line)
    return events, good


class Journal:
    """The journal of one study folder, open for appending and locked against a second driver."""

    def __init__(self, folder: Path):
        """Open `folder`/journal.jsonl, cutting off a line that a crash left half-written.

        Raises:
            SerbenchError: another process holds the study.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "journal.jsonl"
        self._owner = folder / ".owner"
        self._lock = FileLock(folder / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            owner = self._owner.read_text().strip() if self._owner.exists() else "another process"
            raise SerbenchError(
                f"study {folder.name} is being run by {owner}: wait for it, or end it and use --resume"
            ) from None
        self._owner.write_text(f"process {os.getpid()} on {os.uname().nodename}\n")
        events, good = read(self.path)
        self.state = State(events)
        self._file = self.path.open("ab")
        self._file.truncate(good)

    def append(self, event: dict[str, Any]) -> None:
        """Write one event; it is on the disk when an ending has been written."""
        self._file.write(canonical_json(event).encode() + b"\n")
        self._file.flush()
        if event["event"] != "step":
            os.fsync(self._file.fileno())
        self.state.apply(event)

    def close(self) -> None:
        """Close the file and give the study free."""
        self._file.close()
        self._owner.unlink(missing_ok=True)
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)
