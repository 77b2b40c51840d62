"""The same systems on the same clips in two bundles: difference, interval over speakers, sign flips. Pure.

Folds may differ: a seed's test clips are pooled, as in the leaderboard, so that every speaker stands on both
sides with the same clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmark import scores, statistics
from benchmark.scores import Run

Row = dict[str, Any]

_PARTS = ("", "_lo", "_hi")
EFFECT = ("effect", "lo", "hi", "p", "p_holm")


def columns(names: tuple[str, str]) -> tuple[str, ...]:
    """Return the columns of `compare`."""
    return ("system", *(f"{name}{part}" for name in names for part in _PARTS), *EFFECT)


def same_clips(one: Sequence[Run], other: Sequence[Run]) -> bool:
    """Whether both test the same clips, of the same speakers and labels, equally often."""
    return bool(one) and bool(other) and _clips(one) == _clips(other)


def _clips(runs: Sequence[Run]) -> list[tuple[str, str, int]]:
    first = [run for run in runs if (run.system, run.seed) == (runs[0].system, runs[0].seed)]
    return sorted(clip for run in first for clip in zip(run.ids, run.speakers, run.truth, strict=True))


def compare(
    one: Sequence[Run],
    other: Sequence[Run],
    systems: Sequence[str],
    classes: Sequence[str],
    *,
    names: tuple[str, str],
    bootstrap_seed: int,
) -> list[Row]:
    """Compare each system with itself: a row a system, in the order given.

    Args:
        one: runs of a bundle.
        other: runs of another, on the same clips.
        systems: those of both that are compared.
        classes: the class list of both.
        names: of the two sides, in the columns: each side's UAR with its interval.
        bootstrap_seed: of the resamples and of the sign flips.

    Returns:
        Rows of `columns(names)`; effect: UAR of `other` less UAR of `one`; `p_holm` over all rows. Empty
        where there are too few speakers.
    """
    rows: list[Row] = [
        {"system": system}
        | _row([_pooled(runs, system) for runs in (one, other)], classes, names, bootstrap_seed)
        for system in systems
    ]
    if rows and rows[0]["p"] is not None:
        for row, adjusted in zip(rows, statistics.holm([row["p"] for row in rows]), strict=True):
            row["p_holm"] = float(adjusted)
    return rows


def _pooled(runs: Sequence[Run], system: str) -> list[Run]:
    """Return one run a seed, over the test clips of all folds."""
    own = [run for run in runs if run.system == system]
    return [_joined([run for run in own if run.seed == seed]) for seed in sorted({run.seed for run in own})]


def _joined(runs: Sequence[Run]) -> Run:
    return replace(
        runs[0],
        fold=1,
        ids=tuple(id_ for run in runs for id_ in run.ids),
        speakers=tuple(speaker for run in runs for speaker in run.speakers),
        truth=np.concatenate([run.truth for run in runs]),
        predicted=np.concatenate([run.predicted for run in runs]),
        probabilities=np.concatenate([run.probabilities for run in runs]),
    )


def _row(
    sides: Sequence[Sequence[Run]], classes: Sequence[str], names: tuple[str, str], bootstrap_seed: int
) -> Row:
    runs = [replace(run, system=name) for name, own in zip(names, sides, strict=True) for run in own]
    searched = {name: {"trials": 0} for name in names}  # the tests are of ranked systems
    tables = scores.tables(runs, classes, searched, protocol="", bootstrap_seed=bootstrap_seed)
    found = {row["system"]: row for row in tables.leaderboard}
    (pair,) = tables.pairwise
    row = {f"{name}{part}": found[name][f"uar{part}"] for name in names for part in _PARTS}
    row |= {key: pair[key] for key in EFFECT}
    if pair["system_a"] == names[0]:  # the better one stands first
        low, high = (None if pair[key] is None else 0.0 - pair[key] for key in ("hi", "lo"))
        row |= {"effect": 0.0 - pair["effect"], "lo": low, "hi": high}  # never −0
    return row
