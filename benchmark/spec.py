"""What a study is: one frozen specification, from the command line or a YAML file, and its digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml

from benchmark import registry, space
from benchmark.schema import SCHEMA_VERSION, SerbenchError, UsageError, digest
from benchmark.space import Space

SPACES = Path(__file__).parent.parent / "search_spaces"
SAMPLERS = ("tpe", "random")
# what may differ between two runs of one study: it changes when or where, not what
KINDS: dict[str, Any] = {  # annotation of a field → what a study file may hold
    "str": str, "int": int, "bool": bool, "float": (int, float), "float | None": (int, float, type(None)),
    "tuple[str, ...]": list, "tuple[int, ...]": list, "Mapping[str, str]": dict,
}  # fmt: skip
NOT_HASHED = ("name", "concurrency", "time_budget", "bootstrap_seed")


@dataclass(frozen=True)
class StudySpec:
    """Corpus × protocol × systems × budget × seeds. Field names are the keys of a study file."""

    name: str
    corpus: str
    protocol: str
    systems: tuple[str, ...]
    spaces: Mapping[str, str]  # system → text of its YAML
    trials: int = 40
    seeds: int = 5  # refits of each selected configuration
    inner_folds: int = 3
    sampler: str = "tpe"
    folds: tuple[int, ...] = ()  # only these outer folds; empty: all
    random_baseline: bool = True  # random search at the same budget beside TPE, on validation only
    prune: bool = True
    concurrency: int = 1  # trials of one search at once
    time_budget: float | None = None  # seconds of wall time of each search
    seed: int = 0  # of searches and refits
    bootstrap_seed: int = 0
    allow_modified: bool = False
    max_bad: float = 0.01  # share of quarantined clips that stops the study

    def __post_init__(self) -> None:
        registry.closest(self.sampler, SAMPLERS, "sampler")
        for name in ("trials", "seeds", "inner_folds", "concurrency"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, but got {getattr(self, name)}")
        if not self.systems:
            raise UsageError("a study needs at least one system: name one with --families")
        if len(set(self.systems)) < len(self.systems):
            raise UsageError(f"a system is named twice: {', '.join(self.systems)}")

    def space(self, system: str) -> Space:
        """Return the search space of `system`."""
        return space.parse(self.spaces[system], f"{system}.yaml")

    def with_default_name(self) -> StudySpec:
        """Return the spec named `<corpus>-<protocol>` where no name was given."""
        return self if self.name else replace(self, name=f"{self.corpus}-{self.protocol}")

    def digest(self, corpus_digest: str, fingerprint: str, features: Mapping[str, str]) -> str:
        """Return the study's digest: everything that a number depends on, times and names aside."""
        content = {key: value for key, value in asdict(self).items() if key not in NOT_HASHED}
        content["spaces"] = {system: self.space(system).digest for system in self.systems}
        return digest([content, corpus_digest, fingerprint, dict(features)])

    def to_yaml(self, digests: Mapping[str, Any]) -> str:
        """Return the text of study.yaml: enough to run the study again."""
        yaml.SafeDumper.add_representer(str, _text)
        content = {"schema_version": SCHEMA_VERSION, **_plain(asdict(self)), "digests": dict(digests)}
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _plain(content: dict[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in content.items()}


def default_protocol(corpus: str) -> str:
    """Return the protocol that a bare `run` uses."""
    return "luna-jimenez-5fold" if corpus == "ravdess" else "speaker-5fold"


def read_spaces(systems: tuple[str, ...], folder: Path | None) -> dict[str, str]:
    """Return system → text of the family's YAML in `folder` (default: the packaged spaces).

    Raises:
        UsageError: unknown family or pretraining. SerbenchError: an invalid YAML, with file and line.
    """
    texts = {}
    for system in systems:
        family, _, pretraining = system.partition("@")
        registry.closest(family, registry.names("families"), "family")
        path = (folder or SPACES) / f"{family}.yaml"
        loaded = space.load(path)
        if pretraining and pretraining != (loaded.pretraining or "none"):
            offered = loaded.pretraining or "none"
            raise UsageError(f"{family} has no pretraining {pretraining!r}: its space offers {offered}")
        texts[system] = loaded.text
    return texts


def read_study(path: Path, **overrides: Any) -> tuple[StudySpec, dict[str, Any]]:
    """Return the spec of a study file, and the digests it was frozen with (empty if it never ran).

    Args:
        path: a YAML file with StudySpec's keys; `spaces` and what has a default may be left out.
        overrides: values that the command line gave.

    Raises:
        SerbenchError: unknown key or value of the wrong type, with file and line.
    """
    allowed = {f.name for f in fields(StudySpec)} | {"schema_version", "digests"}
    read = space.check_keys(space.load_yaml(path), allowed, "study", ("corpus", "systems"))
    for f in (f for f in fields(StudySpec) if f.name in read):
        value, kind = read[f.name], str(f.type)
        if not isinstance(value, KINDS[kind]) or isinstance(value, bool) != (kind == "bool"):
            raise SerbenchError(f"{read.where(f.name)}: {f.name} must be {kind}, but got {value!r}")
    found = dict(read)
    digests = found.pop("digests", None) or {}
    if any(value is not None for key, value in overrides.items() if key not in NOT_HASHED):
        digests = {}  # another study than the frozen one
    if found.pop("schema_version", SCHEMA_VERSION) != SCHEMA_VERSION:
        raise SerbenchError(f"{path}: schema_version must be {SCHEMA_VERSION}; this program reads no other")
    found.update({key: value for key, value in overrides.items() if value is not None})
    found["systems"] = tuple(found["systems"])
    found["folds"] = tuple(found.get("folds") or ())
    found.setdefault("protocol", default_protocol(found["corpus"]))
    found.setdefault("name", "")
    if "spaces" not in found:
        found["spaces"] = read_spaces(found["systems"], None)
    spaces = {system: found["spaces"].get(system, "") for system in found["systems"]}
    return StudySpec(**found | {"spaces": spaces}).with_default_name(), dict(digests)
