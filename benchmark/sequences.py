"""Clips of different length in one array: the frames of all, one after another, and where each begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sequences:
    """Frames of several clips. Indexing with row numbers, or with a mask, gives Sequences."""

    frames: np.ndarray  # (all frames, bands)
    lengths: np.ndarray  # (clips,) int64, frames of each clip, all > 0

    @classmethod
    def of(cls, clips: Sequence[np.ndarray]) -> Sequences:
        """Join clips, each (its frames, bands)."""
        return cls(np.concatenate(list(clips)), np.array([len(clip) for clip in clips], dtype=np.int64))

    @property
    def starts(self) -> np.ndarray:
        """(clips,) int64: where each clip begins in `frames`."""
        return np.cumsum(self.lengths) - self.lengths

    @property
    def bands(self) -> int:
        """Columns of a frame."""
        return int(self.frames.shape[1])

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.frames[a : a + n] for a, n in zip(self.starts, self.lengths, strict=True))

    def __getitem__(self, rows: np.ndarray | Sequence[int]) -> Sequences:
        chosen, starts = np.asarray(rows), self.starts
        rows = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        return Sequences.of([self.frames[starts[row] : starts[row] + self.lengths[row]] for row in rows])
