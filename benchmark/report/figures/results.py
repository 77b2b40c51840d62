"""Figures of what was measured on test speakers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmark import metrics
from benchmark.report.figures import style
from benchmark.report.figures.style import Drawing
from benchmark.scores import Run

FEW = 0.01  # of the predictions, below which a bin of the reliability diagram says little
Row = Mapping[str, Any]
NAMED = 32  # speakers; with more of them only their order is shown


def forest(leaderboard: Sequence[Row], level: float | None) -> Drawing:
    """Draw the UAR of every system with its interval, in the order of the leaderboard."""
    rows = [
        {key: row[key] for key in ("system", "rank", "tie_group")}
        | {key: _percent(row[key]) for key in ("uar", "uar_lo", "uar_hi")}
        for row in leaderboard
    ]
    with style.canvas(0.7 + 0.2 * len(rows)) as (figure, axes):
        for place, row in enumerate(rows):
            searched = row["rank"] is not None
            tone = style.COLOURS[0] if searched else style.GREY
            if row["uar_lo"] is not None:
                axes.plot([row["uar_lo"], row["uar_hi"]], [place, place], color=tone)
            axes.plot(row["uar"], place, "o", color=tone, markerfacecolor=tone if searched else "white")
            letters = row["tie_group"] or ""
            axes.annotate(
                letters, (1, place), xycoords=("axes fraction", "data"), xytext=(3, 0),
                textcoords="offset points", va="center", annotation_clip=False,
            )  # fmt: skip
        axes.set_yticks(range(len(rows)), [style.short(row["system"]) for row in rows])
        axes.invert_yaxis()
        style.percent_axis(axes.xaxis, f"test UAR, %{f', {level:.0%} interval' if level else ''}")
    told = "; ".join(
        f"{row['system']} {row['uar']:.1f}"
        + (f" ({row['uar_lo']:.1f} to {row['uar_hi']:.1f})" if row["uar_lo"] is not None else "")
        for row in rows
    )
    alt = f"Test UAR in percent{' with intervals' if level else ''}, best first: {told}."
    return Drawing("forest", "Test UAR of every system", alt, rows, figure)


def confusion(system: str, per_class: Sequence[Row]) -> Drawing:
    """Draw the share of each class's clips that was labelled as each class, a mean over seeds."""
    classes = [row["class"] for row in per_class]
    counts = np.array([[row[f"as_{label}"] for label in classes] for row in per_class], dtype=np.float64)
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1e-12)
    rows = [
        {"class": label, "labelled_as": other, "clips": counts[i, j], "percent": shares[i, j]}
        for i, label in enumerate(classes)
        for j, other in enumerate(classes)
    ]
    with style.canvas(style.WIDTH) as (figure, axes):
        axes.imshow(shares, vmin=0, vmax=100, cmap=style.MAP)
        for i, j in np.ndindex(shares.shape):
            tone = "white" if shares[i, j] < 50 else "black"
            axes.text(j, i, f"{shares[i, j]:.0f}", ha="center", va="center", color=tone, fontsize=7)
        axes.set_xticks(range(len(classes)), classes, rotation=90)
        axes.set_yticks(range(len(classes)), classes)
        axes.set_xlabel("labelled as, % of the class's clips")
        axes.set_ylabel("class")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    wrong = shares - np.diag(np.diag(shares))
    i, j = np.unravel_index(int(wrong.argmax()), wrong.shape)
    found = ", ".join(f"{label} {shares[k, k]:.0f}" for k, label in enumerate(classes))
    alt = (
        f"Confusion matrix of {system}, percent of each class, mean over seeds. Labelled rightly: {found}. "
        f"Most frequent confusion: {classes[i]} labelled as {classes[j]}, {wrong[i, j]:.0f}."
    )
    return Drawing(f"confusion-{system}", f"Confusion matrix of {system}", alt, rows, figure)


def folds(systems: Sequence[str], runs: Sequence[Run]) -> Drawing:
    """Draw the UAR of each system on each fold's test speakers, a mean over seeds."""
    numbers = sorted({run.fold for run in runs})
    rows = []
    for system in systems:
        for number in numbers:
            own = [_uar(run) for run in runs if run.system == system and run.fold == number]
            rows.append({"system": system, "fold": number, "uar": 100 * float(np.mean(own))})
    values = np.array([row["uar"] for row in rows]).reshape(len(systems), len(numbers)).T
    low, high = values.min(), values.max()
    with style.canvas(1.0 + 0.2 * len(numbers)) as (figure, axes):
        axes.imshow(values, cmap=style.MAP, aspect="auto")
        for i, j in np.ndindex(values.shape):
            dark = values[i, j] - low < (high - low) / 2
            tone = "white" if dark else "black"
            axes.text(j, i, f"{values[i, j]:.1f}", ha="center", va="center", color=tone, fontsize=7)
        turned = {"rotation": 90} if len(systems) > 4 else {}
        axes.set_xticks(range(len(systems)), systems, **turned)
        axes.set_yticks(range(len(numbers)), [f"fold {number}" for number in numbers])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    told = "; ".join(
        f"{system} {values[:, j].min():.1f} to {values[:, j].max():.1f}" for j, system in enumerate(systems)
    )
    alt = f"Test UAR in percent of each fold and system, mean over seeds. Range over folds: {told}."
    return Drawing("folds", "Test UAR by fold", alt, rows, figure)


def speakers(systems: Sequence[str], runs: Sequence[Run], classes: int) -> Drawing:
    """Draw the UAR of each test speaker, a mean over seeds, speakers sorted by their mean over systems."""
    names = sorted({name for run in runs for name in run.speakers})
    table = np.array([by_speaker([r for r in runs if r.system == s], names, classes) for s in systems])
    order = np.argsort(table.mean(0), kind="stable")
    rows = [
        {"speaker": names[k], "system": system, "uar": 100 * float(table[j, k])}
        for k in order
        for j, system in enumerate(systems)
    ]
    label = "test speaker, hardest first"
    figure = speaker_dots(100 * table[:, order], [names[k] for k in order], systems, label, "UAR, %")
    told = "; ".join(
        f"{system} {100 * table[j].min():.0f} to {100 * table[j].max():.0f}"
        for j, system in enumerate(systems)
    )
    alt = f"UAR in percent of each of {len(names)} test speakers, mean over seeds. Range: {told}."
    return Drawing("speakers", "Test UAR by speaker", alt, rows, figure)


def reliability(system: str, runs: Sequence[Run]) -> Drawing:
    """Draw how often the top label was right, by how sure the model was: 15 equal bins, as in ECE.

    Bins of few predictions are crosses apart from the line.
    """
    truth = np.concatenate([run.truth for run in runs])
    p = np.concatenate([run.probabilities for run in runs])
    sure, right = p.max(1), p.argmax(1) == truth
    bins = np.clip((sure * metrics.ECE_BINS).astype(int), 0, metrics.ECE_BINS - 1)
    rows = []
    for k in range(metrics.ECE_BINS):
        own = bins == k
        if own.any():
            limits = {"from": 100 * k / metrics.ECE_BINS, "to": 100 * (k + 1) / metrics.ECE_BINS}
            means = {"confidence": 100 * float(sure[own].mean()), "accuracy": 100 * float(right[own].mean())}
            rows.append(limits | {"predictions": int(own.sum())} | means)
    with style.canvas(2.9, 2, sharex=True, height_ratios=(3, 1)) as (figure, (upper, lower)):
        upper.plot([0, 100], [0, 100], "--", color=style.GREY, linewidth=0.8)
        for few, look, tone in ((False, "o-", style.COLOURS[0]), (True, "x", style.GREY)):
            part = [row for row in rows if (row["predictions"] < FEW * len(truth)) == few]
            at = [row["confidence"] for row in part], [row["accuracy"] for row in part]
            upper.plot(*at, look, color=tone, markersize=4)
        style.percent_axis(upper.yaxis, "right, %")
        middles = [(row["from"] + row["to"]) / 2 for row in rows]
        share = [100 * row["predictions"] / len(truth) for row in rows]
        lower.bar(middles, share, width=90 / metrics.ECE_BINS, color=style.COLOURS[5])
        lower.set_ylabel("share, %")
        style.percent_axis(lower.xaxis, "probability of the top label, %")
        lower.set_xlim(0, 100)
    gap = sum(row["predictions"] * (row["accuracy"] - row["confidence"]) for row in rows) / len(truth)
    alt = (
        f"Reliability diagram of {system} over all folds and seeds: share of right labels against the "
        f"probability of the top label; crosses: bins with less than {FEW:.0%} of the predictions. "
        f"On average the model is "
        f"{abs(gap):.1f} points too {'sure' if gap < 0 else 'unsure'}."
    )
    return Drawing(f"reliability-{system}", f"Reliability of {system}", alt, rows, figure)


def speaker_dots(
    values: np.ndarray,
    names: Sequence[str],
    systems: Sequence[str],
    label: str,
    unit: str,
    zero: bool = False,
) -> Any:
    """Return a figure with a dot for each speaker and system; speakers are named where there is room.

    Args:
        values: (systems, speakers), in the order of `names`.
        names: of the speakers.
        systems: their names.
        label: of the speakers' axis.
        unit: label of the values' axis.
        zero: whether a line marks 0.
    """
    shown = names if len(names) <= NAMED else ()
    with style.canvas(2.4) as (figure, axes):
        if zero:
            axes.axhline(0, color=style.GREY, linewidth=0.8, linestyle="--")
        for j, system in enumerate(systems):
            axes.plot(values[j], style.marker(j), color=style.colour(j), label=system, markersize=3)
        axes.set_xticks(range(len(shown)), shown, rotation=90)
        axes.set_xlabel(label)
        style.percent_axis(axes.yaxis, unit)
        style.legend(figure, axes, 3)
    return figure


def by_speaker(runs: Sequence[Run], names: Sequence[str], classes: int) -> np.ndarray:
    """Return each speaker's UAR, a mean over seeds: (speakers,)."""
    place = {name: k for k, name in enumerate(names)}
    seeds = sorted({run.seed for run in runs})
    counts = np.zeros((len(seeds), len(names), classes, classes), dtype=np.int64)
    for run in runs:
        groups = np.array([place[name] for name in run.speakers])
        counts[seeds.index(run.seed)] += metrics.confusion(
            run.truth, run.predicted, classes, groups, len(names)
        )
    return np.asarray(metrics.uar(counts).mean(0))


def _uar(run: Run) -> float:
    return float(metrics.uar(metrics.confusion(run.truth, run.predicted, run.probabilities.shape[1])))


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value
