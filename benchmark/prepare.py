"""Corpus → checked corpus with quarantine → one table of features. No more than a clip is held at a time."""

from __future__ import annotations

import atexit
import logging
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from benchmark import audio, registry
from benchmark.cache import Cache
from benchmark.cores import spread
from benchmark.schema import Corpus, FeatureTable, Quarantined, SerbenchError, UsageError, Utterance, digest

log = logging.getLogger(__name__)
Progress = Callable[[int, int], None]  # (done, total)
FEW = 32  # files: fewer are decoded faster than processes start


def prepare(
    name: str,
    root: Path | None,
    cache_folder: Path,
    *,
    strict: bool = False,
    allow_modified: bool = False,
    max_bad: float = 0.01,
    progress: Progress | None = None,
) -> tuple[Corpus, Path]:
    """Decode and check every clip of a corpus; return it and the folder that its paths start from.

    Without `root`, a corpus that can generate itself does, into the cache; another is looked for there.
    Files that can't be used are quarantined, up to the share `max_bad` of the corpus (none if `strict`).

    Raises:
        UsageError: no root and nothing in the cache.
        SerbenchError: too many bad files; one id or one audio with two meanings; what the corpus refuses.
    """
    module = registry.corpus(name)
    source = root or _own_root(module, name, cache_folder)
    base = source.parent if source.is_file() else source
    scan = getattr(module, "scan_modified", None) if allow_modified else None
    scanned, refused = scan(source) if scan else (module.scan(source), [])
    scanned = sorted(scanned, key=lambda clip: clip.id)
    for one, two in pairwise(scanned):
        if one.id == two.id:
            raise SerbenchError(f"{one.path} and {two.path} have one id, {one.id!r}: rename or remove one")
    inspect = partial(_inspect, base)
    results = map(inspect, scanned) if len(scanned) < FEW else spread(inspect, scanned)
    heard = list(_counted(results, 0, len(scanned), progress))
    bad = [result for result in heard if isinstance(result, Quarantined)]
    _refuse_bad(bad, len(scanned), 0 if strict else max_bad)
    decoded = [result for result in heard if isinstance(result, Utterance)]
    accepted, contradicting, notes = _same_audio(decoded, allow_modified)
    quarantined = sorted([*refused, *bad, *contradicting], key=lambda file: file.path)
    complete, modified = not quarantined, bool(contradicting)
    if hasattr(module, "check"):
        complete, differs, said = module.check(accepted, quarantined, allow_modified)
        modified, notes = modified or differs, [*notes, *said]
    else:
        notes += _doubled(accepted) + _flagged(accepted)
    corpus = Corpus(
        module.card(source), tuple(accepted), tuple(quarantined), complete, modified, tuple(notes)
    )
    return corpus, base


def feature_table(
    corpus: Corpus, root: Path, feature_name: str, cache_folder: Path, progress: Progress | None = None
) -> FeatureTable:
    """Return the features of every utterance, from the cache where its content was seen before.

    Raises:
        SerbenchError: a file is no longer what `prepare` checked.
    """
    feature = registry.feature(feature_name)
    store = Cache(cache_folder / "features")
    version = feature.digest()
    keys = [digest([clip.digest, version]) for clip in corpus.utterances]
    clips = dict(zip(keys, corpus.utterances, strict=True))  # doubled audio is computed once
    rows = {key: row for key in clips if (row := store.get(key)) is not None}
    missing = {key: clip for key, clip in clips.items() if key not in rows}
    results = spread(partial(_extract, root, feature_name), list(missing.values()))
    for key, row in zip(missing, _counted(results, len(rows), len(clips), progress), strict=True):
        store.put(key, row)
        rows[key] = row
    values = np.stack([rows[key] for key in keys]).astype(np.float32, copy=False)
    ids = tuple(clip.id for clip in corpus.utterances)
    return FeatureTable(feature_name, ids, tuple(feature.columns()), values)


def manifest_rows(corpus: Corpus) -> list[dict[str, Any]]:
    """Return the rows of manifest.csv: accepted clips by id, then quarantined files with their reason."""
    extra = sorted({column for clip in corpus.utterances for column in clip.columns})
    rows: list[dict[str, Any]] = []
    for clip in [*corpus.utterances, *(Utterance("", file.path, "", "") for file in corpus.quarantined)]:
        row = vars(clip) | {"flags": " ".join(clip.flags), "status": "accepted", "reason": "", "detail": ""}
        del row["columns"]
        rows.append(row | {name: clip.columns.get(name, "") for name in extra if name not in row})
    for row, file in zip(rows[len(corpus.utterances) :], corpus.quarantined, strict=True):
        row |= {"sample_rate": "", "channels": "", "seconds": "", "status": "quarantined"}
        row |= {"reason": file.reason, "detail": file.detail}
    return rows


def _own_root(module: ModuleType, name: str, cache_folder: Path) -> Path:
    folder = cache_folder / "corpora" / name
    if not hasattr(module, "generate"):
        if folder.is_dir():
            return folder
        raise UsageError(f"corpus {name!r} must be at hand: give --root, or run `serbench fetch {name}`")
    try:
        module.generate(folder)
    except OSError as error:
        log.warning("cache %s can't be written (%s): a temporary folder is used", folder, error.strerror)
        folder = Path(tempfile.mkdtemp(prefix="serbench-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        module.generate(folder)
    return folder


def _inspect(root: Path, u: Utterance) -> Utterance | Quarantined:
    try:
        clip = audio.decode(root / u.path)
    except audio.Rejected as error:
        return Quarantined(u.path, error.reason, error.detail)
    facts: dict[str, Any] = {"channels": clip.channels, "seconds": clip.seconds, "flags": clip.flags}
    return replace(u, digest=clip.digest, sample_rate=clip.sample_rate, **facts)


def _extract(root: Path, feature_name: str, u: Utterance) -> np.ndarray:
    feature = registry.feature(feature_name)
    try:
        clip = audio.decode(root / u.path)
    except audio.Rejected as error:
        raise SerbenchError(f"{u.path} was readable and is not now ({error.reason}): run again") from error
    if clip.digest != u.digest:
        raise SerbenchError(f"{u.path} has changed since it was checked: run again")
    return feature.extract(audio.resample(audio.mono(clip), clip.sample_rate, feature.SAMPLE_RATE))


def _counted(results: Iterator[Any], done: int, total: int, progress: Progress | None) -> Iterator[Any]:
    for done, result in enumerate(results, done + 1):  # noqa: B020
        if progress:
            progress(done, total)
        yield result


def _refuse_bad(bad: list[Quarantined], total: int, limit: float) -> None:
    if len(bad) > limit * total:
        counts = ", ".join(f"{n} {reason}" for reason, n in sorted(Counter(q.reason for q in bad).items()))
        raise SerbenchError(
            f"{len(bad)} of {total} files can't be used ({counts}), allowed are {limit:.0%}; the first is "
            f"{bad[0].path}: {bad[0].reason}, {bad[0].detail}; mend or remove them"
        )


def _same_audio(
    clips: list[Utterance], allow_modified: bool
) -> tuple[list[Utterance], list[Quarantined], list[str]]:
    """Refuse audio with two labels, or split it off if allowed: kept clips, those left out, and notes."""
    out: list[Quarantined] = []
    notes: list[str] = []
    for twins in _twins(clips):
        if len({twin.label for twin in twins}) > 1:
            named = " and ".join(f"{twin.path} ({twin.label})" for twin in twins)
            if not allow_modified:
                raise SerbenchError(
                    f"one audio must have one label, but {named} are the same: remove the wrong one, "
                    "or leave them out with --allow-modified"
                )
            notes.append(f"left out, the same audio with two labels: {named}")
            out += [Quarantined(twin.path, "two_labels", f"the same audio: {named}") for twin in twins]
    gone = {file.path for file in out}
    return [clip for clip in clips if clip.path not in gone], out, notes


def _twins(clips: list[Utterance]) -> list[list[Utterance]]:
    by_digest: dict[str, list[Utterance]] = defaultdict(list)
    for clip in clips:
        by_digest[clip.digest].append(clip)
    return [same for same in by_digest.values() if len(same) > 1]


def _doubled(clips: list[Utterance]) -> list[str]:
    return [f"the same audio: {' and '.join(twin.path for twin in twins)}" for twins in _twins(clips)]


def _flagged(clips: list[Utterance]) -> list[str]:
    flags = sorted({flag for clip in clips for flag in clip.flags})
    ids = {flag: [clip.id for clip in clips if flag in clip.flags] for flag in flags}
    return [f"{len(ids[flag])} clips {flag}, the first {ids[flag][0]}" for flag in flags]
