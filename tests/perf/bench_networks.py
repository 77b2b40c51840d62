"""Training of the deep families on one core in float32 against the plain loop, from the same weights.

cnn: mn04 through `registry.family("cnn").start` (channels last, denormals flushed, fused optimizer) against a
loop over the same network in torch's default layout with torch's default AdamW. ast: size tiny at stride 16
through `registry.family("ast").start` against transformers' ASTForAudioClassification with the optimizer of
its Trainer (fused AdamW), once on clips padded as ASTFeatureExtractor pads them, with zeros before they are
normalised, to 1024 frames, once at the clips' own length.

Both sides see the same batches and clip gradients; the alternative finds its batches ready in memory, this
program cuts and rolls its own. At equal length the losses and what the trained networks say must agree; on
padded clips they differ by their nature, and only finite losses are asked. What a training starts from
(network, features in memory) is made before the clock starts, anew for each run.

`python bench_networks.py FAMILY ours|other FRAMES` trains once and prints its peak memory.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
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
FRAMES, PADDED, BATCHES = 384, 1024, 4
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
    """What a run leaves: the mean loss of its epoch, and the logits (n, classes) of frames (n, T, B)."""

    loss: float
    logits: Callable[[Tensor], Tensor]


@dataclass
class Work:
    """One short epoch of a family on made clips of `frames`; the alternative sees them padded to `padded`."""

    family: str
    frames: int = FRAMES
    padded: int = FRAMES
    batches: int = BATCHES
    weights: dict[str, np.ndarray] | None = None
    fits: list[Any] = field(default_factory=list)  # trainings of this program that may begin
    plain: list[Plain] = field(default_factory=list)  # networks of the alternative that may begin
    seconds: dict[str, list[float]] = field(default_factory=dict)  # of each run of a side

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

    def through_this_program(self) -> Trained:
        torch.set_flush_denormal(True)  # as its start did, which the other side undid
        fit = self.fits.pop()
        loss = fit.step()["loss"]
        net = fit.model.net.eval()
        return Trained(loss, lambda x: net(x, torch.full((len(x),), x.shape[1])))

    def through_plain_loop(self) -> Trained:
        torch.set_flush_denormal(False)
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
        return Trained(total / self.count, logits)

    def side(self, name: str, run: Callable[[], Trained]) -> Side:
        def timed() -> Trained:
            begun = perf_counter()
            trained = run()
            self.seconds.setdefault(name, []).append(perf_counter() - begun)
            return trained

        return Side(name, self.count, timed)

    def same(self, ours: Trained, other: Trained) -> bool:
        if self.padded != self.frames:
            return math.isfinite(ours.loss) and math.isfinite(other.loss)
        x = self.ready[0][0]
        with torch.inference_mode():
            own, peer = ours.logits(x), other.logits(x)
        close = bool((own - peer).abs().max() < 0.05 * peer.std())
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


def peak(family: str, side: str, padded: int) -> str:
    """Return the peak memory of a process that trains so once; Linux tells it, others don't."""
    command = [sys.executable, __file__, family, side, str(padded)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.split("\n")[-2]


def train_once(family: str, side: str, padded: str) -> None:
    work = Work(family, padded=int(padded))
    work.prepare(side, 1)
    (work.through_this_program if side == "ours" else work.through_plain_loop)()
    status = Path("/proc/self/status")  # getrusage's maximum would hold the parent's, too
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    print(f"{int(found[1]) / 2**20:.2f} GiB" if found else "not told")


def comparisons(tiny: bool = False) -> Iterator[Comparison]:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # both sides on the CPU
    frames, padded, batches = (64, 96, 2) if tiny else (FRAMES, PADDED, BATCHES)
    EPOCHS[:] = [HEADER]
    for family, length, what, ours, other in (
        ("cnn", frames, "mn04", "channels last", "default layout"),
        ("ast", padded, "AST-tiny", "clips' own length", f"transformers, padded to {padded} frames"),
        ("ast", frames, "AST-tiny", "clips' own length", "transformers, same length"),
    ):
        work = Work(family, frames, length, batches)
        if family == "ast":
            given = transformers_ast(length)[0].state_dict()
            work.weights = {name: value.numpy() for name, value in given.items()}
        for side in ("ours", "other"):
            work.prepare(side, 1 if tiny else REPEATS + 1)
        sides = work.side(ours, work.through_this_program), work.side(other, work.through_plain_loop)
        title = f"{what} training, {frames} × {BANDS}, batches of {work.config['batch_size']}"
        yield Comparison(title, "clips", *sides, work.same)
        told = [f"{median(work.seconds[s.name][-REPEATS:]) / work.count * FOLD:.0f} s" for s in sides]
        peaks = ["–"] * 2 if tiny else [peak(family, side, length) for side in ("ours", "other")]
        EPOCHS.append(f"| {title} | {ours}: {told[0]} | {peaks[0]} | {other}: {told[1]} | {peaks[1]} |")


if __name__ == "__main__":
    train_once(*sys.argv[1:])
