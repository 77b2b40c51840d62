"""The log-mel features against torchaudio and torch.stft, at the settings of the networks that read them."""

import numpy as np
import pytest
import torch
from torch.nn.functional import conv1d, pad
from torchaudio.compliance import kaldi

from benchmark import audio
from benchmark.features import log_mel, log_mel_32k

MODULES = [log_mel, log_mel_32k]
FLOAT16_COST = {
    "most": 0.00049,
    "mean": 0.00025,
}  # in normalised units, for any one clip
both = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.NAME)


def noise(rate: int, seconds: float = 1.0) -> np.ndarray:
    samples = np.random.default_rng(0).standard_normal(int(seconds * rate))
    return (0.1 * samples * np.linspace(0, 1, len(samples))).astype(np.float32)


def chirp(rate: int) -> np.ndarray:
    time = np.arange(2 * rate) / rate
    return (0.3 * np.sin(2 * np.pi * (50 * time + (rate / 2 - 100) * time**2 / 4))).astype(np.float32)


def hum(rate: int) -> np.ndarray:
    return np.round(3 + 2 * np.sin(2 * np.pi * 50 * np.arange(rate) / rate)).astype(np.float32) / 32_768


SIGNALS = pytest.mark.parametrize("signal", [noise, chirp, hum])


def of_kaldi(samples: np.ndarray) -> torch.Tensor:
    """As Hugging Face's ASTFeatureExtractor calls it; the rest is torchaudio's defaults, which it takes."""
    bands = kaldi.fbank(
        torch.from_numpy(samples)[None],
        sample_frequency=16_000,
        window_type="hanning",
        num_mel_bins=128,
    )
    return (bands - -4.2677393) / (4.5689974 * 2)


def of_efficientat(samples: np.ndarray) -> torch.Tensor:
    """The front end as EfficientAT describes it."""
    emphasised = conv1d(torch.from_numpy(samples)[None, None], torch.tensor([[[-0.97, 1.0]]]))[0, 0]
    window = torch.hann_window(800, periodic=False)
    spectra = torch.stft(
        emphasised, 1024, hop_length=320, win_length=800, window=window, center=True, return_complex=True
    )
    bank, _ = kaldi.get_mel_banks(128, 1024, 32_000, 0.0, 15_000.0, 100.0, -500.0, 1.0)
    power = pad(bank, (0, 1)) @ spectra.abs().square()
    return ((power + 1e-5).log().T + 4.5) / 5


PEERS = {log_mel: of_kaldi, log_mel_32k: of_efficientat}


def clips(root, rate: int, count: int) -> list[np.ndarray]:
    decoded = [audio.decode(path) for path in sorted(root.rglob("*.flac"))[:: 1440 // count]]
    return [audio.resample(audio.mono(clip), clip.sample_rate, rate) for clip in decoded]


@SIGNALS
@both
def test_made_signals_look_as_to_the_peer(module, signal):
    samples = signal(module.SAMPLE_RATE)
    own, peer = module.spectrogram(samples), PEERS[module](samples)
    torch.testing.assert_close(own, peer, atol=1e-5, rtol=0)  # 1e-4 of a log power is 1e-5 of these units


def test_the_settings_that_kaldi_does_not_read_are_unread():
    samples = torch.from_numpy(noise(16_000))[None]
    common = {"sample_frequency": 16_000, "window_type": "hanning", "num_mel_bins": 128}
    written_out = kaldi.fbank(
        samples, **common, htk_compat=True, use_energy=False, dither=0.0, frame_length=25, frame_shift=10
    )
    torch.testing.assert_close(written_out, kaldi.fbank(samples, **common), atol=0, rtol=0)


@both
def test_real_clips_look_as_to_the_peer_and_lose_little_as_float16(module, ravdess_root):
    for samples in clips(ravdess_root, module.SAMPLE_RATE, 5):
        own = module.spectrogram(samples)
        torch.testing.assert_close(own, PEERS[module](samples), atol=1e-5, rtol=0)
        lost = np.abs(module.extract(samples).astype(np.float32) - own.numpy())
        assert lost.max() < FLOAT16_COST["most"]
        assert lost.mean() < FLOAT16_COST["mean"]


@pytest.mark.parametrize(("count", "frames"), [(0, 1), (1, 1), (400, 1), (559, 1), (560, 2), (16_000, 98)])
def test_only_whole_windows_count(count, frames):
    assert log_mel.extract(noise(16_000)[:count]).shape == (frames, 128)


@pytest.mark.parametrize(("count", "frames"), [(0, 3), (1, 3), (800, 3), (961, 4), (32_000, 100)])
def test_centred_windows_reach_over_the_ends(count, frames):
    assert log_mel_32k.extract(noise(32_000)[:count]).shape == (frames, 128)


@both
def test_a_short_clip_is_one_window_that_ends_in_zeros(module):
    short = noise(module.SAMPLE_RATE)[1000:1100]
    padded = np.pad(short, (0, module.WINDOW - len(short)))
    np.testing.assert_array_equal(module.extract(short), module.extract(padded))


@pytest.mark.filterwarnings("error")
@both
def test_any_clip_gives_finite_float16(module):
    rate = module.SAMPLE_RATE
    wild = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-40], np.float32)
    for samples in (np.zeros(rate, np.float32), np.tile(wild, rate // 6), np.ones(1), np.empty(0)):
        samples.setflags(write=False)
        values = module.extract(samples)
        assert values.dtype == np.float16
        assert np.isfinite(values).all()
        assert np.abs(values).max() < 10


@both
def test_a_sequence_of_named_bands(module):
    assert module.SEQUENCE
    assert module.columns()[0] == "mel0"
    assert module.extract(noise(module.SAMPLE_RATE)).shape[1] == len(module.columns()) == 128


@both
def test_the_digest_follows_each_setting(module, monkeypatch):
    digests = {module.digest(), *(other.digest() for other in MODULES)}
    for name in ("HOP", "PREEMPHASIS", "RANGE"):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, 1)
            digests.add(module.digest())
    assert len(digests) == len(MODULES) + 3
