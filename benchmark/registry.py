"""Names from the files in corpora/, features/ and families/; one import on demand."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType

from benchmark.schema import UsageError, nearest


def names(kind: str) -> tuple[str, ...]:
    """Return what is registered under `kind` (corpora, features, families), sorted."""
    folder = Path(__file__).parent / kind
    return tuple(sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_")))


def about(kind: str) -> dict[str, str]:
    """Return what is registered under `kind`, each with the first sentence of its file, which is not run."""
    said = {name: ast.get_docstring(_source(kind, name)) for name in names(kind)}
    return {name: (text or "").split("\n\n")[0].replace("\n", " ").rstrip(".") for name, text in said.items()}


def weights_of(feature: str) -> str | None:
    """Return the name of the weights that a feature set needs: WEIGHTS in its file, which is not run."""
    for node in _source("features", closest(feature, names("features"), "feature set")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "WEIGHTS":
            return str(ast.literal_eval(node.value))
    return None


def _source(kind: str, name: str) -> ast.Module:
    return ast.parse((Path(__file__).parent / kind / f"{name}.py").read_text(encoding="utf-8"))


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
