"""What a person watching a study sees: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from time import monotonic
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PLAIN_EVERY = 15.0  # seconds between two plain lines


class StudyProgress:
    """Counts trials (done, failed, best so far) and expects the end; writes to standard error."""

    def __init__(self, total: int, done: int = 0, failed: int = 0):
        self.total, self.done, self.failed = total, done, failed
        self.best: dict[str, float] = {}  # system → best complete score so far
        self._begun, self._first = monotonic(), done
        self._next_line = 0.0
        console = Console(stderr=True)
        self._live: Progress | None = None
        if console.is_terminal:
            self._live = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                console=console,
            )  # fmt: skip
            self._task = self._live.add_task("trials", total=total, completed=done)
            self._live.start()

    def event(self, event: Mapping[str, Any]) -> None:
        """Take in a journal event and show it, at once in a terminal, now and then elsewhere."""
        if event["event"] == "trial_ended":
            self.done += 1
            self.failed += event["state"] == "FAILED"
            if event["state"] == "COMPLETE":
                system = event["system"]
                self.best[system] = max(event["score"], self.best.get(system, 0.0))
        elif event["event"] == "refit":
            self.done += 1
        else:
            return
        if self._live:
            self._live.update(self._task, completed=self.done, description=self.text())
        elif monotonic() >= self._next_line or self.done == self.total:
            self._next_line = monotonic() + PLAIN_EVERY
            print(f"{self.done}/{self.total} {self.text()}{self.left()}", file=sys.stderr, flush=True)

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
