"""Any corpus, described by a CSV with the columns path, speaker, label and whatever else is known.

The CSV is as `foreign.py` reads it. Paths are relative to its folder and
stay below it: absolute paths and `..` are refused, because a manifest travels with published results, where
they would point nowhere and give away a machine's folders. An utterance's id is its path without the suffix.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

from benchmark import foreign
from benchmark.schema import CorpusCard, SerbenchError, Utterance

REQUIRED = ("path", "speaker", "label")


def card(root: Path) -> CorpusCard:
    """Return a card whose classes are the labels of the CSV at `root`, sorted.

    Raises:
        SerbenchError: as `scan`, or all labels are one.
    """
    labels = {utterance.label for utterance in scan(root)}
    if len(labels) < 2:
        raise SerbenchError(f"manifest: {root}: 2 labels are needed, but all are '{min(labels)}'; add clips")
    return CorpusCard(
        name="manifest",
        title=root.name,
        classes=tuple(sorted(labels)),
        citation="",
        licence="as the owner of the clips says",
    )


def scan(root: Path) -> list[Utterance]:
    """Return the rows of the CSV at `root`, sorted by id; nothing is decoded.

    Raises:
        SerbenchError: one line with file, line number and rule.
    """
    sheet = foreign.read(root, f"manifest: {root}")
    sheet.need(REQUIRED)
    utterances = [_utterance(root, line, row) for line, row in sheet.rows]
    doubled = [id_ for id_, count in Counter(utterance.id for utterance in utterances).items() if count > 1]
    if doubled:
        raise _error(root, f"a path may stand once, suffix aside, but '{doubled[0]}' is repeated; remove it")
    missing = [utterance.path for utterance in utterances if not (root.parent / utterance.path).is_file()]
    if missing:
        shown = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
        raise _error(root, f"{len(missing)} files are not in the CSV's folder: {shown}; correct the paths")
    return sorted(utterances, key=lambda utterance: utterance.id)


def _utterance(root: Path, line: int, row: dict[str, str]) -> Utterance:
    empty = [column for column in REQUIRED if not row[column]]
    if empty:
        raise _error(root, f"line {line}: '{empty[0]}' must not be empty; fill it in")
    path = PurePosixPath(row["path"])
    if path.is_absolute() or ".." in path.parts:
        rule = "a path must be below the CSV's folder"
        raise _error(root, f"line {line}: {rule}, but is '{path}'; move the CSV")
    columns = {column: value for column, value in row.items() if column not in REQUIRED}
    return Utterance(path.with_suffix("").as_posix(), path.as_posix(), row["speaker"], row["label"], columns)


def _error(root: Path, message: str) -> SerbenchError:
    return SerbenchError(f"manifest: {root}: {message}")
