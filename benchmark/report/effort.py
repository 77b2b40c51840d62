"""What a search reached for its effort, and which hyperparameter it depended on. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import comb

import numpy as np

BINS = 4  # of a numeric hyperparameter with more values than that


def expected_maximum(scores: Sequence[float]) -> np.ndarray:
    """Return the expected best of k = 1 … n trials drawn from these n without replacement: (n,).

    Unbiased for independent draws: Σᵢ x₍ᵢ₎·C(i − 1, k − 1) / C(n, k), scores ascending. After Dodge et al.
    2019 (Show Your Work), without replacement as Tang et al. 2020 (Showing Your Work Doesn't Always Work).
    """
    x, n = np.sort(np.asarray(scores, dtype=np.float64)), len(scores)
    weights = np.array([[comb(i, k - 1) / comb(n, k) for i in range(n)] for k in range(1, n + 1)])
    return weights.reshape(n, n) @ x


def best_so_far(trials: Sequence[Mapping[str, str]]) -> np.ndarray:
    """Return the best complete score after each trial: (n,); NaN before the first, pruned never count."""
    complete = [float(t["score"]) if t["state"] == "COMPLETE" and t["score"] else -np.inf for t in trials]
    best = np.maximum.accumulate(np.array(complete, dtype=np.float64)) if complete else np.zeros(0)
    return np.where(np.isfinite(best), best, np.nan)


def random_curve(trials: Sequence[Mapping[str, str]]) -> np.ndarray:
    """Return `expected_maximum` of a random search: (n,); a failed trial scores 0, as it found nothing."""
    done = [float(t["score"]) if t["state"] == "COMPLETE" and t["score"] else 0.0 for t in trials]
    return expected_maximum(done)


def hours(trials: Sequence[Mapping[str, str]], cpus: float) -> np.ndarray:
    """Return the CPU hours of each trial: (n,)."""
    return np.array([float(t["seconds"] or 0) for t in trials]) * cpus / 3600


def held(x: np.ndarray, y: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Return the step function that has value y[i] from x[i] on, at `grid`; NaN before x[0]."""
    place = np.searchsorted(x, grid, side="right") - 1
    return np.where(place >= 0, y[np.clip(place, 0, None)], np.nan)


def variance_shares(trials: Sequence[Sequence[Mapping[str, str]]]) -> dict[str, float]:
    """Return how much of the scores' variance each hyperparameter explains alone: name → ε², 0 to 1.

    One-way analysis of variance on ranks: complete trials are ranked by score within their fold, ranks
    scaled to 0 … 1 and pooled; a numeric hyperparameter with more than four values is cut at its quartiles,
    any other is taken by its values, and `not set` (a condition is not met) is a value.
    ε² = 1 − (1 − η²)(n − 1)/(n − k) for k groups (Kelley 1935), which is 0 on average where there is no
    effect, and is cut at 0. Main effects only: what hyperparameters do together is not in it, so the shares
    do not add up to 1.

    Args:
        trials: the trials of each fold, best independent draws (`random.csv`): a sampler that learns
            draws good regions more often, which bends the shares.
    """
    ranks, rows = [], []
    for fold in trials:
        complete = [t for t in fold if t["state"] == "COMPLETE" and t["score"]]
        scores = np.array([float(t["score"]) for t in complete])
        if len(scores) > 1:
            below = (scores[:, None] > scores).sum(1) + ((scores[:, None] == scores).sum(1) - 1) / 2
            ranks += list(below / (len(scores) - 1))
            rows += complete
    names = [column for column in (rows[0] if rows else ()) if column.startswith("param.")]
    y = np.array(ranks)
    shares = {name.removeprefix("param."): _epsilon(levels([r[name] for r in rows]), y) for name in names}
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def levels(cells: Sequence[str]) -> np.ndarray:
    """Return the group of each cell: (n,) int."""
    values = sorted(set(cells))
    numbers = sorted({float(v) for v in values if v}) if all(map(_is_number, values)) else []
    if len(numbers) <= BINS:
        return np.array([values.index(cell) for cell in cells])
    given = np.array([float(cell) if cell else np.nan for cell in cells])
    cuts = np.nanquantile(given, np.arange(1, BINS) / BINS)
    return np.where(np.isnan(given), BINS, np.searchsorted(cuts, np.nan_to_num(given)))


def _is_number(cell: str) -> bool:
    try:
        float(cell or 0)
    except ValueError:
        return False
    return True


def _epsilon(groups: np.ndarray, y: np.ndarray) -> float:
    total, kinds = ((y - y.mean()) ** 2).sum(), np.unique(groups)
    if total == 0 or len(y) <= len(kinds) or len(kinds) < 2:
        return 0.0
    within = sum(((y[groups == g] - y[groups == g].mean()) ** 2).sum() for g in kinds)
    return float(max(0.0, 1 - within / total * (len(y) - 1) / (len(y) - len(kinds))))
