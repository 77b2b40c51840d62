"""What a network trained on AudioSet makes of a clip: EfficientAT's mn04, frozen, its trunk's mean output.

The trunk has learnt to tell 527 kinds of sounds (see `benchmark.networks.mobilenet`); its 384 channels,
averaged over bands and time, serve classical classifiers as `functionals` do.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from benchmark.features import log_mel_32k
from benchmark.networks.mobilenet import AUDIOSET_CLASSES, MobileNet
from benchmark.networks.weights import read_weights
from benchmark.schema import digest as digest_of

NAME = "audioset_embedding"
SAMPLE_RATE = log_mel_32k.SAMPLE_RATE
VERSION = 1
WEIGHTS = "mn04-audioset"  # the pretrained weights that `extract` needs
SIZE = 384


def digest() -> str:
    """Return the digest of all settings, VERSION and the front end's among them, but not of the weights."""
    return digest_of([{n: v for n, v in globals().items() if n.isupper()}, log_mel_32k.digest()])


def columns() -> tuple[str, ...]:
    """Return the names of the trunk's channels."""
    return tuple(f"mn04_{channel}" for channel in range(SIZE))


def extract(samples: np.ndarray, weights: Path) -> np.ndarray:
    """Return the embedding (384,) float32, finite whatever the clip (n,) of mono SAMPLE_RATE samples.

    Its last bits depend on torch's number of threads.

    Args:
        weights: EfficientAT's mn04_as as a safetensors file; read once per process.

    Raises:
        SerbenchError: the file holds another network.
    """
    network, spectrogram = _network(weights), log_mel_32k.spectrogram(samples)
    with torch.inference_mode():
        return network.embed(spectrogram.T[None, None])[0].numpy()


@lru_cache
def _network(weights: Path) -> MobileNet:
    # the initialisation, overwritten at once, must not move the caller's state
    with torch.random.fork_rng([]):
        network = MobileNet(AUDIOSET_CLASSES)
    network.load_audioset(read_weights(weights))
    return network.eval()
