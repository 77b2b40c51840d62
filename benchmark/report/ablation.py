"""What pretraining is worth: each pretrained network less itself from random weights, with interval and p."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark import bundle, scores, space
from benchmark.files import csv_text, parse_typed
from benchmark.report import formats
from benchmark.schema import searched_system

Row = Mapping[str, Any]
NOT_RUN = "not run"
ABOUT = (
    "Difference in UAR, in points: pretrained less random weights, at equal budget (searched) and with the "
    "same published recipe, or one of ours where none is published, on both sides; interval and p as in the "
    "pairwise table, p uncorrected."
)
COLUMNS = (*scores.ABLATION_COLUMNS, "command")
_NUMBERS = ("effect", "lo", "hi", "p")


def files(folder: Path, rows: Sequence[Row], about: str, name: str) -> dict[str, str]:
    """Return ablation.{csv,md,tex}, path → text; nothing where no family has pretrained weights.

    A pretraining that a family offers and the bundle lacks stands as `not run`, with its command.
    """
    rows = [*rows, *_missing(folder, rows)]
    if not rows:
        return {}
    header, cells = table(rows)
    told = "".join(f"\n{line}\n" for line in _commands(rows))
    return {
        "ablation.csv": csv_text(COLUMNS, rows),
        "ablation.md": formats.markdown(header, cells, f"{ABOUT} {about}") + told,
        "ablation.tex": formats.latex(header, cells, f"{ABOUT} {about}", f"{name}-ablation"),
    }


def read(text: str) -> list[dict[str, Any]]:
    """Return the rows of a written ablation.csv."""
    return parse_typed("ablation.csv", text, dict.fromkeys(_NUMBERS, float))


def table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Return header and cells, what was not run said to be so."""
    header = ["Family", "Comparison", "Difference, points", "p"]
    cells = []
    for row in rows:
        pair, run = f"{row['system']} − {row['scratch']}", row["comparison"] != NOT_RUN
        told = [formats.points(row), formats.chance(row["p"])] if run else [NOT_RUN, ""]
        cells.append([row["family"], f"{pair} ({row['comparison']})" if run else pair, *told])
    return header, cells


def sheet(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Return header and cells with a column more where something was not run: the command that runs it."""
    header, cells = table(rows)
    if not any(row["command"] for row in rows):
        return header, cells
    return [*header, "Command"], [[*line, row["command"]] for line, row in zip(cells, rows, strict=True)]


def _commands(rows: Sequence[Row]) -> list[str]:
    """Return a line for each pretraining that was not run, with the command that runs it."""
    missing = (row for row in rows if row["comparison"] == NOT_RUN)
    return [f"{row['system']}, {NOT_RUN}: `{row['command']}`" for row in missing]


def _missing(folder: Path, rows: Sequence[Row]) -> list[dict[str, Any]]:
    held = {searched_system(system) for system in bundle.read_study(folder)["systems"]}
    have = {searched_system(row["system"]) for row in rows}
    out = {}
    for path in sorted(folder.glob("searches/*@*/fold-*/space.yaml")):
        found = space.load(path)
        for pretraining, weights in found.weights.items():
            system, scratch = f"{found.family}@{pretraining}", f"{found.family}@none"
            if system not in have and not {system, scratch} <= held:  # both: of two networks, no comparison
                out[system] = {
                    **dict.fromkeys(scores.ABLATION_COLUMNS), "family": found.family, "comparison": NOT_RUN,
                    "system": system, "scratch": scratch,
                    "command": f"serbench fetch {weights} && {_command(folder, system, scratch)}",
                }  # fmt: skip
    return list(out.values())


def _command(folder: Path, system: str, scratch: str) -> str:
    study = bundle.read_study(folder)
    budget = "".join(
        f" --{key.replace('_', '-')} {study[key]}" for key in ("protocol", "trials", "inner_folds", "seeds")
    )
    name = f"{study['name']}-{system.replace('@', '-')}"
    return f"serbench run --corpus {study['corpus']} --families {system},{scratch}{budget} --name {name}"
