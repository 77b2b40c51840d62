"""Corpus → checked corpus with quarantine → one table of features. No more than a clip is held at a time."""

from __future__ import annotations

import atexit
import logging
import math
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmark import audio, fetch, registry
from benchmark.cache import Cache
from benchmark.cores import spread
from benchmark.files import sha256
from benchmark.schema import Corpus, FeatureTable, Quarantined, SerbenchError, UsageError, Utterance, digest
from benchmark.sequences import Sequences

log = logging.getLogger(__name__)
Result = TypeVar("Result")
MAX_BAD = 0.01  # share of a corpus that may be quarantined
FEW = 32  # files: fewer are decoded faster than processes start
SHOWN = 5  # items of a list in a note


def prepare(
    name: str,
    root: Path | None,
    cache_folder: Path,
    *,
    strict: bool = False,
    allow_modified: bool = False,
    max_bad: float = MAX_BAD,
) -> tuple[Corpus, Path]:
    """Decode and check every clip of a corpus; return it and the folder that its paths start from.

    Without `root`, a corpus that can generate itself does, into the cache; another is looked for there.
    Files that can't be used are quarantined, up to the share `max_bad` of the corpus (none if `strict`).
    With `allow_modified`, what is no file of the corpus, or differs from its official release, is recorded.

    Raises:
        UsageError: no root and nothing in the cache.
        SerbenchError: too many bad files; one id or one audio with two meanings; a corpus that is modified.
    """
    module = registry.corpus(name)
    source = root or _own_root(module, name, cache_folder)
    base = source.parent if source.is_file() else source
    scanned = module.scan(source)
    strange = [file for file in scanned if isinstance(file, Quarantined)]
    left_out = [f"{file.path}: {file.detail}" for file in strange]
    if not allow_modified:
        _refuse_modified(name, left_out, "leave such files out")
    clips = sorted((file for file in scanned if isinstance(file, Utterance)), key=lambda clip: clip.id)
    for one, two in pairwise(clips):
        if one.id == two.id:
            raise SerbenchError(f"{one.path} and {two.path} have one id, {one.id!r}: rename or remove one")

    inspect = partial(_inspect, base)
    results = map(inspect, clips) if len(clips) < FEW else spread(inspect, clips)
    heard = list(_shown(results, f"checking {name}", len(clips)))
    bad = [result for result in heard if isinstance(result, Quarantined)]
    _refuse_bad(bad, len(clips), 0 if strict else max_bad, "leave --strict out" if strict else "")

    decoded = [result for result in heard if isinstance(result, Utterance)]
    contradicting = _two_labels(decoded, allow_modified)
    accepted = [clip for clip in decoded if clip.path not in {file.path for file in contradicting}]
    official = module.official_digests() if hasattr(module, "official_digests") else {}
    differing = differences(accepted, official)
    if not allow_modified:
        _refuse_modified(name, differing, "accept such clips")

    card = module.card(source)
    quarantined = sorted([*strange, *bad, *contradicting], key=lambda file: file.path)
    missing = sorted(set(official) - {clip.id for clip in accepted})
    notes = [
        *dict.fromkeys(f"left out: {file.detail}" for file in contradicting),
        *(f"the same audio: {' and '.join(twin.path for twin in twins)}" for twins in _twins(accepted)),
        *_flag_notes(accepted),
        *_listed(f"of {len(official)} official clips missing or quarantined", missing),
        *_listed("clips differ from the official release (--allow-modified)", differing),
        *_listed("files left out (--allow-modified)", left_out),
    ]
    complete = len(accepted) == card.official_clips if card.official_clips else not quarantined
    modified = bool(strange or contradicting or differing)
    return Corpus(card, tuple(accepted), tuple(quarantined), complete, modified, tuple(notes)), base


def feature_digest(name: str, cache_folder: Path) -> str:
    """Return what tells features apart: settings and version and, where they need any, the weights."""
    if "+" in name:
        return digest([feature_digest(part, cache_folder) for part in name.split("+")])
    feature = registry.feature(name)
    path = feature_weights(name, cache_folder)
    return digest([feature.digest(), sha256(path)]) if path else str(feature.digest())


def feature_weights(name: str, cache_folder: Path) -> Path | None:
    """Return the file of the weights that a feature set needs, None if it needs none."""
    needed = getattr(registry.feature(name), "WEIGHTS", None)
    return weights_file(needed, cache_folder, f"feature set {name}") if needed else None


def weights_file(name: str, cache_folder: Path, what: str) -> Path:
    """Return the file of pretrained weights.

    Raises:
        UsageError: it is not in the cache; the command that brings it is named.
    """
    path = fetch.weights(name, cache_folder)
    if path is None:
        raise UsageError(f"{what} needs the weights {name}: {fetch.command(name)}")
    return path


def describe(clip: audio.Decoded, feature_name: str, weights: Path | None) -> np.ndarray:
    """Return one feature set of a clip: a row (columns,) or frames (T, columns)."""
    feature = registry.feature(feature_name)
    samples = audio.resample(audio.mono(clip), clip.sample_rate, feature.SAMPLE_RATE)
    return feature.extract(samples, weights) if weights else feature.extract(samples)


def feature_table(corpus: Corpus, root: Path, feature_name: str, cache_folder: Path) -> FeatureTable:
    """Return the features of every utterance, from the cache where its content was seen before.

    `a+b` sets the columns of two feature sets beside one another.

    Raises:
        SerbenchError: a file is no longer what `prepare` checked.
        UsageError: the features need pretrained weights that are not in the cache.
    """
    if "+" in feature_name:
        parts = [feature_table(corpus, root, part, cache_folder) for part in feature_name.split("+")]
        columns = tuple(column for part in parts for column in part.columns)
        beside = np.hstack([np.asarray(part.values) for part in parts])
        return FeatureTable(feature_name, parts[0].ids, columns, beside)
    feature = registry.feature(feature_name)
    weights = feature_weights(feature_name, cache_folder)
    store = Cache(cache_folder / "features")
    version = feature_digest(feature_name, cache_folder)
    keys = [digest([clip.digest, version]) for clip in corpus.utterances]
    clips = dict(zip(keys, corpus.utterances, strict=True))  # doubled audio is computed once
    rows = {key: row for key in clips if (row := store.get(key)) is not None}
    missing = {key: clip for key, clip in clips.items() if key not in rows}
    results = spread(partial(_extract, root, feature_name, weights), list(missing.values()))
    for key, row in zip(missing, _shown(results, feature_name, len(clips), len(rows)), strict=True):
        store.put(key, row)
        rows[key] = row
    ordered = [rows[key] for key in keys]
    sequence = getattr(feature, "SEQUENCE", False)
    values = Sequences.of(ordered) if sequence else np.stack(ordered).astype(np.float32, copy=False)
    ids = tuple(clip.id for clip in corpus.utterances)
    return FeatureTable(feature_name, ids, tuple(feature.columns()), values)


def manifest_rows(corpus: Corpus) -> list[dict[str, Any]]:
    """Return the rows of manifest.csv: accepted clips by id, then quarantined files with their reason."""
    extra = sorted({column for clip in corpus.utterances for column in clip.columns})

    def row(clip: Utterance, **status: str) -> dict[str, Any]:
        cells = vars(clip) | {"flags": " ".join(clip.flags)} | status
        columns = cells.pop("columns")
        return cells | {name: columns.get(name, "") for name in extra if name not in cells}

    unknown = {"sample_rate": "", "channels": "", "seconds": "", "status": "quarantined"}
    return [
        *(row(clip, status="accepted", reason="", detail="") for clip in corpus.utterances),
        *(
            row(Utterance("", file.path, "", ""), **unknown, reason=file.reason, detail=file.detail)
            for file in corpus.quarantined
        ),
    ]


def differences(clips: Sequence[Utterance], official: Mapping[str, str]) -> list[str]:
    """Return a line for each clip whose audio is not that of the official release.

    Args:
        official: the first digits of each clip's content digest, by id; empty where none are known.
    """
    owner: dict[str, str] = {}
    for id_, begin in official.items():
        owner.setdefault(begin, id_)
    lines = []
    for clip in clips if official else ():
        begin = clip.digest[: len(official[clip.id])]
        other = owner.setdefault(begin, clip.id)  # two clips may share audio that is no official one, too
        if begin != official[clip.id]:
            lines.append(
                f"{clip.path} holds the audio of {other}"
                if other != clip.id
                else f"{clip.path} has digest {begin}, the official clip {official[clip.id]}"
            )
    return lines


def _own_root(module: ModuleType, name: str, cache_folder: Path) -> Path:
    corpora = cache_folder / "corpora"
    if not hasattr(module, "generate"):
        if (corpora / name).is_dir():
            return corpora / name
        way = f", or run `serbench fetch {name}`" if name in fetch.KNOWN else " FOLDER or CSV"
        raise UsageError(f"corpus {name!r} must be at hand: give --root{way}")
    folder = corpora / f"{name}-{module.CARD.version}"
    try:
        module.generate(folder)
    except OSError as error:
        log.warning("cache %s can't be written (%s): a temporary folder is used", folder, error.strerror)
        temporary = Path(tempfile.mkdtemp(prefix="serbench-"))
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        folder = temporary / name
        module.generate(folder)
    return folder


def _inspect(root: Path, u: Utterance) -> Utterance | Quarantined:
    try:
        clip = audio.decode(root / u.path)
    except audio.Rejected as error:
        return Quarantined(u.path, error.reason, error.detail)
    facts: dict[str, Any] = {"channels": clip.channels, "seconds": clip.seconds, "flags": clip.flags}
    return replace(u, digest=clip.digest, sample_rate=clip.sample_rate, **facts)


def _extract(root: Path, feature_name: str, weights: Path | None, u: Utterance) -> np.ndarray:
    try:
        clip = audio.decode(root / u.path)
    except audio.Rejected as error:
        raise SerbenchError(f"{u.path} was readable and is not now ({error.reason}): run again") from error
    if clip.digest != u.digest:
        raise SerbenchError(f"{u.path} has changed since it was checked: run again")
    return describe(clip, feature_name, weights)


def _shown(results: Iterable[Result], what: str, total: int, done: int = 0) -> Iterable[Result]:
    """Pass `results` on, with a progress bar on standard error where that is a terminal."""
    console = Console(stderr=True)
    return track(results, what, total, done, console=console, disable=not console.is_terminal)


def _refuse_bad(bad: Sequence[Quarantined], total: int, limit: float, otherwise: str = "") -> None:
    if len(bad) > limit * total:
        share = math.ceil(1000 * len(bad) / total) / 1000
        otherwise = otherwise or f"go on without them with --max-bad {share:g}"
        counts = ", ".join(f"{n} {reason}" for reason, n in sorted(Counter(q.reason for q in bad).items()))
        raise SerbenchError(
            f"{len(bad)} of {total} files can't be used ({counts}), allowed are {limit:.0%}; the first is "
            f"{bad[0].path}: {bad[0].reason}, {bad[0].detail}; mend them, or {otherwise}"
        )


def _refuse_modified(name: str, lines: Sequence[str], otherwise: str) -> None:
    if lines:
        more = f" ({len(lines)} such files)" if len(lines) > 1 else ""
        raise SerbenchError(
            f"{name}: {lines[0]}{more}; bring the release back, or {otherwise} with --allow-modified"
        )


def _two_labels(clips: Sequence[Utterance], allow_modified: bool) -> list[Quarantined]:
    """Refuse audio with two labels or, if allowed, return all clips that hold it."""
    out: list[Quarantined] = []
    for twins in _twins(clips):
        if len({twin.label for twin in twins}) > 1:
            named = " and ".join(f"{twin.path} ({twin.label})" for twin in twins)
            if not allow_modified:
                raise SerbenchError(
                    f"one audio must have one label, but {named} are the same: remove the wrong one, "
                    "or leave them out with --allow-modified"
                )
            detail = f"the same audio with two labels: {named}"
            out += [Quarantined(twin.path, "two_labels", detail) for twin in twins]
    return out


def _twins(clips: Sequence[Utterance]) -> list[list[Utterance]]:
    by_digest: dict[str, list[Utterance]] = defaultdict(list)
    for clip in clips:
        by_digest[clip.digest].append(clip)
    return [same for same in by_digest.values() if len(same) > 1]


def _flag_notes(clips: Sequence[Utterance]) -> list[str]:
    by_flag: dict[str, list[str]] = defaultdict(list)
    for clip in clips:
        for flag in clip.flags:
            by_flag[flag].append(clip.id)
    return [line for flag in sorted(by_flag) for line in _listed(f"clips {flag}", by_flag[flag])]


def _listed(what: str, items: Sequence[str]) -> list[str]:
    shown = ", ".join(items[:SHOWN]) + (", …" if len(items) > SHOWN else "")
    return [f"{len(items)} {what}: {shown}"] if items else []
