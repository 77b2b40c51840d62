"""Frozen types that travel down the line, and the error that a user sees.

Everything above this module imports it; it imports nothing of the project.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the command line imports this module and must be instant
    import numpy as np

    from benchmark.sequences import Sequences

SCHEMA_VERSION = 1
# what may differ between two runs of one study: it changes when or how it is told, not what comes out
NOT_HASHED = ("name", "concurrency", "bootstrap_seed")
_OF_THE_FILE = ("schema_version", "digests")  # keys of study.yaml that are no setting


class SerbenchError(Exception):
    """The user's input or machine is at fault: one line with rule, value and cure, no traceback."""

    exit_status = 1


class UsageError(SerbenchError):
    """The command itself is wrong (unknown name, refused overwrite): exit status 2."""

    exit_status = 2


def canonical_json(value: Any) -> str:
    """Return the one JSON text of `value`: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """Return the SHA-256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def study_digest(
    study: Mapping[str, Any],
    spaces: Mapping[str, str],
    corpus_digest: str,
    fingerprint: str,
    features: Mapping[str, str],
    weights: Mapping[str, str],
) -> str:
    """Return the digest of everything that a study's numbers depend on, times and names aside.

    Args:
        study: its settings, as study.yaml has them.
        spaces: system → digest of its search space.
        fingerprint: of the split.
        features: feature set → digest of the code and settings that make it.
        weights: name → SHA-256 of the pretrained weights that training starts from.
    """
    content = {key: study[key] for key in study if key not in (*NOT_HASHED, *_OF_THE_FILE)}
    if study["time_budget"] is None:
        del content["time_budget"]
    content["spaces"] = dict(spaces)
    started = [dict(weights)] if weights else []
    return digest([content, corpus_digest, fingerprint, dict(features), *started])


def settings_digest(*modules: Mapping[str, Any]) -> str:
    """Return the digest of the constants of modules, given their `globals()` or `vars`."""
    return digest([{name: value for name, value in module.items() if name.isupper()} for module in modules])


LISTED = 60  # names that an error lists


def nearest(value: str, known: Iterable[str]) -> str:
    """Return the cure for an unknown name: `did you mean 'x'? known: x, y`; of many names their number."""
    known = list(known)
    near = difflib.get_close_matches(value, known, n=1)
    listed = f"known: {', '.join(known)}" if len(known) <= LISTED else f"{len(known)} are known"
    return (f"did you mean {near[0]!r}? " if near else "") + listed


@dataclass(frozen=True)
class CorpusCard:
    """What is known of a corpus before a file is read."""

    name: str
    title: str
    classes: tuple[str, ...]  # fixed order: the column order of every probability and confusion matrix
    citation: str
    licence: str
    version: str = ""
    doi: str = ""
    official_clips: int | None = None


@dataclass(frozen=True)
class Utterance:
    """One clip. What `prepare` learns by decoding is empty after a mere scan."""

    id: str  # unique in the corpus, the file's stem where stems are unique
    path: str  # relative to the corpus root, POSIX separators
    speaker: str
    label: str
    columns: Mapping[str, str] = field(default_factory=dict)  # gender, intensity, statement, …
    digest: str = ""  # SHA-256 of the decoded samples: equal for a WAV and its FLAC copy
    sample_rate: int = 0  # Hz, of the source
    channels: int = 0  # of the source
    seconds: float = 0.0
    flags: tuple[str, ...] = ()  # silent, narrow_band, downmixed, capped, …: kept, but said
    fingerprint: str = ""  # what it sounds like: `fingerprints.to_text`; empty where it was not computed


@dataclass(frozen=True)
class Quarantined:
    """A file left out, with a reason code of FAULTS.md and what was seen."""

    path: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Corpus:
    """The checked corpus of a study: utterances sorted by id, each with a content hash."""

    card: CorpusCard
    utterances: tuple[Utterance, ...]
    quarantined: tuple[Quarantined, ...] = ()
    complete: bool = True  # every official clip is there and accepted
    modified: bool = False  # accepted although it differs from the official release (`--allow-modified`)
    notes: tuple[str, ...] = ()  # what a reader should know: duplicates, stereo clips, overrides

    @property
    def digest(self) -> str:
        """SHA-256 over (id, speaker, label, content hash) of every utterance."""
        return digest([[u.id, u.speaker, u.label, u.digest] for u in self.utterances])


@dataclass(frozen=True)
class Fold:
    """One outer fold: ids of utterances; validation groups partition `train`."""

    number: int  # from 1
    test: tuple[str, ...]
    train: tuple[str, ...]
    test_speakers: tuple[str, ...]
    train_speakers: tuple[str, ...]
    validation_groups: tuple[tuple[str, ...], ...]  # utterance ids; inner fold i validates on group i


@dataclass(frozen=True)
class Split:
    """A protocol applied to a corpus."""

    protocol: str
    diagnostic: bool  # speakers may stand on both sides (random-80-20)
    folds: tuple[Fold, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the content of splits.json, its fingerprint included."""
        folds = [
            {
                "fold": fold.number,
                "test_speakers": sorted(fold.test_speakers),
                "train_speakers": sorted(fold.train_speakers),
                "test": sorted(fold.test),
                "train": sorted(fold.train),
                "validation_groups": [sorted(group) for group in fold.validation_groups],
            }
            for fold in self.folds
        ]
        return {
            "schema_version": SCHEMA_VERSION,
            "protocol": self.protocol,
            "diagnostic": self.diagnostic,
            "fingerprint": digest(folds),
            "folds": folds,
        }

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the canonical JSON of the sorted folds, validation groups included."""
        return str(self.to_json()["fingerprint"])


@dataclass(frozen=True)
class FeatureTable:
    """One feature set over a corpus, a row or a sequence of frames an utterance."""

    name: str
    ids: tuple[str, ...]
    columns: tuple[str, ...]
    values: np.ndarray | Sequences  # (utterances, columns) float32, or frames × columns of each; finite

    def rows(self, ids: tuple[str, ...]) -> np.ndarray | Sequences:
        """Return the rows or sequences of `ids`, in that order."""
        position = {id_: row for row, id_ in enumerate(self.ids)}
        return self.values[[position[id_] for id_ in ids]]


def searched_system(system: str) -> str:
    """Return what a search is of: `svm.2` is one of `svm`; a name without a number is its own."""
    name, _, number = system.rpartition(".")
    return name if number.isdigit() else system


def is_first(system: str) -> bool:
    """Whether a search is the first of its system: of several, it brings the published row."""
    return of_system(system)[2] == 1


def of_system(system: str) -> tuple[str, str, int]:
    """Return a system's family, its pretraining ("" where it names none) and which of its searches it is.

    `cnn@audioset.2` is the second search of `cnn@audioset`; a system without a number is its first and only.
    """
    name = searched_system(system)
    family, _, pretraining = name.partition("@")
    return family, pretraining, int(system[len(name) + 1 :] or 1)
