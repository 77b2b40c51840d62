"""The leakage audit of anyone's split: a manifest and a split as files, whoever made them.

The manifest is a CSV with `speaker`, `label` and `id` or `path`, such as a bundle's manifest.csv; content
hashes and fingerprints come from its columns `digest` and `fingerprint`, or from the audio, where that lies
beside it. The split is a bundle's splits.json, or JSON with `train` and `test`, one or a list of `folds` of
them, as clips (ids, paths or stems) or as `train_speakers` and `test_speakers`. What else a fold may state:
`validation` (or `val`, `dev`, `valid`; or the speakers of one), `validation_groups`, `fitted_on` (clips of
scaling and statistics), `selected_on`. What it states beyond that is named, as nobody checked it.
"""

from __future__ import annotations

import json
import reprlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from benchmark import audit, bundle, fingerprints, foreign, restore
from benchmark.audit import Use
from benchmark.schema import Corpus, CorpusCard, Fold, SerbenchError, Split, Utterance, digest, nearest

COLUMNS = ("id", "path", *restore.STATUS)
STATUSES = {"accepted", "quarantined"}  # of a manifest.csv of this program
VALIDATION = ("validation", "val", "dev", "valid")
FOLD = {  # what a fold may state
    *("fold", "train", "test", "train_speakers", "test_speakers", "validation_groups"),
    *("fitted_on", "selected_on", *VALIDATION, *(f"{name}_speakers" for name in VALIDATION)),
}
ABOUT = {"schema_version", "protocol", "diagnostic", "fingerprint", "folds"}  # beside its folds


def review(manifest: Path, splits: Path, cache_folder: Path) -> dict[str, Any]:
    """Return the audit of a split, as audit.json has it.

    Raises:
        SerbenchError: a file that cannot be read, a fold without train or test, a clip that stands twice.
    """
    content, corpus = _read_json(splits), read_manifest(manifest)
    about = content if isinstance(content, Mapping) else {"folds": content}
    split, use = read_split(about, splits.stem, corpus, splits.name)
    corpus = _heard(corpus, manifest.parent, cache_folder)
    heard = all(clip.digest for clip in corpus.utterances)
    report = audit.audit(corpus, split, None, use, heard=heard)
    report["checks"] += [*_unknown(about), _fingerprint(about, split), _openings(splits, split)]
    return report | {"status": audit.worst(report["checks"])}


def read_manifest(path: Path) -> Corpus:
    """Return the clips of a manifest, with hash and fingerprint where there is a column."""
    sheet = foreign.read(path, path.name)
    sheet.need(["speaker", "label", *(["path"] if "id" not in sheet.header else [])])
    for line, row in sheet.rows:
        for name in ("speaker", "label"):
            if not row[name]:
                raise sheet.error(f"line {line}: {name} must be given, but is empty; fill it in")
    rows = [row for _, row in sheet.rows]
    if {row.get("status") for row in rows} <= STATUSES:
        rows = [row for row in rows if row["status"] == "accepted"]
    clips = tuple(map(_utterance, rows))
    doubled = [id_ for id_, times in Counter(clip.id for clip in clips).items() if times > 1]
    if doubled:
        raise sheet.error(f"each clip must stand once, but {min(doubled)} does not; correct it")
    if not clips:
        raise sheet.error("a clip must be accepted, but none is; name another manifest")
    try:
        fingerprints.from_text([clip.fingerprint for clip in clips if clip.fingerprint] or [""])
    except ValueError:
        rule = "fingerprint must be what this program writes, the same length in every line"
        raise sheet.error(f"{rule}; leave the column out") from None
    classes = tuple(sorted({clip.label for clip in clips}))
    return Corpus(CorpusCard("manifest", path.name, classes, "", ""), clips)


def _utterance(row: Mapping[str, str]) -> Utterance:
    id_ = row.get("id") or row["path"].rpartition(".")[0] or row["path"]
    own: dict[str, Any] = {name: row.get(name, "") for name in ("speaker", "label", "digest", "fingerprint")}
    columns = {name: cell for name, cell in row.items() if name not in (*own, *COLUMNS)}
    return Utterance(id_, row.get("path", "") or id_, columns=columns, **own)


def _heard(corpus: Corpus, root: Path, cache_folder: Path) -> Corpus:
    """Return the corpus with what its audio says, where a hash or a fingerprint lacks and audio is there."""
    known = corpus.utterances
    if all(clip.digest and clip.fingerprint for clip in known):
        return corpus
    if not all(clip.path and (root / clip.path).is_file() for clip in known):
        return corpus
    from benchmark import prepare  # decoding is heavy and not always needed
    from benchmark.cores import spread

    clips = []
    for clip in spread(partial(prepare.inspect, root), known):
        if not isinstance(clip, Utterance):
            raise SerbenchError(f"{clip.path}: {clip.reason}: {clip.detail}; mend it or leave it out")
        clips.append(clip)
    return prepare.fingerprinted(replace(corpus, utterances=tuple(clips)), root, cache_folder)


def read_split(
    about: Mapping[str, Any], name: str, corpus: Corpus, told: str
) -> tuple[Split, dict[int, Use]]:
    """Return the split that JSON states, and what it says of its use.

    Args:
        about: `folds`, or one fold itself.
        name: of a protocol that has none.
        told: begins an error.
    """
    parts, diagnostic = about.get("folds", [about]), about.get("diagnostic", False)
    if not isinstance(parts, Sequence) or not parts or not all(isinstance(part, Mapping) for part in parts):
        raise SerbenchError(f"{told}: folds must be a list of objects with train and test; correct it")
    if not isinstance(diagnostic, bool):
        raise SerbenchError(f"{told}: diagnostic must be true or false, but is {diagnostic!r}; correct it")
    find = restore.finder([{"id": clip.id, "path": clip.path} for clip in corpus.utterances])
    stated = [part.get("fold") for part in parts]
    if not all(type(number) is int and number >= 0 for number in stated) or len(set(stated)) < len(parts):
        stated = list(range(1, len(parts) + 1))
    folds = [_fold(part, number, corpus, find, told) for number, part in zip(stated, parts, strict=True)]
    split = Split(str(about.get("protocol", name)), diagnostic, tuple(folds))
    use = {fold.number: _use(part, fold, find, told) for fold, part in zip(folds, parts, strict=True)}
    # of this program: what is not stated is known
    if "folds" in about and about.get("fingerprint") == digest(about["folds"]):
        for number, own in audit.own_use(split).items():
            fitted, selected = use[number].fitted, use[number].selected
            use[number] = Use(
                own.fitted if fitted is None else fitted, own.selected if selected is None else selected
            )
    return split, use


def _fold(part: Mapping[str, Any], number: int, corpus: Corpus, find: restore.Find, told: str) -> Fold:
    where, sides = f"{told}: fold {number}", {}
    speaker = {clip.id: clip.speaker for clip in corpus.utterances}
    for side in ("test", "train"):
        clips = _side(part, side, speaker, find, where)
        if clips is None:
            there = f"has {', '.join(part)}" if part else "states nothing"
            raise SerbenchError(f"{where} needs {side} (clips) or {side}_speakers, but {there}; add it")
        sides[side] = clips
    groups = part.get("validation_groups", [])
    if not isinstance(groups, Sequence) or isinstance(groups, str):
        raise SerbenchError(
            f"{where}: validation_groups must be a list of lists, but is {reprlib.repr(groups)}"
        )
    groups = [_clips(group, "validation_groups", find, where) for group in groups]
    beside = [apart for name in VALIDATION if (apart := _side(part, name, speaker, find, where))]
    both = sorted(set(chain(*beside)) & set(sides["train"]))
    if both:
        rule = "a clip must be in training or in validation"
        raise SerbenchError(f"{where}: {rule}, but {both[0]} is in both; make it anew")
    sides["train"] = (*sides["train"], *dict.fromkeys(chain(*beside)))
    groups = [*groups, *beside]
    test, train = (
        tuple(sorted({speaker[id_] for id_ in sides[side] if id_ in speaker})) for side in ("test", "train")
    )
    return Fold(number, sides["test"], sides["train"], test, train, tuple(groups))


def _side(
    part: Mapping[str, Any], side: str, speaker: Mapping[str, str], find: restore.Find, where: str
) -> tuple[str, ...] | None:
    """Return the clips of a side, stated as such or by their speakers; None where it is not stated.

    Args:
        speaker: of each clip.
    """
    clips = _clips(part[side], side, find, where) if side in part else None
    key = f"{side}_speakers"
    if key not in part:
        return clips
    names, known = _names(part[key], key, where), set(speaker.values())
    for name in names:
        if name not in known:
            rule = f"{key} must be speakers of the manifest, but {name!r} is none"
            raise SerbenchError(f"{where}: {rule}: {nearest(name, sorted(known))}")
    wanted = set(names)
    if clips is not None:
        if wanted != {speaker[id_] for id_ in clips if id_ in speaker}:
            rule = f"{key} must be those of the clips in {side}"
            raise SerbenchError(f"{where}: {rule}, but others are; correct it, or leave one of them out")
        return clips
    return tuple(id_ for id_, name in speaker.items() if name in wanted)


def _use(part: Mapping[str, Any], fold: Fold, find: restore.Find, told: str) -> Use:
    fitted, selected = (
        _clips(part[key], key, find, f"{told}: fold {fold.number}") if key in part else None
        for key in ("fitted_on", "selected_on")
    )
    if selected is None and fold.validation_groups:
        selected = tuple(chain(*fold.validation_groups))
    return Use(fitted, selected)


def _clips(value: Any, key: str, find: restore.Find, where: str) -> tuple[str, ...]:
    """Return the ids of clips; a name that no clip has stays, for the audit to name it."""
    return tuple(find(name) or name for name in _names(value, key, where))


def _names(value: Any, key: str, where: str) -> list[str]:
    """Return a list of names; numbers may stand for names."""
    if not isinstance(value, list) or not all(type(name) in (str, int) for name in value):
        raise SerbenchError(
            f"{where}: {key} must be a list of names, but is {reprlib.repr(value)}; correct it"
        )
    return [str(name) for name in value]


def _unknown(about: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what was passed over: a side that this audit has no name for is not checked."""
    keys = [key for key in about if key not in (ABOUT if "folds" in about else ABOUT | FOLD)]
    keys += [key for part in about.get("folds", []) for key in part if key not in FOLD]
    if keys:
        told = ", ".join(dict.fromkeys(map(str, keys)))
        yield _one(
            "stated", "note", f"the split states what this audit has no name for, and did not check: {told}"
        )


def _fingerprint(about: Mapping[str, Any], split: Split) -> dict[str, Any]:
    stated = about.get("fingerprint")
    if stated is None:
        return _one("fingerprint", "note", f"the split states none; it is {split.fingerprint}")
    # its folds as they are read, or as they are written
    if stated != split.fingerprint and not ("folds" in about and stated == digest(about["folds"])):
        return _one("fingerprint", "red", f"the split states {stated}, but it is {split.fingerprint}")
    return _one("fingerprint", "green", "the split is the one that its fingerprint states")


def _openings(splits: Path, split: Split) -> dict[str, Any]:
    opened = bundle.count_openings(splits.resolve().parent.parent, split.fingerprint)
    if opened is None:
        return _one("openings", "not checked", "how often the test part was opened: no openings.csv is here")
    return _one("openings", "note", f"test parts of this split were opened {opened} times, a fold at a time")


def _one(name: str, status: str, reason: str) -> dict[str, Any]:
    finding = {"status": status, "reason": reason}
    return {"name": name, **finding, "findings": [finding]}


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SerbenchError(f"{path.name}: must be a readable JSON file, but: {error.strerror}") from error
    except ValueError as error:
        raise SerbenchError(f"{path.name}: must be JSON, but: {error}; correct it") from error
