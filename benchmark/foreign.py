"""CSV files that people made: UTF-8 (a BOM is tolerated), separated by commas, semicolons or tabs."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from benchmark.schema import SerbenchError

_BEFORE = r"\A(\s*(?:sep=[,;\t][ \t]*\r?\n)?\s*)"  # the header: Excel's own line, empty ones
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}


@dataclass(frozen=True)
class Sheet:
    """The cells of a CSV, stripped; empty lines are passed over."""

    name: str  # as errors tell it
    header: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]  # (line number in the file, column → cell)
    separator: str

    def error(self, message: str) -> SerbenchError:
        """Return the error of this file."""
        return SerbenchError(f"{self.name}: {message}")

    def need(self, columns: Collection[str]) -> None:
        """Raise SerbenchError for the first of `columns` that is not there, with what comes near."""
        for column in columns:
            if column not in self.header:
                close = difflib.get_close_matches(column, self.header, 1)
                cure = f"rename '{close[0]}'" if close else "add it"
                there = ", ".join(self.header)
                raise self.error(f"column '{column}' is needed, but there are {there}; {cure}")


def read(path: Path, name: str) -> Sheet:
    """Read a CSV whose first line names its columns; errors begin with `name`.

    Raises:
        SerbenchError: not readable, not UTF-8, no row, a column named twice, or a row of another length.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        rule = f"text must be UTF-8, but byte {error.start} is not; save it as UTF-8"
        raise SerbenchError(f"{name}: {rule}") from error
    except OSError as error:
        rule = f"must be a readable CSV, but: {error.strerror}; name another file"
        raise SerbenchError(f"{name}: {rule}") from error
    _, skipped, content = re.split(_BEFORE, text, maxsplit=1)
    separator = max(SEPARATORS, key=content.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    for _ in range(skipped.count("\n")):
        next(reader)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    except csv.Error as error:
        rule = f"line {reader.line_num} is no CSV ({error}); correct it"
        raise SerbenchError(f"{name}: {rule}") from error
    if len(lines) < 2:
        raise SerbenchError(f"{name}: a header and at least one row are needed; add rows")
    header = lines[0][1]
    if len(set(header)) < len(header):
        raise SerbenchError(
            f"{name}: column names must differ, but the header is {', '.join(header)}; rename one"
        )
    for line, cells in lines[1:]:
        if len(cells) != len(header):
            mixed = separator == "," and 1 < len(header) < len(cells)
            cure = "where decimals have a comma, separate by semicolons" if mixed else "correct it"
            rule = f"line {line} must have {len(header)} cells, but has {len(cells)}; {cure}"
            raise SerbenchError(f"{name}: {rule}")
    rows = ((line, dict(zip(header, cells, strict=True))) for line, cells in lines[1:])
    return Sheet(name, tuple(header), tuple(rows), separator)
