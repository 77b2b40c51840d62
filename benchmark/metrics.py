"""What a prediction is worth: pure functions, and the table that names them.

Count metrics take confusion matrices `(…, K, K)`, rows the truth, columns the prediction, and return `(…)`:
ten thousand resamples cost one call. The class list is fixed: a class without support is left out of macro
means, a division by zero is 0. Adding a metric is a function and its line in `METRICS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.special import ndtri

ECE_BINS = 15
_AUC_MARGIN = 1e-6  # keeps d' finite: |d'| <= 6.73


def confusion(truth: Any, predicted: Any, classes: int, groups: Any = None, n_groups: int = 1) -> np.ndarray:
    """Count (truth, predicted) pairs of class numbers: (K, K) int, or (n_groups, K, K) with `groups` (n,)."""
    cell = np.asarray(truth) * classes + np.asarray(predicted)
    if groups is None:
        return np.bincount(cell, minlength=classes**2).reshape(classes, classes)
    flat = np.asarray(groups) * classes**2 + cell
    return np.bincount(flat, minlength=n_groups * classes**2).reshape(n_groups, classes, classes)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient of counts, 0 where the denominator is 0: there the numerator is 0 too."""
    return numerator / np.where(denominator > 0, denominator, 1)


def support(confusion: np.ndarray) -> np.ndarray:
    """Clips of each class: (…, K)."""
    return confusion.sum(-1)


def recall(confusion: np.ndarray) -> np.ndarray:
    """Share of each class that was found: (…, K)."""
    return _ratio(np.diagonal(confusion, axis1=-2, axis2=-1), support(confusion))


def precision(confusion: np.ndarray) -> np.ndarray:
    """Share of each prediction that was right: (…, K)."""
    return _ratio(np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(-2))


def f1(confusion: np.ndarray) -> np.ndarray:
    """Harmonic mean of precision and recall of each class: (…, K)."""
    return _ratio(2 * np.diagonal(confusion, axis1=-2, axis2=-1), support(confusion) + confusion.sum(-2))


def macro(scores: Callable[[np.ndarray], np.ndarray], confusion: np.ndarray) -> np.ndarray:
    """Mean of a per-class score over the classes with support: (…)."""
    present = support(confusion) > 0
    return _ratio((scores(confusion) * present).sum(-1), present.sum(-1))


def weighted(scores: Callable[[np.ndarray], np.ndarray], confusion: np.ndarray) -> np.ndarray:
    """Mean of a per-class score weighted by support: (…)."""
    return _ratio((scores(confusion) * support(confusion)).sum(-1), confusion.sum((-2, -1)))


def accuracy(confusion: np.ndarray) -> np.ndarray:
    """Share of clips labelled rightly: (…)."""
    return _ratio(np.trace(confusion, axis1=-2, axis2=-1), confusion.sum((-2, -1)))


def uar(confusion: np.ndarray) -> np.ndarray:
    """Unweighted average recall: (…)."""
    return macro(recall, confusion)


def _over_classes(values: np.ndarray, hits: np.ndarray) -> float:
    """Mean of (K,) values over the classes that have hits (n, K) and are defined; NaN where none is."""
    defined = values[hits.any(0) & ~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def auc(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Area under the ROC curve, one-versus-rest, macro; truth (n,) int, probabilities (n, K).

    The share of pairs of a class's clip and another that are in order (Mann and Whitney 1947); a tie counts
    one half.
    """
    hits, as_high, found = _at_thresholds(truth, probabilities)
    pairs = hits.sum(0) * (~hits).sum(0)
    ahead = (found * ~hits).sum(0) - ((as_high - found) * hits).sum(0)  # ties cancel
    return _over_classes(np.where(pairs > 0, (1 + ahead / np.maximum(pairs, 1)) / 2, np.nan), hits)


def average_precision(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Step-wise average precision, one-versus-rest, macro; truth (n,) int, probabilities (n, K)."""
    hits, as_high, found = _at_thresholds(truth, probabilities)
    return _over_classes(_ratio((found / as_high * hits).sum(0), hits.sum(0)), hits)


def _at_thresholds(truth: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, ...]:
    """What each clip's score finds as a threshold, for every class: three of (n, K), best scores first.

    Whether the clip is of the class; clips that score as high or higher; those of them of the class. Equal
    scores are one threshold.
    """
    order = np.argsort(-probabilities, axis=0, kind="stable")
    hits = np.take_along_axis(_one_hot(truth, probabilities), order, 0)
    scores = np.take_along_axis(probabilities, order, 0)
    end = len(scores) - 1
    place = np.full(scores.shape, end)
    place[:-1] = np.where(scores[:-1] != scores[1:], np.arange(end)[:, None], end)
    place = np.minimum.accumulate(place[::-1], 0)[::-1]  # the last clip with this score
    return hits, place + 1, np.take_along_axis(hits.cumsum(0), place, 0)


def _one_hot(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    return np.asarray(truth)[:, None] == np.arange(probabilities.shape[1])


def d_prime(auc: float) -> float:
    """√2·Φ⁻¹(AUC), finite: the AUC is held 1e-6 off 0 and 1."""
    return float(np.sqrt(2) * ndtri(np.clip(auc, _AUC_MARGIN, 1 - _AUC_MARGIN)))


def ece(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Expected calibration error of the top label (Guo et al. 2017); 15 bins [a, b), the last one closed."""
    top = probabilities.argmax(1)
    confidence = probabilities[np.arange(len(top)), top]
    bins = np.clip(np.digitize(confidence, np.linspace(0, 1, ECE_BINS + 1)) - 1, 0, ECE_BINS - 1)
    gap = np.bincount(bins, weights=(top == truth) - confidence, minlength=ECE_BINS)
    return float(np.abs(gap).sum() / len(top))


def brier(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Squared distance to the one-hot truth, summed over classes, mean over clips: 0 to 2 (Brier 1950)."""
    return float(((probabilities - _one_hot(truth, probabilities)) ** 2).sum(1).mean())


@dataclass(frozen=True)
class Metric:
    """A line of the table. `parts` are further columns: lo, hi, fold_mean, seed_sd.

    `kind` says what the function gets and what is averaged:
    counts — a confusion matrix of all test clips of a seed, then the mean over seeds;
    pooled — truth and probabilities of all test clips of a seed, then the mean over seeds;
    fold — truth and probabilities of one fold and seed, then the mean weighted by test clips;
    auc — the final AUC of the row.
    """

    function: Callable[..., Any]
    kind: str
    title: str
    what: str
    parts: tuple[str, ...] = ()


_INTERVAL = ("lo", "hi", "fold_mean")
_ALL = (*_INTERVAL, "seed_sd")

METRICS: dict[str, Metric] = {
    "accuracy": Metric(accuracy, "counts", "Accuracy", "share of clips labelled rightly", _ALL),
    "uar": Metric(uar, "counts", "UAR", "mean recall over classes: selection, rank and tests use it", _ALL),
    "macro_f1": Metric(partial(macro, f1), "counts", "Macro F1", "mean F1 over classes", _INTERVAL),
    "weighted_f1": Metric(partial(weighted, f1), "counts", "Weighted F1", "mean F1 weighted by support"),
    "macro_precision": Metric(partial(macro, precision), "counts", "Macro precision", "mean over classes"),
    "weighted_precision": Metric(partial(weighted, precision), "counts", "Weighted precision", "by support"),
    "average_precision": Metric(average_precision, "fold", "AP", "step-wise, one-versus-rest, macro"),
    "auc": Metric(auc, "fold", "AUC", "area under the ROC curve, one-versus-rest, macro"),
    "d_prime": Metric(d_prime, "auc", "d'", "√2·Φ⁻¹(AUC), finite"),
    "ece": Metric(ece, "pooled", "ECE", "calibration error of the top label, 15 equal bins"),
    "brier": Metric(brier, "pooled", "Brier", "squared distance to the one-hot truth, summed over classes"),
}
