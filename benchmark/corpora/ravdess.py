"""RAVDESS, the speech part, audio only: 1,440 clips of 24 actors.

Source: Livingstone & Russo (2018), https://doi.org/10.1371/journal.pone.0196391, Zenodo record 1188976.
A clip is known by its name, `MM-CC-EE-II-SS-RR-AA` (modality, channel, emotion, intensity, statement,
repetition, actor), and by the digest of its decoded samples, so that WAV and FLAC copies are one corpus.
`ravdess_digests.csv` holds the first 16 hexadecimal digits of each (`audio.content_digest`), a row an actor.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

from benchmark.corpora import _release as release
from benchmark.schema import CorpusCard, Quarantined, Utterance

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


def card(root: Path | None = None) -> CorpusCard:
    """Return the card, the same whatever `root` is."""
    return CARD


def scan(root: Path) -> list[Utterance | Quarantined]:
    """Return the clips in the `Actor_*` folders anywhere under `root`; nothing is decoded.

    Files whose names do not parse (`bad_name`) or are there twice (`doubled`) come as quarantined.

    Raises:
        SerbenchError: there is none.
    """
    none = (
        f"ravdess: Actor_* folders with .wav or .flac files must be under the root, but {root} has none; "
        "give --root, or run `serbench fetch ravdess`"
    )
    return release.scan(root, _files(root), lambda file: (file.stem, _problem(file)), _utterance, none)


def official_digests() -> dict[str, str]:
    """Return for each official clip the first 16 hexadecimal digits of its content digest."""
    with Path(__file__).with_name("ravdess_digests.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {f"{code}-{row['actor']}": row[code] for row in rows for code in row if code != "actor"}


def _files(root: Path) -> list[Path]:
    """Return audio files under `Actor_*` folders, sorted; hidden ones (AppleDouble) are not clips."""
    folders = [root, *root.rglob("Actor_*")] if root.name.startswith("Actor_") else root.rglob("Actor_*")
    files = {file for folder in folders for file in folder.rglob("*") if not file.name.startswith(".")}
    return sorted(file for file in files if file.suffix.lower() in release.SUFFIXES and file.is_file())


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
