"""How every figure looks and is written: one column wide, colours that everybody tells apart, same bytes.

Matplotlib is imported when a figure is drawn, never before, and without pyplot: no state is shared.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 3.35  # inches: one column of a two-column paper
LONGEST = 32  # characters of a name beside an axis
DPI = 200
PALETTE = 96  # colours of a PNG
# Okabe and Ito 2008, dark first; yellow is left out, which white paper swallows.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # so that colour is never alone
GREY = "#666666"
MAP = "cividis"  # Nuñez, Anderton, Renslow 2018: read alike with and without colour vision
_RC: dict[Any, Any] = {
    "font.size": 7.5, "axes.titlesize": 8, "axes.labelsize": 7.5, "xtick.labelsize": 7, "ytick.labelsize": 7,
    "legend.fontsize": 7, "legend.frameon": False, "axes.spines.top": False, "axes.spines.right": False,
    "axes.linewidth": 0.6, "lines.linewidth": 1.2, "lines.markersize": 4, "xtick.major.width": 0.6,
    "ytick.major.width": 0.6, "font.family": "DejaVu Sans", "pdf.fonttype": 42, "svg.hashsalt": "serbench",
    "axes.unicode_minus": True, "text.usetex": False, "text.parse_math": False, "figure.dpi": 100,
    "savefig.bbox": None, "path.simplify": True,
}  # fmt: skip


@dataclass(frozen=True)
class Drawing:
    """A figure with what it says in words and in numbers."""

    name: str  # stem of its files
    title: str
    alt: str  # for who cannot see it: what it shows and its main values
    rows: Sequence[Mapping[str, Any]]  # what is drawn, one row a mark
    figure: Figure


@contextmanager
def canvas(height: float, rows: int = 1, **options: Any) -> Iterator[tuple[Figure, Any]]:
    """Yield a figure of one column's width and its axes, drawn in the project's style.

    Args:
        height: in inches.
        rows: panels, one below the other: then an array of axes is yielded.
        options: of `Figure.subplots`.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_RC):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        yield figure, figure.subplots(rows, 1, **options)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once, not again for each file
        for axes in figure.axes:  # beside long names, a label is wider than its axis
            if axes.xaxis.label.get_window_extent().x1 > figure.bbox.x1:
                axes.set_xlabel(axes.get_xlabel(), loc="right")


def short(name: str) -> str:
    """Return a name as an axis has room for it: of a long one, its two ends."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 2 - 1]}…{name[-LONGEST // 2 :]}"


def png(drawing: Drawing) -> bytes:
    """Return the figure as PNG, without a date or a version in it."""
    from PIL import Image

    with Image.open(io.BytesIO(_bytes(drawing, "png", {"Software": None}, dpi=DPI))) as image:
        palette = image.convert("RGB").quantize(PALETTE, dither=Image.Dither.NONE)  # a fifth of the bytes
    file = io.BytesIO()
    palette.save(file, "PNG", optimize=True, dpi=(DPI, DPI))
    return file.getvalue()


def pdf(drawing: Drawing) -> bytes:
    """Return the figure as PDF, its fonts embedded as TrueType, without a date or a version in it."""
    nothing = dict.fromkeys(("CreationDate", "Producer", "Creator"))
    return _bytes(drawing, "pdf", {"Title": drawing.title, **nothing})


def _bytes(drawing: Drawing, kind: str, metadata: Mapping[str, Any], **options: Any) -> bytes:
    import matplotlib

    with matplotlib.rc_context(_RC), io.BytesIO() as file:
        drawing.figure.savefig(file, format=kind, metadata=dict(metadata), **options)
        return file.getvalue()


def colour(place: int) -> str:
    """Return the colour of the system at `place` of the leaderboard."""
    return COLOURS[place % len(COLOURS)]


def marker(place: int) -> str:
    """Return the marker of the system at `place`: colour and marker together repeat after 49."""
    return MARKERS[(place + place // len(COLOURS)) % len(MARKERS)]


def percent_axis(axis: Any, label: str) -> None:
    """Label an axis whose values are percent."""
    axis.set_major_locator(_locator())
    axis.axes.grid(axis=axis.axis_name, color="#dddddd", linewidth=0.5)
    axis.axes.set_axisbelow(True)
    axis.set_label_text(label)


def _locator() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(5, steps=[1, 2, 5, 10])


def legend(figure: Figure, axes: Axes, columns: int = 2) -> None:
    """Put the legend of `axes` under the figure, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(labels) or 1))
