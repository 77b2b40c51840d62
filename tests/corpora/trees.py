"""The acted corpora as they lie on a disk: names after the rules of their releases, audio made of noise."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile

from benchmark import registry

NAMES = ("crema_d", "emo_db", "savee", "tess")
TESS_ROOT = "TESS Toronto emotional speech set data"
TESS_FOLDERS = {"OAF_ps": "OAF_Pleasant_surprise", "OAF_fear": "OAF_Fear", "OAF_sad": "OAF_Sad"}
TESS_FOLDERS |= {"YAF_ps": "YAF_pleasant_surprised"}


def path_of(name: str, id_: str) -> str:
    """The path of a clip in its release, oddities included."""
    if name == "crema_d":
        return f"AudioWAV/{id_.replace('1040_ITH_SAD_XX', '1040_ITH_SAD_X')}.wav"
    if name == "emo_db":
        return f"wav/{id_}.wav"
    if name == "savee":
        return f"AudioData/{id_.replace('_', '/')}.wav"
    talker, _, emotion = id_.split("_")
    folder = TESS_FOLDERS.get(f"{talker}_{emotion}", f"{talker}_{emotion}")
    return f"{TESS_ROOT}/{folder}/{id_.replace('OAF_bite_neutral', 'OA_bite_neutral')}.wav"


def paths(name: str) -> list[str]:
    """Every path of the release."""
    return [path_of(name, id_) for id_ in registry.corpus(name).official_digests()]


def touch(root: Path, *files: str) -> Path:
    """Make empty files: enough for a scan."""
    for folder in {(root / file).parent for file in files}:
        folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        (root / file).touch()
    return root


def speak(root: Path, files: Iterable[str], rate: int = 16_000) -> Path:
    """Write 0.1 s of noise to each file, of its own."""
    for number, file in enumerate(files):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng([number, rate]).uniform(-0.4, 0.4, rate // 10)
        soundfile.write(root / file, noise, rate)
    return root
