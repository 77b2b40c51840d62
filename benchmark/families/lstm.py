"""Bidirectional LSTM over log-mel frames with attention pooling; always trained from random weights."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from benchmark.families import _common as common
from benchmark.families import _torch as loop
from benchmark.families._common import Config
from benchmark.networks.lstm import AttentiveLstm

NAME, FEATURES, REUSE_ACTORS, SEEDED, STEP = "lstm", "log_mel", True, True, "epoch"
CHECKPOINTED = True
PARAMETERS = (
    *("units", "layers", "dropout", "stem", "lr", "schedule", "weight_decay", "batch_size", "epochs"),
    *("label_smoothing", "crop_frames", "time_mask", "band_mask", "mixup"),
)
LIMITS = common.LIMITS
CHOICES = {"stem": (True, False), "schedule": loop.SCHEDULES[:3]}


def network(facts: Config) -> nn.Module:
    """Return the network of the facts."""
    shape = {name: facts[name] for name in LstmFit.SHAPE}
    return AttentiveLstm(facts["columns"], facts["classes"], **shape)


class LstmFit(loop.NetFit):
    """A training of the LSTM."""

    SHAPE = ("units", "layers", "dropout", "stem")
    network = staticmethod(network)


start, steps, try_out = LstmFit, loop.steps, LstmFit.try_out


def load(folder: Path) -> loop.NetModel:
    """Return the model saved in `folder`."""
    return loop.load(folder, network)
