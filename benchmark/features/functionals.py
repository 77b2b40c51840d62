"""Utterance-level statistics for classical classifiers: how loud, how high, how fast, with what timbre.

Silence at the ends is cut off (frames 30 dB below the loud ones); timbre is described over active frames,
pitch over voiced ones. What brought most on RAVDESS (inner validation) are descriptions of *change*, not more
statistics of single frames: correlations among delayed contours (Williamson et al. 2014, doi
10.1145/2661806.2661809), the slow course of cepstral coefficients (DCT over time), the modulation spectrum
of mel bands. Level is kept as recorded: an angry voice is loud.

Shapes: T frames, C cepstral coefficients or contours, B mel bands; masks and single contours are (T,).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise, product

import numpy as np
import scipy.fft

from benchmark.features import _spectral as spectral
from benchmark.schema import settings_digest

NAME = "functionals"
SAMPLE_RATE = spectral.RATE
VERSION = 4

LOUDEST = 32_768.0  # larger samples are clipped, so that float32 powers stay finite
MEL_BANDS = 40
COEFFICIENTS = 20
COUPLED = 8  # coefficients that are correlated, beside pitch, level and voicing
LAGS = (0, 4, 8, 16)  # frames
COURSES = 13  # coefficients whose course is kept
COURSE_TERMS = 4
ACTIVE_DB = 30.0  # below the 97th percentile of level
VOICED = 0.5  # voicing strength
MODULATED = 8  # groups of mel bands
MODULATION_FFT = 1024
MODULATION_EDGES = (0.5, 2.0, 4.0, 6.0, 9.0, 13.0, 20.0, 32.0)  # Hz
PERCENTILES = (5, 25, 50, 75, 95)
SUMMARY = ("mean", "sd", *(f"p{p}" for p in PERCENTILES), "iqr", "range", "skew")

Block = tuple[list[str], np.ndarray]  # names, values of the same length


def digest() -> str:
    """Return the digest of all settings, VERSION among them: it tells stored features apart."""
    return settings_digest(globals(), vars(spectral))


@lru_cache
def columns() -> tuple[str, ...]:
    """Return the names of the statistics, in the order of `extract`."""
    return tuple(name for names, _ in _blocks(np.zeros(SAMPLE_RATE, np.float32)) for name in names)


def extract(samples: np.ndarray) -> np.ndarray:
    """Return the statistics (columns,) float32, finite whatever the clip (n,) of mono SAMPLE_RATE samples."""
    clean = np.nan_to_num(np.asarray(samples, np.float32)).clip(-LOUDEST, LOUDEST)
    return np.concatenate([values for _, values in _blocks(clean)]).astype(np.float32)


def _blocks(samples: np.ndarray) -> list[Block]:
    samples = samples - samples.mean() if len(samples) else samples
    power = spectral.power(samples)
    level = np.log(power.sum(1))
    active = level > np.percentile(level, 97) - ACTIVE_DB * np.log(10) / 10
    inside = slice(int(active.argmax()), len(active) - int(active[::-1].argmax()))
    power, level, active = power[inside], level[inside], active[inside]
    frequency, voicing = spectral.pitch(samples, inside)
    voiced = (voicing > VOICED) & active
    voiced = voiced if voiced.sum() >= 3 else active
    mel = np.log(power @ spectral.mel_bank(MEL_BANDS))
    cepstra = scipy.fft.dct(mel, axis=1, norm="ortho")[:, :COEFFICIENTS]
    semitones = 12 * np.log2(frequency / 55)
    bridged = np.interp(np.arange(len(voiced)), np.flatnonzero(voiced), semitones[voiced])
    steps = np.diff(semitones)[voiced[1:] & voiced[:-1]]
    return [
        _summary("level", level[active]),
        _summary("level_all", level),
        _summary("level_slope", np.gradient(level)[active] if len(level) > 1 else level * 0),
        _summary("pitch", semitones[voiced]),
        _summary("pitch_step", steps),
        _summary("jitter", np.abs(steps)),
        _summary("voicing", voicing[active]),
        _summary("voicing_voiced", voicing[voiced]),
        _timing(level, semitones, voiced, active),
        _timbre(cepstra[active]),
        _couplings(np.column_stack([cepstra[:, :COUPLED], bridged, level, voicing])),
        _courses(cepstra[:, :COURSES]),
        _modulation(mel),
    ]


def _summary(name: str, contour: np.ndarray) -> Block:
    """Moments, percentiles and ranges of a contour (T,); zeros where it is empty."""
    contour = contour if len(contour) else np.zeros(1)
    points = np.percentile(contour, PERCENTILES)
    mean, deviation = contour.mean(), contour.std()
    skew = (((contour - mean) / (deviation + 1e-6)) ** 3).mean()
    values = [mean, deviation, *points, points[3] - points[1], points[4] - points[0], skew]
    return [f"{name}_{n}" for n in SUMMARY], np.array(values)


def _timing(level: np.ndarray, semitones: np.ndarray, voiced: np.ndarray, active: np.ndarray) -> Block:
    """Rhythm: shares of frames, voiced stretches and gaps (frames), duration (s); trends."""
    edges = np.flatnonzero(np.diff(voiced.astype(int))) + 1
    runs = np.diff(np.r_[0, edges, len(voiced)])
    first = 0 if voiced[0] else 1
    time = np.flatnonzero(voiced) - np.flatnonzero(voiced).mean()
    time /= time.std() + 1e-6
    values = {
        "voiced_share": voiced.mean(),
        "active_share": active.mean(),
        "voiced_rate": len(runs[first::2]) / len(voiced),
        "duration": len(level) * spectral.HOP / SAMPLE_RATE,
        "level_change": np.abs(np.diff(level)).sum() / len(level),
        "pitch_trend": (time * semitones[voiced]).mean(),
        "level_trend": (time * level[voiced]).mean(),
    }
    for name, lengths in (("voiced", runs[first::2]), ("gap", runs[1 - first :: 2])):
        lengths = lengths if len(lengths) else np.zeros(1)
        values |= {f"{name}_mean": lengths.mean(), f"{name}_sd": lengths.std(), f"{name}_max": lengths.max()}
    return list(values), np.array(list(values.values()))


def _timbre(cepstra: np.ndarray) -> Block:
    """Mean, deviation and percentiles of each cepstral coefficient (T, C)."""
    rows = np.vstack([cepstra.mean(0), cepstra.std(0), np.percentile(cepstra, PERCENTILES, axis=0)])
    return [f"mfcc{c}_{n}" for n in SUMMARY[: len(rows)] for c in range(cepstra.shape[1])], rows.ravel()


def _couplings(contours: np.ndarray) -> Block:
    """Correlations of each contour (T, C) with each, itself too, some frames later; 0 past the clip's end."""
    names = [*(f"mfcc{c}" for c in range(COUPLED)), "pitch", "level", "voicing"]
    scaled = (contours - contours.mean(0)) / (contours.std(0) + 1e-6) / np.sqrt(len(contours))
    matrices = np.array([scaled[: max(0, len(scaled) - lag)].T @ scaled[lag:] for lag in LAGS])
    keep = [(i, a, b) for i, a, b in np.ndindex(matrices.shape) if LAGS[i] or b < a]
    return [f"{names[a]}_with_{names[b]}_lag{LAGS[i]}" for i, a, b in keep], matrices[*np.transpose(keep)]


def _courses(cepstra: np.ndarray) -> Block:
    """First DCT terms of the course of each coefficient (T, C) over the utterance, its mean taken off."""
    count = len(cepstra)
    angle = np.pi / count * np.outer(np.arange(1, COURSE_TERMS + 1), np.arange(count) + 0.5)
    terms = np.sqrt(2) * np.cos(angle) @ (cepstra - cepstra.mean(0)) / count
    names = [f"mfcc{c}_course{k + 1}" for k, c in product(range(COURSE_TERMS), range(cepstra.shape[1]))]
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
    names = [f"modulation_{low:g}_{high:g}hz_{g}" for (low, high), g in product(bands, range(MODULATED))]
    return names, np.log(np.ravel(rows) + 1e-6)
