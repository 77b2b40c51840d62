"""Multilayer perceptron on standardised statistics, in torch: CUDA where there is one, else CPU.

Adam (Kingma and Ba 2015) or AdamW (Loshchilov and Hutter 2019); the learning rate follows a schedule over all
steps of the configuration's own epochs. Random numbers of an epoch depend on seed and epoch alone, so that
trainings in lockstep don't disturb one another.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmark.families import _common as common
from benchmark.families._common import Array, Config, Fit, Told

NAME, FEATURES, REUSE_ACTORS, SEEDED, STEP = "mlp", "functionals", True, True, "epoch"
PARAMETERS = (
    *("layers", "units", "dropout", "batch_norm", "lr", "optimizer", "weight_decay", "batch_size", "epochs"),
    *("label_smoothing", "schedule", "class_weight"),
)
CHOICES = {
    "optimizer": ("adam", "adamw"), "schedule": ("constant", "cosine", "one_cycle"),
    "class_weight": ("none", "balanced"), "batch_norm": (True, False),
}  # fmt: skip
OPTIONAL = ("optimizer", "weight_decay")  # AdamW without decay is Adam
WARM_UP = 0.3  # share of the training in which one_cycle rises (Smith 2018)
FLOOR = 0.04  # its first learning rate, as a share of the highest


def network(columns: int, classes: int, config: Config) -> nn.Sequential:
    """Return `layers` blocks of linear, batch norm, ReLU, dropout, and a linear output."""
    blocks: list[nn.Module] = []
    for layer in range(config["layers"]):
        norm = [nn.BatchNorm1d(config["units"])] if config["batch_norm"] else []
        linear = nn.Linear(config["units"] if layer else columns, config["units"])
        blocks += [linear, *norm, nn.ReLU(), nn.Dropout(config["dropout"])]
    return nn.Sequential(*blocks, nn.Linear(config["units"], classes))


def rate(schedule: str, progress: float) -> float:
    """Return the factor of the learning rate at `progress` (0 to 1) through the training."""
    if schedule == "constant":
        return 1.0
    rise = WARM_UP if schedule == "one_cycle" else 0.0
    if progress < rise:
        return FLOOR + (1 - FLOOR) * 0.5 * (1 - math.cos(math.pi * progress / rise))
    return 0.5 * (1 + math.cos(math.pi * (progress - rise) / (1 - rise)))


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Give torch the random state of `seed` inside, and its own back afterwards."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


class MlpModel:
    """Scaler and network; classes unseen in training are masked."""

    def __init__(self, scaler: common.Scaler, net: nn.Sequential, present: Array, facts: Config):
        self.scaler, self.net, self.present, self.facts = scaler, net, present, facts
        self.parameters = sum(p.numel() for p in net.parameters())

    def predict_proba(self, x: Array) -> Array:
        """Return (n, classes): softmax over the classes seen in training."""
        device = next(self.net.parameters()).device
        with torch.inference_mode():
            rows = torch.from_numpy(self.scaler(x).astype(np.float32)).to(device)
            logits = self.net.eval()(rows).double().cpu()
            return logits.masked_fill(~torch.from_numpy(self.present), -torch.inf).softmax(1).numpy()

    def save(self, folder: Path) -> None:
        """Write weights and scaler as safetensors, the architecture as JSON."""
        weights = {f"net.{name}": value.cpu().numpy() for name, value in self.net.state_dict().items()}
        common.save_arrays(folder, {**weights, **vars(self.scaler), "present": self.present}, self.facts)


def load(folder: Path) -> MlpModel:
    """Return the model saved in `folder`, on the CPU."""
    arrays, facts = common.load_arrays(folder)
    scaler, present = common.Scaler(arrays.pop("mean"), arrays.pop("inverse")), arrays.pop("present")
    net = network(facts["columns"], facts["classes"], facts)
    net.load_state_dict({name[4:]: torch.from_numpy(value) for name, value in arrays.items()})
    return MlpModel(scaler, net, present, facts)


class MlpFit(Fit):
    """A training that advances by one epoch a step; sets the threads of its process."""

    def __post_init__(self) -> None:
        torch.set_num_threads(self.threads)
        torch.set_flush_denormal(True)  # denormal weights slow a CPU down tenfold
        self.epoch, self.device = 0, torch.device("cuda" if torch.cuda.is_available() else "cpu")
        scaler, config, columns = common.Scaler.fit(self.x), self.config, self.x.shape[1]
        self._x = torch.from_numpy(scaler(self.x).astype(np.float32)).to(self.device)
        self._y = torch.tensor(self.y, device=self.device)  # a copy: the object store is read-only
        shape = {key: config[key] for key in ("layers", "units", "batch_norm", "dropout")}
        with seeded(self.seed, self.device):
            net = network(columns, self.classes, shape).to(self.device)
        weight = common.balanced_weights(self.y, self.classes)
        facts = {"columns": columns, "classes": self.classes, **shape}
        self.model = MlpModel(scaler, net, weight > 0, facts)
        tensor = torch.tensor(weight, dtype=torch.float32, device=self.device)
        self.loss = nn.CrossEntropyLoss(
            tensor if config["class_weight"] == "balanced" else None,
            label_smoothing=config["label_smoothing"],
        )
        decay = config.get("weight_decay", 0.0)  # AdamW without decay is Adam
        self.optimizer = torch.optim.AdamW(net.parameters(), config["lr"], weight_decay=decay, fused=True)

    def _batches(self) -> list[torch.Tensor]:
        batches = list(torch.randperm(len(self._y), device=self.device).split(self.config["batch_size"]))
        if len(batches) > 1 and len(batches[-1]) == 1:  # batch norm can't normalise a single clip
            batches[-2:] = [torch.cat(batches[-2:])]
        return batches

    def step(self) -> Told:
        """Train one epoch; return its mean loss and last learning rate. Raises common.TrialFailed on NaN."""
        net, lr, total = self.model.net.train(), 0.0, torch.zeros((), device=self.device)
        with seeded(self.seed + 1_000_003 * (self.epoch + 1), self.device):
            for number, rows in enumerate(batches := self._batches()):
                progress = (self.epoch + number / len(batches)) / self.config["epochs"]
                lr = self.config["lr"] * rate(self.config["schedule"], progress)
                self.optimizer.param_groups[0]["lr"] = lr
                self.optimizer.zero_grad()
                loss = self.loss(net(self._x[rows]), self._y[rows])
                loss.backward()
                self.optimizer.step()
                total += loss.detach() * len(rows)
        self.epoch += 1
        mean = float(total) / len(self.y)
        if not math.isfinite(mean):
            raise common.TrialFailed(f"the training loss must be finite, but is {mean} in epoch {self.epoch}")
        return {"loss": mean, "lr": lr}


start = MlpFit


def steps(config: Config) -> int:
    """Return the number of epochs."""
    return config["epochs"]
