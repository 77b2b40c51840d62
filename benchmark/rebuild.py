"""Change a bundle whole or not at all: verify, build aside, swap in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmark import bundle, card
from benchmark.report import leaderboard
from benchmark.schema import SerbenchError


@contextmanager
def rebuilding(folder: Path) -> Iterator[Path]:
    """Yield a copy of a verified bundle to change; then its tables are made again, sealed and swapped in.

    Raises:
        UsageError: `folder` is no bundle.
        SerbenchError: it does not verify, or cannot be written; it stays as it was.
    """
    bundle.require(folder)
    problems = bundle.verify(folder)
    if problems:
        raise SerbenchError(f"{folder} does not verify, so nothing was rebuilt: {problems[0]}")
    with bundle.aside(folder) as copy:
        yield copy
        leaderboard.write(copy)
        card.write(copy)
        bundle.seal(copy)
