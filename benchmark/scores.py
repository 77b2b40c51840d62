"""Predictions → the rows of the leaderboard. Pure: `report` writes them, `verify` compares with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from statistics import mean
from typing import Any
from zlib import crc32

import numpy as np

from benchmark import metrics, statistics
from benchmark.metrics import METRICS
from benchmark.schema import SerbenchError, of_system, searched_system

Row = dict[str, Any]

ALPHA = 0.05
METHOD = "expanded percentile bootstrap over test speakers, conditional on the trained models"
_COSTS = ["trials", "failed_trials", "failed_runs", "parameters", "search_seconds", "cpu_hours", "gpu_hours"]
COLUMNS = (
    *["rank", "tie_group", "system", "family", "pretraining", "protocol", "n_folds", "n_seeds"],
    *_COSTS[:3],
    *("_".join(filter(None, (name, part))) for name, m in METRICS.items() for part in ("", *m.parts)),
    *_COSTS[3:],
)
IDENTITY = ("system", "family", "pretraining", "fold", "seed")  # of a run
ABLATION_COLUMNS = ("family", "comparison", "system", "scratch", "effect", "lo", "hi", "p")
PUBLISHED = "-published"
EXTERNAL = "external"  # pretraining of a system from elsewhere: nothing is known of it
PAIR_COLUMNS = (
    *("system_a", "system_b", "effect", "lo", "hi", "p", "p_holm"),
    *("crossed_lo", "crossed_hi", "mcnemar_p", "min_detectable"),
)
_WITH_INTERVAL = [name for name, metric in METRICS.items() if "lo" in metric.parts]
_PER_CLASS = {"precision": metrics.precision, "recall": metrics.recall, "f1": metrics.f1}


@dataclass(frozen=True)
class Run:
    """A frozen configuration refitted with one seed, on one fold's test clips, numbers as written."""

    system: str
    family: str
    pretraining: str
    fold: int
    seed: int
    ids: tuple[str, ...]
    speakers: tuple[str, ...]
    truth: np.ndarray  # (n,) class numbers
    predicted: np.ndarray  # (n,) class numbers
    probabilities: np.ndarray  # (n, classes) float64; NaN where an external system gave labels only

    @property
    def labels_only(self) -> bool:
        """Whether nothing is known but the labels, so that AUC, AP, ECE and Brier are not defined."""
        return bool(np.isnan(self.probabilities).any())


@dataclass(frozen=True)
class Tables:
    """Every computed number of a bundle; an empty cell is None."""

    leaderboard: list[Row]  # ranked systems best first, then the others, then external ones, best first
    per_class: dict[str, list[Row]]  # system → a row a class
    pairwise: list[
        Row
    ]  # ranked and external, no two searches of one system: effect = UAR of system_a − system_b
    ablation: list[Row]  # pretrained − scratch of each family, searched and with the same recipe
    interval: Row  # method, level, resamples, seed, speakers, reason (why intervals are empty, or "")


def run_metrics(run: Run) -> dict[str, float]:
    """Return accuracy, UAR and macro F1 of one run."""
    counts = metrics.confusion(run.truth, run.predicted, run.probabilities.shape[1])
    return {name: float(METRICS[name].function(counts)) for name in ("accuracy", "uar", "macro_f1")}


def tables(
    runs: Sequence[Run],
    classes: Sequence[str],
    costs: Mapping[str, Mapping[str, Any]],
    *,
    protocol: str,
    bootstrap_seed: int,
    same_network: Callable[[str, str], bool] = lambda one, other: True,
    external: Collection[str] = (),
    searched: Callable[[str], str] = searched_system,
    resamples: int = statistics.RESAMPLES,
) -> Tables:
    """Score every system.

    Args:
        runs: every fold × seed of every system, as written in predictions.csv.
        classes: the corpus's class list, the columns of the probabilities.
        costs: system → trials (None: not searched, so not ranked), failed_trials, failed_runs, parameters, …
        protocol: its name.
        bootstrap_seed: of the resamples and of the sign flips.
        same_network: whether two systems were searched in one space, but for their pretraining.
        external: systems imported from elsewhere; tested, but without a budget not ranked.
        searched: what a system is a search of: several searches of one share its rank, none is the best.
        resamples: of the bootstrap.

    Raises:
        SerbenchError: a system lacks a seed in a fold, or folds that others have.
    """
    speakers = {name: i for i, name in enumerate(sorted({s for run in runs for s in run.speakers}))}
    enough = len(speakers) >= statistics.MIN_SPEAKERS
    weights = statistics.resample_counts(len(speakers), bootstrap_seed, resamples) if enough else None
    first = len(_WITH_INTERVAL)
    rows, classwise, samples, by_speaker, right = {}, {}, {}, {}, {}
    for system, own in _by_system(runs).items():
        counts = _speaker_counts(own, speakers, len(classes))
        low = high = np.full(first + len(_PER_CLASS) * len(classes), np.nan)
        if weights is not None:
            drawn = statistics.bootstrap(weights, counts, _interval_statistics)
            low, high = statistics.interval(drawn.mean(0), len(speakers))
            samples[system] = _over_seeds(drawn[..., _WITH_INTERVAL.index("uar")], system, bootstrap_seed)
            right[system] = _right(own, len(classes))
        by_speaker[system] = metrics.uar(counts).mean(0)
        rows[system] = _row(own, counts.sum(1), low, high)
        rows[system] |= {"protocol": protocol} | {c: costs.get(system, {}).get(c) for c in _COSTS}
        classwise[system] = _class_rows(counts.sum(1), classes, low[first:], high[first:])
    # several searches of one system share its place: none of them is the best one
    of = {s: (row["trials"] is not None, searched(s) if row["trials"] else s) for s, row in rows.items()}
    place = {s: mean(rows[other]["uar"] for other in rows if of[other] == of[s]) for s in rows}
    order = sorted(rows, key=lambda s: (s in external, rows[s]["trials"] is None, -place[s], s))
    ranked = [s for s in order if rows[s]["trials"] is not None]
    compare = partial(
        _pairs, of=of, rows=rows, samples=samples, by_speaker=by_speaker, right=right,
        seed=bootstrap_seed, speakers=len(speakers),
    )  # fmt: skip
    pairs = compare([*ranked, *(s for s in order if s in external)])
    of_searches = [pair for pair in pairs if pair["system_b"] in ranked]  # whoever joins moves no letter
    adjusted = statistics.holm([pair["p"] for pair in of_searches]) if enough else np.zeros(0)
    different = {
        (ranked.index(pair["system_a"]), ranked.index(pair["system_b"]))
        for pair, p in zip(of_searches, adjusted, strict=enough)
        if p <= ALPHA
    }
    for system, letters in zip(ranked, statistics.letters(len(ranked), different), strict=True):
        rows[system]["rank"] = 1 + sum(place[s] > place[system] for s in ranked)
        rows[system]["tie_group"] = letters if enough else None
    reason = f"{len(speakers)} test speakers: intervals and ties need {statistics.MIN_SPEAKERS}"
    interval = {
        "method": METHOD, "level": statistics.LEVEL, "resamples": resamples, "seed": bootstrap_seed,
        "speakers": len(speakers), "reason": "" if enough else reason,
    }  # fmt: skip
    ablation = _ablation(order, same_network, compare)
    return Tables([rows[s] for s in order], classwise, pairs, ablation, interval)


def _by_system(runs: Sequence[Run]) -> dict[str, list[Run]]:
    systems: dict[str, list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda r: (r.system, r.seed, r.fold)):
        systems[run.system].append(run)
    folds = sorted({run.fold for run in runs})
    for system, own in systems.items():
        seeds = sorted({run.seed for run in own})
        if [(run.seed, run.fold) for run in own] != [(seed, fold) for seed in seeds for fold in folds]:
            raise SerbenchError(
                f"{system}: every seed needs one run in each fold {folds}; finish the study first"
            )
    return systems


def _speaker_counts(runs: Sequence[Run], speakers: Mapping[str, int], classes: int) -> np.ndarray:
    """Confusion counts, folds pooled: (seeds, speakers, K, K); a seed's runs stand together."""
    counts: dict[int, np.ndarray] = defaultdict(lambda: np.zeros((len(speakers), classes, classes), np.int64))
    for run in runs:
        groups = np.array([speakers[s] for s in run.speakers], dtype=np.int64)
        counts[run.seed] += metrics.confusion(run.truth, run.predicted, classes, groups, len(speakers))
    return np.stack(list(counts.values()))


def _interval_statistics(confusion: np.ndarray) -> np.ndarray:
    """(…, K, K) → (…, interval metrics + 3·K); per-class NaN where the class was not drawn."""
    wanted = [METRICS[name].function(confusion)[..., None] for name in _WITH_INTERVAL]
    absent = metrics.support(confusion) == 0
    wanted += [np.where(absent, np.nan, function(confusion)) for function in _PER_CLASS.values()]
    return np.concatenate(wanted, axis=-1)


def _over_seeds(uar: np.ndarray, system: str, seed: int) -> np.ndarray:
    """(seeds, resamples) UAR → (resamples, 2): mean over the seeds, and over a resample of them.

    The draw depends on the system's name, not on which others there are; one seed alone cannot be drawn: NaN.
    """
    mean = uar.mean(0)
    drawn = statistics.crossed(uar, (seed, crc32(system.encode()))) if len(uar) > 1 else mean * np.nan
    return np.stack([mean, drawn], axis=1)


def _right(runs: Sequence[Run], classes: int) -> frozenset[str]:
    """Clips that most seeds labelled rightly; where classes have equal votes, the first of them counts."""
    ids, first, clip = np.unique(
        np.concatenate([run.ids for run in runs]), return_index=True, return_inverse=True
    )
    truth, predicted = (np.concatenate([getattr(run, key) for run in runs]) for key in ("truth", "predicted"))
    votes = np.bincount(clip * classes + predicted, minlength=len(ids) * classes).reshape(-1, classes)
    return frozenset(ids[votes.argmax(1) == truth[first]].tolist())


def _row(runs: Sequence[Run], pooled: np.ndarray, low: np.ndarray, high: np.ndarray) -> Row:
    seeds = list(dict.fromkeys(run.seed for run in runs))
    clips = np.array([len(run.ids) for run in runs])
    by_run = np.stack([metrics.confusion(r.truth, r.predicted, pooled.shape[-1]) for r in runs])
    row: Row = dict.fromkeys(COLUMNS)
    row |= {key: getattr(runs[0], key) for key in ("system", "family", "pretraining")}
    row |= {"n_folds": len({run.fold for run in runs}), "n_seeds": len(seeds)}
    for name, metric in METRICS.items():
        if metric.kind == "counts":
            values = metric.function(pooled)
            row[name] = _number(values.mean())
            parts = {"fold_mean": metric.function(by_run).mean()}
            parts["seed_sd"] = values.std(ddof=1) if len(seeds) > 1 else np.nan
            if name in _WITH_INTERVAL:
                place = _WITH_INTERVAL.index(name)
                parts |= {"lo": low[place], "hi": high[place]}
            row |= {f"{name}_{part}": _number(parts[part]) for part in metric.parts}
        elif runs[0].labels_only:
            row[name] = None
        elif metric.kind == "fold":
            values = np.array([metric.function(run.truth, run.probabilities) for run in runs])
            weights = clips * ~np.isnan(values)  # undefined where a fold holds one class alone
            row[name] = _number(np.nansum(values * weights) / weights.sum()) if weights.any() else None
        elif metric.kind == "auc":
            row[name] = None if row["auc"] is None else _number(metric.function(row["auc"]))
        else:
            row[name] = _number(np.mean([metric.function(*_pool(runs, seed)) for seed in seeds]))
    return row


def _pool(runs: Sequence[Run], seed: int) -> tuple[np.ndarray, np.ndarray]:
    own = [run for run in runs if run.seed == seed]
    return np.concatenate([r.truth for r in own]), np.concatenate([r.probabilities for r in own])


def _class_rows(pooled: np.ndarray, classes: Sequence[str], low: np.ndarray, high: np.ndarray) -> list[Row]:
    shape = (len(_PER_CLASS), len(classes))
    low, high = low.reshape(shape), high.reshape(shape)
    values = {name: function(pooled).mean(0) for name, function in _PER_CLASS.items()}
    rows = []
    for k, label in enumerate(classes):
        row: Row = {"class": label, "support": int(metrics.support(pooled)[0, k])}
        for i, name in enumerate(_PER_CLASS):
            cells = values[name][k], low[i, k], high[i, k]
            row |= zip((name, f"{name}_lo", f"{name}_hi"), map(_number, cells), strict=True)
        # The confusion matrix, a mean over seeds: clips of this class that were labelled as each class.
        row |= {f"as_{other}": _number(pooled[:, k, j].mean()) for j, other in enumerate(classes)}
        rows.append(row)
    return rows


def _pairs(
    ranked: Sequence[str],
    of: Mapping[str, tuple[bool, str]],
    rows: Mapping[str, Row],
    samples: Mapping[str, np.ndarray],
    by_speaker: Mapping[str, np.ndarray],
    right: Mapping[str, frozenset[str]],
    seed: int,
    speakers: int,
) -> list[Row]:
    names = [(a, b) for a, b in combinations(ranked, 2) if of[a] != of[b]]
    empty: Row = dict.fromkeys(PAIR_COLUMNS)
    pairs = [
        empty | {"system_a": a, "system_b": b, "effect": rows[a]["uar"] - rows[b]["uar"]} for a, b in names
    ]
    if not pairs or not samples:
        return pairs
    differences = np.stack([by_speaker[a] - by_speaker[b] for a, b in names], axis=1)
    drawn = np.stack([samples[a] - samples[b] for a, b in names], axis=1)
    low, high = statistics.interval(drawn, speakers)
    p = statistics.sign_flips(differences, seed)
    alone = [(len(right[a] - right[b]), len(right[b] - right[a])) for a, b in names]  # clips one got right
    computed: dict[str, Any] = {
        "lo": low[:, 0], "hi": high[:, 0], "crossed_lo": low[:, 1], "crossed_hi": high[:, 1],
        "p": p, "p_holm": statistics.holm(p),
        "mcnemar_p": [statistics.mcnemar(*counts) for counts in alone],
        "min_detectable": statistics.min_detectable(differences, ALPHA / len(names)),  # Holm's first level
    }  # fmt: skip
    for place, pair in enumerate(pairs):
        pair |= {key: _number(values[place]) for key, values in computed.items()}
    return pairs


def _ablation(
    order: Sequence[str],
    same_network: Callable[[str, str], bool],
    compare: Callable[[Sequence[str]], list[Row]],
) -> list[Row]:
    """Compare each pretrained network with itself from random: as searched, and with one recipe for both."""
    out: list[Row] = []
    for system in order:
        name = system.removesuffix(PUBLISHED)
        family, pretraining, _ = of_system(name)
        own = name.replace(f"@{pretraining}", "@none")  # of several searches, the one of the same number
        scratch = own + system.removeprefix(name)
        if pretraining in ("", "none") or scratch not in order:
            continue
        if same_network(name, own):
            (pair,) = compare([system, scratch])
            comparison = "searched" if system == name else "same recipe"
            row = {"family": family, "comparison": comparison, "system": system, "scratch": scratch}
            out.append(row | {key: pair[key] for key in ABLATION_COLUMNS[4:]})
    return sorted(out, key=lambda row: (row["family"], row["comparison"] != "searched", row["system"]))


def _number(value: Any) -> float | None:
    """A plain float; None where undefined."""
    return float(value) if np.isfinite(value) else None
