"""SAVEE, audio: 480 clips of 4 male speakers, 7 emotions.

Source: Haq & Jackson (2010), https://doi.org/10.4018/978-1-61520-919-4.ch017, and
http://kahlan.eps.surrey.ac.uk/savee: 15 sentences for each emotion, 30 for neutral. The release names a clip
by folder and file, `DC/a01.wav`; flat copies say `DC_a01.wav`. Sentence numbers restart with each emotion.
With 4 speakers `loso` is the one speaker-independent protocol, and descriptive: no intervals, no ties.
"""

from __future__ import annotations

import re
from pathlib import Path

from benchmark.corpora import _release as release
from benchmark.schema import CorpusCard, Quarantined, Utterance

EMOTIONS = {
    "n": "neutral",
    "h": "happy",
    "sa": "sad",
    "a": "angry",
    "f": "fearful",
    "d": "disgust",
    "su": "surprised",
}
SENTENCES = dict.fromkeys(EMOTIONS, 15) | {"n": 30}  # how many of each emotion
SPEAKERS = ("DC", "JE", "JK", "KL")
CARD = CorpusCard(
    name="savee",
    title="SAVEE, audio only",
    classes=tuple(EMOTIONS.values()),
    citation="Haq S, Jackson PJB (2010), Multimodal Emotion Recognition, in Wang W (ed.), Machine Audition: "
    "Principles, Algorithms and Systems, IGI Global: 398-423",
    licence="free for research, after registration with the University of Surrey",
    version="",  # the release has none
    doi="10.4018/978-1-61520-919-4.ch017",
    official_clips=480,
)


def card(root: Path | None = None) -> CorpusCard:
    """Return the card, the same whatever `root` is."""
    return CARD


def scan(root: Path) -> list[Utterance | Quarantined]:
    """Return the .wav and .flac clips anywhere under `root`, sorted by id; nothing is decoded.

    Files whose names do not parse (`bad_name`) or are there twice (`doubled`) come as quarantined.

    Raises:
        SerbenchError: there is none.
    """
    none = (
        f"savee: .wav or .flac files such as DC/a01.wav or DC_a01.wav must be under the root, but {root} "
        "has none; give --root, the folder AudioData of the release"
    )
    return release.scan(root, release.audio_files(root), _identify, _utterance, none)


def official_digests() -> dict[str, str]:
    """Return each official clip with no beginning of a digest: none is known, so that any audio fits."""
    return {
        f"{speaker}_{emotion}{number:02d}": ""
        for speaker in SPEAKERS
        for emotion, count in SENTENCES.items()
        for number in range(1, count + 1)
    }


def _identify(file: Path) -> tuple[str, str]:
    folder = file.parent.name
    id_ = file.stem if "_" in file.stem else f"{folder}_{file.stem}"
    return id_, _problem(id_, folder)


def _problem(id_: str, folder: str) -> str:
    """Return the rule that name and folder break, or nothing."""
    match = re.fullmatch(r"(.+)_([a-z]+)([0-9]{2})", id_)
    if not match or match[1] not in SPEAKERS:
        return (
            f"the name must be SPEAKER_EMOTIONNUMBER or in a speaker's folder ({', '.join(SPEAKERS)}): DC_a01"
        )
    speaker, emotion, number = match.groups()
    if folder in SPEAKERS and folder != speaker:
        return f"the name says speaker {speaker}, but the folder is {folder}"
    if emotion not in EMOTIONS:
        return f"emotion must be one of {', '.join(EMOTIONS)}, but is {emotion}"
    if not 1 <= int(number) <= SENTENCES[emotion]:
        return f"number of emotion {emotion} must be 01 to {SENTENCES[emotion]}, but is {number}"
    return ""


def _utterance(id_: str, path: str) -> Utterance:
    speaker, code = id_.split("_")
    return Utterance(id_, path, speaker, EMOTIONS[code[:-2]], {"gender": "male", "sentence": code[-2:]})
