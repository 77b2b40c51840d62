"""FAULTS 1 to 15: damaged, wrong and unusual audio."""

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pretrained import pretrained

from benchmark import audio, registry

RATE = 16_000


def noise(seconds: float = 0.5, rate: int = RATE, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(1).uniform(-0.4, 0.4, (round(seconds * rate), channels))


def written(path: Path, samples: np.ndarray | None = None, rate: int = RATE, **options: str) -> bytes:
    soundfile.write(path, noise() if samples is None else samples, rate, **options)
    return path.read_bytes()


def rejected(path: Path) -> audio.Rejected:
    with pytest.raises(audio.Rejected) as caught:
        audio.decode(path)
    return caught.value


def test_fault_01_zero_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    assert rejected(tmp_path / "a.wav").reason == "empty"


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@pytest.mark.parametrize("length", [4, 10, 15, 20, 25, 30, 40])
def test_fault_02_header_cut_short(tmp_path: Path, name: str, length: int) -> None:
    content = written(tmp_path / name)
    (tmp_path / name).write_bytes(content[:length])
    assert rejected(tmp_path / name).reason == "unreadable"


def test_fault_02_an_endless_header_ends(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF\0\0\0\0WAVE" + bytes(2**20))
    assert rejected(tmp_path / "a.wav").reason == "unreadable"


@pytest.mark.parametrize("share", [0.3, 0.5, 0.99])
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_fault_03_half_missing(tmp_path: Path, name: str, share: float) -> None:
    content = written(tmp_path / name, noise(3))
    assert audio.decode(tmp_path / name).seconds == 3
    (tmp_path / name).write_bytes(content[: int(len(content) * share)])
    assert rejected(tmp_path / name).reason == "truncated"


def test_fault_03_one_sample_missing(tmp_path: Path) -> None:
    content = written(tmp_path / "a.wav")
    (tmp_path / "a.wav").write_bytes(content[:-2])
    assert rejected(tmp_path / "a.wav").reason == "truncated"


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFF024])
def test_fault_03_streaming_header_is_exempt(tmp_path: Path, length: int) -> None:
    content = bytearray(written(tmp_path / "a.wav"))
    content[4:8] = content[40:44] = struct.pack("<I", length)
    whole = audio.decode(tmp_path / "a.wav").digest
    (tmp_path / "a.wav").write_bytes(content)
    assert audio.decode(tmp_path / "a.wav").digest == whole


def test_fault_03_padding_byte_left_out_is_no_truncation(tmp_path: Path) -> None:
    content = bytearray(written(tmp_path / "a.wav", noise()[:7_999], subtype="PCM_U8"))
    content[4:8] = struct.pack("<I", 44 + 7_999 + 1 - 8)  # the RIFF length counts the padding
    (tmp_path / "a.wav").write_bytes(content[: 44 + 7_999])
    assert audio.decode(tmp_path / "a.wav").seconds == 7_999 / RATE


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\n<!DOCTYPE html><html><body>Not found</body></html>", "HTML"),
        (b"<html lang='en'>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS"),
        (b"emotion,path\n", "begins with"),
    ],
)
def test_fault_04_not_audio(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    error = rejected(tmp_path / "a.wav")
    assert error.reason == "not_audio"
    assert said in error.detail


def test_fault_05_random_bytes_with_mp3_sync_word(tmp_path: Path) -> None:
    frame = b"\xff\xfb\x90\x00" + np.random.default_rng(0).bytes(413)
    (tmp_path / "a.wav").write_bytes(frame * 50)
    assert len(soundfile.read(tmp_path / "a.wav")[0])  # what libsndfile makes of it
    error = rejected(tmp_path / "a.wav")
    assert error.reason == "not_audio"
    assert "MP3" in error.detail


@pytest.mark.parametrize("rate", [0, 1, 100, 500_000, 0xFFFFFFFF])
def test_fault_06_sample_rate(tmp_path: Path, rate: int) -> None:
    content = bytearray(written(tmp_path / "a.wav"))
    content[24:28] = struct.pack("<I", rate)
    (tmp_path / "a.wav").write_bytes(content)
    error = rejected(tmp_path / "a.wav")
    assert error.reason == "sample_rate"
    assert str(rate) in error.detail


def test_fault_06_sample_rate_of_flac(tmp_path: Path) -> None:
    content = bytearray(written(tmp_path / "a.flac"))
    content[18:21] = bytes([0, 0, content[20] & 0x0F])
    (tmp_path / "a.flac").write_bytes(content)
    assert rejected(tmp_path / "a.flac").reason == "sample_rate"


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_fault_07_non_finite(tmp_path: Path, value: float, subtype: str) -> None:
    samples = noise()
    samples[7] = value
    written(tmp_path / "a.wav", samples, subtype=subtype)
    assert rejected(tmp_path / "a.wav").reason == "non_finite"


def test_fault_08_float_out_of_range(tmp_path: Path) -> None:
    written(tmp_path / "far.wav", noise() * 32_768, subtype="FLOAT")
    written(tmp_path / "over.wav", noise() * 4, subtype="FLOAT")
    assert rejected(tmp_path / "far.wav").reason == "out_of_range"
    assert 1 < np.abs(audio.decode(tmp_path / "over.wav").samples).max() < 2  # overshoot is kept as it is


@pytest.mark.parametrize(
    ("name", "subtype", "error"),
    [
        ("a.wav", "PCM_U8", 2**-7),
        ("a.wav", "PCM_24", 2**-23),
        ("a.wav", "PCM_32", 2**-23),
        ("a.wav", "FLOAT", 1e-7),
        ("a.wav", "ULAW", 0.05),
        ("a.flac", "PCM_16", 2**-15),
        ("a.ogg", "VORBIS", 0.4),
    ],
)
def test_fault_09_accepted_formats(tmp_path: Path, name: str, subtype: str, error: float) -> None:
    samples = noise()
    written(tmp_path / name, samples, subtype=subtype)
    clip = audio.decode(tmp_path / name)
    assert np.abs(clip.samples - samples).max() <= error
    assert clip.flags == ()


@pytest.mark.parametrize("channels", [2, 6])
def test_fault_10_channels(tmp_path: Path, channels: int) -> None:
    samples = noise(channels=channels)
    written(tmp_path / "a.wav", samples)
    clip = audio.decode(tmp_path / "a.wav")
    assert clip.channels == channels
    assert clip.flags == ("downmixed",)
    np.testing.assert_allclose(audio.mono(clip), samples.mean(axis=1), atol=2**-15)


@pytest.mark.parametrize(("rate", "flags"), [(8_000, ("narrow_band",)), (96_000, ())])
def test_fault_11_rates(tmp_path: Path, rate: int, flags: tuple[str, ...]) -> None:
    written(tmp_path / "a.wav", noise(rate=rate), rate)
    clip = audio.decode(tmp_path / "a.wav")
    assert (clip.sample_rate, clip.flags) == (rate, flags)
    assert len(audio.resample(audio.mono(clip), rate, 16_000)) == 8_000


@pytest.mark.parametrize(
    ("name", "frames"), [("a.wav", 0), ("a.wav", 1), ("a.wav", 399), ("a.flac", 1), ("a.flac", 399)]
)
def test_fault_12_too_short(tmp_path: Path, name: str, frames: int) -> None:
    written(tmp_path / name, noise()[:frames])
    assert rejected(tmp_path / name).reason == "too_short"


def test_fault_12_one_window_is_enough(tmp_path: Path) -> None:
    written(tmp_path / "a.wav", noise()[:400])
    assert audio.decode(tmp_path / "a.wav").seconds == 0.025


def test_fault_13_two_hours(tmp_path: Path) -> None:
    content = bytearray(written(tmp_path / "a.wav", noise(1, 48_000, 2), 48_000))
    size = 44 + 2 * 3_600 * 48_000 * 4
    content[4:8], content[40:44] = struct.pack("<I", size - 8), struct.pack("<I", size - 44)
    with (tmp_path / "a.wav").open("wb") as file:
        file.write(content)
        file.truncate(size)  # a sparse file: 1.4 GB of silence
    tracemalloc.start()
    clip = audio.decode(tmp_path / "a.wav")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert clip.seconds == audio.CAP_SECONDS
    assert "capped" in clip.flags
    assert peak < 100 * 2**20


@pytest.mark.parametrize("level", [0.0, 0.25, -1.0])
def test_fault_14_silence_and_dc(tmp_path: Path, level: float) -> None:
    written(tmp_path / "a.wav", np.full(8_000, level))
    clip = audio.decode(tmp_path / "a.wav")
    assert clip.flags == ("silent",)
    for name in registry.names("features"):
        feature = registry.feature(name)
        samples = audio.resample(audio.mono(clip), RATE, feature.SAMPLE_RATE)
        row = feature.extract(samples, *([pretrained()] if hasattr(feature, "WEIGHTS") else []))
        assert np.isfinite(row).all()


def test_fault_14_channels_that_cancel_are_silent(tmp_path: Path) -> None:
    written(tmp_path / "a.wav", noise() * [1, -1])
    assert audio.decode(tmp_path / "a.wav").flags == ("silent", "downmixed")


@pytest.mark.parametrize("name", ["a b.wav", "größe/ærø.wav", "😀 …/音声 🎤.flac", "-n.wav"])
def test_fault_15_paths(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    plain = (tmp_path / name).with_name("plain").with_suffix(Path(name).suffix)
    written(plain)
    written(tmp_path / name)
    assert audio.decode(tmp_path / name).digest == audio.decode(plain).digest
