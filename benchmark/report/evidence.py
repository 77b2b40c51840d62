"""What the reader's side shows of a bundle, read once from its files: runs, searches, histories, tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmark import bundle, space
from benchmark.files import read_csv, read_json, sha256
from benchmark.scores import Run, Tables

Rows = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Search:
    """One system × fold: text cells as the files have them."""

    system: str
    fold: int
    trials: Rows  # in the order of their numbers
    random: Rows  # the random search beside it; empty where the study left it out
    steps: Rows
    best: Mapping[str, Any]
    cpus: float  # of one trial
    log: frozenset[str]  # parameters searched on a log scale


@dataclass(frozen=True)
class Evidence:
    """A bundle's content."""

    name: str
    seal: str  # SHA-256 of its SHA256SUMS; empty before it is sealed
    corpus: Mapping[str, Any]
    splits: Mapping[str, Any]
    study: Mapping[str, Any]
    environment: Mapping[str, Any]
    audit: Mapping[str, Any]
    external: Mapping[str, Mapping[str, Any]]  # system from elsewhere → source, caveat, …
    tables: Tables
    runs: Sequence[Run]
    searches: Mapping[str, Sequence[Search]]  # system → its folds in order
    histories: Mapping[str, Sequence[tuple[int, int, Rows]]]  # system → fold, seed, rows of step, loss, lr
    openings: int | None  # of test parts of this split, in the folder where the bundle lies

    @property
    def ranked(self) -> list[str]:
        """Searched systems, best first."""
        return [row["system"] for row in self.tables.leaderboard if row["rank"]]

    def runs_of(self, system: str) -> list[Run]:
        """Return a system's runs."""
        return [run for run in self.runs if run.system == system]


def read(folder: Path, tables: Tables, runs: Sequence[Run] | None = None) -> Evidence:
    """Read a bundle; `tables` are what its predictions give, `runs` its runs where they are read already."""
    study, splits = bundle.read_study(folder), read_json(folder / "splits.json")
    return Evidence(
        name=study["name"],
        seal=sha256(folder / bundle.SUMS) if bundle.is_sealed(folder) else "",
        corpus=read_json(folder / "corpus.json"),
        splits=splits,
        study=study,
        environment=read_json(folder / "environment.json"),
        audit=read_json(folder / "audit.json"),
        external=bundle.read_external(folder),
        tables=tables,
        runs=bundle.read_runs(folder) if runs is None else runs,
        searches=_searches(folder),
        histories=_histories(folder, set(study["systems"])),
        openings=bundle.count_openings(folder.parent, splits["fingerprint"]),
    )


def _searches(folder: Path) -> dict[str, list[Search]]:
    found: dict[str, list[Search]] = defaultdict(list)
    for path in folder.glob("searches/*/fold-*/trials.csv"):
        there = space.load(path.with_name("space.yaml"))
        random = path.with_name("random.csv")
        found[path.parts[-3]].append(
            Search(
                system=path.parts[-3],
                fold=int(path.parts[-2].removeprefix("fold-")),
                trials=_by_number(read_csv(path)),
                random=_by_number(read_csv(random)) if random.exists() else (),
                steps=read_csv(path.with_name("steps.csv")),
                best=read_json(path.with_name("best.json")),
                cpus=float(there.resources["cpus"]),
                log=frozenset(parameter.name for parameter in there.search if parameter.log),
            )
        )
    return {system: sorted(_alike(own), key=lambda s: s.fold) for system, own in sorted(found.items())}


def _by_number(rows: Rows) -> list[Mapping[str, str]]:
    return sorted(rows, key=lambda row: int(row["number"]))


def _alike(searches: list[Search]) -> list[Search]:
    """Give every trial each column that any has: a hyperparameter that a fold never drew is empty there."""
    unset = {name: "" for s in searches for row in (*s.trials, *s.random) for name in row}

    def whole(rows: Rows) -> list[Mapping[str, str]]:
        return [{**row, **unset, **row} for row in rows]

    return [replace(s, trials=whole(s.trials), random=whole(s.random)) for s in searches]


def _histories(folder: Path, systems: set[str]) -> dict[str, list[tuple[int, int, Rows]]]:
    found: dict[str, list[tuple[int, int, Rows]]] = defaultdict(list)
    for path in folder.glob("runs/*/fold-*/seed-*/history.csv"):
        system, fold, seed = path.parts[-4:-1]
        if system in systems:
            place = int(fold.removeprefix("fold-")), int(seed.removeprefix("seed-"))
            found[system].append((*place, read_csv(path)))
    return {system: sorted(own, key=lambda h: h[:2]) for system, own in found.items()}
