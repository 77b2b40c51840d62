"""MobileNetV3 for spectrograms, as EfficientAT pretrained it on AudioSet.

Howard et al. 2019, "Searching for MobileNetV3" (doi 10.1109/ICCV.2019.00140), the large layout, with three
differences of EfficientAT (Schmid, Koutini and Widmer 2023, "Efficient Large-Scale Audio Tagging via
Transformer-to-CNN Knowledge Distillation", doi 10.1109/ICASSP49357.2023.10096110; code at
https://github.com/fschmid56/EfficientAT): one input channel, a sigmoid gate in squeeze-and-excitation, and
linear layers in it. Names of parameters are those of EfficientAT's checkpoints.

Shapes: n clips, C channels; an input is (n, 1, bands, frames).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torchvision.models.mobilenetv3 import InvertedResidual, InvertedResidualConfig
from torchvision.ops.misc import Conv2dNormActivation

from benchmark.networks.weights import differences
from benchmark.schema import SerbenchError

AUDIOSET_CLASSES = 527
LAST = ("classifier.5.weight", "classifier.5.bias")  # the layer that knows the classes
BLOCKS = (  # input channels, kernel, expanded channels, output channels, gate, activation, stride; at width 1
    (16, 3, 16, 16, False, "RE", 1),
    (16, 3, 64, 24, False, "RE", 2),
    (24, 3, 72, 24, False, "RE", 1),
    (24, 5, 72, 40, True, "RE", 2),
    (40, 5, 120, 40, True, "RE", 1),
    (40, 5, 120, 40, True, "RE", 1),
    (40, 3, 240, 80, False, "HS", 2),
    (80, 3, 200, 80, False, "HS", 1),
    (80, 3, 184, 80, False, "HS", 1),
    (80, 3, 184, 80, False, "HS", 1),
    (80, 3, 480, 112, True, "HS", 1),
    (112, 3, 672, 112, True, "HS", 1),
    (112, 5, 672, 160, True, "HS", 2),
    (160, 5, 960, 160, True, "HS", 1),
    (160, 5, 960, 160, True, "HS", 1),
)
LAST_HIDDEN = 1280


class _Excitation(nn.Module):
    """Weigh channels by a small network on their means (Hu et al. 2018), as linear layers."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, squeezed)
        self.fc2 = nn.Linear(squeezed, channels)

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.sigmoid(self.fc2(relu(self.fc1(x.mean((2, 3))))))
        return x * weights[:, :, None, None]


class _Gate(nn.Module):
    """Holds the excitation under the name that it has in the checkpoints."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.conc_se_layers = nn.Sequential(_Excitation(channels, squeezed))

    def forward(self, x: Tensor) -> Tensor:
        return self.conc_se_layers(x)


class MobileNet(nn.Module):
    """Trunk, mean over bands and frames, and two linear layers; initialised as torchvision's MobileNetV3.

    Args:
        classes: number of outputs.
        dropout: share of the last hidden layer that is dropped in training.
        width: factor of all channel numbers, which stay multiples of 8; 0.4 is EfficientAT's mn04.
        momentum: weight of a new batch in the running statistics of batch norm. EfficientAT trained with .01,
            for epochs of thousands of batches; an epoch of RAVDESS has 24, of which .01 would keep a fifth.
    """

    def __init__(self, classes: int, dropout: float = 0.2, width: float = 0.4, momentum: float = 0.1) -> None:
        super().__init__()
        self.classes, self.width = classes, width
        norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=momentum)
        conv = partial(Conv2dNormActivation, norm_layer=norm, activation_layer=nn.Hardswish)
        settings = [InvertedResidualConfig(*block, dilation=1, width_mult=width) for block in BLOCKS]
        stem, top = settings[0].input_channels, settings[-1].out_channels
        blocks = [InvertedResidual(setting, norm, se_layer=_Gate) for setting in settings]
        self.features = nn.Sequential(
            conv(1, stem, kernel_size=3, stride=2), *blocks, conv(top, 6 * top, kernel_size=1)
        )
        hidden = InvertedResidualConfig.adjust_channels(LAST_HIDDEN, width)
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6 * top, hidden),
            nn.Hardswish(),
            nn.Dropout(dropout),
            nn.Linear(hidden, classes),
        )
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (n, classes) of spectrograms (n, 1, bands, frames)."""
        return self.classifier(self.features(x))

    def embed(self, x: Tensor) -> Tensor:
        """Return the trunk's output (n, C), its mean over bands and frames; C = 384 at width 0.4."""
        return self.classifier[:2](self.features(x))

    def load_audioset(self, weights: Mapping[str, np.ndarray]) -> None:
        """Copy the parameters of EfficientAT's AudioSet checkpoint of this width.

        The last layer stays as initialised, unless `classes` is AudioSet's 527.

        Raises:
            SerbenchError: other names or shapes than this network's; nothing is copied.
        """
        left_out = () if self.classes == AUDIOSET_CLASSES else LAST
        own = {name: value for name, value in self.state_dict().items() if name not in left_out}
        given = {name: value for name, value in weights.items() if name not in left_out}
        if said := differences(own, given):
            raise SerbenchError(
                f"weights must be those of EfficientAT's MobileNet of width {self.width:g}, but these have "
                f"other parameters ({said}): take the checkpoint of that width"
            )
        self.load_state_dict({n: torch.tensor(value) for n, value in given.items()}, strict=not left_out)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0, 0.01)
        nn.init.zeros_(module.bias)
