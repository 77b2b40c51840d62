"""Log-mel spectrogram of EfficientAT's networks: 128 kaldi bands of 32 kHz clips, 100 frames/s.

The front end of Schmid, Koutini and Widmer 2023, "Efficient Large-Scale Audio Tagging via
Transformer-to-CNN Knowledge Distillation" (doi 10.1109/ICASSP49357.2023.10096110), without its augmentation.
Level is kept as recorded.

Shapes: T frames.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor
from torch.nn.functional import pad

from benchmark.features import _fbank as fbank
from benchmark.features._fbank import columns as columns
from benchmark.schema import settings_digest

NAME = "log_mel_32k"
SAMPLE_RATE = 32_000
VERSION = 1
SEQUENCE = True

WINDOW = 800  # samples, 25 ms
HOP = 320
FFT = 1024
RANGE = (0.0, 15_000.0)  # Hz
PREEMPHASIS = 0.97
OFFSET = 1e-5  # added to a band's power
SHIFT, SCALE = 4.5, 5.0


def digest() -> str:
    """Return the digest of all settings, VERSION among them: it tells stored features apart."""
    return settings_digest(globals(), vars(fbank))


def extract(samples: np.ndarray) -> np.ndarray:
    """Return `spectrogram` as float16.

    Rounding costs at most 0.00049, 0.00019 on average, in normalised units (30 clips of RAVDESS).
    """
    return fbank.half(spectrogram(samples))


def spectrogram(samples: np.ndarray) -> Tensor:
    """Return normalised log-mel powers (T, 128) float32 of the clip (n,) of mono SAMPLE_RATE samples.

    Frame t is centred on sample t · HOP of the pre-emphasised clip, which is one sample shorter and mirrored
    at its ends: T = 1 + (n - 1) // HOP. A clip shorter than one window is padded with zeros to one. Finite
    whatever the clip.
    """
    clean = fbank.clean(samples, WINDOW)
    emphasised = clean[1:] - PREEMPHASIS * clean[:-1]
    mirrored = pad(emphasised[None], (FFT // 2, FFT // 2), mode="reflect")[0]
    margin = (FFT - WINDOW) // 2
    # zeros on both sides of the window, as in torch.stft: another place in the FFT would be rounded otherwise
    windowed = mirrored.unfold(0, FFT, HOP) * pad(fbank.hann(WINDOW), (margin, margin))
    power = fbank.mel_power(windowed, FFT, fbank.mel_bank(FFT, SAMPLE_RATE, *RANGE))
    return ((power + OFFSET).log() + SHIFT) / SCALE
