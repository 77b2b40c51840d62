"""One toy problem for every family: four classes, six speakers, classes well apart, speakers a little."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmark import space

SPACES = Path(__file__).parents[2] / "search_spaces"
CLASSES = 4


@dataclass(frozen=True)
class Toy:
    x: np.ndarray
    y: np.ndarray
    groups: np.ndarray

    def with_x(self, change) -> "Toy":
        x = self.x.copy()
        change(x)
        return replace(self, x=x)

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


def published(family: str) -> dict:
    """The published configuration of a family, shortened where that changes nothing a test looks at."""
    found = space.load(SPACES / f"{family}.yaml")
    config = found.configuration(found.published_params)
    return config | {
        name: value for name, value in {"epochs": 15, "n_estimators": 60}.items() if name in config
    }


def trained(family, config: dict, data: Toy, *, classes: int = CLASSES, seed: int = 1, threads: int = 1):
    """A fit after all its steps."""
    fit = family.start(
        config, data.x, data.y, classes=classes, seed=seed, threads=threads, groups=data.groups
    )
    for _ in range(family.steps(config)):
        fit.step()
    return fit
