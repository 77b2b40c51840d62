"""Multilayer perceptron on standardised statistics.

Adam (Kingma and Ba 2015) or AdamW (Loshchilov and Hutter 2019).
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from benchmark.families import _common as common
from benchmark.families import _torch as loop
from benchmark.families._common import Config

NAME, FEATURES, REUSE_ACTORS, SEEDED, STEP = "mlp", "functionals", True, True, "epoch"
PARAMETERS = (
    *("layers", "units", "dropout", "batch_norm", "lr", "optimizer", "weight_decay", "batch_size", "epochs"),
    *("label_smoothing", "schedule", "class_weight"),
)
LIMITS = common.LIMITS
CHOICES = {
    "optimizer": ("adam", "adamw"), "schedule": ("constant", "cosine", "one_cycle"),
    "class_weight": ("none", "balanced"), "batch_norm": (True, False),
}  # fmt: skip
OPTIONAL = ("optimizer", "weight_decay")  # AdamW without decay is Adam


def network(facts: Config) -> nn.Sequential:
    """Return `layers` blocks of linear, batch norm, ReLU, dropout, and a linear output."""
    blocks: list[nn.Module] = []
    for layer in range(facts["layers"]):
        norm = [nn.BatchNorm1d(facts["units"])] if facts["batch_norm"] else []
        linear = nn.Linear(facts["units"] if layer else facts["columns"], facts["units"])
        blocks += [linear, *norm, nn.ReLU(), nn.Dropout(facts["dropout"])]
    return nn.Sequential(*blocks, nn.Linear(facts["units"], facts["classes"]))


class MlpFit(loop.NetFit):
    """A training of the perceptron."""

    SHAPE = ("layers", "units", "batch_norm", "dropout")
    FRAMES = False
    CLIP_NORM = None
    network = staticmethod(network)


start, steps, try_out = MlpFit, loop.steps, MlpFit.try_out


def load(folder: Path) -> loop.NetModel:
    """Return the model saved in `folder`."""
    return loop.load(folder, network)
