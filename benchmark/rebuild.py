"""Check a bundle, card included; change it whole or not at all: verify, build aside, swap in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmark import bundle, card
from benchmark.report import leaderboard, recheck
from benchmark.report.leaderboard import Verdict


def check(folder: Path) -> Verdict:
    """Check all of a bundle: its files, its tables and page, its card."""
    if not bundle.is_sealed(folder) and not (folder / "leaderboard.json").exists():
        rule = "the study has not ended; finish it with --resume"
        return Verdict([f"missing: {bundle.SUMS} ({rule})"], files=0, cells=0)
    verdict, problems = leaderboard.check(folder), list[str]()
    with bundle.noting(problems, "README.md"):
        problems += card.problems(folder)
    return replace(verdict, problems=list(dict.fromkeys(verdict.problems + problems)))


@contextmanager
def rebuilding(folder: Path) -> Iterator[Path]:
    """Yield a copy of a verified bundle to change; then its tables are made again, sealed and swapped in.

    Raises:
        UsageError: `folder` is no bundle.
        SerbenchError: it does not verify, or cannot be written; it stays as it was.
    """
    bundle.require(folder)
    recheck.refuse(folder, recheck.sources(folder) + recheck.problems(folder), "rebuilt")
    with bundle.aside(folder) as copy:
        yield copy
        leaderboard.write(copy)
        card.write(copy)
        bundle.seal(copy)
