"""One trial: inner folds in lockstep, the mean of their UAR after each step, its own last step counts."""

from __future__ import annotations

import math
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmark import metrics, registry, trainable
from benchmark.families._common import Fit, TrialFailed
from benchmark.trainable import TrainingPart

FOREST = {
    "n_estimators": 60, "max_depth": 4, "max_features": 0.5, "min_samples_leaf": 1, "criterion": "gini",
    "class_weight": "none",
}  # fmt: skip
SVM = {"kernel": "rbf", "C": 1.0, "gamma_scale": 1.0, "class_weight": "none"}


def make_part(speakers: int = 6, clips: int = 9, classes: int = 3, groups: int = 3) -> TrainingPart:
    """Noisy clusters, one a class; validation group g holds speakers g, g + groups …"""
    draw = np.random.default_rng(0)
    y = np.tile(np.arange(classes), speakers * clips // classes)
    speaker = np.repeat(np.arange(speakers), clips)
    x = (draw.normal(size=(len(y), 5)) + 1.2 * np.eye(classes, 5)[y]).astype(np.float32)
    validation = tuple(np.flatnonzero(speaker % groups == g) for g in range(groups))
    return TrainingPart(tuple(f"c{n}" for n in range(len(y))), x, y, speaker.astype(str), validation, classes)


def run(family: Any, config: dict[str, Any], part: TrainingPart, **options: Any) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    trainable.run_trial(
        family, config, part, **{"inner_folds": 3, "seed": 1, "report": told.append} | options
    )
    return told


def scripted(
    losses: list[float], scores: Any = None, step: str = "epoch", seen: list[Any] | None = None
) -> ModuleType:
    """A family whose losses are `losses`, step by step."""

    class Scripted(Fit):
        def __post_init__(self) -> None:
            self.done = 0
            if seen is not None:
                seen.append(self)

        def step(self) -> dict[str, float | None]:
            self.done += 1
            return {"loss": losses[self.done - 1], "lr": 0.1 * self.done}

        def scores(self, x: np.ndarray) -> np.ndarray:
            return np.eye(self.classes)[np.zeros(len(x), int)] if scores is None else scores(x)

    return SimpleNamespace(STEP=step, start=Scripted, steps=lambda config: len(losses))  # type: ignore[return-value]


def test_lockstep_reports_the_mean_uar_of_all_inner_folds_after_each_block() -> None:
    part, forest = make_part(), registry.family("random_forest")
    told = run(forest, FOREST, part)
    assert [t["step"] for t in told] == [1, 2, 3]
    assert [t["final"] for t in told] == [False, False, True]
    for t, trees in zip(told, (25, 50, 60), strict=True):
        expected = []
        for fold in range(3):  # each inner fold on its own, grown at once: the same forest
            train, held = part.inner(fold)
            fit = forest.start(
                FOREST | {"n_estimators": trees}, part.x[train], part.y[train], classes=3, seed=1
            )
            for _ in range(math.ceil(trees / 25)):
                fit.step()
            counts = metrics.confusion(part.y[held], fit.scores(part.x[held]).argmax(1), 3)
            expected.append(metrics.uar(counts))
        assert t["score"] == pytest.approx(np.mean(expected), abs=1e-12)
        assert t["loss"] is None


def test_fold_steps_report_the_mean_so_far() -> None:
    part, svm = make_part(), registry.family("svm")
    told = run(svm, SVM, part)
    alone = []
    for fold in range(3):
        train, held = part.inner(fold)
        fit = svm.start(SVM, part.x[train], part.y[train], classes=3, seed=1)
        fit.step()
        alone.append(metrics.uar(metrics.confusion(part.y[held], fit.scores(part.x[held]).argmax(1), 3)))
    assert [t["score"] for t in told] == pytest.approx([np.mean(alone[:n]) for n in (1, 2, 3)])
    assert [t["final"] for t in told] == [False, False, True]


@pytest.mark.parametrize(("family", "config"), [("svm", SVM), ("random_forest", FOREST)])
def test_fewer_inner_folds_use_the_first_groups(family: str, config: dict[str, Any]) -> None:
    part = make_part()
    first_two = TrainingPart(part.ids, part.x, part.y, part.groups, part.validation[:2], part.classes)
    module = registry.family(family)
    assert run(module, config, part, inner_folds=2) == run(module, config, first_two, inner_folds=3)


def test_what_is_trained_on_is_never_validated_on_and_groups_are_speakers() -> None:
    part, seen = make_part(), []
    run(scripted([0.5], seen=seen), {}, part)
    for fold, fit in enumerate(seen):
        held = {part.groups[row] for row in part.validation[fold]}
        assert len(held) == 2
        assert set(fit.groups) == set(part.groups) - held
        assert len(fit.x) == len(fit.y) == len(part.y) - len(part.validation[fold])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("step", ["epoch", "fold"])
def test_fault_39_a_loss_that_is_no_number_fails_the_trial(bad: float, step: str) -> None:
    told: list[dict[str, Any]] = []
    losses = [bad] if step == "fold" else [0.5, bad, 0.4]
    with pytest.raises(TrialFailed, match="not finite at step"):
        run(scripted(losses, step=step), {}, make_part(), report=told.append)
    assert len(told) == len(losses) // 3


def test_fault_39_a_score_that_is_no_number_fails_the_trial() -> None:
    told: list[dict[str, Any]] = []  # the last update of the weights may break a network: no loss shows it
    scores = iter([0.0] * 3 + [0.0, math.nan, 0.0])
    family = scripted([0.5, 0.5], lambda x: np.full((len(x), 3), next(scores)))
    with pytest.raises(TrialFailed, match="not finite at step 2"):
        run(family, {}, make_part(), report=told.append)
    assert len(told) == 1


def test_the_time_limit_ends_a_trial_but_not_one_that_is_done() -> None:
    told: list[dict[str, Any]] = []
    with pytest.raises(TrialFailed, match="time limit of 0 s is over at step 1"):
        run(scripted([0.5, 0.4]), {}, make_part(), time_limit=0, report=told.append)
    assert told == []
    assert run(scripted([0.5]), {}, make_part(), time_limit=0)[0]["final"]


def test_loss_is_the_mean_of_the_inner_folds_and_the_rate_is_the_steps_own() -> None:
    told = run(scripted([0.5, 0.25]), {}, make_part())
    assert [(t["loss"], t["lr"]) for t in told] == [(0.5, 0.1), (0.25, 0.2)]


def test_a_network_tells_uar_of_training_and_validation_loss_after_each_step() -> None:
    config = {
        "layers": 1, "units": 32, "dropout": 0.0, "batch_norm": False, "lr": 0.01, "optimizer": "adam",
        "batch_size": 16, "epochs": 12, "label_smoothing": 0.0, "schedule": "constant",
    }  # fmt: skip
    told = run(registry.family("mlp"), config, make_part(clips=30))
    assert [t["step"] for t in told] == list(range(1, 13))
    assert told[-1]["train_uar"] > max(0.6, told[0]["train_uar"])
    assert told[-1]["validation_loss"] < told[0]["validation_loss"] < 2 * math.log(3)


def test_a_refit_takes_its_own_steps_on_the_whole_part() -> None:
    part = make_part()
    model, history = trainable.refit(registry.family("random_forest"), FOREST, part, seed=3)
    assert [row["step"] for row in history] == [1, 2, 3]
    assert len(model.forest.estimators_) == 60
    assert model.forest.estimators_[0].tree_.n_node_samples[0] <= len(part.y)
    assert sum(model.forest.estimators_[0].tree_.weighted_n_node_samples[:1]) == len(part.y)
