"""Decoding: the digest's definition, downmix, resampling."""

import hashlib
import pickle
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmark import audio

RATE = 16_000


def speechlike(seconds: float = 0.5, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """Deterministic noise under a slow envelope, on the grid of 16 bits: (frames, channels) float64."""
    frames = round(seconds * rate)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (frames, channels))
    return np.round(noise * np.hanning(frames)[:, None] * 2**15) / 2**15


def test_digest_is_what_its_docstring_says(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", speechlike(channels=2), RATE, subtype="PCM_16")
    with wave.open(str(tmp_path / "a.wav")) as file:  # another reader than libsndfile
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    expected = hashlib.sha256(b"16000:2:" + (samples.astype("<i4") << 16).tobytes()).hexdigest()
    assert audio.decode(tmp_path / "a.wav").digest == expected


def test_digest_agrees_over_containers_and_bit_depths(tmp_path: Path) -> None:
    digests = set()
    for suffix in ("wav", "flac"):
        for subtype in ("PCM_16", "PCM_24"):
            path = tmp_path / f"{subtype}.{suffix}"
            soundfile.write(path, speechlike(), RATE, subtype=subtype)
            digests.add(audio.decode(path).digest)
    assert len(digests) == 1


@pytest.mark.parametrize("change", ["sample", "rate", "channels", "float"])
def test_digest_differs_where_the_content_does(tmp_path: Path, change: str) -> None:
    samples = speechlike()
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="PCM_16")
    rate, subtype = (RATE * 2 if change == "rate" else RATE), ("FLOAT" if change == "float" else "PCM_16")
    if change == "sample":
        samples[100] += 2**-15
    if change == "channels":
        samples = samples.reshape(-1, 2)  # the same interleaved samples
    soundfile.write(tmp_path / "b.wav", samples, rate, subtype=subtype)
    assert audio.decode(tmp_path / "a.wav").digest != audio.decode(tmp_path / "b.wav").digest


def test_samples_are_exact(tmp_path: Path) -> None:
    samples = speechlike(channels=2)
    soundfile.write(tmp_path / "a.flac", samples, RATE, subtype="PCM_16")
    clip = audio.decode(tmp_path / "a.flac")
    assert clip.samples.dtype == np.float32
    np.testing.assert_array_equal(clip.samples, samples)
    assert (clip.sample_rate, clip.channels, clip.seconds) == (RATE, 2, 0.5)
    np.testing.assert_allclose(audio.mono(clip), samples.mean(axis=1), atol=1e-7)


def test_resampling_keeps_a_tone_and_removes_what_would_alias() -> None:
    time = np.arange(48_000) / 48_000
    low, high = (np.sin(2 * np.pi * f * time).astype(np.float32) for f in (1_000, 10_000))
    down = audio.resample(low, 48_000, 16_000)
    expected = np.sin(2 * np.pi * 1_000 * np.arange(16_000) / 16_000)
    assert down.dtype == np.float32
    np.testing.assert_allclose(down[500:-500], expected[500:-500], atol=1e-3)
    assert np.abs(audio.resample(high, 48_000, 16_000)[500:-500]).max() < 1e-3
    assert audio.resample(low, 48_000, 48_000) is low


def test_a_missing_file_is_rejected_not_raised(tmp_path: Path) -> None:
    with pytest.raises(audio.Rejected) as caught:
        audio.decode(tmp_path / "absent.wav")
    assert caught.value.reason == "unreadable"


def test_rejected_crosses_processes() -> None:
    copy = pickle.loads(pickle.dumps(audio.Rejected("empty", "0 bytes")))
    assert (copy.reason, copy.detail) == ("empty", "0 bytes")


RATES = (8_000, 11_025, 16_000, 22_050, 24_000)


def voice(rate: int, seed: int = 0) -> np.ndarray:
    """Two seconds of noise that falls off by 12 dB an octave above 1 kHz, at 16 bits, as a voice's breath."""
    noise = np.fft.rfft(np.random.default_rng(seed).standard_normal(2 * rate))
    hertz = np.fft.rfftfreq(2 * rate, 1 / rate)
    samples = np.fft.irfft(noise / np.maximum(1, hertz / 1_000) ** 2)
    return rounded(0.3 * samples / np.abs(samples).max())


def rounded(samples: np.ndarray) -> np.ndarray:
    return (np.round(samples * 32_767) / 32_768).astype(np.float32)


@pytest.mark.parametrize("low", RATES)
@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_a_copy_of_a_low_rate_clip_is_told_from_one_recorded_so(rate, low):
    clip = voice(rate)
    assert not audio.upsampled(clip, rate)
    assert audio.upsampled(rounded(audio.resample(audio.resample(clip, rate, low), low, rate)), rate)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 32_000, 44_100, 48_000])
def test_clips_that_are_as_they_say_silent_or_short_are_no_copies(rate):
    for clip in (voice(rate), np.zeros(rate, np.float32), voice(rate)[:100], np.ones(rate, np.float32)):
        assert not audio.upsampled(clip, rate)
