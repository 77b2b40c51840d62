"""One configuration, trained and scored on its inner folds; knows neither Ray nor MLflow.

A trial trains its inner folds in lockstep and reports their mean UAR after each step, so that a
scheduler may stop it early; its score is that of its own last step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from benchmark import metrics
from benchmark.families._common import TrialFailed

Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class TrainingPart:
    """All that a search may see of one outer fold: its training part, never a test clip."""

    ids: tuple[str, ...]
    x: np.ndarray  # (clips, columns) float32
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
) -> None:
    """Train `config` on the inner folds and report {step, score, loss, lr, final} after each step.

    Args:
        family: a module of `benchmark.families`.
        inner_folds: how many of the validation groups to use, the first ones.
        seed: of every random choice in the training.
        report: called once a step; may not return, where a scheduler stops the trial.
        threads: for the numerical libraries.
        time_limit: seconds, checked after each step.

    Raises:
        TrialFailed: the score is not a number, or the time limit is over.
    """
    deadline = time.monotonic() + time_limit
    folds = [part.inner(number) for number in range(min(inner_folds, len(part.validation)))]

    def begin(train: np.ndarray) -> Any:
        return family.start(
            config, part.x[train], part.y[train], classes=part.classes, seed=seed, threads=threads,
            groups=part.groups[train],
        )  # fmt: skip

    def score(fit: Any, held_out: np.ndarray) -> float:
        scores = fit.scores(part.x[held_out])
        if not np.isfinite(scores).all():  # argmax would make class 0 of it
            return math.nan
        return float(metrics.uar(metrics.confusion(part.y[held_out], scores.argmax(axis=1), part.classes)))

    def tell(step: int, scores: Sequence[float], told: Sequence[Mapping[str, Any]], last: bool) -> None:
        mean = float(np.mean(scores))
        losses = [t["loss"] for t in told if t["loss"] is not None]
        if not math.isfinite(mean) or not np.isfinite(losses).all():
            raise TrialFailed(f"score or loss is not finite at step {step}")
        if time.monotonic() > deadline and not last:
            raise TrialFailed(f"time limit of {time_limit:g} s is over at step {step}")
        loss = float(np.mean(losses)) if losses else None
        report({"step": step, "score": mean, "loss": loss, "lr": told[-1]["lr"], "final": last})

    if family.STEP == "fold":  # nothing inside one fit can be reported: the inner folds are the steps
        scores: list[float] = []
        for number, (train, held_out) in enumerate(folds, 1):
            fit = begin(train)
            told = fit.step()
            scores.append(score(fit, held_out))
            tell(number, scores, [told], number == len(folds))
        return
    fits = [begin(train) for train, _ in folds]
    steps = family.steps(config)
    for step in range(1, steps + 1):
        told_all = [fit.step() for fit in fits]
        scores = [score(fit, held_out) for fit, (_, held_out) in zip(fits, folds, strict=True)]
        tell(step, scores, told_all, step == steps)


def refit(
    family: ModuleType, config: Mapping[str, Any], part: TrainingPart, *, seed: int, threads: int = 1
) -> tuple[Any, list[dict[str, Any]]]:
    """Fit `config` on the whole training part for exactly its own steps.

    Returns:
        The finished model (`predict_proba`, `save`, `parameters`) and its history, a row a step.
    """
    fit = family.start(
        config, part.x, part.y, classes=part.classes, seed=seed, threads=threads, groups=part.groups
    )
    history = [{"step": step, **fit.step()} for step in range(1, family.steps(config) + 1)]
    return fit.finish(), history
