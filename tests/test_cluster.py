"""Ray's core for real: results as they end, tasks whose worker dies, and a cluster that loses a node."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import ray.cloudpickle
import studies
from families.toys import CLASSES, problem
from ray.cluster_utils import Cluster
from test_search import SVM, make_task
from test_trainable import make_part

from benchmark import cluster, files, registry, search
from benchmark.journal import COMPLETE, FAILED, State
from benchmark.report import leaderboard
from benchmark.schema import SerbenchError
from benchmark.trainable import run_trial

pytestmark = pytest.mark.slow
FOREST = """
family: random_forest
features: functionals
search: {n_estimators: {type: int, low: 300, high: 400, step: 25}}
fixed: {max_depth: 8, max_features: 0.1, min_samples_leaf: 1, criterion: gini, class_weight: "none"}
published: {n_estimators: 300}
"""


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere"])
def test_an_address_without_a_cluster_is_one_line(address: str) -> None:
    with pytest.raises(SerbenchError, match=rf"^no Ray cluster at '{address}' \(.*\): start one"):  # noqa: SIM117
        with cluster.connect(address):
            pass
    assert not ray.is_initialized()


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers can't import tests
    with cluster.connect():
        yield


def squared(number: int) -> int:
    if number < 0:
        raise ValueError("negative")
    return number**2


def die_once(folder: str, number: int) -> int:
    marker = Path(folder) / str(number)
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die(folder: str) -> None:
    with (Path(folder) / "deaths").open("a") as file:
        file.write("x")
    os.kill(os.getpid(), signal.SIGKILL)


def test_map_yields_every_position_once_and_exceptions_as_values(ray_here: None) -> None:
    found = dict(cluster.map(squared, [(3,), (-1,), (5,)]))
    assert (found[0], found[2]) == (9, 25)
    assert "negative" in str(found[1])
    assert isinstance(found[1], Exception)


def test_fault_31_a_task_whose_worker_is_killed_runs_again(ray_here: None, tmp_path: Path) -> None:
    assert dict(cluster.map(die_once, [(str(tmp_path), 1), (str(tmp_path), 2)])) == {0: 1, 1: 2}


def test_fault_32_a_task_whose_worker_is_always_killed_is_given_up(ray_here: None, tmp_path: Path) -> None:
    ((_, result),) = cluster.map(die, [(str(tmp_path),)])
    assert isinstance(result, Exception)
    assert (tmp_path / "deaths").read_text() == "x" * cluster.ATTEMPTS


def test_a_value_is_shared_read_only(ray_here: None) -> None:
    part = cluster.get(cluster.put(make_part()))
    assert not part.x.flags.writeable


def shout(emit: Any, name: str, broken: bool) -> None:
    for number in range(3):
        emit({"name": name, "number": number})
    if broken:
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_pool_runs_all_and_tells_which_died(ray_here: None) -> None:
    pool, waiting = cluster.Pool(shout), [("a", False), ("b", True), ("c", False)]
    events, ended = [], []
    while waiting or pool.busy:
        while waiting and len(pool.busy) < 2:
            name, broken = waiting.pop(0)
            pool.start(name, name, broken)
        events += pool.events()
        ended += pool.finished()
    events += pool.events(timeout=0.1)
    assert sorted(name for name, _ in ended) == ["a", "b", "c"]
    assert [name for name, error in ended if error is not None] == ["b"]
    assert [e["number"] for e in events if e["name"] == "a"] == [0, 1, 2]
    assert [e["number"] for e in events if e["name"] == "c"] == [0, 1, 2]


def trial_workers(below: int) -> list[psutil.Process]:
    """Return the processes of running trials that descend from the process `below`."""
    found = []
    for process in psutil.Process(below).children(recursive=True):
        try:
            if process.cmdline() and process.cmdline()[0].startswith("ray::ImplicitFunc"):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_fault_31_32_trials_whose_worker_is_killed(ray_here: None, tmp_path: Path) -> None:
    """Trial 2's worker dies once, trial 3's always: one runs again, the other is FAILED, the rest finish.

    Another search runs before the first death: Tune keeps a job's trainables by name, and a new worker once
    got the task of the search beside its own.
    """
    part = make_part()
    other = replace(
        part, y=np.random.default_rng(1).permutation(part.y)
    )  # nothing to learn: scores of chance
    task, beside = (
        make_task(SVM, fold=n, trials=t, prune=False, data=(cluster.put(p),), storage=str(tmp_path))
        for n, t, p in ((1, 4, part), (2, 1, other))
    )
    pool = cluster.Pool(search.run_search)
    starts: list[int] = []
    events: list[dict[str, Any]] = []

    def emit(event: dict[str, Any]) -> None:
        events.append(event)
        if event["event"] in ("trial_started", "trial_restarted"):
            starts.append(event["number"])
        first = starts.count(2) == 1 and starts[-1] == 2
        if event["event"] != "step" or not (first or starts[-1] == 3):
            return
        if first:
            pool.start(beside.name, beside)
            while pool.busy:
                pool.events()
                pool.finished()
        for process in trial_workers(os.getpid()):
            process.kill()

    search.run_search(emit, task)
    trials = {t.number: t for t in State(events).ended(task.name)}
    assert {n: t.state for n, t in trials.items()} == {1: COMPLETE, 2: COMPLETE, 3: FAILED, 4: COMPLETE}
    assert trials[3].reason == "worker died 3 times"
    assert [starts.count(n) for n in (2, 3, 4)] == [2, 3, 1]
    assert sum(e["event"] == "trial_ended" for e in events) == 4
    for number in (1, 2, 4):
        told: list[dict[str, Any]] = []
        config, seed = (
            task.space.configuration(trials[number].params),
            search.seed_of(trials[number].trial_id),
        )
        run_trial(registry.family("svm"), config, part, inner_folds=3, seed=seed, report=told.append)
        steps = {t["step"]: t["score"] for t in told}
        assert {n: values["score"] for n, values in trials[number].steps.items()} == pytest.approx(steps)


LSTM = """
family: lstm
features: log_mel
search: {dropout: {type: float, low: 0.1, high: 0.3}}
fixed: {units: 16, layers: 1, stem: false, lr: 0.005, schedule: one_cycle, epochs: 5, weight_decay: 0.01,
        label_smoothing: 0.1, time_mask: 8, band_mask: 4, mixup: 0.0, batch_size: 16, crop_frames: 32}
published: {dropout: 0.2}
"""


@pytest.mark.parametrize("checkpoints", [True, False])
def test_a_training_whose_worker_is_killed_goes_on_from_its_checkpoint_or_begins_anew(
    ray_here: None, tmp_path: Path, checkpoints: bool
) -> None:
    """Every step counts once, with the numbers of an unbroken trial."""
    toy, part = problem("lstm", 1), make_part()
    part = replace(part, x=toy.x[range(len(part.y))], y=toy.y[: len(part.y)], classes=CLASSES)
    events: list[dict[str, Any]] = []
    task = make_task(
        LSTM, trials=1, prune=False, data=(cluster.put(part),), storage=str(tmp_path), checkpoints=checkpoints
    )

    def emit(event: dict[str, Any]) -> None:
        events.append(event)
        if event["event"] == "step" and event["step"] == 2:
            for process in trial_workers(os.getpid()):
                process.kill()

    search.run_search(emit, task)
    (trial,) = State(events).ended(task.name)
    assert [e["event"] for e in events].count("trial_restarted") == 1
    assert (trial.state, list(trial.steps)) == (COMPLETE, [1, 2, 3, 4, 5])
    assert any(tmp_path.rglob("fit.safetensors")) == checkpoints
    told: list[dict[str, Any]] = []
    seed = search.seed_of(trial.trial_id)

    def report(values: dict[str, Any], save: Any = None) -> None:
        told.append(values)

    config = task.space.configuration(trial.params)
    run_trial(registry.family("lstm"), config, part, inner_folds=3, seed=seed, report=report)
    assert [values["score"] for values in told] == [values["score"] for values in trial.steps.values()]
    assert [values["loss"] for values in told] == [values["loss"] for values in trial.steps.values()]
    times = [event["time"] for event in events if event["event"] in ("trial_started", "trial_ended")]
    assert trial.seconds == pytest.approx(times[1] - times[0], abs=1)


def test_fault_33_a_node_is_lost_in_the_midst_of_a_search(
    clone: Path, corpus_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two nodes, the second with its own empty cache and working folder."""
    away = tmp_path / "second node"
    (away / "work").mkdir(parents=True)
    (away / "cache").mkdir()
    study = studies.write_study(
        tmp_path / "forest.yaml", systems=["random_forest"], folds=[1], trials=6, seeds=1, concurrency=2,
        prune=False, random_baseline=True, spaces={"random_forest": FOREST},
    )  # fmt: skip
    folder = tmp_path / "results" / "tiny"
    monkeypatch.setenv("PYTHONPATH", str(clone))
    here = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        with monkeypatch.context() as elsewhere:
            elsewhere.setenv("SERBENCH_CACHE", str(away / "cache"))
            elsewhere.chdir(away / "work")
            second = here.add_node(num_cpus=1)
        raylet = second.all_processes["raylet"][0].process.pid
        command = studies.Command(
            clone, "run", study, "--root", corpus_csv, "--out", tmp_path / "results",
            "--storage", tmp_path / "shared", "--address", here.address,
        )  # fmt: skip
        seen: list[str] = []

        def works_on_both() -> bool:
            seen.extend(process.environ()["SERBENCH_CACHE"] for process in trial_workers(raylet))
            return bool(seen) and len(studies.events(folder, "trial_ended")) >= 3

        command.until(works_on_both)
        here.remove_node(second, allow_graceful=False)
        status, _, said = command.end()
        assert status == 0, said
    finally:
        here.shutdown()
    assert leaderboard.verify(folder) == []
    assert not [place for place in (tmp_path / "shared").iterdir() if "random_forest" in place.name]
    assert [Path(name).name for name, _ in studies.trials(folder)] == ["random.csv", "trials.csv"]
    for name, rows in studies.trials(folder):
        assert sorted(int(row["number"]) for row in rows) == list(range(1, 7)), name
        assert {row["state"] for row in rows} == {"COMPLETE"}, rows
    assert set(seen) == {str(away / "cache")}  # trials did run there, and left nothing
    assert list((away / "cache").iterdir()) == list((away / "work").iterdir()) == []
    rows = {row["system"]: row for row in files.read_csv(folder / "leaderboard.csv")}
    forest = rows["random_forest"]
    assert (forest["trials"], forest["failed_trials"], forest["failed_runs"]) == ("6", "0", "0")
