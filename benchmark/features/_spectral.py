"""Short-time analysis shared by feature sets: frames, power spectra, mel bands, cepstra, pitch.

Whole clips at once in numpy: one FFT over all frames, no loop over frames. Everything is for 16 kHz mono,
a hop of 10 ms; frame t is centred on sample t · HOP, the clip padded with zeros by half a window.

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
    padded = np.pad(samples, (window // 2, window // 2))
    return sliding_window_view(padded, window)[::HOP]


def power(samples: np.ndarray) -> np.ndarray:
    """Return power spectra (T, F) under a Hann window, floored at POWER_FLOOR."""
    spectra = scipy.fft.rfft(frames(samples, WINDOW) * hann(WINDOW), FFT, axis=1)
    return spectra.real**2 + spectra.imag**2 + np.float32(POWER_FLOOR)


@lru_cache
def mel_bank(bands: int, low: float = 50.0, high: float = RATE / 2) -> np.ndarray:
    """Return triangular filters (F, bands), each summing to one, equally spaced in HTK mel."""
    lowest, highest = 2595 * np.log10(1 + np.array([low, high]) / 700)
    edges = 700 * (10 ** (np.linspace(lowest, highest, bands + 2) / 2595) - 1)
    bins = np.arange(FFT // 2 + 1) * RATE / FFT
    rising = (bins[:, None] - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - bins[:, None]) / np.diff(edges)[1:]
    weights = np.maximum(0, np.minimum(rising, falling))
    return (weights / np.maximum(weights.sum(0), 1e-9)).astype(np.float32)


def log_mel(power_TF: np.ndarray, bands: int) -> np.ndarray:
    """Return the natural logarithm of mel band powers (T, bands)."""
    return np.log(power_TF @ mel_bank(bands))


def cepstrum(log_mel_TB: np.ndarray, count: int) -> np.ndarray:
    """Return the first `count` cepstral coefficients (T, count): the orthonormal DCT-II over bands."""
    return scipy.fft.dct(log_mel_TB, axis=1, norm="ortho")[:, :count]


@lru_cache
def _window_autocorrelation() -> np.ndarray:
    spectrum = np.abs(scipy.fft.rfft(hann(PITCH_WINDOW), 2 * PITCH_WINDOW)) ** 2
    correlation = scipy.fft.irfft(spectrum)[:PITCH_WINDOW]
    return (correlation / correlation[0]).astype(np.float32)


def _weighted_running_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    span = 2 * NEIGHBOURS + 1
    near = sliding_window_view(np.pad(values, NEIGHBOURS, "edge"), span)
    order = np.argsort(near, axis=1)
    mass = np.cumsum(
        np.take_along_axis(sliding_window_view(np.pad(weights, NEIGHBOURS), span), order, 1), axis=1
    )
    middle = (mass < mass[:, -1:] / 2).sum(1)
    return near[np.arange(len(near)), order[np.arange(len(near)), middle]]


def pitch(samples: np.ndarray, inside: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
    """Return fundamental frequency (T,) in Hz and voicing strength (T,) in 0..1 of the frames `inside`.

    Peaks of the autocorrelation divided by the window's own (Boersma 1993); among the strongest, each frame
    takes the one that is strong and near the median of its neighbourhood, in a few rounds: the smoothness
    of a Viterbi search without its loop over frames. Frequencies of unvoiced frames are arbitrary.
    """
    windowed = frames(samples, PITCH_WINDOW)[inside]
    windowed = (windowed - windowed.mean(1, keepdims=True)) * hann(PITCH_WINDOW)
    spectra = scipy.fft.rfft(windowed, PITCH_FFT, axis=1)
    first, last = int(RATE / PITCH_RANGE[1]), int(np.ceil(RATE / PITCH_RANGE[0]))
    raw = scipy.fft.irfft(spectra.real**2 + spectra.imag**2, PITCH_FFT, axis=1)[:, : last + 2]
    correlation = raw / (np.maximum(raw[:, :1], POWER_FLOOR) * _window_autocorrelation()[: last + 2])
    lags = np.arange(first, last + 1)
    height = correlation[:, first : last + 1]
    peak = (height >= correlation[:, first - 1 : last]) & (height >= correlation[:, first + 1 : last + 2])
    strength = np.where(peak, height - np.float32(OCTAVE_COST) * np.log2(lags).astype(np.float32), -1)
    best_TK = np.argpartition(strength, -CANDIDATES, axis=1)[:, -CANDIDATES:]
    strength_TK = np.take_along_axis(strength, best_TK, 1)
    octave_TK = np.log2(RATE / lags[best_TK])
    row = np.arange(len(best_TK))
    choice = strength_TK.argmax(1)
    for _ in range(ROUNDS):
        weight = np.maximum(strength_TK[row, choice], 0) ** 2 + 1e-6
        median = _weighted_running_median(octave_TK[row, choice], weight)
        distance = np.minimum(np.abs(octave_TK - median[:, None]), 1)
        choice = (strength_TK - JUMP_COST * distance).argmax(1)
    lag = lags[best_TK[row, choice]]
    before, here, after = (correlation[row, lag + k] for k in (-1, 0, 1))
    curvature = np.minimum(before - 2 * here + after, -1e-6)
    shift = np.clip((before - after) / (2 * curvature), -0.5, 0.5)
    return RATE / (lag + shift), np.clip(here, 0, 1)
