"""What a person watching a study sees: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from time import monotonic
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmark.report.formats import counted

PLAIN_EVERY = 15.0  # seconds between two plain lines
QUIET = 60.0  # seconds after which a line tells of steps where no trial has ended


class StudyProgress:
    """Counts trials (done, failed, best so far) and expects the end; writes to standard error."""

    def __init__(self, total: int, past: Iterable[Mapping[str, Any]] = ()):
        """Begin with the events of a journal that is resumed."""
        self.total, self.done, self.failed = total, 0, 0
        self.best: dict[str, float] = {}  # system → best complete score so far
        for event in past:
            self._count(event)
        self._begun, self._first = monotonic(), self.done
        self._steps, self._shown = 0, monotonic() - PLAIN_EVERY
        console = Console(stderr=True)
        self._live: Progress | None = None
        if console.is_terminal:
            self._live = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                console=console,
            )  # fmt: skip
            self._task = self._live.add_task("trials", total=total, completed=self.done)
            self._live.start()

    def event(self, event: Mapping[str, Any]) -> None:
        """Take in a journal event and show it, at once in a terminal, now and then elsewhere."""
        before = self.done
        self._count(event)
        ended = self.done > before
        self._steps = 0 if ended else self._steps + (event["event"] == "step")
        if self._live:
            self._live.update(self._task, completed=self.done, description=self.text())
        elif monotonic() >= self._shown + (PLAIN_EVERY if ended else QUIET) or (
            ended and self.done == self.total
        ):
            self._shown = monotonic()
            since = f", {counted(self._steps, 'step')} since" if self._steps else ""
            print(f"{self.done}/{self.total} {self.text()}{since}{self.left()}", file=sys.stderr, flush=True)

    def _count(self, event: Mapping[str, Any]) -> None:
        self.done += event["event"] in ("trial_ended", "refit")
        if event["event"] == "trial_ended":
            self.failed += event["state"] == "FAILED"
            if event["state"] == "COMPLETE":
                system = event["system"]
                self.best[system] = max(event["score"], self.best.get(system, 0.0))

    def text(self) -> str:
        """Return e.g. `trials, 2 failed, best svm .581 mlp .592`."""
        best = " ".join(f"{system} {score:.3f}" for system, score in sorted(self.best.items()))
        return (
            "trials and refits"
            + (f", {self.failed} failed" if self.failed else "")
            + (f", best {best}" if best else "")
        )

    def left(self) -> str:
        """Return the expected time to the end, from the pace so far."""
        fresh = self.done - self._first
        if fresh < 5:
            return ""
        minutes = (monotonic() - self._begun) / fresh * (self.total - self.done) / 60
        return f", about {minutes:.0f} min left" if minutes >= 1 else ", less than a minute left"

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._live:
            self._live.stop()


def step(text: str) -> None:
    """Say on standard error what begins now."""
    print(text, file=sys.stderr, flush=True)
