"""How the project writes a file: whole or not at all, one form of JSON, one form of CSV."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.schema import SerbenchError

TOLERANCE = 1e-9  # of a number that is computed again
ROW_NAMES = (
    "column",
    "group",
    "system",
    "system_a",
    "system_b",
    "class",
)  # columns that name a row
_FORMULA = tuple("=+-@\t\r")  # a spreadsheet would run a cell that starts so


def sha256(path: Path) -> str:
    """Return the SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_texts(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write all `files` (relative path → content) or none: staged and synced first, then renamed in order.

    Raises:
        SerbenchError: the disk is full or read-only; what stood there before is untouched.
    """
    staged: list[tuple[Path, Path]] = []
    try:
        for name, content in files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            staged.append((target.with_name(f".{target.name}.{os.getpid()}.tmp"), target))
            with staged[-1][0].open("wb") as file:
                file.write(content if isinstance(content, bytes) else content.encode())
                file.flush()
                os.fsync(file.fileno())
        for temporary, target in staged:
            temporary.replace(target)
    except OSError as error:
        raise SerbenchError(
            f"results must be writable: {folder}: {error.strerror}; free space or choose another --out, "
            "then go on with --resume"
        ) from error
    finally:
        for temporary, _ in staged:
            temporary.unlink(missing_ok=True)


def json_text(value: Any, *, sort_keys: bool = True) -> str:
    """Return `value` as the project writes JSON."""
    return json.dumps(value, indent=2, sort_keys=sort_keys, ensure_ascii=False, allow_nan=False) + "\n"


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as CSV: None is empty, floats in full, text that a spreadsheet would run starts with '."""
    lines = [columns, *([row.get(column) for column in columns] for row in rows)]
    return "".join(",".join(map(_cell, line)) + "\n" for line in lines)


def _cell(value: Any) -> str:
    if not isinstance(value, str):
        return "" if value is None else repr(float(value)) if isinstance(value, float) else str(value)
    text = f"'{value}" if value.lstrip("'").startswith(_FORMULA) else value
    # csv.writer leaves a lone carriage return unquoted, which its reader takes for the end of the row
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\r\n') else text


def _unguard(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell


def write_text(path: Path, text: str) -> None:
    """Write one text file atomically."""
    write_texts(path.parent, {path.name: text})


def write_json(path: Path, value: Any, *, sort_keys: bool = True) -> None:
    """Write JSON atomically."""
    write_text(path, json_text(value, sort_keys=sort_keys))


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write CSV atomically."""
    write_text(path, csv_text(columns, rows))


def read_json(path: Path) -> Any:
    """Read a JSON file of a bundle."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read a CSV file of a bundle: text cells, as they were before they were guarded."""
    return parse(path.name, path.read_bytes().decode())


def read_columns(path: Path) -> dict[str, list[str]]:
    """Read a CSV file of a bundle by columns: half the time of its rows, where there are many files."""
    header, *rows = _csv(path.read_bytes().decode())
    return dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))


def parse(name: str, text: str) -> Any:
    """Return what a file's text says: the value of JSON, the rows of CSV, else its lines by number."""
    if name.endswith(".json"):
        return json.loads(text)
    if not name.endswith(".csv"):
        return {f"line {number}": line for number, line in enumerate(text.splitlines(), 1)}
    header, *rows = _csv(text)
    return [dict(zip(header, row, strict=True)) for row in rows]


def parse_typed(name: str, text: str, kinds: Mapping[str, Callable[[str], Any]]) -> list[dict[str, Any]]:
    """Return the rows of a CSV; cells of the columns in `kinds` are converted, and None where empty."""
    return [
        {key: (kinds[key](cell) if cell else None) if key in kinds else cell for key, cell in row.items()}
        for row in parse(name, text)
    ]


def _csv(text: str) -> list[list[str]]:
    rows = list(csv.reader(io.StringIO(text, newline="")))
    # Asked of a file, not of each cell: predictions have a hundred thousand.
    return [[_unguard(cell) for cell in row] for row in rows] if "'" in text else rows


def differences(name: str, stored: Any, computed: Any) -> Iterator[str]:
    """Compare what `parse` returned, cell by cell; yield a line for each that differs."""
    for place, old, new in changes(stored, computed):
        yield f"{name}: {place}: stored {old}, recomputed {new}"


def changes(one: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    """Compare what `parse` returned, cell by cell; yield the place of each that differs, with both values."""
    old, new = _cells(one), _cells(other)
    for place in dict.fromkeys([*new, *old]):
        if not (place in old and place in new and _same(old[place], new[place])):
            yield place, old.get(place), new.get(place)


def count(value: Any) -> int:
    """Return the number of cells that `differences` compares of what `parse` returned."""
    return len(_cells(value))


def _cells(value: Any, place: str = "") -> dict[str, Any]:
    if isinstance(value, list) and all(isinstance(row, Mapping) for row in value):
        names = [" - ".join(str(row[column]) for column in ROW_NAMES if column in row) for row in value]
        value = {"rows": ", ".join(names)} | dict(zip(names, value, strict=True))
    if not isinstance(value, Mapping):
        return {place: value}
    inside = ((f"{place}: {key}" if place else str(key), inner) for key, inner in value.items())
    return {k: cell for at, inner in inside for k, cell in _cells(inner, at).items()}


def _same(stored: Any, computed: Any) -> bool:
    try:
        close = math.isclose(float(stored), float(computed), rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    except (TypeError, ValueError):
        close = False
    return close or str(stored) == str(computed)
