"""Fingerprints: text and back, cosines of every two, and that copies are near while other takes are not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchmark import audio, fingerprints
from benchmark.audit import NEAR
from benchmark.corpora import synthetic
from benchmark.features import fingerprint

RATE = synthetic.RATE


@given(arrays(np.int64, (3, 8), elements=st.integers(-7, 7)))
@settings(deadline=None)
def test_what_becomes_text_comes_back(values):
    texts = [fingerprints.to_text(row) for row in values]
    np.testing.assert_array_equal(fingerprints.from_text(texts), values)


def test_text_that_is_none_is_refused():
    with pytest.raises(ValueError):
        fingerprints.from_text(["no text!"])


def test_near_is_what_every_two_cosines_say(monkeypatch):
    monkeypatch.setattr(fingerprints, "BLOCK", 7)
    values = np.random.default_rng(0).integers(-2, 3, (40, 6)).astype(float)
    values[3] = 0  # of silence: near to nothing
    found = {(i, j): cosine for i, j, cosine in fingerprints.near(values, 0.8)}
    for i in range(40):
        for j in range(i + 1, 40):
            lengths = np.linalg.norm(values[i]) * np.linalg.norm(values[j])
            cosine = values[i] @ values[j] / lengths if lengths else 0
            assert ((i, j) in found) == (cosine >= 0.8)
            assert found.get((i, j), cosine) == pytest.approx(cosine)


def cosine(one, other):
    a, b = (fingerprint.extract(audio.resample(clip, RATE, fingerprint.SAMPLE_RATE)) for clip in (one, other))
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.fixture(scope="module")
def clip():
    return synthetic.clip(1, "happy", 1, 1).astype(np.float32)


def copies(clip):
    noise = np.random.default_rng(0).standard_normal(len(clip)).astype(np.float32)
    silence = np.zeros(RATE // 3, np.float32)
    low = audio.resample(audio.resample(clip, RATE, 8_000), 8_000, RATE)
    return {
        "itself": clip,
        "quieter": np.round(clip * 0.1 * 32_767).astype(np.float32) / 32_768,
        "at 8 kHz": low,
        "with silence": np.r_[silence, clip, silence],
        "with noise, 30 dB below": clip + noise * np.sqrt((clip**2).mean()) * 10**-1.5,
        "faster by 2 %": audio.resample(clip, 51, 50),
    }


@pytest.mark.parametrize("kind", copies(np.ones(100, np.float32)))
def test_a_copy_is_near(clip, kind):
    assert cosine(clip, copies(clip)[kind]) >= NEAR


def test_other_clips_are_not_near(clip):
    others = [
        synthetic.clip(s, e, t, n)
        for s, e, t, n in ((1, "sad", 1, 1), (2, "happy", 1, 1), (1, "happy", 2, 1))
    ]
    assert max(cosine(clip, other.astype(np.float32)) for other in others) < NEAR


def test_silence_has_no_fingerprint_that_is_near_to_anything():
    silence = fingerprint.extract(np.zeros(8_000, np.float32))
    assert not silence.any() and list(fingerprints.near(np.stack([silence, silence]), 0.5)) == []
