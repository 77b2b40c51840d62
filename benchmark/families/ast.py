"""Audio Spectrogram Transformer, fine-tuned or from random weights.

Gong, Chung and Glass 2021, doi 10.21437/Interspeech.2021-698.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.families import _common as common
from benchmark.families import _torch as loop
from benchmark.families._common import Config, Weights
from benchmark.networks import ast as networks
from benchmark.networks._ast_weights import TIMM, layout

NAME, FEATURES, REUSE_ACTORS, SEEDED, STEP = "ast", "log_mel", True, True, "epoch"
CHECKPOINTED = True
PRETRAININGS = ("audioset", "imagenet")
PARAMETERS = (
    *("size", "stride", "frames", "dropout", "drop_path", "lr", "schedule", "decay", "decay_start", "warmup"),
    *("layer_decay", "weight_decay", "batch_size", "epochs", "label_smoothing", "crop_frames", "time_mask"),
    *("band_mask", "mixup", "checkpointing"),
)
OPTIONAL = ("decay", "decay_start")
LIMITS = common.LIMITS
CHOICES = {
    "size": tuple(networks.SIZES), "schedule": loop.SCHEDULES, "checkpointing": (True, False),
}  # fmt: skip


class Frames(nn.Module):
    """Shows padded frames to the transformer."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return logits (n, classes) of x (n, frames, bands)."""
        return self.net(x)


def network(facts: Config) -> nn.Module:
    """Return the network of the facts."""
    names = ("size", "frames", "stride", "dropout", "drop_path")
    return Frames(
        networks.AudioTransformer(
            facts["classes"], bands=facts["columns"], checkpoint=facts["checkpointing"],
            **{name: facts[name] for name in names},
        )
    )  # fmt: skip


class AstFit(loop.NetFit):
    """A training of the transformer; `layer_decay` lowers the rate of each layer below the head's."""

    SHAPE = ("size", "frames", "stride", "dropout", "drop_path", "checkpointing")
    network = staticmethod(network)

    @staticmethod
    def pretrained(net: nn.Module, config: Config, weights: Weights) -> None:
        """Put AudioSet's or ImageNet's weights into the network, but for a head of other classes."""
        inner: Any = net.net
        networks.load(inner, weights, "imagenet" if layout(weights) == TIMM else "audioset")

    def save_memory(self, net: nn.Module) -> None:
        """Compute each block's activations again in the backward pass."""
        inner: Any = net.net
        inner.set_grad_checkpointing(True)

    def parameter_groups(self, net: nn.Module) -> list[dict[str, Any]]:
        """Return a group a depth, the head's at the full rate."""
        inner: Any = net.net
        depths = networks.depths(inner)
        by_depth: dict[int, list[torch.nn.Parameter]] = {}
        for name, parameter in inner.named_parameters():
            by_depth.setdefault(depths[name], []).append(parameter)
        top = max(by_depth)
        decay = self.config["layer_decay"]
        return [{"params": p, "scale": decay ** (top - depth)} for depth, p in sorted(by_depth.items())]


start, steps, try_out = AstFit, loop.steps, AstFit.try_out


def load(folder: Path) -> loop.NetModel:
    """Return the model saved in `folder`."""
    return loop.load(folder, network)
