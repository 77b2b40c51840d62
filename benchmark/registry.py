"""Names from the files in corpora/, features/ and families/; one import on demand."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType

from benchmark.schema import UsageError, nearest


def names(kind: str) -> tuple[str, ...]:
    """Return what is registered under `kind` (corpora, features, families), sorted."""
    folder = Path(__file__).parent / kind
    return tuple(sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_")))


def closest(value: str, known: Iterable[str], what: str) -> str:
    """Return `value` if it is in `known`.

    Raises:
        UsageError: otherwise, with the nearest match and the whole list.
    """
    known = list(known)
    if value in known:
        return value
    raise UsageError(f"unknown {what} {value!r}: {nearest(value, known)}")


def corpus(name: str) -> ModuleType:
    """Return the module of a corpus: `card(root)`, `scan(root)` and what else it offers."""
    return import_module(f"benchmark.corpora.{closest(name, names('corpora'), 'corpus')}")


def feature(name: str) -> ModuleType:
    """Return the module of a feature set: `columns()`, `extract(samples)`, `digest()`."""
    return import_module(f"benchmark.features.{closest(name, names('features'), 'feature set')}")


def family(name: str) -> ModuleType:
    """Return the module of a model family: `steps`, `start`, `load`."""
    return import_module(f"benchmark.families.{closest(name, names('families'), 'family')}")
