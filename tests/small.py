"""A small corpus of real files: a CSV and the WAVs beside it, for tests of preparing and of the cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000


def noise(seed: int, seconds: float = 0.4, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """Noise of one's own for each seed: (frames, channels)."""
    return np.random.default_rng(seed).uniform(-0.4, 0.4, (round(seconds * rate), channels))


def write(folder: Path, clips: int = 6, label_of: dict[int, str] | None = None) -> Path:
    """Write clips c000.wav … of 3 speakers with labels angry and calm in turn; return the CSV's path."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["path,speaker,label,place"]
    for number in range(clips):
        soundfile.write(folder / f"c{number:03d}.wav", noise(number), RATE)
        label = (label_of or {}).get(number, ("angry", "calm")[number % 2])
        lines.append(f"c{number:03d}.wav,s{number % 3},{label},room {number % 2}")
    (folder / "clips.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "clips.csv"
