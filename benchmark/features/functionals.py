"""Utterance-level statistics for classical classifiers: how loud, how high, how fast, with what timbre.

Frames of 25 ms every 10 ms (`_spectral`), from the first to the last one within 30 dB of the clip's loud
frames, so that silence at the ends does not count. Timbre is described over the active frames, pitch over
the voiced ones. Beside the usual moments and percentiles stand three descriptions of *change*, which brought
more on RAVDESS (inner validation) than any further statistic of single frames: the slow course of each
cepstral coefficient (DCT over time), the modulation spectrum of mel bands, and the correlations between
coefficients. Level is kept as recorded: an angry voice is loud.

Shapes: T frames, C cepstral coefficients, B mel bands; masks and contours are (T,).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations, pairwise
from types import ModuleType

import numpy as np
import scipy.fft

from benchmark.features import _spectral as spectral
from benchmark.schema import digest as digest_of

NAME = "functionals"
SAMPLE_RATE = spectral.RATE
VERSION = 1

LOUDEST = 32_768.0  # larger samples are clipped, so that float32 powers stay finite
MEL_BANDS = 40
COEFFICIENTS = 20
CORRELATED = 12  # coefficients whose pairwise correlations are kept
COURSES = 13  # coefficients whose course is kept
COURSE_TERMS = 4
ACTIVE_DB = 30.0  # below the 97th percentile of level
VOICED = 0.5  # voicing strength
MODULATED = 8  # groups of mel bands
MODULATION_FFT = 1024
MODULATION_EDGES = (0.5, 2.0, 4.0, 6.0, 9.0, 13.0, 20.0, 32.0)  # Hz
PERCENTILES = (5, 25, 50, 75, 95)

Block = tuple[list[str], np.ndarray]  # names, values of the same length


def digest() -> str:
    """Return the digest of all settings, VERSION among them: it tells stored features apart."""
    return digest_of([_settings(spectral), {n: v for n, v in globals().items() if n.isupper()}])


def _settings(module: ModuleType) -> dict[str, object]:
    return {name: value for name, value in vars(module).items() if name.isupper()}


@lru_cache
def columns() -> tuple[str, ...]:
    """Return the names of the statistics, in the order of `extract`."""
    return tuple(name for names, _ in _blocks(np.zeros(SAMPLE_RATE, np.float32)) for name in names)


def extract(samples: np.ndarray) -> np.ndarray:
    """Return the statistics (columns,) float32 of one clip, finite for any input.

    Args:
        samples: (n,) mono at SAMPLE_RATE, full scale ±1; empty, silent or short clips are fine.
    """
    clean = np.nan_to_num(np.asarray(samples, np.float32), posinf=LOUDEST, neginf=-LOUDEST)
    clean = np.clip(clean, -LOUDEST, LOUDEST)
    values = np.concatenate([values for _, values in _blocks(clean)])
    return np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def _blocks(samples: np.ndarray) -> list[Block]:
    samples = samples - samples.mean() if len(samples) else samples
    power = spectral.power(samples)
    level = np.log(power.sum(1))
    active = level > np.percentile(level, 97) - ACTIVE_DB * np.log(10) / 10
    inside = slice(np.argmax(active), len(active) - np.argmax(active[::-1]))
    power, level, active = power[inside], level[inside], active[inside]
    frequency, strength = (contour[inside] for contour in spectral.pitch(samples))
    voiced = (strength > VOICED) & active
    voiced = voiced if voiced.sum() >= 3 else active
    mel = spectral.log_mel(power, MEL_BANDS)
    cepstra = spectral.cepstrum(mel, COEFFICIENTS)
    return [
        _level(level, active),
        _pitch(12 * np.log2(frequency / 55), strength, level, voiced, active),
        _timing(level, voiced, active),
        _timbre(cepstra[active]),
        _correlations(cepstra[active, :CORRELATED]),
        _courses(cepstra[:, :COURSES]),
        _modulation(mel),
    ]


def _summary(name: str, contour: np.ndarray) -> Block:
    """Moments, percentiles and ranges of a contour (T,)."""
    if not len(contour):
        contour = np.zeros(1, np.float32)
    points = np.percentile(contour, PERCENTILES)
    mean, deviation = contour.mean(), contour.std()
    skew = (((contour - mean) / (deviation + 1e-6)) ** 3).mean()
    names = ["mean", "sd", *(f"p{p}" for p in PERCENTILES), "iqr", "range", "skew"]
    spread = (points[3] - points[1], points[4] - points[0])
    return [f"{name}_{n}" for n in names], np.array([mean, deviation, *points, *spread, skew])


def _join(*blocks: Block) -> Block:
    return [name for names, _ in blocks for name in names], np.concatenate([values for _, values in blocks])


def _level(level: np.ndarray, active: np.ndarray) -> Block:
    """Log energy: over active frames, its slope per frame, and over all frames with the pauses."""
    slope = spectral.delta(level[:, None])[:, 0]
    return _join(
        _summary("level", level[active]),
        _summary("level_slope", slope[active]),
        _summary("level_all", level),
    )


def _pitch(
    semitones: np.ndarray, strength: np.ndarray, level: np.ndarray, voiced: np.ndarray, active: np.ndarray
) -> Block:
    """Pitch (semitones over 55 Hz), its steps, trend and coupling to level; voicing strength (≈ HNR)."""
    steps = np.diff(semitones)[voiced[1:] & voiced[:-1]]
    steps = steps if len(steps) >= 3 else np.zeros(3)
    time = np.flatnonzero(voiced).astype(float)
    time = (time - time.mean()) / (time.std() + 1e-6)
    jitter = np.array([
        np.abs(steps).mean(), np.percentile(np.abs(steps), 90),
        (time * semitones[voiced]).mean(), (time * level[voiced]).mean(),
    ])  # fmt: skip
    return _join(
        _summary("pitch", semitones[voiced]),
        _summary("pitch_step", steps),
        (["pitch_jitter", "pitch_jitter_p90", "pitch_trend", "level_trend"], jitter),
        _summary("voicing", strength[active]),
        _summary("voicing_voiced", strength[voiced]),
    )


def _timing(level: np.ndarray, voiced: np.ndarray, active: np.ndarray) -> Block:
    """Rhythm: shares of voiced and active frames, voiced stretches and gaps (frames), duration (s)."""
    edges = np.flatnonzero(np.diff(voiced.astype(int))) + 1
    runs = np.diff(np.r_[0, edges, len(voiced)])
    stretches, gaps = (runs[start::2] if len(runs) > start else np.zeros(1) for start in
                       ((0, 1) if voiced[0] else (1, 0)))  # fmt: skip
    names = ["voiced_share", "active_share", "voiced_rate"]
    values = [voiced.mean(), active.mean(), len(stretches) / len(voiced)]
    for name, lengths in (("voiced", stretches), ("gap", gaps)):
        names += [f"{name}_mean", f"{name}_sd", f"{name}_max"]
        values += [lengths.mean(), lengths.std(), lengths.max()]
    change = np.abs(np.diff(level)).mean() if len(level) > 1 else 0.0
    return [*names, "duration", "level_change"], np.array([*values, len(level) / 100, change])


def _timbre(cepstra: np.ndarray) -> Block:
    """Mean, deviation and percentiles of each cepstral coefficient (A, C)."""
    rows = np.vstack([cepstra.mean(0), cepstra.std(0), np.percentile(cepstra, PERCENTILES, axis=0)])
    names = ["mean", "sd", *(f"p{p}" for p in PERCENTILES)]
    return [f"mfcc{c}_{n}" for n in names for c in range(cepstra.shape[1])], rows.ravel()


def _correlations(cepstra: np.ndarray) -> Block:
    """Correlations of each pair of coefficients (A, C) over time."""
    centred = cepstra - cepstra.mean(0)
    unit = centred / np.maximum(np.sqrt((centred**2).sum(0)), 1e-6)
    pairs = list(combinations(range(cepstra.shape[1]), 2))
    first, second = np.array(pairs).T
    return [f"mfcc{a}_with_mfcc{b}" for a, b in pairs], (unit.T @ unit)[first, second]


def _courses(cepstra: np.ndarray) -> Block:
    """First DCT terms of the course of each coefficient (T, C) over the utterance, its mean taken off."""
    count = len(cepstra)
    angle = np.pi / count * np.outer(np.arange(1, COURSE_TERMS + 1), np.arange(count) + 0.5)
    terms = np.sqrt(2) * np.cos(angle) @ (cepstra - cepstra.mean(0)) / count
    names = [f"mfcc{c}_course{k + 1}" for k in range(COURSE_TERMS) for c in range(cepstra.shape[1])]
    return names, terms.ravel()


def _modulation(mel: np.ndarray) -> Block:
    """Log power per modulation band and group of neighbouring mel bands (T, B): syllable rate, tremor."""
    count = len(mel)
    envelope = mel.reshape(count, MODULATED, -1).mean(2)
    envelope = (envelope - envelope.mean(0)) * spectral.hann(count)[:, None]
    length = max(MODULATION_FFT, count)
    spectrum = np.abs(scipy.fft.rfft(envelope, length, axis=0)) ** 2 / count
    hertz = np.arange(len(spectrum)) * (SAMPLE_RATE / spectral.HOP) / length
    bands = list(pairwise(MODULATION_EDGES))
    rows = [spectrum[(hertz >= low) & (hertz < high)].sum(0) for low, high in bands]
    names = [f"modulation_{low:g}_{high:g}hz_{g}" for low, high in bands for g in range(MODULATED)]
    return names, np.log(np.ravel(rows) + 1e-6)
