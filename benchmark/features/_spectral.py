"""Short-time analysis of 16 kHz mono clips, one FFT over all frames: power spectra, mel bands, pitch.

Frame t is centred on sample t · HOP, the clip padded with zeros by half a window.
Shapes: T frames, F = FFT / 2 + 1 bins, B bands, K pitch candidates.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view

RATE = 16_000
HOP = 160
WINDOW = 400  # 25 ms
FFT = 512
POWER_FLOOR = 1e-10  # below the quantisation noise of 16-bit audio
PITCH_WINDOW = 640  # 40 ms: 2.4 periods of the lowest voice
PITCH_FFT = 1024
PITCH_RANGE = (60.0, 550.0)  # Hz
CANDIDATES = 5
OCTAVE_COST = 0.02  # per octave of lag: prefers the shorter of two equal periods (Boersma 1993, eq. 24)
JUMP_COST = 0.3  # per octave away from the neighbourhood's median
ROUNDS = 4
NEIGHBOURS = 8  # frames on either side


@lru_cache
def hann(length: int) -> np.ndarray:
    """Return the periodic Hann window (length,)."""
    return np.hanning(length + 1)[:-1].astype(np.float32)


def frames(samples: np.ndarray, window: int) -> np.ndarray:
    """Return overlapping frames (T, window) of `samples` (n,), T = 1 + n // HOP for an even window."""
    return sliding_window_view(np.pad(samples, window // 2), window)[::HOP]


def power(samples: np.ndarray) -> np.ndarray:
    """Return power spectra (T, F) under a Hann window, floored at POWER_FLOOR."""
    spectra = scipy.fft.rfft(frames(samples, WINDOW) * hann(WINDOW), FFT, axis=1)
    return spectra.real**2 + spectra.imag**2 + np.float32(POWER_FLOOR)


@lru_cache
def mel_bank(bands: int, low: float = 50.0, high: float = RATE / 2) -> np.ndarray:
    """Return triangular filters (F, bands), each summing to one, equally spaced in HTK mel."""
    lowest, highest = 2595 * np.log10(1 + np.array([low, high]) / 700)
    edges = 700 * (10 ** (np.linspace(lowest, highest, bands + 2) / 2595) - 1)
    hertz = np.arange(FFT // 2 + 1)[:, None] * RATE / FFT
    rising, falling = (hertz - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - hertz) / np.diff(edges)[1:]
    weights = np.maximum(0, np.minimum(rising, falling))
    return (weights / np.maximum(weights.sum(0), 1e-9)).astype(np.float32)


def _weighted_running_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    near = sliding_window_view(np.pad(values, NEIGHBOURS, "edge"), 2 * NEIGHBOURS + 1)
    mass = sliding_window_view(np.pad(weights, NEIGHBOURS), 2 * NEIGHBOURS + 1)
    order = np.argsort(near, axis=1)
    mass = np.cumsum(np.take_along_axis(mass, order, 1), axis=1)
    middle = (mass < mass[:, -1:] / 2).sum(1, keepdims=True)
    return np.take_along_axis(near, np.take_along_axis(order, middle, 1), 1)[:, 0]


def pitch(samples: np.ndarray, inside: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
    """Return fundamental frequency (T,) in Hz and voicing strength (T,) in 0..1 of the frames `inside`.

    Peaks of the autocorrelation divided by the window's own (Boersma 1993); among the strongest, each frame
    takes the one that is strong and near the median of its neighbourhood, in a few rounds: the smoothness
    of a Viterbi search without its loop. Frequencies of unvoiced frames are arbitrary.
    """
    windowed = frames(samples, PITCH_WINDOW)[inside]
    windowed = (windowed - windowed.mean(1, keepdims=True)) * hann(PITCH_WINDOW)
    spectra = scipy.fft.rfft(windowed, PITCH_FFT, axis=1)
    first, last = int(RATE / PITCH_RANGE[1]), int(np.ceil(RATE / PITCH_RANGE[0]))
    raw = scipy.fft.irfft(spectra.real**2 + spectra.imag**2, PITCH_FFT, axis=1)[:, : last + 2]
    window_power = np.abs(scipy.fft.rfft(hann(PITCH_WINDOW), 2 * PITCH_WINDOW)) ** 2
    own = scipy.fft.irfft(window_power)[: last + 2]
    correlation = raw / (np.maximum(raw[:, :1], POWER_FLOOR) * (own / own[0]))
    lags = np.arange(first, last + 1)
    before, height, after = (correlation[:, first + k : last + 1 + k] for k in (-1, 0, 1))
    cost = np.float32(OCTAVE_COST) * np.log2(lags).astype(np.float32)
    no_peak = -1 - 1e-6 * lags[::-1].astype(np.float32)  # no two alike: nothing is left to the CPU's sort
    strength = np.where((height >= before) & (height >= after), height - cost, no_peak)
    best_TK = np.argpartition(strength, -CANDIDATES, axis=1)[:, -CANDIDATES:]
    strength_TK = np.take_along_axis(strength, best_TK, 1)
    octave_TK = np.log2(RATE / lags[best_TK])
    row, choice = np.arange(len(best_TK)), strength_TK.argmax(1)
    for _ in range(ROUNDS):
        weight = np.maximum(strength_TK[row, choice], 0) ** 2 + 1e-6
        median = _weighted_running_median(octave_TK[row, choice], weight)
        distance = np.minimum(np.abs(octave_TK - median[:, None]), 1)
        choice = (strength_TK - JUMP_COST * distance).argmax(1)
    at = best_TK[row, choice]
    left, top, right = before[row, at], height[row, at], after[row, at]
    shift = (left - right) / (2 * np.minimum(left - 2 * top + right, -1e-6))  # vertex of the parabola
    return RATE / (lags[at] + np.clip(shift, -0.5, 0.5)), np.clip(top, 0, 1)
