r"""A table as text for a terminal, as Markdown and as LaTeX; names cannot break out of any of them.

A cell is text: `61.2` is a number, `61.2 [55.0, 67.3]` one with its interval, an empty cell is none.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
Lines = Sequence[Sequence[str]]

PREAMBLE = "% needs in the preamble: \\usepackage{booktabs,graphicx,siunitx}\n"
_FIT = r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%"  # only what is too wide shrinks
_NUMBER = re.compile(r"[-+−]?(\d+)(?:\.(\d+))?")
_INTERVAL = re.compile(r"([-+−]?\d+(?:\.\d+)?) (\[[-+−\d., ]+\])")
_MATHS = (  # a sign, its name in TeX, and so on
    "± pm ≤ leq ≥ geq ≈ approx ≠ neq → rightarrow · cdot ∞ infty α alpha β beta γ gamma δ delta ε epsilon "
    "ζ zeta η eta θ theta ι iota κ kappa λ lambda μ mu ν nu ξ xi π pi ρ rho σ sigma τ tau υ upsilon φ phi "
    "χ chi ψ psi ω omega Γ Gamma Δ Delta Θ Theta Λ Lambda Ξ Xi Π Pi Σ Sigma Φ Phi Ψ Psi Ω Omega"
)
_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after \\ a bracket would be a length
    "−": r"\ensuremath{-}",
    "×": r"\ensuremath{\times}",
    **{sign: rf"\ensuremath{{\{name}}}" for sign, name in re.findall(r"(\S) (\w+)", _MATHS)},
    "\u2013": "--",
    "\u2019": "'",
    "„": ",,",
}
_SET = {*filter(str.isprintable, map(chr, range(0x180))), *"‘’“”…–—†‡•€"} - {  # by pdfTeX's first encoding
    *"«»ÐÞðþĄąĐđĘęĦħĮįĸĿŀŉŊŋŦŧŲųſ"
}


@dataclass(frozen=True)
class Below:
    """What stands below a second rule of a table: rows of its own, never ranked with those above."""

    title: str
    rows: Lines  # as many cells as the table has columns
    notes: Sequence[str] = ()  # told under the table, a line each


def plain(value: Any) -> str:
    """Return a cell's text; None is empty."""
    return "" if value is None else str(value)


def percent(row: Row, name: str) -> str:
    """`61.2 [55.0, 67.3]` from shares, without the interval where there is none; empty without a value."""
    point, *limits = [row.get(key) for key in (name, f"{name}_lo", f"{name}_hi")]
    if point is None:
        return ""
    low, high = [f"{100 * limit:.1f}" for limit in limits if limit is not None] or ("", "")
    return f"{100 * point:.1f}" + (f" [{low}, {high}]" if low else "")


def points(row: Row) -> str:
    """`+6.4 [+1.7, +11.0]` points from an effect in shares, without the interval where there is none."""
    limits = [f"{100 * row[key]:+.1f}" for key in ("lo", "hi") if row[key] is not None]
    return f"{100 * row['effect']:+.1f}" + (f" [{', '.join(limits)}]" if limits else "")


def chance(p: float | None) -> str:
    """Return a p-value's text, empty where there is none."""
    return "" if p is None else f"{p:.5f}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 seed`, `2 seeds`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def text(header: Sequence[str], rows: Lines, caption: str = "") -> str:
    """Return a table for a terminal, aligned, without escapes of any kind."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    table = [header, ["─" * width for width in widths], *rows]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
    printable = ("".join(c if c.isprintable() else "?" for c in line) for line in lines)
    return "\n".join([*printable, *([caption] if caption else [])])


def markdown(header: Sequence[str], rows: Lines, caption: str) -> str:
    """Return a Markdown table under its caption; names cannot open a cell, a tag or a link."""
    lines = [[markdown_text(cell) for cell in row] for row in (header, *rows)]
    lines.insert(1, ["---"] * len(header))
    return markdown_text(caption) + "\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def markdown_text(text: str) -> str:
    """Escape what Markdown or HTML would read as more than text."""
    text = " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").split())
    return re.sub(r"([\\`*_|\[\]])", r"\\\1", text)


def latex(
    header: Sequence[str], rows: Lines, caption: str, label: str = "", below: Sequence[Below] = ()
) -> str:
    r"""Return a table as LaTeX: booktabs rules, numbers aligned at the point by siunitx.

    Args:
        header: the titles of the columns.
        rows: a column whose cells are all numbers is aligned at the point; one with intervals becomes two.
        caption: says what the numbers are of.
        label: of `\label{tab:…}`; letters, digits and hyphens remain of it.
        below: rows under rules of their own, in the same columns, with notes under the table.

    The table spans both columns (`table*`) and fits the width of the text; a wider one is shrunk to it.
    """
    columns = [
        list(column) for column in zip(*rows, *(line for part in below for line in part.rows), strict=True)
    ]
    kinds = [_kind(column) for column in columns] or ["l"] * len(header)
    width = sum(1 + kind.count("@") for kind in kinds)
    label = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")
    head = " & ".join(_head(cell, kind) for cell, kind in zip(header, kinds, strict=True))
    lines = [_line(row, kinds) for row in rows]
    for part in below:
        title = rf"\multicolumn{{{width}}}{{l}}{{\emph{{{latex_text(part.title)}}}}} \\"
        lines += [r"\midrule", title, *(_line(row, kinds) for row in part.rows)]
    told = r"\\ ".join(latex_text(note) for part in below for note in part.notes)
    notes: list[str] = []
    if told:
        notes = [rf"\par\smallskip\parbox{{\textwidth}}{{\scriptsize\raggedright {told}}}"]
    return PREAMBLE + "\n".join(
        [
            r"\begin{table*}\centering",
            rf"\caption{{{latex_text(caption)}}}" + (rf"\label{{tab:{label}}}" if label else ""),
            r"\smallskip\footnotesize\setlength{\tabcolsep}{3pt}\sisetup{group-digits=integer,retain-explicit-plus}",
            _FIT,
            rf"\begin{{tabular}}{{{' '.join(kinds)}}}",
            *(r"\toprule", rf"{head} \\", r"\midrule", *lines, r"\bottomrule", r"\end{tabular}}"),
            *notes,
            r"\end{table*}",
            "",
        ]
    )


def latex_text(text: str) -> str:
    """Escape what TeX would read as more than text; a sign that its usual fonts lack is told by its name."""
    return "".join(map(_latex_sign, " ".join(unicodedata.normalize("NFC", text).split())))


def _latex_sign(sign: str) -> str:
    if sign in _LATEX:
        return _LATEX[sign]
    if sign in _SET:
        return sign
    return f"{{[}}{unicodedata.name(sign, f'U+{ord(sign):04X}').lower()}]"


def _kind(cells: Sequence[str]) -> str:
    """Return the column type of cells: l, or S with the digits that they need, with `@{ }l` for intervals."""
    points = [match[1] if (match := _INTERVAL.fullmatch(cell)) else cell for cell in cells if cell]
    numbers = [_NUMBER.fullmatch(point) for point in points]
    if not points or not all(numbers):
        return "l"
    whole, part = (max(len(n[k] or "") for n in numbers if n) for k in (1, 2))
    signed = "+" if any(point[0] in "+-−" for point in points) else ""
    kind = f"S[table-format={signed}{whole}{f'.{part}' if part else ''}]"
    return kind + ("@{ }l" if any(_INTERVAL.fullmatch(cell) for cell in cells) else "")


def _head(cell: str, kind: str) -> str:
    cell = latex_text(cell)
    if "@" in kind:
        return rf"\multicolumn{{2}}{{c}}{{{cell}}}"
    return f"{{{cell}}}" if kind.startswith("S") else cell


def _line(row: Sequence[str], kinds: Sequence[str]) -> str:
    cells = []
    for cell, kind in zip(row, kinds, strict=True):
        if "@" in kind:
            match = _INTERVAL.fullmatch(cell)
            point, interval = match.groups() if match else (cell, "")
            cells += [point.replace("−", "-"), latex_text(interval).replace("-", "$-$")]
        else:
            cells.append(cell.replace("−", "-") if kind.startswith("S") else latex_text(cell))
    return " & ".join(cells) + r" \\"
