"""One toy problem for every family: four classes, six speakers, classes well apart, speakers a little."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmark import registry, space
from benchmark.sequences import Sequences

SPACES = Path(__file__).parents[2] / "search_spaces"
CLASSES = 4


@dataclass(frozen=True)
class Toy:
    x: np.ndarray
    y: np.ndarray
    groups: np.ndarray

    def with_x(self, change) -> "Toy":
        """A copy whose rows, or frames, were changed."""
        rows = (self.x.frames if isinstance(self.x, Sequences) else self.x).copy()
        change(rows)
        return replace(self, x=Sequences(rows, self.x.lengths) if isinstance(self.x, Sequences) else rows)

    def seal(self) -> np.ndarray:
        """Make x and y read-only, as Ray's object store does; return the rows or frames of x."""
        rows = self.x.frames if isinstance(self.x, Sequences) else self.x
        rows.setflags(write=False)
        self.y.setflags(write=False)
        return rows

    def where(self, rows) -> "Toy":
        return Toy(self.x[rows], self.y[rows], self.groups[rows])


def make(seed: int, clips: int = 96, columns: int = 12) -> Toy:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(CLASSES, columns)) * 2
    y = np.arange(clips) % CLASSES
    speaker = np.arange(clips) // CLASSES % 6
    voices = random.normal(size=(6, columns)) * 0.3
    x = centres[y] + voices[speaker] + random.normal(size=(clips, columns))
    return Toy(x.astype(np.float32), y.astype(np.int64), np.array([f"s{s}" for s in speaker]))


def spoken(data: Toy) -> Toy:
    """The same problem as frames: each clip repeats its row, as 32 bands, 32 to 64 times with noise."""
    random = np.random.default_rng(len(data.y))
    bands = np.tile(data.x, (1, 3))[:, :32]
    clips = [row + random.normal(size=(32 + 8 * (i % 5), 32)) * 0.5 for i, row in enumerate(bands)]
    return replace(data, x=Sequences.of([(clip / 3).astype(np.float32) for clip in clips]))


def problem(family: str, seed: int) -> Toy:
    """The toy problem in the form that a family eats."""
    made, feature = make(seed), registry.feature(registry.family(family).FEATURES)
    return spoken(made) if getattr(feature, "SEQUENCE", False) else made


SMALL = {  # what makes a network small and quick enough to learn the toy problem from random weights
    "cnn": {
        "network": "test_resnet", "lr": 0.01, "epochs": 8, "batch_size": 16, "crop_frames": 32,
        "band_mask": 0,
    },
    "lstm": {"lr": 0.005, "epochs": 5, "crop_frames": 32, "band_mask": 0, "units": 32, "layers": 1},
    "ast": {
        "size": "tiny", "stride": 16, "frames": 64, "lr": 0.001, "epochs": 5, "schedule": "one_cycle",
        "batch_size": 32,
    },
}  # fmt: skip


def published(family: str) -> dict:
    """The published configuration of a family, shortened where that changes nothing a test looks at."""
    found = space.load(SPACES / f"{family}.yaml")
    config = found.configuration(found.published_params)
    short = {name: value for name, value in {"epochs": 15, "n_estimators": 60}.items() if name in config}
    return config | short | SMALL.get(family, {})


def trained(family, config: dict, data: Toy, *, classes: int = CLASSES, seed: int = 1, threads: int = 1):
    """A fit after all its steps."""
    fit = family.start(
        config, data.x, data.y, classes=classes, seed=seed, threads=threads, groups=data.groups
    )
    for _ in range(family.steps(config)):
        fit.step()
    return fit
