"""Functionals of one clip against librosa's MFCC, chroma and mel means (the usual recipe), on one core.

Both are handed the same 16 kHz samples; neither decodes. They are different descriptions: this program adds
pitch, voicing, modulation and correlations. At librosa's own frames it looks at a third of the moments; the
second comparison gives it this program's, and there the mel energies of both must be the same.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import librosa
import numpy as np
from _bench import Comparison, Side

from benchmark import audio
from benchmark.corpora import ravdess, synthetic
from benchmark.features import _spectral as spectral
from benchmark.features import functionals

REPEATS = 5
HERE = Path(__file__).parents[2]
FRAMES = {"n_fft": spectral.FFT, "hop_length": spectral.HOP, "win_length": spectral.WINDOW}


def clips(count: int) -> tuple[str, list[np.ndarray]]:
    """Return what they are and `count` clips, from RAVDESS where it is."""
    root = Path(os.environ.get("SERBENCH_RAVDESS", HERE.parent / "shared" / "data" / "ravdess"))
    if not root.is_dir():
        names = [(n % 10 + 1, list(synthetic.EMOTIONS)[n % 6]) for n in range(count)]
        return "synthetic clips", [synthetic.clip(*name, 1, 1).astype(np.float32) for name in names]
    found = ravdess.scan(root)
    decoded = [audio.decode(root / clip.path) for clip in found[:: len(found) // count][:count]]
    return "RAVDESS clips", [
        audio.resample(audio.mono(d), d.sample_rate, functionals.SAMPLE_RATE) for d in decoded
    ]


def librosa_means(samples: np.ndarray, **frames: int) -> np.ndarray:
    """Return the means over time of 40 MFCC, 12 chroma and 128 mel bands: (180,)."""
    given = {"y": samples, "sr": functionals.SAMPLE_RATE, **frames}
    mfcc = librosa.feature.mfcc(**given, n_mfcc=40)
    parts = [mfcc, librosa.feature.chroma_stft(**given), librosa.feature.melspectrogram(**given)]
    return np.concatenate([part.mean(axis=1) for part in parts])


def same_mel(samples: np.ndarray) -> bool:
    """Whether both give the same mel energies at this program's frames and bands."""
    peer = librosa.feature.melspectrogram(
        y=samples, sr=functionals.SAMPLE_RATE, **FRAMES, n_mels=functionals.MEL_BANDS, fmin=50, htk=True,
        norm=1, pad_mode="constant",
    ).T  # fmt: skip
    own = spectral.power(samples) @ spectral.mel_bank(functionals.MEL_BANDS)
    return own.shape == peer.shape and np.allclose(own, peer, rtol=1e-2, atol=1e-3 * peer.max())


def comparisons(tiny: bool = False) -> Iterator[Comparison]:
    what, heard = clips(4 if tiny else 40)
    columns = len(functionals.columns())

    def same(ours: np.ndarray, other: np.ndarray) -> bool:
        shapes = ours.shape == (len(heard), columns) and other.shape == (len(heard), 180)
        return shapes and bool(np.isfinite(ours).all() and np.isfinite(other).all()) and same_mel(heard[0])

    for name, frames in (("its own frames", {}), ("this program's frames", FRAMES)):
        yield Comparison(
            f"features of {len(heard)} {what}",
            "clips",
            Side(f"{columns} functionals", len(heard), lambda: np.stack([*map(functionals.extract, heard)])),
            Side(
                f"librosa MFCC + chroma + mel, 180 means, {name}",
                len(heard),
                lambda frames=frames: np.stack([librosa_means(samples, **frames) for samples in heard]),
            ),
            same,
        )
