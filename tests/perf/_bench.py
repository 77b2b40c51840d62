"""What every comparison shares: two sides that do one work, run in turn; a row of the table; made-up data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmark.trainable import TrainingPart

HEADER = "| work | this program | alternative | ratio | ratios of the pairs |\n|---|---|---|---|---|"
COLUMNS = 759  # as many as `functionals` has


@dataclass(frozen=True)
class Side:
    """One way to do the work: `run()` does `count` units of it and returns what it computed."""

    name: str
    count: float  # of a unit, where it does but a part of one
    run: Callable[[], Any]


@dataclass(frozen=True)
class Comparison:
    """This program against an alternative; `same(ours, other)` tells whether both computed one thing."""

    work: str
    unit: str
    ours: Side
    other: Side
    same: Callable[[Any, Any], bool]
    inner: Callable[[Any], float] | None = None  # seconds of a run without its start and stop


def measure(comparison: Comparison, repeats: int) -> list[str]:
    """Run both sides in turn `repeats` times; return the rows of the table.

    Before that, work done in this process runs once uncounted: it compiles, imports and fills caches.

    Raises:
        ValueError: the two sides computed different things.
    """
    whole: list[tuple[float, ...]] = []
    inner: list[tuple[float, ...]] = []
    uncounted = 1 if comparison.inner is None else 0
    for number in range(repeats + uncounted):
        values, seconds = [], []
        for side in (comparison.ours, comparison.other):
            begun = perf_counter()
            values.append(side.run())
            seconds.append(perf_counter() - begun)
        if not comparison.same(*values):
            raise ValueError(f"{comparison.work}: the two sides must compute the same, but differ")
        if number >= uncounted:
            whole.append(tuple(seconds))
            inner.append(tuple(map(comparison.inner, values)) if comparison.inner else ())
    if comparison.inner is None:
        return [row(comparison, comparison.work, whole)]
    begin, other_begin = (median(w[i] - n[i] for w, n in zip(whole, inner, strict=True)) for i in (0, 1))
    return [
        row(comparison, f"{comparison.work}, start and stop counted", whole),
        row(comparison, f"… without start and stop ({begin:.1f} s; {other_begin:.1f} s)", inner),
    ]


def row(comparison: Comparison, work: str, pairs: list[tuple[float, ...]]) -> str:
    """Return a line of Markdown from the (ours, other) seconds of each pair of runs."""
    sides = (comparison.ours, comparison.other)
    rates = [[side.count / pair[i] for pair in pairs] for i, side in enumerate(sides)]
    ratios = [ours / other for ours, other in zip(*rates, strict=True)]
    own, other = (median(values) for values in rates)
    cells = [f"{s.name}: {_short(r)} {comparison.unit}/s" for s, r in zip(sides, (own, other), strict=True)]
    spread = f"{_short(min(ratios))} to {_short(max(ratios))}"
    return f"| {work} | {' | '.join(cells)} | {_short(own / other)} | {spread} |"


def made_part(speakers: int, clips: int = 40, classes: int = 8, columns: int = COLUMNS) -> TrainingPart:
    """Return noisy clusters, one a class, of `clips` clips a speaker, with three validation groups."""
    draw = np.random.default_rng(0)
    y = np.tile(np.arange(classes), speakers * clips // classes)
    speaker = np.repeat(np.arange(speakers), clips)
    x = draw.normal(size=(len(y), columns)) + 0.15 * draw.normal(size=(classes, columns))[y]
    groups = tuple(np.flatnonzero(speaker % 3 == group) for group in range(3))
    ids = tuple(f"c{number}" for number in range(len(y)))
    return TrainingPart(ids, x.astype(np.float32), y, speaker.astype(str), groups, classes)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
