"""Training of the deep families on one core in float32 against the plain loop, from the same weights.

cnn: mn04 through `registry.family("cnn").start` (channels last, denormals flushed, fused optimizer) against a
loop over the same network in torch's default layout with torch's default AdamW. ast: size tiny at stride 16
through `registry.family("ast").start` against transformers' ASTForAudioClassification with the optimizer of
its Trainer (fused AdamW), once on clips padded as ASTFeatureExtractor pads them, with zeros before they are
normalised, to 1024 frames, once at the clips' own length.

Each side has a process of its own, as its user would: this program keeps freed memory. Both see the same
batches and clip gradients; the alternative finds its batches ready in memory, this program cuts and rolls its
own. At equal length the losses and what the trained networks say must agree; on padded clips they differ by
their nature, and only finite losses are asked. What a training starts from (network, features in memory) is
made before the clock starts, anew for each run; what its first batch asks of memory is timed.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from _bench import Comparison, Side
from torch import Tensor, nn

from benchmark import registry
from benchmark.families import _torch as loop
from benchmark.features import log_mel
from benchmark.sequences import Sequences

REPEATS = 5
CLASSES, BANDS, SEED = 8, 128, 0
FRAMES, PADDED = 384, 1024
BATCHES = {"cnn": 12, "ast": 4}  # of an epoch; RAVDESS has 24 of 32 clips
FOLD = 768  # clips that a trial trains on: RAVDESS, one of 5 folds and one of 3 inner folds held out
CPU = torch.device("cpu")
COMMON = {
    "epochs": 4, "schedule": "constant", "weight_decay": 0.01, "dropout": 0.0, "label_smoothing": 0.1,
    "time_mask": 0, "band_mask": 0, "mixup": 0.0,
}  # fmt: skip
OWN = {
    "cnn": {"network": "mn04", "lr": 1e-3, "batch_size": 32, "head_rate": 1.0},
    "ast": {"size": "tiny", "stride": 16, "lr": 1e-4, "batch_size": 16, "drop_path": 0.0, "layer_decay": 1.0,
            "warmup": 0, "checkpointing": False},
}  # fmt: skip
HEADER = "| training | this program | peak memory | alternative | peak memory |\n|---|---|---|---|---|"
EPOCHS: list[str] = []  # rows of the table of epochs, filled while `comparisons` goes on


Plain = tuple[nn.Module, Callable[[Tensor], Tensor], bool]  # network, its logits of frames, fused optimizer?


@dataclass
class Trained:
    """What a run tells: the mean loss of its epoch, and how long that took."""

    loss: float
    seconds: float


@dataclass
class Work:
    """One short epoch of a family on made clips of `frames`; the alternative sees them padded to `padded`."""

    family: str
    frames: int = FRAMES
    padded: int = FRAMES
    batches: int = 2
    weights: dict[str, np.ndarray] | None = None
    fits: list[Any] = field(default_factory=list)  # trainings of this program that may begin
    plain: list[Plain] = field(default_factory=list)  # networks of the alternative that may begin
    logits: Callable[[Tensor], Tensor] | None = None  # of the network that was trained last

    @property
    def config(self) -> dict[str, Any]:
        place = {"crop_frames": self.frames, **({"frames": self.frames} if self.family == "ast" else {})}
        return {**COMMON, **OWN[self.family], **place}

    @property
    def count(self) -> int:
        return self.batches * self.config["batch_size"]

    @cached_property
    def data(self) -> tuple[Sequences, np.ndarray]:
        draw = np.random.default_rng(SEED)
        y = np.arange(self.count) % CLASSES
        x = 0.5 * draw.normal(size=(self.count, self.frames, BANDS))
        x += draw.normal(size=(CLASSES, 1, BANDS))[y]
        return Sequences.of([*x.astype(np.float16)]), y

    @cached_property
    def ready(self) -> list[tuple[Tensor, Tensor]]:
        """The batches that this program's first epoch draws: frames (n, T, B) and classes (n,)."""
        x, y = self.data
        clips = loop.Clips(x, CPU)
        with loop.seeded(SEED + 1_000_003, CPU):
            rows = torch.randperm(len(y)).split(self.config["batch_size"])
            return [(self.pad(clips.take(part, self.frames)[0]), torch.from_numpy(y)[part]) for part in rows]

    def pad(self, x: Tensor) -> Tensor:
        zero = (0 - log_mel.MEAN) / (2 * log_mel.DEVIATION)
        return nn.functional.pad(x, (0, 0, 0, self.padded - self.frames), value=zero)

    def prepare(self, side: str, runs: int) -> None:
        """Make what so many runs of a side, "ours" or "other", begin with."""
        if side == "ours":
            start, given = registry.family(self.family).start, {"classes": CLASSES, "weights": self.weights}
            self.fits = [start(self.config, *self.data, seed=SEED, threads=1, **given) for _ in range(runs)]
        else:
            make = plain_mn04 if self.family == "cnn" else transformers_ast
            self.plain = [make(self.padded) for _ in range(runs)]
            assert self.ready  # drawn now, not while the clock runs

    def train(self, side: str) -> Trained:
        begun = perf_counter()
        loss, self.logits = self.through_this_program() if side == "ours" else self.through_plain_loop()
        return Trained(loss, perf_counter() - begun)

    def said(self) -> np.ndarray:
        """Return the trained network's logits (n, classes) of the first batch."""
        with torch.inference_mode():
            assert self.logits
            return self.logits(self.ready[0][0]).numpy()

    def through_this_program(self) -> tuple[float, Callable[[Tensor], Tensor]]:
        fit = self.fits.pop()
        loss = fit.step()["loss"]
        net = fit.model.net.eval()
        return loss, lambda x: net(x, torch.full((len(x),), x.shape[1]))

    def through_plain_loop(self) -> tuple[float, Callable[[Tensor], Tensor]]:
        torch.set_num_threads(1)
        net, logits, fused = self.plain.pop()
        net.train()
        lr, decay = self.config["lr"], self.config["weight_decay"]
        optimizer = torch.optim.AdamW(net.parameters(), lr, weight_decay=decay, fused=fused or None)
        criterion = nn.CrossEntropyLoss(label_smoothing=self.config["label_smoothing"])
        total = 0.0
        for x, y in self.ready:
            optimizer.zero_grad()
            loss = criterion(logits(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            total += loss.item() * len(y)
        net.eval()
        return total / self.count, logits

    def same(self, ours: Trained, other: Trained, said: np.ndarray, other_said: np.ndarray) -> bool:
        if self.padded != self.frames:
            return math.isfinite(ours.loss) and math.isfinite(other.loss)
        close = bool(np.abs(said - other_said).max() < 0.05 * other_said.std())
        return close and math.isclose(ours.loss, other.loss, rel_tol=1e-3)


def plain_mn04(frames: int) -> Plain:
    from benchmark.networks.mobilenet import MobileNet

    with loop.seeded(SEED, CPU):  # draws what the family draws
        net = MobileNet(CLASSES, dropout=0.0)
    return net, lambda x: net(x.transpose(1, 2)[:, None].contiguous()), False


def transformers_ast(frames: int) -> Plain:
    from transformers import ASTConfig, ASTForAudioClassification

    config = ASTConfig(
        hidden_size=192, num_hidden_layers=6, num_attention_heads=3, intermediate_size=768,
        max_length=frames, frequency_stride=16, time_stride=16, num_mel_bins=BANDS, num_labels=CLASSES,
    )  # fmt: skip
    with loop.seeded(SEED, CPU):
        net = ASTForAudioClassification(config)
    return net, lambda x: net(x).logits, True


class Worker:
    """One side in a process of its own, with `runs` trainings made."""

    def __init__(self, work: Work, side: str, runs: int) -> None:
        self.pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        self.pool.submit(_prepare, work, side, runs).result()
        self.seconds: list[float] = []

    def run(self) -> Trained:
        trained = self.pool.submit(_train).result()
        self.seconds.append(trained.seconds)
        return trained

    def said(self) -> np.ndarray:
        return self.pool.submit(_said).result()

    def end(self) -> str:
        """End the process; return its peak memory."""
        told = self.pool.submit(_peak).result()
        self.pool.shutdown()
        return told


_HERE: list[Any] = []  # in a worker's process: its work and side


def _prepare(work: Work, side: str, runs: int) -> None:
    work.prepare(side, runs)
    _HERE[:] = [work, side]


def _train() -> Trained:
    work, side = _HERE
    return work.train(side)


def _said() -> np.ndarray:
    return _HERE[0].said()


def _peak() -> str:
    """Return the peak memory of this process; Linux tells it, others don't."""
    status = Path("/proc/self/status")  # getrusage's maximum would hold the parent's, too
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return f"{int(found[1]) / 2**20:.2f} GiB" if found else "not told"


def comparisons(tiny: bool = False) -> Iterator[Comparison]:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # both sides on the CPU
    frames, padded = (64, 96) if tiny else (FRAMES, PADDED)
    EPOCHS[:] = [HEADER]
    for family, length, what, ours, other in (
        ("cnn", frames, "mn04", "channels last", "default layout"),
        ("ast", padded, "AST-tiny", "clips' own length", f"transformers, padded to {padded} frames"),
        ("ast", frames, "AST-tiny", "clips' own length", "transformers, same length"),
    ):
        work = Work(family, frames, length, 2 if tiny else BATCHES[family])
        if family == "ast":
            given = transformers_ast(length)[0].state_dict()
            work.weights = {name: value.numpy() for name, value in given.items()}
        runs = 1 if tiny else REPEATS + 1
        own, peer = (Worker(work, side, runs) for side in ("ours", "other"))
        title = f"{what} training, {frames} × {BANDS}, batches of {work.config['batch_size']}"
        sides = Side(ours, work.count, own.run), Side(other, work.count, peer.run)

        def same(a: Trained, b: Trained, work: Work = work, sides: tuple[Worker, ...] = (own, peer)) -> bool:
            return work.same(a, b, *(side.said() for side in sides))

        yield Comparison(title, "clips", *sides, same)
        told = [f"{median(side.seconds[-REPEATS:]) / work.count * FOLD:.0f} s" for side in (own, peer)]
        peaks = [side.end() for side in (own, peer)]
        EPOCHS.append(f"| {title} | {ours}: {told[0]} | {peaks[0]} | {other}: {told[1]} | {peaks[1]} |")
