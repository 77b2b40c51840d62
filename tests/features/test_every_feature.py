"""What holds of every feature module, so that a new file is tested the moment it exists."""

import re

import numpy as np
import pytest
from pretrained import pretrained

from benchmark import registry

every_feature = pytest.mark.parametrize("name", registry.names("features"))


def clips(rate: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(rate).astype(np.float32)
    step = np.r_[np.zeros(rate // 2), np.ones(rate // 2)]
    return {
        "noise": 0.1 * noise,
        "silence": np.zeros(rate, np.float32),
        "constant": np.full(rate, 0.5, np.float32),
        "25 ms": 0.1 * noise[: rate // 40],
        "one sample": np.ones(1, np.float32),
        "clipped": np.sign(noise),
        "largest float32": np.sign(noise) * np.finfo(np.float32).max,
        "smallest float32": noise * np.float32(1e-38),
        "silence, then a step": step.astype(np.float32),
        "one click": np.eye(1, rate, rate // 3, dtype=np.float32)[0],
        "a minute": np.tile(0.1 * noise, 60),
    }


def extracted(module, clip: np.ndarray) -> np.ndarray:
    """The features of a clip; those that need pretrained weights are skipped where these are absent."""
    if not hasattr(module, "WEIGHTS"):
        return module.extract(clip)
    return module.extract(clip, pretrained())


@every_feature
def test_columns_are_named_once(name):
    module = registry.feature(name)
    columns = module.columns()
    assert name == module.NAME
    assert len(set(columns)) == len(columns) > 1
    assert all(re.fullmatch(r"[a-zA-Z0-9_.\-\[\]]+", column) for column in columns)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", clips(400))
@every_feature
def test_any_clip_is_described_by_finite_numbers(name, kind):
    module = registry.feature(name)
    values = extracted(module, clips(module.SAMPLE_RATE)[kind])
    assert values.dtype == (np.float16 if getattr(module, "SEQUENCE", False) else np.float32)
    assert values.ndim == (2 if getattr(module, "SEQUENCE", False) else 1)
    assert values.shape[-1] == len(module.columns())
    assert np.isfinite(values).all()


@every_feature
def test_the_same_clip_gives_the_same_bits_and_stays_unchanged(name):
    module = registry.feature(name)
    clip = clips(module.SAMPLE_RATE)["noise"]
    before = clip.copy()
    clip.setflags(write=False)
    first = extracted(module, clip)
    np.testing.assert_array_equal(first, extracted(module, clip.copy()))
    np.testing.assert_array_equal(clip, before)


@every_feature
def test_the_digest_follows_the_version(name, monkeypatch):
    module = registry.feature(name)
    before = module.digest()
    assert before == module.digest()
    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    assert module.digest() != before
