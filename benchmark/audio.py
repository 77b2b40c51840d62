"""Read one clip and say what is wrong with it: decode, check, downmix, resample.

libsndfile is lenient: it returns the first half of a cut file without a word, decodes noise behind an MP3
sync word and hands on NaN. So the container's own bytes are looked at first; WAV, FLAC and Ogg are accepted.

Reason codes of `Rejected`: empty, not_audio, unreadable, truncated, sample_rate, too_short, non_finite,
out_of_range. Flags of a clip that is kept: silent, narrow_band, downmixed, capped, upsampled.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import soundfile
import soxr

CAP_SECONDS = 60  # no more of a clip is read: a two-hour recording must not fill the memory
WINDOW_SECONDS = 0.025  # one analysis window: anything shorter has no features
RATES = (4_000, 384_000)  # Hz, what a recorder of speech can have meant
WIDE_BAND = 16_000  # Hz, below it the upper half of what the features look at is missing
PEAK = 2.0  # float samples may overshoot full scale by 6 dB, as lossy decoders do; beyond, no scale is known
SILENCE = 2.0**-14  # two steps of 16 bits: a clip whose range is smaller is silence or DC
EDGES = (4_000.0, 5_512.5, 8_000.0, 11_025.0, 12_000.0)  # Hz, where the spectrum of a low-rate copy ends
CLIFF_DB = 20.0  # see `upsampled`
FFT, FRAMES = 2048, 512  # samples of a frame, frames at most, of a clip's mean spectrum
PLACEHOLDER = 0x7FFF_F000  # RIFF lengths from here on are a streaming writer's "not known yet"
UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's count for a FLAC stream without a total
FLOAT_SUBTYPES = {"FLOAT", "DOUBLE", "VORBIS", "OPUS"}


class Rejected(Exception):
    """A file that can't be used: `reason` is a code of this module's list, `detail` what was seen."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Decoded:
    """The samples of one clip at its source rate, at most its first CAP_SECONDS."""

    samples: np.ndarray  # (frames, channels) float32, full scale ±1
    sample_rate: int  # Hz
    digest: str  # SHA-256 (hex), see `content_digest`
    flags: tuple[str, ...]

    @property
    def channels(self) -> int:
        """Number of channels of the source."""
        return int(self.samples.shape[1])

    @property
    def seconds(self) -> float:
        """Length of the samples, in seconds."""
        return len(self.samples) / self.sample_rate


def decode(path: Path) -> Decoded:
    """Read, check and hash one clip.

    Raises:
        Rejected: the file can't be used (FAULTS 1 to 8 and 12).
    """
    try:
        _check_container(path)
        with soundfile.SoundFile(os.fsencode(path)) as file:
            rate, frames = file.samplerate, file.frames
            _check_rate(rate)
            limit = CAP_SECONDS * rate
            kind = "float32" if file.subtype in FLOAT_SUBTYPES else "int32"
            try:
                raw = file.read(limit, dtype=kind, always_2d=True)
            except soundfile.LibsndfileError as error:  # FLAC: opened, but breaks off
                raise Rejected("truncated", f"not all of {frames} samples decode: cut or damaged") from error
    except (soundfile.LibsndfileError, OSError) as error:
        raise Rejected("unreadable", getattr(error, "error_string", None) or str(error.args[-1])) from error
    if frames != UNKNOWN_FRAMES and len(raw) < min(frames, limit):
        raise Rejected("truncated", f"{len(raw)} of {frames} samples are there")
    if len(raw) < WINDOW_SECONDS * rate:
        raise Rejected("too_short", f"{len(raw)} samples at {rate} Hz; one window is {WINDOW_SECONDS} s")
    samples = _to_float(raw)
    flags = {
        "silent": bool(np.ptp(_downmix(samples)) < SILENCE),
        "narrow_band": rate < WIDE_BAND,
        "downmixed": raw.shape[1] > 1,
        "capped": len(raw) == limit and frames > limit,
    }
    return Decoded(samples, rate, content_digest(raw, rate), tuple(name for name in flags if flags[name]))


def content_digest(raw: np.ndarray, rate: int) -> str:
    """Return the SHA-256 (hex) of b"<rate>:<channels>:" and the interleaved little-endian samples.

    `raw` (frames, channels) is int32 at full scale for integer sources, so that WAV and FLAC, 16 and 24 bits
    of the same values agree, and float32 for float ones. A capped clip is hashed as far as it is read.
    """
    hasher = hashlib.sha256(f"{rate}:{raw.shape[1]}:".encode())
    hasher.update(np.ascontiguousarray(raw, dtype=raw.dtype.newbyteorder("<")).data)
    return hasher.hexdigest()


def mono(decoded: Decoded) -> np.ndarray:
    """Return the mean over the channels: (frames,) float32."""
    return _downmix(decoded.samples)


def resample(samples: np.ndarray, rate: int, to: int) -> np.ndarray:
    """Return `samples` (frames,) float32 at `to` Hz by soxr's HQ filter, untouched if the rates agree."""
    return samples if rate == to else soxr.resample(samples, rate, to, quality="HQ")


def upsampled(samples: np.ndarray, rate: int) -> bool:
    """Whether the clip (frames,) was once at a lower rate, up to 24 kHz: its spectrum ends in a cliff.

    The mean power below one of EDGES (.80 to .95 of it) must be CLIFF_DB above the strongest bin beyond it.
    A voice falls off slowly: in RAVDESS's 1,440 clips (48 kHz) this difference is 13.7 dB at most, so none is
    flagged. Of 240 of them, brought down to 8, 11.025, 16, 22.05 or 24 kHz, up again and rounded to 16 bits,
    all are flagged: 22.9 dB at least, 47 to 54 in the middle. From 32 kHz it can't be told: originals have
    up to 20.8 dB there, copies from 14.
    """
    if len(samples) < FFT:
        return False
    step = max(FFT // 2, len(samples) // FRAMES)
    frames = np.lib.stride_tricks.sliding_window_view(samples, FFT)[::step] * np.hanning(FFT)
    power = (np.abs(np.fft.rfft(frames)) ** 2).mean(0)
    level = 10 * np.log10(power + 1e-20)
    hertz = np.fft.rfftfreq(FFT, 1 / rate)
    return any(
        level[(hertz >= 0.80 * edge) & (hertz <= 0.95 * edge)].mean()
        >= level[(hertz >= 1.05 * edge) & (hertz <= 0.49 * rate)].max() + CLIFF_DB
        for edge in EDGES
        if 1.3 * edge < 0.5 * rate and rate > WIDE_BAND
    )


def _downmix(samples: np.ndarray) -> np.ndarray:
    return samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)


def _to_float(raw: np.ndarray) -> np.ndarray:
    """Return samples as float32 in ±1; float sources are checked, as they alone can hold anything."""
    if raw.dtype == np.int32:
        return raw.astype(np.float32) * np.float32(2.0**-31)
    if not np.isfinite(raw).all():
        raise Rejected("non_finite", f"{np.count_nonzero(~np.isfinite(raw))} samples are NaN or infinite")
    peak = float(np.abs(raw).max())
    if peak > PEAK:
        raise Rejected("out_of_range", f"float samples reach {peak:g}; full scale is 1, the limit {PEAK:g}")
    return raw


def _check_rate(rate: int) -> None:
    if not RATES[0] <= rate <= RATES[1]:
        raise Rejected("sample_rate", f"{rate} Hz, accepted are {RATES[0]} to {RATES[1]} Hz")


def _check_container(path: Path) -> None:
    """Look at magic and lengths before libsndfile does (see the module's first lines)."""
    with path.open("rb") as file:
        head = file.read(64)
        size = file.seek(0, os.SEEK_END)
        if not head:
            raise Rejected("empty", "0 bytes")
        if head[:4] in (b"RIFF", b"RIFX", b"RF64") and b"WAVE".startswith(head[8:12]):
            _check_wav(file, head, size)
        elif head[:4] == b"OggS":
            _check_ogg(file, size)
        elif head[:4] == b"fLaC":
            if len(head) >= 22:  # STREAMINFO is always first: 20 bits of rate
                _check_rate(int.from_bytes(head[18:21], "big") >> 4)
        else:
            raise Rejected("not_audio", _looks_like(head))


def _looks_like(head: bytes) -> str:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer: fetch the file itself with `git lfs pull`"
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")):
        return "an HTML page: the download went wrong"
    if head.startswith(b"ID3") or (head[0] == 0xFF and head[1:2] >= b"\xe0"):
        return "looks like MP3: only WAV, FLAC and Ogg are accepted"
    return f"begins with {head[:4].hex(' ')}: only WAV, FLAC and Ogg are accepted"


def _check_wav(file: BinaryIO, head: bytes, size: int) -> None:
    """Walk the chunks to the data and compare the lengths they state with the file's."""
    order: Literal["big", "little"] = "big" if head[:4] == b"RIFX" else "little"
    position = 12
    for _ in range(1_000):  # a RIFF of zeros has no end of empty chunks
        file.seek(position)
        chunk = file.read(16)
        length = int.from_bytes(chunk[4:8], order)
        if len(chunk) < 8 or (chunk[:4] == b"fmt " and len(chunk) < 16):
            break
        if chunk[:4] == b"fmt ":
            _check_rate(int.from_bytes(chunk[12:16], order))
        if chunk[:4] == b"data":
            # + 7, not + 8: some writers count a last padding byte that they leave out
            ends = (position + 8 + length, int.from_bytes(head[4:8], order) + 7)
            stated = max((end for end in ends if end < PLACEHOLDER), default=0)
            if stated > size:
                raise Rejected("truncated", f"the header states {stated} bytes, the file has {size}")
            return
        position += 8 + length + length % 2
    raise Rejected("unreadable", "the header ends before a data chunk")


def _check_ogg(file: BinaryIO, size: int) -> None:
    """Want the last page whole and marked as the stream's end; a page has at most 65,307 bytes."""
    file.seek(max(0, size - 65_307))
    tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    body = page[27 : 27 + page[26]] if len(page) > 26 else b""  # the lengths of the page's segments
    if not body or not page[5] & 4 or len(page) < 27 + len(body) + sum(body):
        raise Rejected("truncated", "the last Ogg page is not the end of the stream")
