"""One search on a real Ray: what each trial's end is told as, budgets, seeds, and going on after a stop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState
from test_trainable import make_part

from benchmark import cluster, search, space
from benchmark.journal import COMPLETE, FAILED, PRUNED, State, TrialRecord
from benchmark.search import BASELINE, NumberedOptunaSearch, ReplayedASHA, SearchTask, outcome

FOREST = """
family: random_forest
features: functionals
search:
  n_estimators: {type: int, low: 25, high: 100, step: 25}
  max_depth: {type: int, low: 1, high: 8}
  max_features: {type: float, low: 0.1, high: 1.0}
fixed: {min_samples_leaf: 1, criterion: gini, class_weight: "none"}
published: {n_estimators: 50, max_depth: 1, max_features: 0.2}
pruning: {grace: 1, reduction: 2}
"""
SVM = """
family: svm
features: functionals
search:
  kernel: {type: categorical, choices: [rbf, linear]}
  C: {type: float, low: 0.001, high: 100, log: true}
  gamma_scale: {type: float, low: 0.01, high: 10, log: true, when: {kernel: rbf}}
fixed: {class_weight: "none"}
published: {kernel: linear, C: 1000}
"""


def make_task(text: str = FOREST, **changes: Any) -> SearchTask:
    parsed = space.parse(text, "space.yaml")
    given: dict[str, Any] = {
        "study": "d1", "system": parsed.family, "family": parsed.family, "fold": 1, "sampler": "tpe",
        "space": parsed, "trials": 8, "inner_folds": 3, "prune": True, "concurrency": 1, "storage": "",
        "data": (),
    }  # fmt: skip
    return SearchTask(**given | changes)


@pytest.fixture(scope="module")
def ray_here() -> Iterator[Any]:
    """Ray, and a reference of a small training part in its store."""
    with cluster.connect():
        yield cluster.put(make_part())


def searched(task: SearchTask, reference: Any, storage: Path) -> tuple[State, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    search.run_search(events.append, replace(task, data=(reference,), storage=str(storage)))
    return State(events), events


def told(state: State, task: SearchTask) -> list[tuple[Any, ...]]:
    """What a resumed search must repeat to the last bit."""
    return [(t.number, t.trial_id, t.params, t.state, t.score, t.steps) for t in state.ended(task.name)]


@pytest.fixture(scope="module")
def forest(ray_here: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[State, list[dict[str, Any]]]:
    """A TPE search of 16 trials, six more than are random, with pruning."""
    return searched(make_task(trials=16), ray_here, tmp_path_factory.mktemp("tune"))


@pytest.mark.slow
def test_every_trial_starts_and_ends_once_within_the_budget(forest: Any) -> None:
    state, events = forest
    kinds = [event["event"] for event in events]
    assert kinds[0] == "search_started"
    assert kinds[-1] == "search_ended"
    assert kinds.count("trial_started") == kinds.count("trial_ended") == 16
    task = make_task(trials=16)
    assert [t.number for t in state.ended(task.name)] == list(range(1, 17))
    assert [t.trial_id for t in state.ended(task.name)] == [task.trial_id(n) for n in range(1, 17)]
    assert all(event["search"] == "random_forest/fold-1/tpe" for event in events)
    assert state.closed == {task.name: ""}


@pytest.mark.slow
def test_pruned_trials_are_those_that_did_not_reach_their_last_step(forest: Any) -> None:
    state, _ = forest
    trials = state.ended("random_forest/fold-1/tpe")
    assert {t.state for t in trials} == {COMPLETE, PRUNED}
    for trial in trials:
        reached = max(trial.steps) == -(-trial.params["n_estimators"] // 25)
        assert (trial.state == COMPLETE) == reached
        assert trial.score == trial.steps[max(trial.steps)]["score"]
        assert list(trial.steps) == list(range(1, max(trial.steps) + 1))


@pytest.mark.slow
def test_the_published_configuration_is_first_and_never_pruned(forest: Any) -> None:
    first = forest[0].ended("random_forest/fold-1/tpe")[0]
    assert first.params == {"n_estimators": 50, "max_depth": 1, "max_features": 0.2}
    assert (first.number, first.state, max(first.steps)) == (1, COMPLETE, 2)


@pytest.mark.slow
def test_a_search_cut_after_some_trials_goes_on_as_if_it_had_not_been(
    forest: Any, ray_here: Any, tmp_path: Path
) -> None:
    whole, cut = forest[0], 11  # TPE models from the eleventh on
    past = tuple(whole.ended("random_forest/fold-1/tpe")[:cut])
    task = make_task(trials=16, history=past)
    state, events = searched(task, ray_here, tmp_path)
    assert sum(event["event"] == "trial_started" for event in events) == 16 - cut
    assert told(state, task) == told(whole, task)[cut:]


@pytest.mark.slow
def test_the_baseline_is_random_whole_and_its_own(forest: Any, ray_here: Any, tmp_path: Path) -> None:
    task = make_task(sampler=BASELINE, trials=6)
    state, _ = searched(task, ray_here, tmp_path)
    trials = state.ended(task.name)
    assert [t.state for t in trials] == [COMPLETE] * 6
    published = task.space.published_params
    assert all(t.params != published for t in trials)
    of_tpe = [t.params for t in forest[0].ended("random_forest/fold-1/tpe")]
    assert not [t.params for t in trials if t.params in of_tpe]
    for number, trial in enumerate(trials, 1):  # configuration n depends on n alone
        again = NumberedOptunaSearch(make_task(sampler=BASELINE), [number]).suggest("x")
        assert again == {"number": number, "params": trial.params}


@pytest.mark.slow
def test_conditional_parameters_are_asked_for_only_where_they_count(ray_here: Any, tmp_path: Path) -> None:
    task = make_task(SVM, trials=12, prune=False)
    state, _ = searched(task, ray_here, tmp_path)
    trials = state.ended(task.name)
    assert {t.params["kernel"] for t in trials} == {"rbf", "linear"}
    assert all(("gamma_scale" in t.params) == (t.params["kernel"] == "rbf") for t in trials)
    assert trials[0].params == {"kernel": "linear", "C": 1000.0}  # published, outside the searched range
    assert all(sorted(t.steps) == [1, 2, 3] for t in trials)


@pytest.mark.slow
def test_a_search_ends_at_its_time_budget_and_says_so(ray_here: Any, tmp_path: Path) -> None:
    task = make_task(trials=4000, time_budget=4.0, prune=False)
    state, _ = searched(task, ray_here, tmp_path)
    assert state.closed == {task.name: "time budget of 4 s"}
    assert len(state.ended(task.name)) < 4000
    assert all(t.ended for t in state.trials.values())
    for trial in state.ended(task.name):
        if trial.state != COMPLETE:  # the one that ran
            assert (trial.state, trial.reason) == (PRUNED, "the search's time budget is over")
            assert trial.score == (trial.steps[max(trial.steps)]["score"] if trial.steps else None)


@pytest.mark.parametrize(
    ("result", "error", "expected"),
    [
        ({"final": True, "score": 0.5, "step": 3}, None, (COMPLETE, "", 0.5)),
        ({"final": False, "score": 0.5, "step": 2, "done": True}, None, (PRUNED, "", 0.5)),
        ({"failed": "loss is nan", "final": False}, None, (FAILED, "loss is nan", None)),
        ({"final": True, "score": 0.5}, "crashed", (FAILED, "crashed", None)),
        (None, "worker died 3 times", (FAILED, "worker died 3 times", None)),
        ({"stopped": "time"}, None, (PRUNED, "time", None)),
    ],
)
def test_outcome(result: Any, error: Any, expected: tuple[Any, ...]) -> None:
    assert outcome(result, error) == expected


def ask_and_tell(searcher: NumberedOptunaSearch, result: Any, *, error: bool = False) -> None:
    """Bring one trial to its end, as Tune does."""
    name = f"t{len(searcher._study.get_trials())}"
    searcher.suggest(name)
    for step in range(1, (result or {}).get("step", 0) + 1):
        searcher.on_trial_result(name, {"score": 0.1 * step, "step": step, "final": step == 4})
    searcher.on_trial_complete(name, result, error)


def test_optuna_is_told_complete_pruned_and_fail() -> None:
    searcher = NumberedOptunaSearch(make_task(), [1, 2, 3, 4, 5])
    ask_and_tell(searcher, {"final": True, "score": 0.2, "step": 2})  # the published one
    ask_and_tell(searcher, {"final": True, "score": 0.4, "step": 4})
    ask_and_tell(searcher, {"final": False, "score": 0.2, "step": 2})
    ask_and_tell(searcher, {"failed": "nan"})
    ask_and_tell(searcher, None, error=True)
    trials = searcher._study.get_trials()
    states = [TrialState.COMPLETE] * 2 + [TrialState.PRUNED] + [TrialState.FAIL] * 2
    assert [t.state for t in trials] == states
    assert [t.value for t in trials] == [0.2, 0.4, 0.2, None, None]
    assert trials[2].intermediate_values == {1: 0.1, 2: 0.2}
    assert trials[0].params == {"n_estimators": 50, "max_depth": 1, "max_features": 0.2}


def test_past_trials_are_told_in_their_order_and_state() -> None:
    params = {"n_estimators": 25, "max_depth": 2, "max_features": 0.3}
    steps = {1: {"score": 0.3, "loss": None, "lr": None}}
    history = tuple(
        TrialRecord(f"t{n}", n, params, state, "", 0.3 if state != FAILED else None, 1.0, steps)
        for n, state in enumerate((COMPLETE, PRUNED, FAILED), 1)
    )
    trials = NumberedOptunaSearch(make_task(history=history), [4])._study.get_trials()
    assert [t.state for t in trials] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]
    assert [t.params for t in trials] == [params] * 3
    assert trials[1].intermediate_values == {1: 0.3}


def test_a_published_value_outside_the_range_is_no_density_for_tpe() -> None:
    record = TrialRecord("t1", 1, {"kernel": "linear", "C": 1000.0}, COMPLETE, "", 0.5, 1.0, {})
    assert NumberedOptunaSearch(make_task(SVM, history=(record,)), [2])._study.get_trials() == []


def test_replayed_asha_decides_as_if_it_had_seen_all_itself() -> None:
    def decide(scheduler: ReplayedASHA, number: int, curve: list[float]) -> list[str]:
        trial: Any = SimpleNamespace(trial_id=f"tune-{number}", config={"number": number})
        scheduler.on_trial_add(None, trial)
        decisions = []
        for step, score in enumerate(curve, 1):
            result = {"step": step, "score": score, "final": step == 4}
            decisions.append(scheduler.on_trial_result(None, trial, result))
            if decisions[-1] == "STOP":
                break
        return decisions

    draw = np.random.default_rng(0)
    curves = draw.uniform(size=(30, 4)).round(3).tolist()
    whole = ReplayedASHA(make_task())
    decisions = [decide(whole, number, curve) for number, curve in enumerate(curves, 1)]
    assert any("STOP" in made for made in decisions)
    history = tuple(
        TrialRecord(
            f"ours-{n}", n, {}, PRUNED, "", None, 1.0,
            {step: {"score": score} for step, score in enumerate(curve[: len(made)], 1)},
        )
        for n, (curve, made) in enumerate(zip(curves[:20], decisions, strict=False), 1)
    )  # fmt: skip
    resumed = ReplayedASHA(make_task(history=history))
    assert [decide(resumed, n, curve) for n, curve in enumerate(curves[20:], 21)] == decisions[20:]


def test_the_last_step_and_the_published_trial_are_spared() -> None:
    scheduler = ReplayedASHA(make_task())
    for number, score in ((2, 0.9), (3, 0.8), (1, 0.1), (4, 0.05)):
        trial: Any = SimpleNamespace(trial_id=f"t{number}", config={"number": number})
        scheduler.on_trial_add(None, trial)
        decision = scheduler.on_trial_result(None, trial, {"step": 1, "score": score, "final": number == 4})
        assert (decision == "STOP") == (number == 3)


def test_a_search_starts_when_its_trials_find_room() -> None:
    """Two searches on half a GPU each fill one; what needs none goes past those that wait for it."""
    cpu = make_task(fold=1, concurrency=3)
    half = replace(cpu.space, resources={**cpu.space.resources, "gpus": 0.5})
    gpu = [replace(cpu, fold=fold, space=half, concurrency=1) for fold in (2, 3, 4)]
    waiting, running = [*gpu, cpu], []
    room = {"cpus": 5, "gpus": 1, "memory_gb": 64}
    while ready := search.startable(waiting, running, room):
        waiting.remove(ready)
        running.append(ready)
    assert [task.fold for task in running] == [2, 3, 1]
    assert waiting == [gpu[2]]
    assert search.startable(waiting, running[1:], room) == gpu[2]


def test_a_search_counts_for_the_trials_that_an_empty_cluster_holds() -> None:
    """`--concurrency 8` on one GPU: four trials of a quarter fill it, and leave the CPUs to others."""
    room = {"cpus": 16, "gpus": 1, "memory_gb": 64}
    cpu = make_task(concurrency=8)
    quarter = replace(cpu.space, resources={**cpu.space.resources, "gpus": 0.25})
    gpu, another = (replace(cpu, fold=fold, space=quarter) for fold in (2, 3))
    assert search.startable([gpu], [cpu], room) == gpu
    assert search.startable([another, replace(cpu, fold=4)], [cpu, gpu], room) is None  # 4 CPUs are left
    assert search.startable([another, replace(cpu, fold=4)], [gpu], room).fold == 4  # type: ignore[union-attr]


def test_memory_is_room_too() -> None:
    task, room = make_task(), {"cpus": 8, "gpus": 0, "memory_gb": 2.5}
    running = [replace(task, fold=2)]  # trials of 1 GiB
    assert search.startable([task], running, room) == task
    assert search.startable([task], [*running, replace(task, fold=3)], room) is None


def test_a_trial_that_is_larger_than_the_cluster_begins_where_nothing_runs() -> None:
    room = {"cpus": 2, "gpus": 0, "memory_gb": 64}
    small = make_task(fold=2)
    large = replace(small, fold=1, space=replace(small.space, resources={**small.space.resources, "cpus": 4}))
    assert search.startable([large], [], room) == large
    assert search.startable([large], [small], room) is None
    assert search.startable([], [], room) is None


def test_trial_ids_and_seeds_depend_on_place_and_number_alone() -> None:
    one, other = make_task(), make_task(trials=99, storage="elsewhere", concurrency=3)
    assert one.trial_id(5) == other.trial_id(5)
    ids = {
        make_task(**changes).trial_id(number)
        for changes in ({}, {"fold": 2}, {"sampler": "random"}, {"system": "svm"}, {"study": "d2"})
        for number in (1, 2, 3)
    }
    assert len(ids) == 15
    assert all(0 <= search.seed_of(id_) < 2**31 for id_ in ids)
