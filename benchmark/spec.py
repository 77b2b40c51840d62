"""What a study is: one frozen specification, from the command line or a YAML file, and its digest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from benchmark import fetch, protocols, registry, space
from benchmark.schema import (
    NOT_HASHED,
    SCHEMA_VERSION,
    SerbenchError,
    UsageError,
    of_system,
    searched_system,
    study_digest,
)
from benchmark.space import Space

SPACES = Path(__file__).parent.parent / "search_spaces"
SAMPLERS = ("tpe", "random")
KINDS: dict[str, Any] = {  # annotation of a field → what a study file may hold
    "str": str, "int": int, "bool": bool, "float": (int, float), "float | None": (int, float, type(None)),
    "tuple[str, ...]": list, "tuple[int, ...]": list, "Mapping[str, str]": dict,
}  # fmt: skip


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
        check_names(self.corpus, self.protocol)
        registry.closest(self.sampler, SAMPLERS, "sampler")
        if not re.fullmatch(r"\w[\w.@-]*", self.name):
            raise UsageError(f"a study's name has letters, digits, . _ - only, but got {self.name!r}")
        for name in ("trials", "seeds", "inner_folds", "concurrency"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, but got {getattr(self, name)}")
        if not self.systems:
            raise UsageError("a study needs at least one system: name one with --families")
        if len(set(self.systems)) < len(self.systems):
            raise UsageError(f"a system is named twice: {', '.join(self.systems)}")
        for system in self.systems:
            _check_pretraining(system, self.space(system))

    def space(self, system: str) -> Space:
        """Return the search space of `system`."""
        family = registry.family(of_system(system)[0])
        return space.parse(self.spaces[system], f"{system}.yaml", family).of(system)

    def digest(
        self, corpus_digest: str, fingerprint: str, features: Mapping[str, str], weights: Mapping[str, str]
    ) -> str:
        """Return the study's digest (`study_digest`)."""
        spaces = {system: self.space(system).digest for system in self.systems}
        return study_digest(asdict(self), spaces, corpus_digest, fingerprint, features, weights)

    def to_yaml(self, digests: Mapping[str, Any]) -> str:
        """Return the text of study.yaml: enough to run the study again."""
        yaml.SafeDumper.add_representer(str, _text)
        content = {"schema_version": SCHEMA_VERSION, **_plain(asdict(self)), "digests": dict(digests)}
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def _check_pretraining(system: str, found: Space) -> None:
    """Refuse a name of pretraining that nothing backs: random weights would stand under it."""
    pretrained = found.weights or any(map(registry.weights_of, found.features.split("+")))
    if found.start != "none" and not pretrained:
        raise SerbenchError(
            f"{system}.yaml: pretraining must be none, since it names no weights and its features, "
            f"{found.features}, have none, but got {found.start!r}"
        )


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _plain(content: dict[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in content.items()}


def default_protocol(corpus: str) -> str:
    """Return the protocol that a bare `run` uses."""
    return "luna-jimenez-5fold" if corpus == "ravdess" else "speaker-5fold"


def read_spaces(systems: tuple[str, ...], folder: Path | None) -> dict[str, str]:
    """Return system → text of its YAML in `folder` (default: the packaged spaces), `<system>` or `<family>`.

    A bare family that has pretrained weights is named with its default: `cnn` is `cnn@audioset`.
    `svm.2` is a second search of `svm`: what differs between them is what chance in a search does.

    Raises:
        UsageError: unknown family or pretraining. SerbenchError: an invalid YAML, with file and line.
    """
    texts = {}
    for system in systems:
        family, pretraining, search = of_system(system)
        registry.closest(family, registry.names("families"), "family")
        path = _file(system, folder)
        found = space.load(path)  # without the family, whose import takes seconds, a name is told at once
        offered = {"none", *found.weights} if found.weights else {found.start}
        if (pretraining and pretraining not in offered) or system.endswith("@"):
            if "@" in path.stem:
                raise SerbenchError(f"{path}: pretraining must be {pretraining}, as the file's name says")
            registry.closest(searched_system(system), known_systems(folder), "system")
        loaded = space.load(path, registry.family(family))
        # without weights svm@none is svm, but svm@audioset has a space of its own
        named = f"{family}@{loaded.of(system).start}" if loaded.weights else path.stem
        texts[f"{named}.{search}" if system.endswith(f".{search}") else named] = loaded.text
    return texts


def _file(system: str, folder: Path | None) -> Path:
    family, pretraining, _ = of_system(system)
    names = [path.stem for path in _files(folder)]
    own = next((name for name in (f"{family}@{pretraining}", family) if name in names), None)
    if own is None:
        held = f"holds {', '.join(names)}" if names else "holds none"
        raise UsageError(f"{system} needs a space {family}.yaml, but {folder or SPACES} {held}")
    return (folder or SPACES) / f"{own}.yaml"


def _files(folder: Path | None) -> list[Path]:
    if folder and not folder.is_dir():
        raise UsageError(f"--spaces must name a folder of YAML files, but {folder} is none")
    return sorted((folder or SPACES).glob("*.yaml"))


def known_systems(folder: Path | None = None) -> tuple[str, ...]:
    """Return every system that the spaces of `folder` (default: the packaged ones) describe, sorted."""
    systems = set()
    for path in _files(folder):
        loaded = space.load(path)
        variants = [f"{path.stem}@{name}" for name in (*loaded.weights, "none")] if loaded.weights else []
        systems.update([path.stem] if "@" in path.stem else variants or [path.stem])
    return tuple(sorted(systems))


def needed_weights(system: str, found: Space) -> tuple[str, ...]:
    """Return the names of the pretrained weights that a system and its features need."""
    names = (found.of(system).start_weights, *map(registry.weights_of, found.features.split("+")))
    return tuple(dict.fromkeys(name for name in names if name))


def at_hand(
    cache: Path, folder: Path | None = None, *, gpu: bool = False
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the systems that can run here, and the others with what they lack.

    That is weights which are not in the cache, with the command that brings them, or a whole GPU.
    """
    have, skipped = [], {}
    for system in known_systems(folder):
        found = space.load(_file(system, folder))
        missing = [name for name in needed_weights(system, found) if not fetch.weights(name, cache)]
        if missing:
            skipped[system] = f"its weights are not here: {fetch.command(missing[0])}"
        elif found.resources["gpus"] >= 1 and not gpu:
            skipped[system] = (
                "its trials take hours without a GPU; a smaller network: benchmark/studies/deep.yaml"
            )
        else:
            have.append(system)
    return tuple(have), skipped


def read_study(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of a study file, and the digests it was frozen with (empty if it never ran).

    Raises:
        SerbenchError: unknown key or value of the wrong type, with file and line.
    """
    allowed = sorted({f.name for f in fields(StudySpec)} | {"schema_version", "digests"})
    found = space.check_keys(space.load_yaml(path), allowed, "study", ("corpus", "systems"))
    for f in (f for f in fields(StudySpec) if f.name in found):
        value, kind = found[f.name], str(f.type)
        if not isinstance(value, KINDS[kind]) or isinstance(value, bool) != (kind == "bool"):
            raise SerbenchError(f"{found.where(f.name)}: {f.name} must be {kind}, but got {value!r}")
    if found.get("schema_version", SCHEMA_VERSION) != SCHEMA_VERSION:
        raise SerbenchError(f"{path}: schema_version must be {SCHEMA_VERSION}; this program reads no other")
    settings = {key: value for key, value in found.items() if key not in ("schema_version", "digests")}
    return settings, dict(found.get("digests") or {})


def check_names(corpus: str | None, protocol: str | None) -> None:
    """Raise UsageError with the nearest match where a corpus or a protocol that is named is unknown."""
    if corpus:
        registry.closest(corpus, registry.names("corpora"), "corpus")
    if protocol:
        registry.closest(protocol, protocols.NAMES, "protocol")


def make_spec(settings: Mapping[str, Any], spaces: Path | None = None) -> StudySpec:
    """Return the study of `settings` (StudySpec's keys, None for a default).

    A system's space comes from the folder `spaces` if given, else from `settings`, else from the package.

    Raises:
        UsageError: no corpus, an unknown name, a number out of range.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    if "corpus" not in given:
        raise UsageError("run needs --corpus NAME or a study file: see `serbench list corpora`")
    protocol = given.get("protocol", default_protocol(given["corpus"]))
    check_names(given["corpus"], protocol)  # before a family is imported
    systems = tuple(given.get("systems", registry.names("families")))
    for system in systems:
        registry.closest(of_system(system)[0], registry.names("families"), "family")
    frozen = {} if spaces else given.get("spaces", {})
    texts = [
        item
        for system in systems
        for item in (
            [(system, frozen[system])] if system in frozen else read_spaces((system,), spaces).items()
        )
    ]  # a list: a system that is named twice is refused below
    made = {
        "systems": tuple(system for system, _ in texts), "spaces": dict(texts),
        "folds": tuple(given.get("folds", ())), "protocol": protocol,
        "name": given.get("name", f"{given['corpus']}-{protocol}"),
    }  # fmt: skip
    return StudySpec(**{**given, **made})


def resolve(
    path: Path | None, options: Mapping[str, Any], spaces: Path | None
) -> tuple[StudySpec, dict[str, Any]]:
    """Return the study of a file and the options over it, and the digests that it must come out with.

    A frozen file with other options is another study: no digests.
    """
    settings, frozen = read_study(path) if path else ({}, {})
    given = {key: value for key, value in options.items() if value is not None}
    changed = spaces is not None or set(given) - set(NOT_HASHED)
    return make_spec(settings | given, spaces), {} if changed else frozen
