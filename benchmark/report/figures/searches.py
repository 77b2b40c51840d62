"""Figures of what the searches did on inner validation, without a test speaker but for one dot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmark.report import effort
from benchmark.report.evidence import Rows, Search
from benchmark.report.figures import style
from benchmark.report.figures.style import Drawing

GRID = 60  # points of a curve over hours
LINES = 150  # of parallel coordinates: of more trials, evenly many of each part of the ranking
_PAPER = {"facecolor": "white", "alpha": 0.7, "pad": 0.3, "edgecolor": "none"}  # behind text over lines
Curve = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # x, mean, least, most over folds


def budget(system: str, searches: Sequence[Search], test: float, sampler: str) -> Drawing:
    """Draw the best score so far against trials and against CPU hours, mean and range over folds.

    Args:
        system: its name.
        searches: of each fold.
        test: test UAR of the selected configurations, a mean over folds: one dot, apart.
        sampler: of the search; its curve is what happened, random search's is an expectation.
    """
    kinds = {sampler: [(effort.best_so_far(s.trials), effort.hours(s.trials, s.cpus)) for s in searches]}
    if all(s.random for s in searches):
        random = [(effort.random_curve(s.random), effort.hours(s.random, s.cpus)) for s in searches]
        kinds["random, expected"] = [(y, np.full(len(y), h.mean())) for y, h in random]
    rows: list[dict[str, Any]] = []
    with style.canvas(3.9, 2, sharey=True) as (figure, panels):
        for axes, unit in zip(panels, ("trials", "cpu_hours"), strict=True):
            for place, (kind, folds) in enumerate(kinds.items()):
                x, mean, low, high = _over_trials(folds) if unit == "trials" else _over_hours(folds)
                tone, line = style.colour(place), ("-", "--")[place % 2]
                axes.fill_between(x, low, high, color=tone, alpha=0.18, linewidth=0, step="post")
                axes.plot(x, mean, line, color=tone, label=kind, drawstyle="steps-post")
                for cells in zip(x, mean, low, high, strict=True):
                    row = dict(zip(("x", "mean", "low", "high"), map(float, cells), strict=True))
                    rows.append({"against": unit, "search": kind, **row})
            own = (row["x"] for row in rows if (row["against"], row["search"]) == (unit, sampler))
            end = max(own, default=1.0)
            # at the end of the search that selected it, whatever the other one took
            axes.plot(end, 100 * test, "D", color="black", label="selected: its test UAR", zorder=5)
            rows.append({"against": unit, "search": "test", "x": end, "mean": 100 * test})
            style.percent_axis(axes.yaxis, "inner UAR so far, %")
            axes.set_xlabel("trials" if unit == "trials" else "CPU hours of one fold")
        panels[0].fill_between([], [], [], color=style.GREY, alpha=0.3, linewidth=0, label="range over folds")
        style.legend(figure, panels[0])
    alt = (
        f"Best inner-validation UAR so far of {system} against trials and CPU hours, mean and range over "
        f"folds: {_told(rows, kinds)} at the whole budget; on test speakers {100 * test:.1f}."
    )
    return Drawing(f"search-{system}", f"What the search for {system} reached", alt, rows, figure)


def _over_trials(folds: Sequence[tuple[np.ndarray, np.ndarray]]) -> Curve:
    length = max(len(y) for y, _ in folds)
    x = np.arange(1, length + 1, dtype=np.float64)
    return _spread(x, np.array([effort.held(np.arange(1, len(y) + 1), y, x) for y, _ in folds if len(y)]))


def _over_hours(folds: Sequence[tuple[np.ndarray, np.ndarray]]) -> Curve:
    ends = [np.cumsum(cost) for _, cost in folds]
    x = np.linspace(0, max((end[-1] for end in ends if len(end)), default=1.0), GRID)
    held = [effort.held(end, y, x) for end, (y, _) in zip(ends, folds, strict=True) if len(end)]
    return _spread(x, np.array(held))


def _spread(x: np.ndarray, values: np.ndarray) -> Curve:
    """Keep the points that every fold has; values in percent."""
    kept = ~np.isnan(values).any(0) if len(values) else np.zeros(len(x), dtype=bool)
    shown = 100 * values[:, kept] if len(values) else np.zeros((1, 0))
    return x[kept], shown.mean(0), shown.min(0), shown.max(0)


def _told(rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, Any]) -> str:
    last = {row["search"]: row for row in rows if row["against"] == "trials"}
    return "; ".join(
        f"{kind} {last[kind]['mean']:.1f} ({last[kind]['low']:.1f} to {last[kind]['high']:.1f})"
        for kind in kinds
        if kind in last
    )


def curves(
    system: str, searches: Sequence[Search], finals: Sequence[tuple[int, int, Rows]]
) -> Drawing | None:
    """Draw score, loss and learning rate by step: of each fold's selected trial, and of the refits' mean.

    None where a system has no learning rate: it does not learn in steps.
    """
    rows = [*_selected_steps(searches), *_final_steps(finals)]
    if not any(row["lr"] is not None for row in rows):
        return None
    shown = [("score", "inner UAR, %"), ("loss", "training loss"), ("lr", "learning rate")]
    kinds = {"selected trial": style.COLOURS[0], "refit, mean over seeds": style.COLOURS[1]}
    with style.canvas(4.3, 3, sharex=True) as (figure, panels):
        for axes, (key, label) in zip(panels, shown, strict=True):
            for kind, tone in kinds.items():
                for number, fold in enumerate(sorted({row["fold"] for row in rows})):
                    own = [r for r in rows if (r["kind"], r["fold"]) == (kind, fold) and r[key] is not None]
                    axes.plot(
                        [r["step"] for r in own], [r[key] for r in own], color=tone, alpha=0.75,
                        linestyle="-" if kind == "selected trial" else "--", linewidth=0.8,
                        marker="" if len(own) > 1 else ".", label=None if number else kind,
                    )  # fmt: skip
            axes.set_ylabel(label)
            axes.grid(axis="y", color="#dddddd", linewidth=0.5)
        _rate_axis(panels[2], [row["lr"] for row in rows if row["lr"]])
        panels[2].set_xlabel("step (an epoch)")
        style.legend(figure, panels[1])
    ends = [r["score"] for r in rows if r["last"] and r["score"] is not None]
    alt = (
        f"Learning curves of {system}, a line a fold: inner-validation UAR of the selected trials, which end "
        f"at {min(ends, default=0):.1f} to {max(ends, default=0):.1f} percent; training loss and learning "
        "rate of them and of the refits."
    )
    columns = ("kind", "fold", "step", "score", "loss", "lr")
    data = [{column: row[column] for column in columns} for row in rows]
    return Drawing(f"curves-{system}", f"Learning curves of {system}", alt, data, figure)


def _rate_axis(axes: Any, rates: Sequence[float]) -> None:
    """Make the axis of learning rates logarithmic where they span a decade: a shorter one has one tick."""
    if rates and max(rates) >= 10 * min(rates):
        axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:.3g}")
    axes.yaxis.set_minor_formatter("")


def _selected_steps(searches: Sequence[Search]) -> Iterator[dict[str, Any]]:
    for search in searches:
        own = [row for row in search.steps if row["trial_id"] == search.best["trial_id"]]
        for place, row in enumerate(own, 1):
            score = _number(row["score"])
            yield {
                "kind": "selected trial", "fold": search.fold, "step": int(row["step"]),
                "score": None if score is None else 100 * score, "loss": _number(row["loss"]),
                "lr": _number(row["lr"]), "last": place == len(own),
            }  # fmt: skip


def _final_steps(finals: Sequence[tuple[int, int, Rows]]) -> Iterator[dict[str, Any]]:
    for fold in sorted({fold for fold, _, _ in finals}):
        own = [rows for number, _, rows in finals if number == fold]
        for step in sorted({int(row["step"]) for rows in own for row in rows}):
            here = [row for rows in own for row in rows if int(row["step"]) == step]
            means = {key: _mean([_number(row[key]) for row in here]) for key in ("loss", "lr")}
            kind = {"kind": "refit, mean over seeds", "fold": fold, "step": step, "score": None}
            yield kind | means | {"last": False}


def trees(system: str, searches: Sequence[Search]) -> Drawing | None:
    """Draw score against trees of each fold's selected forest and of all complete trials' mean.

    None where trials have no `n_estimators`. A step is a block of equally many trees.
    """
    if not any("param.n_estimators" in trial for s in searches for trial in s.trials):
        return None
    rows: list[dict[str, Any]] = []
    with style.canvas(2.3) as (figure, axes):
        for number, search in enumerate(searches):
            sizes = {t["trial_id"]: (float(t["param.n_estimators"]), int(t["steps"])) for t in search.trials
                     if t["state"] == "COMPLETE" and t["param.n_estimators"] and t["steps"]}  # fmt: skip
            for trial, (size, steps) in sizes.items():
                own = [row for row in search.steps if row["trial_id"] == trial]
                best = trial == search.best["trial_id"]
                x = [size * int(row["step"]) / steps for row in own]
                y = [100 * float(row["score"]) for row in own]
                tone = style.COLOURS[1] if best else style.COLOURS[0]
                label = ("selected" if best else "complete trials") if not number else None
                known = axes.get_legend_handles_labels()[1]
                axes.plot(
                    x, y, color=tone, linewidth=1.4 if best else 0.5, alpha=1 if best else 0.3,
                    label=None if label in known else label, zorder=3 if best else 2,
                )  # fmt: skip
                cells = {"fold": search.fold, "trial_id": trial, "selected": best}
                rows += [{**cells, "trees": a, "uar": b} for a, b in zip(x, y, strict=True)]
        axes.set_xlabel("trees")
        style.percent_axis(axes.yaxis, "inner-validation UAR, %")
        style.legend(figure, axes)
    chosen = [row for row in rows if row["selected"]]
    span = [f(row["trees"] for row in chosen) for f in (min, max)] if chosen else [0, 0]
    alt = (
        f"Inner-validation UAR of {system} against its number of trees, a line a trial; the selected ones "
        f"in another colour, from {span[0]:.0f} to {span[1]:.0f} trees."
    )
    return Drawing(f"trees-{system}", f"Score of {system} against trees", alt, rows, figure)


def importance(system: str, searches: Sequence[Search]) -> Drawing | None:
    """Draw what share of the scores' variance each hyperparameter explains alone; see `effort`.

    Of the random search, whose draws are independent; of the search itself where there is none. None where
    fewer than 10 trials are complete or nothing was searched.
    """
    independent = all(s.random for s in searches)
    trials = [s.random if independent else s.trials for s in searches]
    shares = effort.variance_shares(trials)
    complete = sum(t["state"] == "COMPLETE" for fold in trials for t in fold)
    if not shares or complete < 10:
        return None
    source = "random search" if independent else "the search itself, which draws good regions more often"
    rows = [{"hyperparameter": name, "share": 100 * share} for name, share in shares.items()]
    with style.canvas(0.7 + 0.17 * len(rows)) as (figure, axes):
        axes.barh(range(len(rows)), [row["share"] for row in rows], height=0.7, color=style.COLOURS[0])
        axes.set_yticks(range(len(rows)), [row["hyperparameter"] for row in rows])
        axes.invert_yaxis()
        style.percent_axis(axes.xaxis, "variance of score ranks explained alone, %")
    told = ", ".join(f"{row['hyperparameter']} {row['share']:.0f}" for row in rows[:5])
    alt = (
        f"One-way variance shares of the hyperparameters of {system}, percent, from {complete} complete "
        f"trials of {source}: {told}. Interactions are not in it."
    )
    return Drawing(f"importance-{system}", f"Hyperparameters of {system}, each alone", alt, rows, figure)


def parallel(system: str, searches: Sequence[Search]) -> Drawing | None:
    """Draw every complete trial of the search as a line over its hyperparameters, an axis a row.

    The axes lie below one another, so that their names can be read in a column. None without such a trial.
    """
    trials = [(s.fold, t) for s in searches for t in s.trials if t["state"] == "COMPLETE" and t["score"]]
    trials = sorted(trials, key=lambda pair: float(pair[1]["score"]))
    best = {(s.fold, str(s.best["trial_id"])) for s in searches}
    complete, every = len(trials), max(1.0, len(trials) / LINES)
    kept = {len(trials) - 1 - int(k * every) for k in range(min(LINES, len(trials)))}
    trials = [t for k, t in enumerate(trials) if k in kept or (t[0], t[1]["trial_id"]) in best]
    names = [column for column in (trials[0][1] if trials else ()) if column.startswith("param.")]
    if not names:
        return None
    log = frozenset[str]().union(*(s.log for s in searches))
    places = [_axis([t[name] for _, t in trials], name.removeprefix("param.") in log) for name in names]
    scores = np.array([100 * float(t["score"]) for _, t in trials])
    axis_of_scores = (scores - scores.min()) / (np.ptp(scores) or 1)
    y = np.arange(len(names) + 1)
    with style.canvas(0.8 + 0.33 * len(y)) as (figure, axes):
        from matplotlib import colormaps

        for k, (fold, trial) in enumerate(trials):
            x = [*(positions[k] for positions, _ in places), axis_of_scores[k]]
            chosen = (fold, trial["trial_id"]) in best
            tone = style.COLOURS[1] if chosen else colormaps[style.MAP](axis_of_scores[k])
            axes.plot(x, y, color=tone, alpha=1 if chosen else 0.45, linewidth=1.2 if chosen else 0.5,
                      zorder=3 if chosen else 2)  # fmt: skip
        marks: list[list[tuple[float, str]]] = [
            *(own for _, own in places),
            [(0, f"{scores.min():.1f}"), (1, f"{scores.max():.1f}")],
        ]
        for row, own in enumerate(marks):
            axes.axhline(row, color="#bbbbbb", linewidth=0.6, zorder=1)
            for at, label in own:
                side = "left" if at == 0 else "right" if at == 1 else "center"
                axes.text(at, row - 0.12, label, ha=side, va="bottom", fontsize=6.5, zorder=4, bbox=_PAPER)
        labels = [*(name.removeprefix("param.") for name in names), "UAR, %"]
        axes.set_yticks(y, labels)
        axes.set_ylim(len(y) - 0.7, -0.6)
        axes.set_xticks([])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.plot([], [], color=style.COLOURS[1], linewidth=1.2, label="selected, one a fold")
        axes.plot([], [], color=colormaps[style.MAP](0.75), linewidth=1.2, label="others, coloured by score")
        style.legend(figure, axes)
    rows = [
        {"fold": fold, "number": trial["number"], "score": float(trial["score"])}
        | {name.removeprefix("param."): trial[name] for name in names}
        | {"selected": (fold, trial["trial_id"]) in best}
        for fold, trial in trials
    ]
    alt = (
        f"Parallel coordinates of {len(trials)} of {complete} complete trials of {system} over {len(names)} "
        f"hyperparameters; lines are coloured by score, {scores.min():.1f} to {scores.max():.1f} percent "
        "inner-validation UAR; the selected trial of each fold in another colour."
    )
    return Drawing(f"parallel-{system}", f"Trials of {system}", alt, rows, figure)


def _axis(cells: Sequence[str], log: bool) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Return where each cell lies on its axis, 0 to 1, and what is written there."""
    numbers = [_number(cell) for cell in cells]
    given = np.array([n for n, cell in zip(numbers, cells, strict=True) if cell], dtype=object)
    unset = "" in cells
    start = 0.27 if unset else 0.0  # `not set` lies apart, at 0, and has room for its name
    if len(given) and all(n is not None for n in given) and len(set(given)) > 4:
        scale = np.log if log and min(given) > 0 else np.asarray
        low, high = (float(scale(np.float64(f(given)))) for f in (min, max))
        spread = (high - low) or 1.0
        x = [0.0 if n is None else start + (1 - start) * (float(scale(np.float64(n))) - low) / spread
             for n in numbers]  # fmt: skip
        marks = [(start, f"{min(given):.3g}"), (1.0, f"{max(given):.3g}")]
    else:
        order = {cell: (_number(cell) is None, _number(cell) or 0, cell) for cell in cells if cell}
        kinds = sorted(order, key=lambda cell: order[cell])
        step = (1 - start) / max(1, len(kinds) - 1)
        places = {kind: (start + k * step if len(kinds) > 1 else 0.5) for k, kind in enumerate(kinds)}
        x = [places.get(cell, 0.0) for cell in cells]
        marks = [(min(1.0, round(place, 9)), _brief(kind)) for kind, place in places.items()]
    return np.array(x), [*([(0.0, "not set")] if unset else []), *marks]


def _brief(cell: str) -> str:
    """Return a cell as an axis has room for it: of a fraction, three digits."""
    number = None if cell.lstrip("-").isdecimal() else _number(cell)
    return cell if number is None else f"{number:.3g}"


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
