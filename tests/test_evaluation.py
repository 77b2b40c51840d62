"""Refits on a real Ray, and the one opening of the test part."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_trainable import SVM, make_part

from benchmark import bundle, cluster, evaluation, files, trainable
from benchmark.evaluation import Fitted, Refit
from benchmark.schema import Fold

MLP = {
    "layers": 1, "units": 8, "dropout": 0.0, "batch_norm": False, "batch_size": 64, "label_smoothing": 0.0,
    "schedule": "constant", "class_weight": "none", "lr": 0.01, "epochs": 2,
}  # fmt: skip
BROKEN = MLP | {"lr": 1e38, "epochs": 1}
CLASSES = ("angry", "happy", "sad")
FOLD = Fold(1, ("t1", "t2", "t3"), tuple(f"c{n}" for n in range(54)), ("s9",), ("0",), ())


def refit(system: str, config: dict[str, Any], seed: int = 1, fold: int = 1) -> Refit:
    family = system.partition("-")[0]
    return Refit(system, family, "none", "functionals", fold, seed, config)


def by_turn(room: dict[str, float], **mlp_needs: float) -> list[list[tuple[str, int]]]:
    """The turns of three seeds of an unseeded svm, of an mlp that has another published row, and majority."""
    needs = {"mlp": mlp_needs, "mlp-published": mlp_needs}
    configs = {"svm": SVM, "mlp": MLP, "mlp-published": BROKEN, evaluation.MAJORITY: {}}
    refits = [
        dataclasses.replace(refit(system, config, seed), **needs.get(system, {}))
        for seed in (1, 2, 3)
        for system, config in configs.items()
    ]
    return [[(r.system, r.seed) for r in chain(*turn)] for turn in evaluation.turns(refits, room)]


def test_refits_take_turns_that_fill_the_cluster() -> None:
    rows = ("svm", "mlp", "mlp-published", evaluation.MAJORITY)
    svm, searched, published, majority = ([(row, seed) for seed in (1, 2, 3)] for row in rows)
    mlp = searched + published
    one_by_one = [svm, *([run] for run in mlp), majority]  # svm and majority are one model each
    assert by_turn({"cpus": 1, "gpus": 0}) == one_by_one
    assert by_turn({"cpus": 3, "gpus": 0}) == [svm + mlp[:2], mlp[2:5], mlp[5:] + majority]
    assert by_turn({"cpus": 16, "gpus": 1}, gpus=0.5) == [svm + mlp[:2], mlp[2:4], mlp[4:] + majority]
    assert by_turn({"cpus": 16, "gpus": 2}, gpus=0.1) == [svm + mlp + majority]
    assert by_turn({"cpus": 5, "gpus": 0}, cpus=4) == [
        svm + mlp[:1],
        *([run] for run in mlp[1:5]),
        mlp[5:] + majority,
    ]
    assert by_turn({"cpus": 2, "gpus": 0}, cpus=4) == one_by_one  # no room even for one
    assert by_turn({"cpus": 64, "gpus": 0}) == [svm + mlp + majority]
    assert list(evaluation.turns([], {"cpus": 1, "gpus": 0})) == []


def test_a_published_row_of_the_same_configuration_shares_the_model_and_its_turn() -> None:
    refits = [refit("mlp", MLP), refit("mlp-published", MLP), refit("mlp", MLP, seed=2)]
    one, two = evaluation.turns(refits, {"cpus": 1, "gpus": 0})
    assert [(r.system, r.seed) for r in chain(*one)] == [("mlp", 1), ("mlp-published", 1)]
    assert [(r.system, r.seed) for r in chain(*two)] == [("mlp", 2)]


@pytest.fixture(scope="module")
def fitted() -> Iterator[dict[tuple[str, int], tuple[Refit, Fitted]]]:
    """Two seeds of each: svm, mlp, an mlp that makes no numbers, majority; and Ray, to open the test part."""
    with cluster.connect():
        parts = {("functionals", 1): cluster.put(make_part())}
        configs = {"svm": SVM, "mlp": MLP, "mlp-published": BROKEN, evaluation.MAJORITY: {}}
        refits = [refit(system, config, seed) for seed in (1, 2) for system, config in configs.items()]
        models = evaluation.same_models(refits)
        yield {(r.system, r.seed): (r, f) for r, f in evaluation.fit_all(models, parts, {}, "d1")}


@pytest.mark.slow
def test_every_refit_comes_back_once_and_unseeded_families_are_fitted_once(fitted: Any) -> None:
    assert len(fitted) == 8
    assert fitted["svm", 1][1].files is fitted["svm", 2][1].files
    assert fitted["svm", 1][1].seconds > fitted["svm", 2][1].seconds == 0  # its time counts once
    assert fitted["mlp", 1][1].files["model.safetensors"] != fitted["mlp", 2][1].files["model.safetensors"]
    assert [row["step"] for row in fitted["mlp", 1][1].history] == [1, 2]
    assert fitted["mlp", 1][1].parameters == 5 * 8 + 8 + 8 * 3 + 3


@pytest.mark.slow
def test_every_fit_and_prediction_gets_what_its_own_system_needs(
    fitted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a network, an svm gets no GPU: it would predict elsewhere than it was fitted."""
    asked: dict[str, Any] = {}
    run = cluster.map

    def watched(function: Any, tasks: Any, needs: Any) -> Iterator[tuple[int, Any]]:
        asked[function.__name__] = dict(zip([task[0] for task in tasks], needs, strict=True))
        return run(function, tasks, needs)

    monkeypatch.setattr(cluster, "map", watched)
    needs = {"svm": (1.0, 0.0), "mlp": (0.25, 0.0)}
    refits = [
        dataclasses.replace(refit(system, config), cpus=needs[system][0])
        for system, config in {"svm": SVM, "mlp": MLP}.items()
    ]
    part = make_part()
    parts = {("functionals", 1): cluster.put(part)}
    done = list(evaluation.fit_all(evaluation.same_models(refits), parts, {}, "d1"))
    opened = evaluation.open_test(
        FOLD, done, lambda features, ids: part.x[:3], np.arange(3), ("s9",) * 3, evaluation.priors(part)
    )
    assert {run.system for _, _, run in opened} == {"svm", "mlp"}
    assert asked == {"fit": needs, "predict": needs}


@pytest.mark.slow
def test_a_refit_that_fails_says_why_and_stands_as_the_constant_predictor(
    fitted: Any, tmp_path: Path
) -> None:
    _, broken = fitted["mlp-published", 1]
    assert broken.failure == "TrialFailed: the model's probabilities are not finite"
    assert broken.files == {}
    part = make_part()
    draw = np.random.default_rng(1)
    opened = list(
        evaluation.open_test(
            FOLD, list(fitted.values()), lambda features, ids: draw.normal(size=(3, 5)).astype(np.float32),
            np.array([0, 1, 2]), ("s9",) * 3, evaluation.priors(part),
        )
    )  # fmt: skip
    runs = {(run.system, run.seed): run for _, _, run in opened}
    assert len(runs) == 8
    for key, run in runs.items():
        assert run.ids == FOLD.test
        np.testing.assert_allclose(run.probabilities.sum(1), 1)
        constant = key[0] in ("mlp-published", evaluation.MAJORITY)
        assert (np.ptp(run.probabilities, axis=0).max() == 0) == constant
    np.testing.assert_allclose(runs["mlp-published", 1].probabilities, [[1 / 3] * 3] * 3)
    np.testing.assert_array_equal(runs["svm", 1].probabilities, runs["svm", 2].probabilities)

    for one, result, run in opened:
        event = evaluation.record(tmp_path, one, result, run, CLASSES)
        assert (event["folder"], event["seed"]) == (one.folder, one.seed)
    costs = bundle.read_costs(tmp_path)
    assert {system: cost["failed_runs"] for system, cost in costs.items()} == {
        "majority": 0, "mlp": 0, "mlp-published": 2, "svm": 0,
    }  # fmt: skip
    stored = files.read_json(tmp_path / "runs/mlp-published/fold-1/seed-2/result.json")
    assert (stored["failed"], stored["reason"]) == (True, broken.failure)


def test_a_failed_refit_is_tried_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def break_once(*args: Any, **options: Any) -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise MemoryError("once")
        return real(*args, **options)

    real = trainable.refit
    monkeypatch.setattr(trainable, "refit", break_once)
    monkeypatch.setattr(cluster, "get", lambda reference: reference)
    assert evaluation.fit("svm", SVM, (make_part(),), seed=1, threads=1).failure == ""
    assert len(tries) == 2


def test_seeds_of_refits_differ_by_system_fold_seed_and_study() -> None:
    seeds = {
        evaluation.training_seed(study, refit(system, {}, seed, fold))
        for study in ("d1", "d2") for system in ("mlp", "svm") for seed in (1, 2) for fold in (1, 2)
    }  # fmt: skip
    assert len(seeds) == 16


def test_a_system_and_its_published_row_train_alike() -> None:
    """Where the search chose the published configuration, both rows are one model."""
    searched, published = (evaluation.training_seed("d1", refit(row, {})) for row in ("mlp", "mlp-published"))
    assert searched == published


def test_openings_gain_a_line_each_and_the_header_once(tmp_path: Path) -> None:
    for fold in (1, 2):
        evaluation.note_opening(tmp_path, {"opened": "2024-01-01T00:00:00Z", "study": "a, b", "fold": fold})
    rows = files.read_csv(tmp_path / "openings.csv")
    assert [(row["study"], row["fold"]) for row in rows] == [("a, b", "1"), ("a, b", "2")]
