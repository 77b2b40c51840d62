"""Numbers that others published under the same protocol, kept in `published.csv` with source and caveat.

They stand below a rule beside fold means, as papers report them, and are never ranked or tested: their
predictions are not at hand. A `note` (human listeners) had another task and answer set: it is told in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmark.files import read_csv
from benchmark.schema import SerbenchError

FILE = Path(__file__).with_name("published.csv")
SHARES = ("uar", "accuracy", "macro_f1", "auc")  # from 0 to 1; empty: not published


@dataclass(frozen=True)
class Published:
    """A number from a paper."""

    kind: str  # system: shown below the rule; note: told in words
    corpus: str
    protocol: str  # empty for a note on the corpus as such
    system: str
    values: Mapping[str, float]  # of SHARES, those that the paper gives
    source: str
    doi: str
    arxiv: str
    caveat: str

    @property
    def reference(self) -> str:
        """The source with what finds it: `Ma et al. 2024 (EmoBox), table 4, arXiv:2406.07162`."""
        found = [f"doi:{self.doi}"] * bool(self.doi) + [f"arXiv:{self.arxiv}"] * bool(self.arxiv)
        return ", ".join([self.source, *found])

    @property
    def note(self) -> str:
        """What is to be known of a number that is told in words alone."""
        told = [
            f"{name.upper() if name == 'uar' else name} {100 * v:.1f} %" for name, v in self.values.items()
        ]
        return (
            f"{self.system[:1].upper()}{self.system[1:]}: {', '.join(told)} ({self.reference}); {self.caveat}"
        )


def read(path: Path = FILE) -> list[Published]:
    """Read every published number.

    Raises:
        SerbenchError: a value that is no share, a kind that is neither system nor note, or no source.
    """
    return [_checked(row, f"{path.name}: {row['system']}") for row in read_csv(path)]


def _checked(row: Mapping[str, str], where: str) -> Published:
    if row["kind"] not in ("system", "note") or not row["source"]:
        raise SerbenchError(f"{where}: kind must be system or note, and source must be given")
    try:
        values = {name: float(row[name]) for name in SHARES if row[name]}
    except ValueError as error:
        raise SerbenchError(f"{where}: {error}") from None
    if not values or not all(0 <= value <= 1 for value in values.values()):
        raise SerbenchError(f"{where}: values must be shares from 0 to 1, at least one, but got {values}")
    text = ("kind", "corpus", "protocol", "system", "source", "doi", "arxiv", "caveat")
    return Published(values=values, **{key: row[key] for key in text})


def of(corpus: str, protocol: str, known: Iterable[Published] | None = None) -> list[Published]:
    """Return the numbers of this corpus and protocol, in the file's order, notes on the corpus last.

    Nothing is returned where there is no system to stand beside: a note alone says nothing of a protocol.
    """
    own = [p for p in (read() if known is None else known) if p.corpus == corpus]
    systems = [p for p in own if p.kind == "system" and p.protocol == protocol]
    notes = [p for p in own if p.kind == "note" and p.protocol in ("", protocol)]
    return systems + notes if systems else []
