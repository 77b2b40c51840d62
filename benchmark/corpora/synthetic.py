"""Speech-like clips made by a source-filter model: the embedded corpus that needs no download.

A train of glottal pulses, tilted in spectrum, passes three formant resonators for each vowel of a statement
(Klatt 1980, https://doi.org/10.1121/1.383940), and noise is added. Speakers differ in pitch, vocal tract,
rate, loudness, breath and in *how* they show each emotion, which is what leaks: a classifier that has heard
the speaker knows it, one that has not must do with what all share. Every number comes from a generator seeded
by the clip's name, so that the files are the same byte for byte.
"""

from __future__ import annotations

import re
import tempfile
import wave
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

from benchmark.schema import CorpusCard, SerbenchError, Utterance

VERSION = "1"  # goes up whenever the clips change
RATE = 16_000  # Hz
SPEAKERS = 10
STATEMENTS = ("aieou", "oaeia", "euoai", "iaoue")
TAKES = 2
# Spreads in units of the emotions' own; chosen so that an SVM gets about .65 on new and .77 on known speakers
STYLE = 0.35  # how far speakers differ in showing an emotion
TAKE = 0.2  # how far takes of one speaker differ
OWN = 0.3  # how far speakers differ whatever they show
FORMANTS = {  # Hz, adult male, Peterson & Barney (1952)
    "a": (730, 1090, 2440),
    "e": (530, 1840, 2480),
    "i": (270, 2290, 3010),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
}
# What an emotion shifts: log pitch, log pitch range, log rate, energy (dB / 6), tilt, breath (Scherer 2003)
EMOTIONS: dict[str, tuple[float, ...]] = {
    "neutral": (0.0, -0.3, 0.0, 0.0, 0.0, 0.0),
    "happy": (0.8, 0.9, 0.3, 0.6, 0.5, 0.0),
    "sad": (-0.6, -0.8, -0.8, -0.8, -0.7, 0.4),
    "angry": (0.5, 0.6, 0.4, 1.1, 1.0, -0.3),
    "fearful": (1.0, -0.1, 0.8, 0.0, 0.2, 0.7),
    "disgust": (-0.4, 0.3, -0.5, 0.2, 0.3, 0.6),
}
SPREAD = (0.29, 0.81, 0.29, 0.9, 0.63, 1.08)  # what one unit of each shift means
CARD = CorpusCard(
    name="synthetic",
    title="Synthetic source-filter voices",
    classes=tuple(EMOTIONS),
    citation="made by serbench",
    licence="CC0-1.0",
    version=VERSION,
    official_clips=SPEAKERS * len(EMOTIONS) * len(STATEMENTS) * TAKES,
)


@dataclass(frozen=True)
class Voice:
    """A speaker: base pitch in Hz, formant scale, and the shifts (emotions, 6) of each emotion."""

    pitch: float
    tract: float
    shifts: np.ndarray


def card(root: Path | None = None) -> CorpusCard:
    """Return the card, the same whatever `root` is."""
    return CARD


def scan(root: Path) -> list[Utterance]:
    """Return the clips under `root`, sorted by id.

    Raises:
        SerbenchError: a name is not of this corpus, or there is no clip.
    """
    utterances = []
    for file in sorted(root.glob("*.wav")):
        match = re.fullmatch(r"(\d{2})-([a-z]+)-(\d)-(\d)", file.stem)
        if not match or match[2] not in EMOTIONS:
            raise SerbenchError(
                f"synthetic: {file.name}: a name must be SPEAKER-EMOTION-STATEMENT-TAKE; remove it"
            )
        speaker, label, statement, _ = match.groups()
        columns = {"gender": "male" if int(speaker) % 2 else "female", "statement": statement}
        utterances.append(Utterance(file.stem, file.name, speaker, label, columns))
    if not utterances:
        raise SerbenchError(f"synthetic: clips must be in {root}, but there is none; leave --root out")
    return utterances


def generate(folder: Path) -> None:
    """Make the new folder `folder` with every clip, or nothing where it is there.

    It is made aside and then renamed: a break leaves nothing half-made, and two processes may do it at once.
    """
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as aside:
        made = Path(aside) / folder.name
        made.mkdir()
        statements, takes = range(1, len(STATEMENTS) + 1), range(1, TAKES + 1)
        for speaker, emotion, statement, take in product(range(1, SPEAKERS + 1), EMOTIONS, statements, takes):
            name = f"{speaker:02d}-{emotion}-{statement}-{take}.wav"
            _write(made / name, clip(speaker, emotion, statement, take))
        try:
            made.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was first
                raise


def clip(speaker: int, emotion: str, statement: int, take: int) -> np.ndarray:
    """Return one clip: (frames,) float64 in ±1 at RATE."""
    voice = _voice(speaker)
    order = list(EMOTIONS)
    draw = np.random.default_rng([2, speaker, order.index(emotion), statement, take])
    shift = (voice.shifts[order.index(emotion)] + TAKE * draw.standard_normal(6)) * SPREAD
    pitch, span, rate, energy, tilt, breath = shift
    vowels = STATEMENTS[statement - 1]
    frames = int(RATE * 1.2 * np.exp(-rate))
    time = np.linspace(0, 1, frames, endpoint=False)
    melody = np.sin(2 * np.pi * (1.5 * time + draw.random())) - 0.8 * (time - 0.5)
    contour = voice.pitch * np.exp(pitch + 0.12 * np.exp(span) * melody + 0.01 * draw.standard_normal(frames))
    phase = np.cumsum(contour) / RATE
    pulses = np.diff(np.floor(phase), prepend=0.0) * (1 + 0.1 * draw.standard_normal(frames))
    source = lfilter([1.0], [1, -np.clip(0.9 - 0.12 * tilt, 0.5, 0.97)], pulses)
    source += 0.02 * np.exp(breath) * draw.standard_normal(frames)
    spoken = np.concatenate(
        [
            _resonate(part, np.array(FORMANTS[vowel]) * voice.tract) * np.hanning(len(part)) ** 0.3
            for vowel, part in zip(vowels, np.array_split(source, len(vowels)), strict=True)
        ]
    )
    level = 0.05 * 2.0**energy
    spoken *= level / np.sqrt(np.mean(spoken**2))
    pause = np.zeros(RATE // 20)
    whole = np.concatenate([pause, spoken, pause])
    return np.clip(whole + 0.004 * draw.standard_normal(len(whole)), -1, 1)


def _voice(speaker: int) -> Voice:
    draw = np.random.default_rng([1, speaker])
    male = speaker % 2
    pitch = (115 if male else 195) * np.exp(0.12 * draw.standard_normal())
    tract = (1.0 if male else 1.16) * np.exp(0.05 * draw.standard_normal())
    own = OWN * draw.standard_normal(6)  # this speaker's rate, loudness, breathiness … whatever the emotion
    style = STYLE * draw.standard_normal((len(EMOTIONS), 6))
    return Voice(pitch, tract, np.array(list(EMOTIONS.values())) + own + style)


def _resonate(source: np.ndarray, formants: np.ndarray) -> np.ndarray:
    """Pass `source` (frames,) through a cascade of two-pole resonators at `formants` Hz."""
    for centre, width in zip(formants, (70.0, 100.0, 150.0), strict=True):
        radius = np.exp(-np.pi * width / RATE)
        poles = [1.0, -2 * radius * np.cos(2 * np.pi * centre / RATE), radius**2]
        source = lfilter([sum(poles)], poles, source)
    return source


def _write(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.round(samples * 32767).astype("<i2").tobytes())
