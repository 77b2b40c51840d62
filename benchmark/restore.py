"""Corpus and split as a bundle's files state them: what the audit and the digests are computed from again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from benchmark.files import read_csv, read_json
from benchmark.schema import Corpus, CorpusCard, Fold, Split, Utterance

OWN = {field.name for field in fields(Utterance)} - {"columns"}
Find = Callable[[str], str | None]
STATUS = ("status", "reason", "detail")  # of manifest.csv, beside what an utterance has


def utterances(rows: Iterable[Mapping[str, str]]) -> tuple[Utterance, ...]:
    """Return the accepted clips of manifest.csv, in its order."""
    return tuple(map(_utterance, (row for row in rows if row["status"] == "accepted")))


def _utterance(row: Mapping[str, str]) -> Utterance:
    known: dict[str, Any] = {name: cell for name, cell in row.items() if name in OWN}
    known |= {"sample_rate": int(row["sample_rate"]), "channels": int(row["channels"])}
    known |= {"seconds": float(row["seconds"]), "flags": tuple(row["flags"].split())}
    return Utterance(columns={name: row[name] for name in row if name not in (*OWN, *STATUS)}, **known)


def corpus(folder: Path) -> Corpus:
    """Return the corpus of a bundle."""
    about = read_json(folder / "corpus.json")
    names = {field.name for field in fields(CorpusCard)} & set(about)
    card = CorpusCard(**{name: about[name] for name in names} | {"classes": tuple(about["classes"])})
    clips = utterances(read_csv(folder / "manifest.csv"))
    return Corpus(card, clips, complete=about["complete"], modified=about["modified"])


def split(content: Mapping[str, Any]) -> Split:
    """Return the split that splits.json states."""
    folds = (
        Fold(
            number=fold["fold"],
            validation_groups=tuple(map(tuple, fold["validation_groups"])),
            **{part: tuple(fold[part]) for part in ("test", "train", "test_speakers", "train_speakers")},
        )
        for fold in content["folds"]
    )
    return Split(content["protocol"], content.get("diagnostic", False), tuple(folds))


def finder(clips: Iterable[Mapping[str, str]]) -> Find:
    """Return what finds the id of a clip by its id, the end of its path (suffix or not) or its stem.

    A name that two clips answer to finds none.
    """
    known: dict[str, str | None] = {}
    rows = list(clips)
    for row in rows:
        stem = row["path"].rpartition(".")[0] or row["path"]
        for name in {row["path"], stem, stem.rpartition("/")[2]}:
            known[name] = row["id"] if known.get(name, row["id"]) == row["id"] else None
    known |= {row["id"]: row["id"] for row in rows}

    def find(cell: str) -> str | None:
        parts = cell.replace("\\", "/").split("/")
        ends = ("/".join(parts[begin:]) for begin in range(len(parts)))
        names = (name for end in ends for name in (end, end.rpartition(".")[0]))
        return next((found for name in names if (found := known.get(name))), None)

    return find
