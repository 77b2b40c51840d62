"""Convolutional network: EfficientAT's MobileNetV3, or any timm model with one input channel.

`network: mn04` takes AudioSet's weights or none; another name is timm's, with ImageNet's weights or none (the
first layer's three input channels are summed, as timm does).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.families import _common as common
from benchmark.families import _torch as loop
from benchmark.families._common import Config, Weights
from benchmark.networks.mobilenet import LAST, MobileNet
from benchmark.networks.weights import differences
from benchmark.schema import SerbenchError, nearest

NAME, FEATURES, REUSE_ACTORS, SEEDED, STEP = "cnn", "log_mel_32k", True, True, "epoch"
CHECKPOINTED = True
PRETRAININGS = ("audioset", "imagenet")
PARAMETERS = (
    *("network", "dropout", "lr", "schedule", "weight_decay", "batch_size", "epochs", "label_smoothing"),
    *("head_rate", "crop_frames", "time_mask", "band_mask", "mixup"),
)
LIMITS = common.LIMITS
CHOICES = {"schedule": loop.SCHEDULES[:3]}
MN04 = "mn04"


class Spectrogram(nn.Module):
    """Shows frames to a network of images, as one channel."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return logits (n, classes) of x (n, frames, bands)."""
        return self.net(x.transpose(1, 2)[:, None])


def network(facts: Config) -> nn.Module:
    """Return the network of the facts, channels last: twice as fast on a CPU.

    Raises:
        SerbenchError: timm knows no such network.
    """
    name, classes = facts["network"], facts["classes"]
    if name == MN04:
        net: nn.Module = MobileNet(classes, dropout=facts["dropout"])
    else:
        import timm

        if not timm.is_model(name):
            near = nearest(name, (MN04, *timm.list_models()))
            raise SerbenchError(f"network must be {MN04} or a model of timm, but got {name!r}: {near}")
        net = timm.create_model(name, in_chans=1, num_classes=classes, drop_rate=facts["dropout"])
    return Spectrogram(net).to(memory_format=torch.channels_last)


class CnnFit(loop.NetFit):
    """A training of the CNN; the last layer, which is new, learns `head_rate` times as fast."""

    SHAPE = ("network", "dropout")
    network = staticmethod(network)

    @staticmethod
    def pretrained(net: nn.Module, config: Config, weights: Weights) -> None:
        """Put AudioSet's or ImageNet's weights into the network, but for its last layer."""
        inner: Any = net.net
        if config["network"] == MN04:
            inner.load_audioset(weights)
        else:
            load_timm(inner, weights)

    def parameter_groups(self, net: nn.Module) -> list[dict[str, Any]]:
        """Return two groups: all but the last layer's parameters, and those."""
        inner: Any = net.net
        own = dict(inner.named_parameters())
        head = _head(inner, own)
        return [
            {"params": [p for name, p in own.items() if name not in head], "scale": 1.0},
            {"params": [own[name] for name in head], "scale": self.config["head_rate"]},
        ]


def _head(net: Any, names: Iterable[str]) -> list[str]:
    """Return those of a network's `names` that are of its last layer, or layers where it has two heads."""
    if isinstance(net, MobileNet):
        return list(LAST)
    return [name for name in names if name.startswith(tuple(f"{at}." for at in _all(net, "classifier")))]


def _all(net: Any, key: str) -> tuple[str, ...]:
    """Return the layers that timm's configuration of a network names under `key`: none, one or several."""
    named = net.default_cfg.get(key) or ()
    return (named,) if isinstance(named, str) else tuple(named)


def load_timm(net: Any, weights: Any) -> None:
    """Put a timm checkpoint into a timm model of one input channel and its own classes.

    Raises:
        SerbenchError: the weights are another network's.
    """
    from timm.models import adapt_input_conv

    own = net.state_dict()
    dropped = set(_head(net, weights))
    given = {name: torch.tensor(value) for name, value in weights.items() if name not in dropped}
    for first in (f"{at}.weight" for at in _all(net, "first_conv")):
        if first in given:
            given[first] = adapt_input_conv(1, given[first])
    given |= {name: own[name] for name in _head(net, own)}
    if said := differences(own, given):
        raise SerbenchError(f"the weights must be those of the timm network named, but differ: {said}")
    net.load_state_dict(given)


start, steps, try_out = CnnFit, loop.steps, CnnFit.try_out


def load(folder: Path) -> loop.NetModel:
    """Return the model saved in `folder`."""
    return loop.load(folder, network)
