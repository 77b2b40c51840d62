"""Functionals against librosa, against signals whose answers are known, and what they must not depend on."""

import os
import subprocess
import sys

import librosa
import numpy as np
import pytest

from benchmark.features import _spectral, functionals

RATE = functionals.SAMPLE_RATE


def tone(hertz: float, seconds: float = 1.0, level: float = 0.3) -> np.ndarray:
    """A voice-like tone: ten harmonics falling by 6 dB an octave."""
    time = np.arange(int(seconds * RATE)) / RATE
    return (
        level * sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 11) if hertz * k < RATE / 2)
    ).astype(np.float32)


def noise(seconds: float = 1.0, seed: int = 0, level: float = 0.1) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(int(seconds * RATE))).astype(np.float32)


def described(samples: np.ndarray) -> dict[str, float]:
    return dict(zip(functionals.columns(), functionals.extract(samples).tolist(), strict=True))


@pytest.mark.slow  # librosa compiles at its first call
def test_mel_bank_is_librosas():
    peer = librosa.filters.mel(sr=RATE, n_fft=_spectral.FFT, n_mels=26, fmin=50, fmax=8000, htk=True, norm=1)
    np.testing.assert_allclose(_spectral.mel_bank(26), peer.T, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("samples", [noise(), tone(200.0)], ids=["noise", "tone"])
def test_power_spectra_are_librosas(samples):
    peer = np.abs(
        librosa.stft(
            samples,
            n_fft=_spectral.FFT,
            hop_length=_spectral.HOP,
            win_length=_spectral.WINDOW,
            pad_mode="constant",
        )
    )
    own = np.sqrt(_spectral.power(samples))
    assert own.shape == peer.T.shape
    # librosa centres the 400-sample window in 512 samples: the same samples, another phase
    np.testing.assert_allclose(own, peer.T, rtol=1e-3, atol=1e-3 * peer.max())


@pytest.mark.slow
def test_cepstral_means_are_librosas():
    samples = noise(2.0) - noise(2.0).mean()
    mel = _spectral.power(samples) @ _spectral.mel_bank(functionals.MEL_BANDS)
    # power_to_db is ten times the common logarithm, ours the natural one
    decibel = librosa.power_to_db(mel.T, amin=1e-20, top_db=None)
    peer = librosa.feature.mfcc(S=decibel, n_mfcc=functionals.COEFFICIENTS) * np.log(10) / 10
    own = described(samples)
    for coefficient, contour in enumerate(peer):
        assert own[f"mfcc{coefficient}_mean"] == pytest.approx(contour.mean(), abs=2e-3)
        assert own[f"mfcc{coefficient}_p75"] == pytest.approx(np.percentile(contour, 75), abs=2e-3)


@pytest.mark.parametrize("hertz", [70.0, 110.0, 233.0, 391.0, 520.0])
@pytest.mark.parametrize("make", [tone, lambda f: 0.1 * tone(f) + noise(level=0.005)], ids=["clean", "noisy"])
def test_pitch_of_a_known_tone(hertz, make):
    frequency, voicing = _spectral.pitch(make(hertz))
    assert np.abs(frequency[4:-4] / hertz - 1).max() < 0.01
    assert voicing[4:-4].min() > 0.8


def test_pitch_follows_a_glide():
    time = np.arange(2 * RATE) / RATE
    hertz = 120 * 2 ** (time / 2)  # an octave in two seconds
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    samples = sum(np.sin(k * phase) / k for k in range(1, 6)).astype(np.float32) * 0.2
    frequency, _ = _spectral.pitch(samples)
    expected = hertz[:: _spectral.HOP]
    np.testing.assert_allclose(frequency[5:-5], expected[5 : len(frequency) - 5], rtol=0.01)


def test_noise_is_not_voiced_and_a_tone_is():
    hiss, hum = described(noise()), described(tone(150.0))
    assert hiss["voicing_p75"] < 0.3
    assert hum["voicing_p25"] > 0.95
    assert hum["pitch_p50"] == pytest.approx(12 * np.log2(150 / 55), abs=0.05)
    assert hum["jitter_p95"] < 0.1


def test_pitch_is_the_same_on_every_cpu():
    code = (
        "import numpy as np; from benchmark.features import _spectral as s; x = np.zeros(32000, np.float32);"
        "n = np.random.default_rng(0).normal(size=8000).astype(np.float32); wide = np.ones(90) / 90;"
        "x[8000:16000] = .1 * np.sin(np.arange(8000) / 12); x[20000:28000] = np.convolve(n, wide, 'same');"
        "print(*(np.round(v, 2).tolist() for v in s.pitch(x)))"
    )
    heard = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True,
            env=os.environ | {"NPY_DISABLE_CPU_FEATURES": disabled},
        ).stdout
        for disabled in ("", "AVX512_SKX X86_V4", "AVX2 X86_V3 AVX512_SKX X86_V4")  # NumPy sorts by them
    }  # fmt: skip
    assert len(heard) == 1


def test_silence_at_the_ends_does_not_count():
    voice = np.concatenate([tone(120.0, 0.5), tone(180.0, 0.5)])
    padded = np.concatenate([noise(0.7, 1, 1e-5), voice, noise(1.3, 2, 1e-5)])
    bare, embedded = described(voice), described(padded)
    for column in ("duration", "pitch_p50", "mfcc1_mean", "mfcc0_course1", "level_p50", "voiced_share"):
        assert embedded[column] == pytest.approx(bare[column], rel=0.05, abs=0.15), column


def test_a_pause_between_voices_is_a_gap():
    hushed = described(np.concatenate([tone(120.0, 0.5), noise(0.3, 1, 1e-4), tone(120.0, 0.5)]))
    assert hushed["gap_max"] == pytest.approx(30, abs=6)
    assert hushed["voiced_mean"] == pytest.approx(50, abs=6)
    assert hushed["active_share"] == pytest.approx(1.0 / 1.3, abs=0.05)


def test_level_is_kept_and_moves_nothing_but_itself():
    voice = np.concatenate([tone(120.0, 0.5), tone(180.0, 0.5)]) + noise(1.0, 3, 0.01)
    quiet, loud = described(voice), described(voice * 4)
    assert loud["level_mean"] - quiet["level_mean"] == pytest.approx(np.log(16), abs=1e-3)
    bound_to_level = {"level_trend"} | {
        f"{prefix}_{statistic}"
        for prefix in ("level", "level_all", "mfcc0")
        for statistic in ("mean", *(f"p{p}" for p in functionals.PERCENTILES))
    }
    for column in set(quiet) - bound_to_level:
        assert loud[column] == pytest.approx(quiet[column], rel=1e-2, abs=1e-2), column


def test_a_tremor_shows_in_its_modulation_band():
    carrier, time = noise(3.0, 4, 0.2), np.arange(3 * RATE) / RATE
    trembling = described((carrier * (1 + 0.9 * np.sin(2 * np.pi * 7.5 * time))).astype(np.float32))
    steady = described(carrier)
    for group in range(functionals.MODULATED):
        assert trembling[f"modulation_6_9hz_{group}"] > steady[f"modulation_6_9hz_{group}"] + 2


def test_courses_and_correlations_are_those_of_a_plain_loop():
    rng = np.random.default_rng(5)
    walk = np.cumsum(rng.standard_normal((90, 11)), axis=0)
    names, values = functionals._couplings(walk)
    for name, value in zip(names, values, strict=True):
        first, second, lag = name.replace("_with_", " ").replace("_lag", " ").split()
        order = [*(f"mfcc{c}" for c in range(functionals.COUPLED)), "pitch", "level", "voicing"]
        a, b, k = walk[:, order.index(first)], walk[:, order.index(second)], int(lag)
        a, b = (a - a.mean()) / a.std(), (b - b.mean()) / b.std()
        assert value == pytest.approx(sum(a[t] * b[t + k] for t in range(90 - k)) / 90, abs=1e-4)
    assert len(names) == 55 + 3 * 121
    names, values = functionals._courses(walk)
    course = dict(zip(names, values, strict=True))["mfcc3_course2"]
    cosine = [np.cos(np.pi * 2 * (t + 0.5) / 90) * np.sqrt(2) * walk[t, 3] for t in range(90)]
    assert course == pytest.approx(np.mean(cosine), abs=1e-6)


@pytest.mark.parametrize("setting", ["ACTIVE_DB", "MEL_BANDS", "LAGS"])
def test_the_digest_covers_settings(monkeypatch, setting):
    before = functionals.digest()
    monkeypatch.setattr(functionals, setting, 12)
    assert functionals.digest() != before
    monkeypatch.undo()
    monkeypatch.setattr(_spectral, "PITCH_WINDOW", 512)
    assert functionals.digest() != before


def test_columns_are_stable():
    """Trained models and stored tables name them: a change needs a new VERSION."""
    columns = functionals.columns()
    assert (functionals.VERSION, len(columns)) == (4, 759)
    assert columns[0] == "level_mean"
    assert columns[-1] == "modulation_20_32hz_7"
