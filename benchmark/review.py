"""The leakage audit of anyone's split: a manifest and a split as files, whoever made them.

The manifest is a CSV with `speaker`, `label` and `id` or `path`, such as a bundle's manifest.csv; content
hashes and fingerprints come from its columns `digest` and `fingerprint`, or from the audio, where that lies
beside it. The split is a bundle's splits.json, or JSON with `train` and `test`, one or a list of `folds` of
them, as clips (ids, paths or stems) or as `train_speakers` and `test_speakers`. What else a fold may state:
`validation` or `validation_groups`, `fitted_on` (clips of scaling and statistics), `selected_on`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from benchmark import audit, bundle, fingerprints, foreign, restore
from benchmark.audit import Use
from benchmark.schema import Corpus, CorpusCard, Fold, SerbenchError, Split, Utterance, digest

COLUMNS = ("id", "path", *restore.STATUS)


def review(manifest: Path, splits: Path, cache_folder: Path) -> dict[str, Any]:
    """Return the audit of a split, as audit.json has it.

    Raises:
        SerbenchError: a file that cannot be read, a fold without train or test, a clip that stands twice.
    """
    content, corpus = _read_json(splits), read_manifest(manifest)
    split, use = read_split(content, splits.stem, corpus, splits.name)
    corpus = _heard(corpus, manifest.parent, cache_folder)
    heard = all(clip.digest for clip in corpus.utterances)
    report = audit.audit(corpus, split, None, use, heard=heard)
    report["checks"] += [_fingerprint(content, split), _openings(splits, split)]
    return report | {"status": audit.worst(report["checks"])}


def read_manifest(path: Path) -> Corpus:
    """Return the clips of a manifest, with hash and fingerprint where there is a column."""
    sheet = foreign.read(path, path.name)
    sheet.need(["speaker", "label", *(["path"] if "id" not in sheet.header else [])])
    rows = [row for _, row in sheet.rows if row.get("status", "accepted") == "accepted"]
    clips = tuple(map(_utterance, rows))
    doubled = [id_ for id_, times in Counter(clip.id for clip in clips).items() if times > 1]
    if doubled or not clips:
        rule = f"each clip must stand once, but {min(doubled, default='no clip')} does not"
        raise sheet.error(f"{rule}; correct it")
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


def read_split(content: Any, name: str, corpus: Corpus, told: str) -> tuple[Split, dict[int, Use]]:
    """Return the split that JSON states, and what it says of its use.

    Args:
        name: of a protocol that has none.
        told: begins an error.
    """
    about = content if isinstance(content, Mapping) else {"folds": content}
    parts = about.get("folds", [about])
    if not isinstance(parts, Sequence) or not parts or not all(isinstance(part, Mapping) for part in parts):
        raise SerbenchError(f"{told}: folds must be a list of objects with train and test; correct it")
    find = restore.finder([{"id": clip.id, "path": clip.path} for clip in corpus.utterances])
    folds = [_fold(part, number, corpus, find, told) for number, part in enumerate(parts, 1)]
    split = Split(str(about.get("protocol", name)), bool(about.get("diagnostic", False)), tuple(folds))
    use = {fold.number: _use(part, fold, find) for fold, part in zip(folds, parts, strict=True)}
    if "fingerprint" in about:  # of this program: what is not stated is known
        for number, own in audit.own_use(split).items():
            fitted, selected = use[number].fitted, use[number].selected
            use[number] = Use(
                own.fitted if fitted is None else fitted, own.selected if selected is None else selected
            )
    return split, use


def _fold(part: Mapping[str, Any], number: int, corpus: Corpus, find: restore.Find, told: str) -> Fold:
    sides = {}
    for side in ("test", "train"):
        speakers = part.get(f"{side}_speakers")
        if side in part:
            sides[side] = _ids(part[side], find)
        elif speakers is not None:
            names = set(map(str, speakers))
            sides[side] = tuple(clip.id for clip in corpus.utterances if clip.speaker in names)
        else:
            rule = f"needs {side} (clips) or {side}_speakers"
            raise SerbenchError(f"{told}: fold {number} {rule}, but has {', '.join(part)}; add it")
    groups = [_ids(group, find) for group in part.get("validation_groups", ())]
    apart = _ids(part.get("validation", ()), find)
    if apart:
        both = sorted(set(apart) & set(sides["train"]))
        if both:
            rule = "a clip must be in training or in validation"
            raise SerbenchError(f"{told}: fold {number}: {rule}, but {both[0]} is in both; make it anew")
        sides["train"], groups = (*sides["train"], *apart), [*groups, apart]
    speaker = {clip.id: clip.speaker for clip in corpus.utterances}
    test, train = (
        tuple(sorted({speaker[id_] for id_ in sides[side] if id_ in speaker})) for side in ("test", "train")
    )
    told = str(part.get("fold", number))
    return Fold(
        int(told) if told.isdecimal() else number, sides["test"], sides["train"], test, train, tuple(groups)
    )


def _use(part: Mapping[str, Any], fold: Fold, find: restore.Find) -> Use:
    fitted, selected = (
        _ids(part[key], find) if key in part else None for key in ("fitted_on", "selected_on")
    )
    if selected is None and fold.validation_groups:
        selected = tuple(chain(*fold.validation_groups))
    return Use(fitted, selected)


def _ids(names: Sequence[Any], find: restore.Find) -> tuple[str, ...]:
    """Return the ids of clips; a name that no clip has stays, for the audit to name it."""
    return tuple(find(str(name)) or str(name) for name in names)


def _fingerprint(content: Any, split: Split) -> dict[str, Any]:
    stated = content.get("fingerprint") if isinstance(content, Mapping) else None
    if stated is None:
        return _one("fingerprint", "note", f"the split states none; it is {split.fingerprint}")
    if stated != digest(content["folds"]):
        return _one("fingerprint", "red", f"the split states {stated}, but it is {digest(content['folds'])}")
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
