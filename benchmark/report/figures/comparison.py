"""Figures of several bundles beside one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmark.report.figures import style
from benchmark.report.figures.results import by_speaker, speaker_dots
from benchmark.report.figures.style import Drawing
from benchmark.scores import Run

Row = Mapping[str, Any]


def forest(groups: Mapping[str, Sequence[Row]], level: float | None) -> Drawing:
    """Draw the UAR of every system with its interval, group by group, each under its title.

    Args:
        groups: title → rows of its leaderboard, `system` as it is shown; ranks hold inside a group alone.
        level: of the intervals; None where there are none.
    """
    rows = [
        {"group": title, "system": row["system"], "rank": row["rank"], "tie_group": row["tie_group"]}
        | {key: None if row[key] is None else 100 * row[key] for key in ("uar", "uar_lo", "uar_hi")}
        for title, own in groups.items()
        for row in own
    ]
    lines = len(rows) + len(groups)
    with style.canvas(0.7 + 0.19 * lines) as (figure, axes):
        labels: list[str] = []
        for number, title in enumerate(groups):
            axes.annotate(
                title, (0, len(labels)), xycoords=("figure fraction", "data"), xytext=(3, 0),
                textcoords="offset points", va="center", weight="bold", annotation_clip=False,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            ).set_in_layout(False)  # fmt: skip
            labels.append("")
            for row in (row for row in rows if row["group"] == title):
                place, searched = len(labels), row["rank"] is not None
                tone = style.colour(number) if searched else style.GREY
                if row["uar_lo"] is not None:
                    axes.plot([row["uar_lo"], row["uar_hi"]], [place, place], color=tone)
                fill = tone if searched else "white"
                axes.plot(row["uar"], place, style.marker(number), color=tone, markerfacecolor=fill)
                axes.annotate(
                    row["tie_group"] or "", (1, place), xycoords=("axes fraction", "data"), xytext=(3, 0),
                    textcoords="offset points", va="center", annotation_clip=False,
                )  # fmt: skip
                labels.append(style.short(row["system"]))
        places = [place for place, label in enumerate(labels) if label]
        axes.set_yticks(places, [labels[place] for place in places])
        axes.set_ylim(lines - 0.5, -0.7)
        style.percent_axis(axes.xaxis, f"test UAR, %{f', {level:.0%} interval' if level else ''}")
    told = "; ".join(
        f"{title}: "
        + ", ".join(f"{r['system']} {r['uar']:.1f}" for r in rows if r["group"] == title and r["rank"])
        for title in groups
    )
    alt = f"Test UAR in percent, searched systems of each group, best first. {told}."
    return Drawing("forest", "Test UAR of every system, by what can be ranked together", alt, rows, figure)


def inflation(name: str, paired: Sequence[Row], protocols: tuple[str, str], level: float) -> Drawing:
    """Draw what a random split adds to the same systems: both values, and the difference with its interval.

    Args:
        name: of the figure's files.
        paired: rows of `paired.compare`, its sides `independent` and `random`.
        protocols: names of the speaker-independent protocol and of the random one.
        level: of the intervals.
    """
    rows = [
        {"system": row["system"]}
        | {key: 100 * row[key] for key in ("independent", "random", "effect")}
        | {key: None if row[key] is None else 100 * row[key] for key in ("lo", "hi")}
        for row in paired
    ]
    names = [row["system"] for row in rows]
    with style.canvas(1.5 + 0.4 * len(rows), 2) as (figure, (upper, lower)):
        for place, row in enumerate(rows):
            a, b = row["independent"], row["random"]
            upper.plot([a, b], [place, place], color=style.GREY, linewidth=0.8, zorder=1)
            upper.plot(a, place, "o", color=style.COLOURS[0], label=None if place else protocols[0])
            upper.plot(b, place, "s", color=style.COLOURS[1], label=None if place else protocols[1])
            if row["lo"] is not None:
                lower.plot([row["lo"], row["hi"]], [place, place], color="black")
            lower.plot(row["effect"], place, "D", color="black")
            lower.annotate(
                f"{row['effect']:+.1f}".replace("-", "−"), (1, place),
                xycoords=("axes fraction", "data"), xytext=(3, 0), textcoords="offset points",
                va="center", annotation_clip=False,
            )  # fmt: skip
        for axes in (upper, lower):
            axes.set_yticks(range(len(rows)), names)
            axes.set_ylim(len(rows) - 0.5, -0.5)
        style.percent_axis(upper.xaxis, "test UAR, %")
        lower.axvline(0, color=style.GREY, linewidth=0.8, linestyle="--")
        intervals = f", {level:.0%} interval" if any(row["lo"] is not None for row in rows) else ""
        style.percent_axis(lower.xaxis, f"difference, points of UAR{intervals}")
        style.legend(figure, upper)
    told = "; ".join(
        f"{r['system']} {r['independent']:.1f} to {r['random']:.1f} ({r['effect']:+.1f}" + (
            f", {r['lo']:+.1f} to {r['hi']:+.1f})" if r["lo"] is not None else ")"
        )
        for r in rows
    )  # fmt: skip
    alt = f"Test UAR in percent of the same systems, from {protocols[0]} to {protocols[1]}: {told}."
    return Drawing(name, f"What {protocols[1]} adds over {protocols[0]}", alt, rows, figure)


def inflation_by_speaker(
    name: str, systems: Sequence[str], independent: Sequence[Run], random: Sequence[Run], classes: int
) -> Drawing:
    """Draw what the random split adds for each speaker, a mean over seeds; the most inflated speaker last.

    Args:
        name: of the figure's files.
        systems: that both sides have.
        independent: runs under a speaker-independent protocol.
        random: runs on the same clips under the random one.
        classes: how many.
    """
    names = sorted({speaker for run in independent for speaker in run.speakers})
    table = np.array([
        by_speaker([r for r in random if r.system == system], names, classes)
        - by_speaker([r for r in independent if r.system == system], names, classes)
        for system in systems
    ])  # fmt: skip
    order = np.argsort(table.mean(0), kind="stable")
    rows = [
        {"speaker": names[k], "system": system, "difference": 100 * float(table[j, k])}
        for k in order
        for j, system in enumerate(systems)
    ]
    figure = speaker_dots(
        100 * table[:, order], [names[k] for k in order], systems, "speaker, least inflated first",
        "difference, points of UAR", zero=True,
    )  # fmt: skip
    told = "; ".join(
        f"{system} {100 * table[j].min():+.0f} to {100 * table[j].max():+.0f}, above 0 for "
        f"{int((table[j] > 0).sum())} of {len(names)}"
        for j, system in enumerate(systems)
    )
    alt = f"What the random split adds to each speaker's UAR, in points, mean over seeds. Range: {told}."
    return Drawing(name, "What the random split adds, by speaker", alt, rows, figure)
