"""How alike two clips sound: the fingerprints of `features/fingerprint.py` as text, and their cosines.

Cosines of small whole numbers: the same on every machine, so that an audit can be computed again.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence

import numpy as np

STEPS = 7  # a value is a whole number from −7 to 7: four bits
BLOCK = 1024  # clips that are compared at once


def to_text(values: np.ndarray) -> str:
    """Return whole numbers −STEPS … STEPS (n,), n even, as text, two in a byte."""
    pairs = (np.asarray(values).astype(np.int64) + STEPS + 1).astype(np.uint8).reshape(-1, 2)
    return base64.b64encode((pairs[:, 0] << 4 | pairs[:, 1]).tobytes()).decode()


def from_text(texts: Sequence[str]) -> np.ndarray:
    """Return what `to_text` was given: (clips, n) float64.

    Raises:
        ValueError: a text that is none, or of another length than the others.
    """
    packed = np.stack([np.frombuffer(base64.b64decode(text, validate=True), np.uint8) for text in texts])
    pairs = np.stack([packed >> 4, packed & 15], axis=-1).astype(np.float64)
    return pairs.reshape(len(texts), -1) - (STEPS + 1)


def near(values: np.ndarray, least: float) -> Iterator[tuple[int, int, float]]:
    """Yield (i, j, cosine) of every two rows of (clips, n) with a cosine of `least` or more, i < j."""
    lengths = np.sqrt((values**2).sum(1))
    for begin in range(0, len(values), BLOCK):
        rows = slice(begin, begin + BLOCK)
        products = values[rows] @ values[begin:].T
        with np.errstate(invalid="ignore", divide="ignore"):
            cosines = products / (lengths[rows, None] * lengths[None, begin:])
        found = np.argwhere(np.triu(np.nan_to_num(cosines) >= least, 1))
        for i, j in found:
            yield begin + int(i), begin + int(j), float(cosines[i, j])
