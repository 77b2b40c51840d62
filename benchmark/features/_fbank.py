"""What the log-mel features share: clean samples, window, mel bands, and float16 for the cache.

The bands are kaldi's (Povey et al. 2011) as torchaudio computes them: triangles in mel, not in Hz, in single
precision. Pretrained networks have seen exactly these.

Shapes: T frames, F = fft / 2 + 1 bins, B bands.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

BANDS = 128
LOUDEST = 32_768.0  # larger samples are clipped, so that powers stay finite and their logarithms below 40


def columns() -> tuple[str, ...]:
    """Return the names of the bands, low to high."""
    return tuple(f"mel{band}" for band in range(BANDS))


def clean(samples: np.ndarray, shortest: int) -> Tensor:
    """Return a copy of `samples` (n,) as float32, NaN as 0, clipped to ±LOUDEST, zeros up to `shortest`."""
    kept = torch.from_numpy(np.nan_to_num(np.asarray(samples, np.float32)).clip(-LOUDEST, LOUDEST))
    return pad(kept, (0, max(0, shortest - len(kept))))


@lru_cache
def hann(length: int) -> Tensor:
    """Return the symmetric Hann window (length,)."""
    return torch.hann_window(length, periodic=False)


@lru_cache
def mel_bank(fft: int, rate: int, low: float, high: float) -> Tensor:
    """Return BANDS triangles of height 1 between `low` and `high` Hz, equally spaced in mel: (F, B).

    The bin at half the `rate` has no weight, as in kaldi.
    """
    lowest, highest = (1127.0 * math.log(1.0 + hertz / 700.0) for hertz in (low, high))
    step = (highest - lowest) / (BANDS + 1)
    band_B = torch.arange(BANDS)
    left_B, centre_B, right_B = (lowest + (band_B + k) * step for k in (0.0, 1.0, 2.0))
    mel_F1 = 1127.0 * (1.0 + torch.arange(fft / 2) * (rate / fft) / 700.0).log()[:, None]
    rising, falling = (mel_F1 - left_B) / (centre_B - left_B), (right_B - mel_F1) / (right_B - centre_B)
    return pad(torch.minimum(rising, falling).clamp(min=0.0), (0, 0, 0, 1))


def mel_power(windowed: Tensor, fft: int, bank: Tensor) -> Tensor:
    """Return the power (T, B) that the bands of `bank` (F, B) catch of windowed frames (T, n), n ≤ `fft`."""
    spectra = torch.view_as_real(torch.fft.rfft(windowed, fft))
    return spectra.square().sum(-1) @ bank


def half(values: Tensor) -> np.ndarray:
    """Return `values` rounded to float16: half the bytes of the cache."""
    return values.to(torch.float16).numpy()
