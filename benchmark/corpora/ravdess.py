"""RAVDESS, the speech part, audio only: 1,440 clips of 24 actors.

Source: Livingstone & Russo (2018), https://doi.org/10.1371/journal.pone.0196391, Zenodo record 1188976.
A clip is known by its name, `MM-CC-EE-II-SS-RR-AA` (modality, channel, emotion, intensity, statement,
repetition, actor), and by the digest of its decoded samples, so that WAV and FLAC copies are one corpus.
`ravdess_digests.csv` holds the first 16 hexadecimal digits of each (`audio.content_digest`), a row an actor.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from benchmark.schema import CorpusCard, Quarantined, SerbenchError, Utterance

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")  # 01 to 08
ACTORS = tuple(f"{number:02d}" for number in range(1, 25))
FIELDS: dict[str, tuple[str, ...]] = {  # in the order of the name: what this corpus admits
    "modality": ("03",),
    "vocal channel": ("01",),
    "emotion": tuple(f"{number:02d}" for number in range(1, 9)),
    "intensity": ("01", "02"),
    "statement": ("01", "02"),
    "repetition": ("01", "02"),
    "actor": ACTORS,
}
SUFFIXES = (".flac", ".wav")
CARD = CorpusCard(
    name="ravdess",
    title="RAVDESS, speech, audio only",
    classes=EMOTIONS,
    citation="Livingstone SR, Russo FA (2018), The Ryerson Audio-Visual Database of Emotional Speech and "
    "Song (RAVDESS), PLoS ONE 13(5): e0196391",
    licence="CC BY-NC-SA 4.0",
    version="1.0.0",
    doi="10.1371/journal.pone.0196391",
    official_clips=1440,
)
KNOWN_DUPLICATES = frozenset({frozenset({"03-01-03-01-02-01-07", "03-01-03-01-02-02-07"})})


def card(root: Path | None = None) -> CorpusCard:
    """Return the card, the same whatever `root` is."""
    return CARD


def scan(root: Path) -> list[Utterance]:
    """Return the clips in the `Actor_*` folders anywhere under `root`, sorted by id; nothing is decoded.

    Raises:
        SerbenchError: there is none, a name does not parse, or two files have one name.
    """
    utterances, refused = scan_modified(root)
    if refused:
        first = refused[0]
        more = f" ({len(refused)} such files)" if len(refused) > 1 else ""
        raise SerbenchError(f"ravdess: {first.path}: {first.detail}{more}; {_cure(left_out=True)}")
    return utterances


def scan_modified(root: Path) -> tuple[list[Utterance], list[Quarantined]]:
    """Return what `scan` does, and beside it the files that `scan` refuses (`bad_name`, `doubled`).

    Raises:
        SerbenchError: no clip is under `root`.
    """
    clips: dict[str, Utterance] = {}
    refused = []
    for file in _files(root):
        path = file.relative_to(root).as_posix()
        problem = _problem(file)
        if problem:
            refused.append(Quarantined(path, "bad_name", problem))
        elif file.stem in clips:
            refused.append(Quarantined(path, "doubled", f"the same clip as {clips[file.stem].path}"))
        else:
            clips[file.stem] = _utterance(file.stem, path)
    if not clips and not refused:
        raise SerbenchError(
            f"ravdess: Actor_* folders with .wav or .flac files must be under the root, but {root} has none; "
            "give --root, or run `serbench fetch ravdess`"
        )
    return [clips[id_] for id_ in sorted(clips)], refused


def official_digests() -> dict[str, str]:
    """Return for each official clip the first 16 hexadecimal digits of its content digest."""
    with Path(__file__).with_name("ravdess_digests.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {f"{code}-{row['actor']}": row[code] for row in rows for code in row if code != "actor"}


def check(
    utterances: Sequence[Utterance], quarantined: Sequence[Quarantined], allow_modified: bool
) -> tuple[bool, bool, tuple[str, ...]]:
    """Compare decoded clips with the official release.

    Args:
        utterances: accepted clips, with digest and channels.
        quarantined: files left out, those of `scan_modified` included.
        allow_modified: accept what differs, and say so.

    Returns:
        Whether every official clip is there, whether anything differs from the release, and notes.

    Raises:
        SerbenchError: a clip differs from the release, or holds another's audio, and that is not allowed.
    """
    official = official_digests()
    differing = _differing(utterances, official)
    if differing and not allow_modified:
        more = f" ({len(differing)} such clips)" if len(differing) > 1 else ""
        raise SerbenchError(f"ravdess: {differing[0]}{more}; {_cure(left_out=False)}")
    left_out = [f"{q.path}: {q.detail}" for q in quarantined if q.reason in ("bad_name", "doubled")]
    present = {utterance.id for utterance in utterances}
    missing = sorted(set(official) - present)
    stereo = [utterance.id for utterance in utterances if utterance.channels == 2]
    notes = [
        f"{' and '.join(sorted(pair))} hold the same audio in the official release: both kept, in one fold"
        for pair in KNOWN_DUPLICATES
        if pair <= present
    ]
    notes += _listed(stereo, "stereo clips, downmixed")
    notes += _listed(missing, f"of {len(official)} official clips missing or quarantined")
    notes += _listed(differing, "clips differ from the official release (--allow-modified)")
    notes += _listed(left_out, "files left out (--allow-modified)")
    return not missing, bool(differing or left_out), tuple(notes)


def _files(root: Path) -> list[Path]:
    """Return audio files under `Actor_*` folders, sorted; hidden ones (AppleDouble) are not clips."""
    folders = [root, *root.rglob("Actor_*")] if root.name.startswith("Actor_") else root.rglob("Actor_*")
    files = {file for folder in folders for file in folder.rglob("*") if not file.name.startswith(".")}
    return sorted(file for file in files if file.suffix.lower() in SUFFIXES and file.is_file())


def _problem(file: Path) -> str:
    """Return the rule that the file's name breaks, or nothing."""
    if not re.fullmatch(r"[0-9]{2}(-[0-9]{2}){6}", file.stem):
        return "the name must be seven two-digit numbers joined by hyphens"
    values = dict(zip(FIELDS, file.stem.split("-"), strict=True))
    for field, allowed in FIELDS.items():
        if values[field] not in allowed:
            scope = " (speech, audio only)" if len(allowed) == 1 else ""
            must = allowed[0] if len(allowed) == 1 else f"{allowed[0]} to {allowed[-1]}"
            return f"{field} must be {must}{scope}, but is {values[field]}"
    if values["emotion"] == "01" and values["intensity"] == "02":
        return "neutral must have intensity 01, but has 02"
    folder = next(part for part in reversed(file.parts[:-1]) if part.startswith("Actor_"))
    if folder != f"Actor_{values['actor']}":
        return f"the name says actor {values['actor']}, but the folder is {folder}"
    return ""


def _utterance(stem: str, path: str) -> Utterance:
    _, _, emotion, intensity, statement, repetition, actor = stem.split("-")
    columns = {
        "gender": "male" if int(actor) % 2 else "female",
        "intensity": "normal" if intensity == "01" else "strong",
        "statement": statement,
        "repetition": repetition,
    }
    return Utterance(stem, path, actor, EMOTIONS[int(emotion) - 1], columns)


def _differing(utterances: Sequence[Utterance], official: dict[str, str]) -> list[str]:
    """Return a line for each clip whose digest is not the official one."""
    owner = {digest: id_ for id_, digest in reversed(official.items())}
    first: dict[str, str] = {}
    lines = []
    for clip in utterances:
        digest = clip.digest[:16]
        other = owner.get(digest) or first.setdefault(digest, clip.id)
        if digest == official[clip.id]:
            continue
        if other != clip.id:
            lines.append(f"{clip.path} holds the audio of {other}")
        else:
            lines.append(f"{clip.path} has digest {digest}, the official clip {official[clip.id]}")
    return lines


def _listed(items: Sequence[str], what: str) -> list[str]:
    shown = ", ".join(items[:5]) + (", …" if len(items) > 5 else "")
    return [f"{len(items)} {what}: {shown}"] if items else []


def _cure(left_out: bool) -> str:
    action = "leave such files out" if left_out else "accept such clips"
    return f"bring the release back with `serbench fetch ravdess`, or {action} with --allow-modified"
