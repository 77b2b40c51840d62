"""What a clip sounds like, in 384 whole numbers: the fingerprint by which the audit finds near-duplicates.

Log-mel of the telephone band, pooled into 24 parts of time by 16 bands. Time is counted from the middle of
the clip's energy, in its spread, so that silence, cuts at the ends and a change of speed move nothing; level
is counted from the loudest band, so that a gain does not; what is 30 dB below that is floor, so that coding
and faint noise do not. Each band is taken less its mean, which leaves what changes.

Shapes: T frames, P parts, B bands.
"""

from __future__ import annotations

import numpy as np

from benchmark.features import _fbank as fbank
from benchmark.fingerprints import STEPS
from benchmark.schema import settings_digest

NAME = "fingerprint"
SAMPLE_RATE = 8_000
VERSION = 1

WINDOW = 200  # samples, 25 ms
HOP = 80
FFT = 512
RANGE = (100.0, 3_700.0)  # Hz
BANDS = 16
PARTS = 24
REACH = 2.5  # spreads of energy, before and after its middle
FLOOR_DB = 30.0  # below the loudest


def digest() -> str:
    """Return the digest of all settings, VERSION among them: it tells stored features apart."""
    return settings_digest(globals(), vars(fbank))


def columns() -> tuple[str, ...]:
    """Return the names of the numbers, parts of time first."""
    return tuple(f"part{part}-band{band}" for part in range(PARTS) for band in range(BANDS))


def extract(samples: np.ndarray) -> np.ndarray:
    """Return the fingerprint (columns,) of the clip (n,): whole numbers −STEPS … STEPS as float32."""
    frames = fbank.clean(samples, WINDOW).unfold(0, WINDOW, HOP)
    frames = (frames - frames.mean(1, keepdim=True)) * fbank.hann(WINDOW)
    fine = fbank.mel_power(frames, FFT, fbank.mel_bank(FFT, SAMPLE_RATE, *RANGE)).numpy()
    power_TB = fine.astype(np.float64).reshape(len(fine), BANDS, -1).sum(2)
    floor = power_TB.max() * 10 ** (-FLOOR_DB / 10)
    if floor <= 0:
        return np.zeros(PARTS * BANDS, np.float32)
    level_TB = 10 * np.log10(np.maximum(power_TB, floor) / floor)
    level_PB = _pool(level_TB, _parts(power_TB.sum(1)))
    level_PB -= level_PB.mean(0)
    largest = np.abs(level_PB).max()
    return np.round(level_PB / max(largest, 1e-9) * STEPS).astype(np.float32).ravel()


def _parts(energy_T: np.ndarray) -> np.ndarray:
    """Return the PARTS + 1 limits of the parts, in frames; they may lie outside of the clip."""
    share, time = energy_T / energy_T.sum(), np.arange(len(energy_T)) + 0.5
    middle = (share * time).sum()
    spread = np.sqrt((share * (time - middle) ** 2).sum()) + 1
    return np.linspace(middle - REACH * spread, middle + REACH * spread, PARTS + 1)


def _pool(level_TB: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Return the mean of each part, floor where the clip has ended: (P, B)."""
    total = np.vstack([np.zeros(level_TB.shape[1]), np.cumsum(level_TB, axis=0)])
    at = np.arange(len(total))
    until = np.stack([np.interp(limits, at, column) for column in total.T], axis=1)
    return np.diff(until, axis=0) / (limits[1] - limits[0])
