"""What pretraining is worth: each pretrained network less itself from random weights, with interval and p."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark import bundle, scores, space
from benchmark.files import csv_text
from benchmark.report import formats

Row = Mapping[str, Any]
NOT_RUN = "not run"
ABOUT = (
    "Difference in UAR, in points: pretrained less random weights, at equal budget (searched) and with the "
    "same published recipe on both sides; interval and p as in the pairwise table, p uncorrected. "
)


def files(folder: Path, rows: Sequence[Row], about: str, name: str) -> dict[str, str]:
    """Return ablation.{csv,md,tex}, path → text; nothing where no family has pretrained weights.

    A pretraining that a family offers and the bundle lacks stands as `not run`, with its command.
    """
    missing = _missing(folder, rows)
    if not rows and not missing:
        return {}
    header = ["Family", "Comparison", "Difference, points", "p"]
    cells = [
        [
            *(row["family"], f"{row['system']} − {row['scratch']} ({row['comparison']})"),
            *(formats.points(row), formats.chance(row["p"])),
        ]
        for row in rows
    ]
    cells += [[row["family"], f"{row['system']} − {row['scratch']}", NOT_RUN, ""] for row in missing]
    commands = "".join(f"\n{row['system']}, not run: `{row['command']}`\n" for row in missing)
    columns = (*scores.ABLATION_COLUMNS, "command")
    return {
        "ablation.csv": csv_text(columns, [{"command": "", **row} for row in (*rows, *missing)]),
        "ablation.md": formats.markdown(header, cells, ABOUT + about) + commands,
        "ablation.tex": formats.latex(header, cells, ABOUT + about, f"{name}-ablation"),
    }


def _missing(folder: Path, rows: Sequence[Row]) -> list[dict[str, Any]]:
    have = {row["system"] for row in rows}
    out = {}
    for path in sorted(folder.glob("searches/*@*/fold-*/space.yaml")):
        found = space.load(path)
        for pretraining, weights in found.weights.items():
            system, scratch = f"{found.family}@{pretraining}", f"{found.family}@none"
            if system not in have:
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
