"""One configuration, trained and scored on its inner folds; knows neither Ray nor MLflow.

A trial trains its inner folds in lockstep and reports their mean UAR after each step, so that a
scheduler may stop it early; its score is that of its own last step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from benchmark import metrics
from benchmark.families._common import TrialFailed, Weights
from benchmark.sequences import Sequences

Report = Callable[..., None]


@dataclass(frozen=True)
class TrainingPart:
    """All that a search may see of one outer fold: its training part, never a test clip."""

    ids: tuple[str, ...]
    x: np.ndarray | Sequences  # (clips, columns) float32, or frames of each clip
    y: np.ndarray  # (clips,) int64, index into the corpus's classes
    groups: np.ndarray  # (clips,) speaker of each clip
    validation: tuple[np.ndarray, ...]  # row numbers of each validation group
    classes: int

    def inner(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the (training, validation) row numbers of inner fold `number`, from 0."""
        held_out = self.validation[number]
        return np.setdiff1d(np.arange(len(self.y)), held_out), held_out


def run_trial(
    family: ModuleType,
    config: Mapping[str, Any],
    part: TrainingPart,
    *,
    inner_folds: int,
    seed: int,
    report: Report,
    threads: int = 1,
    time_limit: float = math.inf,
    weights: Weights | None = None,
    checkpoint: Path | None = None,
) -> None:
    """Train `config` on the inner folds and report {step, score, loss, lr, final, …} after each step.

    Families that train by epochs report `train_uar` and `validation_loss`, too.

    Args:
        family: a module of `benchmark.families`.
        inner_folds: how many of the validation groups to use, the first ones.
        seed: of every random choice in the training.
        report: called once a step, with a function that writes a checkpoint into a folder where the family
            is CHECKPOINTED; may not return, where a scheduler stops the trial.
        threads: for the numerical libraries.
        time_limit: seconds, checked after each step.
        weights: pretrained, for a family that starts from them.
        checkpoint: a folder to go on from.

    Raises:
        TrialFailed: the score is not a number, or the time limit is over.
    """
    deadline = time.monotonic() + time_limit
    folds = [part.inner(number) for number in range(min(inner_folds, len(part.validation)))]

    def begin(train: np.ndarray) -> Any:
        return family.start(
            config, part.x[train], part.y[train], classes=part.classes, seed=seed, threads=threads,
            groups=part.groups[train], weights=weights,
        )  # fmt: skip

    seen = [part.x[held_out] for _, held_out in folds]

    def score(fit: Any, number: int) -> tuple[float, float]:
        """Return UAR and, of probabilities, cross entropy on an inner fold's validation group."""
        scores, truth = fit.scores(seen[number]), part.y[folds[number][1]]
        if not np.isfinite(scores).all():  # argmax would make class 0 of it
            return math.nan, math.nan
        own = np.maximum(scores[np.arange(len(truth)), truth], 1e-12)
        return (
            float(metrics.uar(metrics.confusion(truth, scores.argmax(axis=1), part.classes))),
            float(-np.log(own).mean()),
        )

    def keep(folder: Path) -> None:
        for number, fit in enumerate(fits):
            fit.save(folder / str(number))

    def tell(
        step: int, found: Sequence[tuple[float, float]], told: Sequence[Mapping[str, Any]], last: bool
    ) -> None:
        scores, cross = zip(*found, strict=True)
        mean = float(np.mean(scores))
        losses = [t["loss"] for t in told if t["loss"] is not None]
        if not math.isfinite(mean) or not np.isfinite(losses).all():
            raise TrialFailed(f"score or loss is not finite at step {step}")
        if time.monotonic() > deadline and not last:
            raise TrialFailed(f"time limit of {time_limit:g} s is over at step {step}")
        loss = float(np.mean(losses)) if losses else None
        curves = {}
        if told[-1].get("train_uar") is not None:
            curves = {"train_uar": float(np.mean([t["train_uar"] for t in told]))}
            curves["validation_loss"] = float(np.mean(cross))
        saved = [keep] if getattr(family, "CHECKPOINTED", False) else []
        row = {"step": step, "score": mean, "loss": loss, "lr": told[-1]["lr"], "final": last}
        report({**row, **curves}, *saved)

    if family.STEP == "fold":  # nothing inside one fit can be reported: the inner folds are the steps
        scores: list[tuple[float, float]] = []
        for number, (train, _) in enumerate(folds, 1):
            fit = begin(train)
            told = fit.step()
            scores.append(score(fit, number - 1))
            tell(number, scores, [told], number == len(folds))
        return
    fits = [begin(train) for train, _ in folds]
    steps, done = family.steps(config), 0
    if checkpoint:
        for number, fit in enumerate(fits):
            fit.restore(checkpoint / str(number))
        done = fits[0].epoch
    for step in range(done + 1, steps + 1):
        told_all = [fit.step() for fit in fits]
        scores = [score(fit, number) for number, fit in enumerate(fits)]
        tell(step, scores, told_all, step == steps)


def refit(
    family: ModuleType,
    config: Mapping[str, Any],
    part: TrainingPart,
    *,
    seed: int,
    threads: int = 1,
    weights: Weights | None = None,
) -> tuple[Any, list[dict[str, Any]]]:
    """Fit `config` on the whole training part for exactly its own steps.

    Returns:
        The finished model (`predict_proba`, `save`, `parameters`) and its history, a row a step.
    """
    fit = family.start(
        config,
        part.x,
        part.y,
        classes=part.classes,
        seed=seed,
        threads=threads,
        groups=part.groups,
        weights=weights,
    )
    history = [{"step": step, **fit.step()} for step in range(1, family.steps(config) + 1)]
    return fit.finish(), history
