"""What every family shares: the contract, the scaler, class columns, files without pickle.

A family module has NAME; FEATURES, its default feature set; REUSE_ACTORS, may trials share a process; SEEDED,
does a refit depend on the seed; STEP ("fold" | "trees" | "epoch"), what a trial reports after; and
    steps(config)   how many of them the configuration has
    start(config, x, y, *, classes, seed, threads=1, groups=None, weights=None)   a Fit, of these alone
    load(folder)    the model saved there
PARAMETERS names all that a configuration may hold, OPTIONAL what a space may leave out, CHOICES the values
that a categorical parameter knows; the others lie within LIMITS. PRETRAININGS names what the weights were
trained on that a family can start from. CHECKPOINTED families save and restore a Fit. Networks have
    try_out(config, columns, weights)   make a network and show it silence; raises where no training can begin
Model.predict_proba(x) is (clips, classes) float64, rows sum to 1, zero for classes absent from training;
Model.parameters counts; Model.save(folder) writes without pickle.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from benchmark.schema import SCHEMA_VERSION

TINY = 1e-12  # the least value of what must be above 0
Config = Mapping[str, Any]
Array = np.ndarray
Told = dict[str, float | None]
Weights = Mapping[str, Array]  # pretrained, by name
LIMITS: dict[str, tuple[str, float, float]] = {  # of every family's parameters: type, least, greatest value
    **dict.fromkeys(("layers", "units", "batch_size", "epochs", "stride"), ("int", 1, math.inf)),
    **dict.fromkeys(("n_estimators", "max_depth", "min_samples_leaf"), ("int", 1, math.inf)),
    **dict.fromkeys(("crop_frames", "time_mask", "band_mask"), ("int", 0, math.inf)),
    **dict.fromkeys(("decay_start", "warmup"), ("int", 0, math.inf)),
    **dict.fromkeys(("dropout", "drop_path", "label_smoothing"), ("float", 0, 0.99)),
    **dict.fromkeys(("weight_decay", "mixup", "head_rate"), ("float", 0, math.inf)),
    **dict.fromkeys(("lr", "C", "gamma_scale"), ("float", TINY, math.inf)),
    **dict.fromkeys(("decay", "layer_decay", "max_features"), ("float", TINY, 1)),
    "frames": ("int", 16, math.inf),
    "network": ("str", -math.inf, math.inf),
}
CLIP = 10.0  # standard deviations: one absurd value of a new clip must not outweigh all its other columns


class TrialFailed(ValueError):
    """The configuration can't be trained on this data; the trial is FAILED with this reason."""


@dataclass
class Fit:
    """A training under way: `step()` advances it, `model` is what it has reached."""

    config: Config
    x: Any  # (clips, columns) float32, or Sequences of frames
    y: Array  # (clips,) int64, 0..classes-1, of which some may be missing
    _: KW_ONLY
    classes: int
    seed: int
    threads: int = 1
    groups: Array | None = None  # (clips,) speakers
    weights: Weights | None = None

    def __post_init__(self) -> None:
        self.model: Any = None

    def step(self) -> Told:
        """Advance one step; return {"loss", "lr"}, None where the family has none."""
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        """Write a checkpoint, where the family is CHECKPOINTED."""
        raise NotImplementedError

    def restore(self, folder: Path) -> None:
        """Go on from a checkpoint of the same training."""
        raise NotImplementedError

    def scores(self, x: Array) -> Array:
        """Return (clips, classes) float64, finite; the prediction is the argmax."""
        return self.model.predict_proba(x)

    def finish(self) -> Any:
        """Return the model of a refit, after its last step."""
        return self.model


@dataclass(frozen=True)
class Scaler:
    """Standardisation in float64 (1e30 squared overflows float32), clipped at ±CLIP; constants become 0."""

    mean: Array  # (columns,) float64
    inverse: Array  # (columns,) float64, 1 / standard deviation; 0 where the column is constant

    @classmethod
    def fit(cls, x: Array) -> Scaler:
        """Estimate mean and population standard deviation of each column of x."""
        wide = x.astype(np.float64)
        mean, deviation = wide.mean(axis=0), wide.std(axis=0)
        varies = deviation > 1e-7 * np.abs(wide).max(axis=0)  # float32 carries seven digits: less is rounding
        return cls(mean, np.where(varies, 1 / np.where(varies, deviation, 1), 0))

    def __call__(self, x: Array) -> Array:
        """Return x scaled, (clips, columns) float64."""
        return np.clip((x.astype(np.float64) - self.mean) * self.inverse, -CLIP, CLIP)


def balanced_weights(y: Array, classes: int) -> Array:
    """Return (classes,) float64 weights that give each present class the same total; 0 where absent."""
    counts = np.bincount(y, minlength=classes)
    return np.where(counts > 0, len(y) / np.maximum(counts, 1) / np.count_nonzero(counts), 0)


def spread(columns: Array, present: Array, classes: int, fill: float = 0.0) -> Array:
    """Put columns (n, present) of the classes `present` into (n, classes) float64, `fill` elsewhere."""
    wide = np.full((len(columns), classes), fill)
    wide[:, present] = columns
    return wide


def save_arrays(folder: Path, arrays: Mapping[str, Array], facts: Config) -> None:
    """Write `arrays` (safetensors) and `facts` (JSON) into `folder`, made where missing."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, folder / "model.safetensors")
    text = json.dumps({"schema_version": SCHEMA_VERSION, **facts}, indent=2, sort_keys=True)
    (folder / "model.json").write_text(text + "\n", encoding="utf-8")


def load_arrays(folder: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return what `save_arrays` wrote."""
    facts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    return load_file(folder / "model.safetensors"), facts
