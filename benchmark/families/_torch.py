"""One training loop for every network: mlp on rows of statistics; cnn, lstm and ast on frames of log-mel.

CUDA where there is one (bfloat16 autocast), else CPU in float32. All features go to the device once; a batch
is an index into them. Random numbers of an epoch depend on seed and epoch alone, so that trainings in
lockstep don't disturb one another, and one that goes on from a checkpoint gives the numbers of an unbroken
one.

Shapes: n clips, T frames, B bands; a batch of frames is (n, T, B) float32 beside the clips' lengths (n,).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmark import metrics
from benchmark.families import _common as common
from benchmark.families import _memory as memory
from benchmark.families._common import Array, Config, Fit, Told, Weights
from benchmark.sequences import Sequences

WARM_UP = 0.3  # share of the training in which one_cycle rises (Smith 2018)
FLOOR = 0.04  # its first learning rate, as a share of the highest
SCHEDULES = ("constant", "cosine", "one_cycle", "exponential")
SILENCE = -1.3  # what follows a clip's end: digital silence is -1.28 and -1.40 in the two log-mel front ends
LONGER = 32  # frames: a clip is predicted at the next multiple, alone or among clips of that length
AT_ONCE = 32  # clips that are predicted together
Data = Array | Sequences


def rate(schedule: str, progress: float) -> float:
    """Return the factor of the learning rate at `progress` (0 to 1) through the training."""
    if schedule == "constant":
        return 1.0
    rise = WARM_UP if schedule == "one_cycle" else 0.0
    if progress < rise:
        return FLOOR + (1 - FLOOR) * 0.5 * (1 - math.cos(math.pi * progress / rise))
    return 0.5 * (1 + math.cos(math.pi * (progress - rise) / (1 - rise)))


def factor(config: Config, done: float) -> float:
    """Return the factor of the learning rate after `done` epochs, of `config["epochs"]`.

    `exponential` multiplies by `decay` at each epoch after number `decay_start` (Gong et al. 2021: .85, 5);
    `warmup` epochs rise linearly.
    """
    if config["schedule"] == "exponential":
        base = config["decay"] ** max(0, math.floor(done) + 1 - config["decay_start"])
    else:
        base = rate(config["schedule"], done / config["epochs"])
    warmup = config.get("warmup", 0)
    return base * min(1.0, (done + 0.05) / (warmup + 0.05)) if warmup else base


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Give torch the random state of `seed` inside, and its own back afterwards."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


class Rows:
    """Statistics on the device, a row a clip."""

    def __init__(self, x: Array, scaler: common.Scaler, device: torch.device):
        self.x = torch.from_numpy(scaler(x).astype(np.float32)).to(device)

    def take(self, rows: Tensor, crop: int = 0) -> tuple[Tensor, ...]:
        """Return (x,): x (n, columns)."""
        return (self.x[rows],)


class Clips:
    """Frames on the device, or beside it where its memory has no room, in the features' own precision."""

    def __init__(self, x: Sequences, device: torch.device):
        frames = torch.tensor(x.frames)  # a copy: the object store is read-only
        self.frames = _placed(frames.nan_to_num_().clamp_(-common.CLIP, common.CLIP), device)
        self.lengths = torch.tensor(x.lengths, device=device)
        self.starts = torch.tensor(x.starts, device=device)

    def take(self, rows: Tensor, crop: int = 0) -> tuple[Tensor, ...]:
        """Return (x, lengths): whole clips followed by silence or, with `crop`, so many frames of each.

        A crop begins anywhere in the clip; behind its end the clip begins again (a time roll).
        """
        lengths, starts = self.lengths[rows, None], self.starts[rows, None]
        if crop:
            begin = (torch.rand(len(rows), 1, device=starts.device) * lengths).long()
            place = (begin + torch.arange(crop, device=starts.device)) % lengths
            return self._at(starts + place), torch.full_like(rows, crop)
        place = torch.arange(padded(int(lengths.max())), device=starts.device)
        x = self._at((starts + place).clamp(max=len(self.frames) - 1))
        return x.masked_fill((place >= lengths)[..., None], SILENCE), lengths[:, 0]

    def _at(self, place: Tensor) -> Tensor:
        return self.frames[place.to(self.frames.device)].to(place.device).float()


def _placed(frames: Tensor, device: torch.device) -> Tensor:
    try:
        return frames.to(device)
    except torch.OutOfMemoryError:
        return frames


def padded(length: Any) -> Any:
    """Return the next multiple of LONGER, of a number or of each number of an array."""
    return -(-length // LONGER) * LONGER


def mask(x: Tensor, frames: int, bands: int) -> Tensor:
    """Set a random span of up to `frames` frames and one of up to `bands` bands of each clip to 0.

    SpecAugment: Park et al. 2019, doi 10.21437/Interspeech.2019-2680.
    """
    for dim, most in ((1, frames), (2, bands)):
        if most:
            size = x.shape[dim]
            width = torch.rand(len(x), 1, device=x.device) * min(most, size)
            begin = torch.rand(len(x), 1, device=x.device) * (size - width)
            place = torch.arange(size, device=x.device)
            inside = (place >= begin) & (place < begin + width)
            x = x.masked_fill(inside[:, :, None] if dim == 1 else inside[:, None, :], 0.0)
    return x


class NetModel:
    """A network and what it needs to predict; classes unseen in training are masked."""

    def __init__(self, net: nn.Module, present: Array, facts: Config, scaler: common.Scaler | None = None):
        self.net, self.present, self.facts, self.scaler = net, present, facts, scaler
        self.parameters = sum(p.numel() for p in net.parameters())

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.net.parameters()).device

    def ready(self, x: Data) -> Rows | Clips:
        """Return the statistics or frames on the network's device."""
        if isinstance(x, Sequences):
            return Clips(x, self.device)
        assert self.scaler is not None
        return Rows(x, self.scaler, self.device)

    def predict_proba(self, x: Data | Rows | Clips) -> Array:
        """Return (n, classes): softmax over the classes seen in training."""
        with torch.inference_mode():
            logits = self._logits(x if isinstance(x, Rows | Clips) else self.ready(x)).double().cpu()
            return logits.masked_fill(~torch.from_numpy(self.present), -torch.inf).softmax(1).numpy()

    def _logits(self, x: Rows | Clips) -> Tensor:
        net = self.net.eval()
        if isinstance(x, Rows):
            return net(x.x)
        lengths = padded(x.lengths.cpu().numpy())
        order, parts = np.argsort(lengths, kind="stable"), []
        for same in np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1):
            for rows in torch.from_numpy(same).to(self.device).split(AT_ONCE):
                parts.append(net(*x.take(rows)).float())
        return torch.cat(parts)[torch.from_numpy(np.argsort(order)).to(self.device)]

    def save(self, folder: Path) -> None:
        """Write weights (and scaler) as safetensors, the architecture as JSON."""
        weights = {f"net.{name}": value.cpu().numpy() for name, value in self.net.state_dict().items()}
        scaler = vars(self.scaler) if self.scaler else {}
        common.save_arrays(folder, {**weights, **scaler, "present": self.present}, self.facts)


def load(folder: Path, network: Callable[[Config], nn.Module]) -> NetModel:
    """Return the model saved in `folder`, on a GPU if there is one; `network` makes it from its facts."""
    arrays, facts = common.load_arrays(folder)
    present = arrays.pop("present")
    scaler = common.Scaler(arrays.pop("mean"), arrays.pop("inverse")) if "inverse" in arrays else None
    net = network(facts)
    net.load_state_dict({name[4:]: torch.from_numpy(value) for name, value in arrays.items()})
    if torch.cuda.is_available():
        net.cuda()
    return NetModel(net, present, facts, scaler)


class NetFit(Fit):
    """A training that advances by one epoch a step; sets the threads of its process.

    A family says how its network is made (`network`), which settings make it (`SHAPE`) and, where layers
    learn at rates of their own, `parameter_groups`.
    """

    SHAPE: tuple[str, ...] = ()  # settings that the network is made from, kept beside its weights
    FRAMES = True  # it reads frames and the clips' lengths; else rows of statistics
    CLIP_NORM: float | None = 1.0  # of the gradient

    @staticmethod
    def network(facts: Config) -> nn.Module:
        """Make the network from the facts: SHAPE, classes, columns (of a frame or row)."""
        raise NotImplementedError

    @staticmethod
    def pretrained(net: nn.Module, config: Config, weights: Weights) -> None:
        """Put pretrained weights into a new network."""
        raise NotImplementedError

    @classmethod
    def build(
        cls, config: Config, columns: int, classes: int, weights: Weights | None
    ) -> tuple[nn.Module, Config]:
        """Return a new network of a configuration, on the CPU, and the facts that it is made from."""
        facts = {"columns": columns, "classes": classes, **{key: config[key] for key in cls.SHAPE}}
        net = cls.network(facts)
        if weights is not None:
            cls.pretrained(net, config, weights)
        return net, facts

    @classmethod
    def try_out(cls, config: Config, columns: int, weights: Weights | None) -> None:
        """Make a network and show it two silent clips: what raises here would end every trial."""
        net, _ = cls.build(config, columns, 2, weights)
        frames = (torch.zeros(2, LONGER, columns), torch.full((2,), LONGER))
        shown = frames if cls.FRAMES else (torch.zeros(2, columns),)
        with torch.inference_mode():
            net.eval()(*shown)

    def save_memory(self, net: nn.Module) -> None:
        """Make the network pay for memory with time, where it can: called when memory has ended once."""

    def parameter_groups(self, net: nn.Module) -> list[dict[str, Any]]:
        """Return the optimizer's groups, each with `params` and `scale`, a factor of the learning rate."""
        return [{"params": list(net.parameters()), "scale": 1.0}]

    def __post_init__(self) -> None:
        torch.set_num_threads(self.threads)
        torch.set_flush_denormal(True)  # denormal weights slow a CPU down tenfold
        self.epoch, self.parts = 0, 1
        self._scored: tuple[Data, Rows | Clips] | None = None  # what `scores` saw last, on the device
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        config, scaler = self.config, None
        if isinstance(self.x, Sequences):
            memory.give_back()  # what the training before has left
            memory.keep_freed()
            self.data: Rows | Clips = Clips(self.x, self.device)
            columns = self.x.bands
        else:
            scaler, columns = common.Scaler.fit(self.x), self.x.shape[1]
            self.data = Rows(self.x, scaler, self.device)
        self._y = torch.tensor(self.y, device=self.device)  # a copy: the object store is read-only
        with seeded(self.seed, self.device):
            net, facts = self.build(config, columns, self.classes, self.weights)
            net.to(self.device)
        weight = common.balanced_weights(self.y, self.classes)
        self.model = NetModel(net, weight > 0, facts, scaler)
        tensor = torch.tensor(weight, dtype=torch.float32, device=self.device)
        self.loss = nn.CrossEntropyLoss(
            tensor if config.get("class_weight") == "balanced" else None,
            label_smoothing=config["label_smoothing"],
        )
        decay = config.get("weight_decay", 0.0)  # AdamW without decay is Adam
        self.optimizer = torch.optim.AdamW(
            self.parameter_groups(net), config["lr"], weight_decay=decay, fused=True
        )

    def _batches(self) -> list[Tensor]:
        batches = list(torch.randperm(len(self._y), device=self.device).split(self.config["batch_size"]))
        if len(batches) > 1 and len(batches[-1]) == 1:  # batch norm can't normalise a single clip
            batches[-2:] = [torch.cat(batches[-2:])]
        return batches

    def _loss(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mean loss of a batch after augmentation, its logits, and the labels heard most."""
        config, y = self.config, self._y[rows]
        x, *lengths = self.data.take(rows, config.get("crop_frames", 0))
        if lengths:
            x = mask(x, config.get("time_mask", 0), config.get("band_mask", 0))
        share, other = 1.0, None
        if config.get("mixup", 0.0) > 0:  # Zhang et al. 2018
            share = float(torch.distributions.Beta(config["mixup"], config["mixup"]).sample())
            other = torch.randperm(len(rows), device=self.device)
            x = share * x + (1 - share) * x[other]
            lengths = [torch.maximum(n, n[other]) for n in lengths]
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda"):
            logits = self.model.net(x, *lengths)
        logits = logits.float()
        loss = self.loss(logits, y)
        if other is None:
            return loss, logits, y
        mixed = share * loss + (1 - share) * self.loss(logits, y[other])
        return mixed, logits, y if share >= 0.5 else y[other]

    def _backward(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Add a batch's gradient, in halves from when memory ends; return loss, guessed and heard labels.

        The halves' gradients add up to the batch's; what depends on the batch as a whole (batch norm's
        statistics, who is mixed with whom) is a half's own.
        """
        try:
            return self._add_gradient(rows)
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            if self.parts > 1:
                raise common.TrialFailed(f"out of memory even at half of batch_size {len(rows)}") from None
        self.parts = 2  # here, where nothing holds the activations of what failed
        self.save_memory(self.model.net)
        self.optimizer.zero_grad()
        return self._backward(rows)

    def _add_gradient(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        total, guessed, heard = torch.zeros((), device=self.device), [], []
        weight = self._mass(rows)
        for part in rows.tensor_split(max(1, min(self.parts, len(rows) // 2))):  # batch norm needs two clips
            loss, logits, labels = self._loss(part)
            loss = loss * (self._mass(part) / weight)
            loss.backward()
            total += loss.detach()
            guessed.append(logits.argmax(1))
            heard.append(labels)
        return total, torch.cat(guessed), torch.cat(heard)

    def _mass(self, rows: Tensor) -> Tensor | int:
        """What the mean loss of `rows` divides by."""
        return len(rows) if self.loss.weight is None else self.loss.weight[self._y[rows]].sum()

    def step(self) -> Told:
        """Train one epoch; return its mean loss, last learning rate and UAR while training.

        Raises:
            common.TrialFailed: the loss is not finite, or memory ends at half a batch, too.
        """
        net, config, lr, total = self.model.net.train(), self.config, 0.0, torch.zeros((), device=self.device)
        guessed, heard = torch.empty_like(self._y), torch.empty_like(self._y)
        with seeded(self.seed + 1_000_003 * (self.epoch + 1), self.device):
            for number, rows in enumerate(batches := self._batches()):
                lr = config["lr"] * factor(config, self.epoch + number / len(batches))
                for group in self.optimizer.param_groups:
                    group["lr"] = lr * group["scale"]
                self.optimizer.zero_grad()
                loss, guessed[rows], heard[rows] = self._backward(rows)
                if self.CLIP_NORM:
                    nn.utils.clip_grad_norm_(net.parameters(), self.CLIP_NORM)
                self.optimizer.step()
                total += loss * len(rows)
        self.epoch += 1
        mean = float(total) / len(self.y)
        if not math.isfinite(mean):
            raise common.TrialFailed(f"the training loss must be finite, but is {mean} in epoch {self.epoch}")
        counts = metrics.confusion(heard.cpu().numpy(), guessed.cpu().numpy(), self.classes)
        return {"loss": mean, "lr": lr, "train_uar": float(metrics.uar(counts))}

    def finish(self) -> Any:
        """Return the model, after its last step."""
        memory.give_back()
        return super().finish()

    def scores(self, x: Data) -> Array:
        """Return (clips, classes) probabilities; x stays on the device for the next epoch."""
        if self._scored is None or self._scored[0] is not x:
            self._scored = x, self.model.ready(x)
        return self.model.predict_proba(self._scored[1])

    def save(self, folder: Path) -> None:
        """Write all that `restore` needs: weights, the optimizer's moments, the epoch."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"net.{name}": value for name, value in self.model.net.state_dict().items()}
        for number, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in moments.items()}
        save_file({name: value.contiguous() for name, value in tensors.items()}, folder / "fit.safetensors")
        (folder / "fit.json").write_text(json.dumps({"epoch": self.epoch, "parts": self.parts}))

    def restore(self, folder: Path) -> None:
        """Go on from what `save` wrote: the numbers that follow are those of an unbroken training."""
        facts = json.loads((folder / "fit.json").read_text())
        self.epoch, self.parts = facts["epoch"], facts["parts"]
        if self.parts > 1:
            self.save_memory(self.model.net)
        tensors = load_file(folder / "fit.safetensors")
        self.model.net.load_state_dict({n[4:]: t for n, t in tensors.items() if n.startswith("net.")})
        owners = [p for group in self.optimizer.param_groups for p in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for name in (n for n in tensors if n.startswith("optimizer.")):
            _, number, moment = name.split(".")
            own, value = owners[int(number)], tensors[name]
            # in the parameter's memory format: the fused optimizer reads both as they lie
            same = torch.empty_like(own).copy_(value) if value.shape == own.shape else value
            state.setdefault(int(number), {})[moment] = same
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


def _out_of_memory(error: RuntimeError) -> bool:
    told = ("can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in told)


def steps(config: Mapping[str, Any]) -> int:
    """Return the number of epochs."""
    return config["epochs"]
