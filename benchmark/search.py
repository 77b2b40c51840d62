"""One (system, fold, sampler) search: Ray Tune schedules, Optuna suggests, every event is emitted.

The only importer of Ray Tune and Optuna. Three things differ from their stock behaviour, each seen
losing results: a pruned trial is told to Optuna as PRUNED and a failed one as FAIL (OptunaSearch tells
COMPLETE, or nothing); each suggestion has a generator of its own, seeded by the trial's number, so that a
search that was cut off goes on as if it had not been; and what is done comes from the journal, not
from Tune's snapshot.
"""

from __future__ import annotations

import math
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic, perf_counter, time
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # the journal is the record
os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")  # a failed trial has no score
os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")

import optuna
from optuna.trial import TrialState
from ray import tune
from ray.tune import Callback, CheckpointConfig, FailureConfig, RunConfig, TuneConfig, Tuner
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

from benchmark import cluster, registry
from benchmark.families._common import TrialFailed
from benchmark.journal import COMPLETE, CURVES, FAILED, PRUNED, TrialRecord
from benchmark.schema import digest
from benchmark.space import Space
from benchmark.trainable import run_trial

Emit = Callable[[dict[str, Any]], Any]
LONGEST = 10**6  # steps; no rung lies beyond
WORKER_DEATHS = 2  # a trial whose worker or node dies starts again this often
CRASHES = 3  # of Tune itself (its memory monitor ends a whole experiment), then the search gives up
STARTUP = 10  # random configurations before TPE models anything (Optuna's default, said here)
ROOM = ("cpus", "gpus", "memory_gb")  # what trials need of a cluster
BASELINE = "baseline"  # the random search beside TPE: i.i.d., no published trial, no pruning


@dataclass(frozen=True)
class SearchTask:
    """One search, complete: what to try, on what, and what has been tried."""

    study: str  # digest of the study: seeds and trial ids derive from it
    system: str
    family: str
    fold: int
    sampler: str  # tpe | random | baseline
    space: Space
    trials: int
    inner_folds: int
    prune: bool
    concurrency: int
    storage: str  # Tune's own files, thrown away afterwards
    data: (
        Any  # references in the object store: a TrainingPart and, where the system is pretrained, its weights
    )
    checkpoints: bool = True  # kept in `storage`, which every node must reach
    time_budget: float | None = None  # seconds of wall time
    history: Sequence[TrialRecord] = field(default_factory=tuple)  # ended trials, in order of their end

    @property
    def name(self) -> str:
        """Return e.g. `svm/fold-1/tpe`."""
        return f"{self.system}/fold-{self.fold}/{self.sampler}"

    @property
    def labels(self) -> dict[str, Any]:
        """Return what every event of this search carries."""
        return {
            "search": self.name, "system": self.system, "family": self.family, "fold": self.fold,
            "sampler": self.sampler,
        }  # fmt: skip

    def trial_id(self, number: int) -> str:
        """Return the id of trial `number`, the same whenever and wherever it runs."""
        return digest([self.study, self.system, self.fold, self.sampler, number])[:16]

    def published(self, number: int) -> bool:
        """Whether `number` is the published configuration: always tried first, never pruned."""
        return number == 1 and self.sampler != BASELINE


def seed_of(trial_id: str) -> int:
    """Return the 31-bit seed that a trial's sampler and training use."""
    return int(trial_id[:8], 16) >> 1


def outcome(result: dict[str, Any] | None, error: str | None = None) -> tuple[str, str, float | None]:
    """Return (state, reason, score) of a trial from its last result.

    Only a trial that reached its last step is COMPLETE; Tune itself calls stopped ones done as well.
    """
    result = result or {}
    if error or result.get("failed"):
        return FAILED, str(error or result["failed"]), None
    if result.get("final"):
        return COMPLETE, "", float(result["score"])
    return PRUNED, str(result.get("stopped", "")), result.get("score")


class NumberedOptunaSearch(OptunaSearch):
    """OptunaSearch that hands out given trial numbers and tells each trial's true state."""

    def __init__(self, task: SearchTask, numbers: Sequence[int]):
        super().__init__(space=task.space.sample, metric="score", mode="max")
        self._task = task
        self._numbers = list(numbers)
        self._published: dict[str, dict[str, Any]] = {}
        for record in task.history:
            self._tell_past(record.params, record.state, record.score, record.steps)

    @property
    def _study(self) -> optuna.Study:
        return self._ot_study  # type: ignore[return-value]  # set up by the constructor

    def _sampler_of(self, number: int) -> optuna.samplers.BaseSampler:
        seed = seed_of(self._task.trial_id(number))
        if self._task.sampler == "tpe":
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)
        return optuna.samplers.RandomSampler(seed=seed)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return {number, params} of the next missing trial."""
        number = self._numbers.pop(0)
        if self._task.published(number):
            params = dict(self._task.space.published_params)
            self._published[trial_id] = params
            return {"number": number, "params": params}
        self._study.sampler = self._sampler_of(number)
        return {"number": number, "params": super().suggest(trial_id)}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass an intermediate score on, by the trial's own step."""
        if trial_id in self._ot_trials and "score" in result:
            with warnings.catch_warnings():  # a trial that starts again after a crash repeats its steps
                warnings.simplefilter("ignore")
                self._ot_trials[trial_id].report(result["score"], result["step"])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell Optuna COMPLETE, PRUNED or FAIL, as the journal has it."""
        state, _, score = outcome(result, "crashed" if error else None)
        if trial_id in self._published:
            step = (result or {}).get("step", 1)
            self._tell_past(self._published.pop(trial_id), state, score, {step: {"score": score}})
        elif trial_id in self._ot_trials:
            trial = self._ot_trials[trial_id]
            if state == COMPLETE:
                self._study.tell(trial, score)
            else:
                self._study.tell(trial, state=TrialState.PRUNED if state == PRUNED else TrialState.FAIL)

    def _tell_past(
        self, params: dict[str, Any], state: str, score: float | None, steps: dict[int, dict[str, Any]]
    ) -> None:
        asked = optuna.trial.FixedTrial(params)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._task.space.sample(asked)
            past = optuna.trial.create_trial(
                state={COMPLETE: TrialState.COMPLETE, PRUNED: TrialState.PRUNED}.get(state, TrialState.FAIL),
                value=score if state == COMPLETE else None,
                params=params,
                distributions=asked.distributions,
                intermediate_values={s: v["score"] for s, v in steps.items() if v["score"] is not None},
            )
        except ValueError:  # a published value outside the searched range: no density can use it
            return
        self._study.add_trial(past)


class ReplayedASHA(ASHAScheduler):
    """ASHA that starts from the rungs of the trials already in the journal and spares the published one."""

    def __init__(self, task: SearchTask):
        super().__init__(
            time_attr="step", metric="score", mode="max", max_t=LONGEST,
            grace_period=int(task.space.pruning["grace"]),
            reduction_factor=float(task.space.pruning["reduction"]),
        )  # fmt: skip
        self._task = task
        for record in task.history:
            stand_in: Any = SimpleNamespace(trial_id=record.trial_id)
            for step, values in sorted(record.steps.items()):
                self._brackets[0].on_result(stand_in, step, values["score"])

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide on `trial` after a step; the last step and the published trial always go on."""
        action = super().on_trial_result(controller, trial, result)
        spared = result.get("final") or self._task.published(trial.config["number"])
        return self.CONTINUE if spared else action

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Accept: metric and mode are this scheduler's own."""
        return True


class Recorder(Callback):
    """Turns Tune's callbacks into journal events."""

    def __init__(self, task: SearchTask, emit: Emit):
        self._task, self._emit = task, emit
        self.ended: dict[str, TrialRecord] = {r.trial_id: r for r in task.history}
        self.running: dict[str, tuple[TrialRecord, float]] = {}
        self.restarted: set[str] = set()

    def _event(self, event: str, trial_id: str, **values: Any) -> None:
        self._emit({"event": event, "trial_id": trial_id, **self._task.labels, "time": time(), **values})

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note that a trial starts, or goes on after its worker's death: its steps so far still count."""
        number, params = trial.config["number"], trial.config["params"]
        trial_id = self._task.trial_id(number)
        if trial_id in self.running:
            self.restarted.add(trial_id)
            self._event("trial_restarted", trial_id, number=number, params=params)
            return
        self.running[trial_id] = (TrialRecord(trial_id, number, params), time())
        self._event("trial_started", trial_id, number=number, params=params)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Note a step."""
        trial_id = self._task.trial_id(trial.config["number"])
        known = self.running[trial_id][0].steps if trial_id in self.running else None
        if known is not None and "score" in result and result["step"] not in known:
            values = {key: result[key] for key in ("score", "loss", "lr", *CURVES) if key in result}
            known[result["step"]] = values
            self._event("step", trial_id, step=result["step"], **values)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note an ending: complete, pruned, or failed for a reason of the trial's own."""
        self.end(self._task.trial_id(trial.config["number"]), trial.last_result, None)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note a trial whose worker died too often."""
        self.end(self._task.trial_id(trial.config["number"]), None, f"worker died {1 + WORKER_DEATHS} times")

    def end(self, trial_id: str, result: dict[str, Any] | None, error: str | None) -> None:
        """Write the ending of a running trial, once."""
        if trial_id not in self.running:
            return
        record, started = self.running.pop(trial_id)
        record.state, record.reason, record.score = outcome(result, error)
        # the last worker's clock does not know how long those before it took
        told = {} if trial_id in self.restarted else result or {}
        record.seconds = max(0.0, float(told.get("elapsed", time() - started)))
        self.ended[trial_id] = record
        self._event(
            "trial_ended", trial_id, number=record.number, params=record.params, state=record.state,
            reason=record.reason, score=record.score, steps=max(record.steps, default=0),
            seconds=record.seconds,
        )  # fmt: skip


def _trial(config: dict[str, Any], task: SearchTask) -> None:
    """Run one trial in a Ray worker; what the configuration itself breaks is reported, not raised."""
    family = registry.family(task.family)  # imported before the clock starts
    begun = perf_counter()
    threads = max(1, int(task.space.resources["cpus"]))

    def report(values: dict[str, Any], save: Callable[[Path], None] | None = None) -> None:
        values = {**values, "elapsed": perf_counter() - begun}
        if save is None or not task.checkpoints:
            tune.report(values)
            return
        with tempfile.TemporaryDirectory() as folder:
            save(Path(folder))
            tune.report(values, checkpoint=tune.Checkpoint.from_directory(folder))

    try:
        with _checkpoint() as folder:
            part, *weights = map(cluster.get, task.data)
            run_trial(
                family,
                task.space.configuration(config["params"]),
                part,
                inner_folds=task.inner_folds,
                seed=seed_of(task.trial_id(config["number"])),
                report=report,
                threads=threads,
                time_limit=float(task.space.resources["time_limit_s"]),
                weights=weights[0] if weights else None,
                checkpoint=folder,
            )
    except Exception as error:  # the border of a trial: whatever broke is its reason
        told = isinstance(error, TrialFailed)
        reason = " ".join(f"{'' if told else type(error).__name__ + ': '}{error}".split())
        tune.report({"failed": reason[:500], "final": False, "elapsed": perf_counter() - begun})


@contextmanager
def _checkpoint() -> Iterator[Path | None]:
    """Yield the folder of the checkpoint that a trial goes on from: its last worker died."""
    found = tune.get_checkpoint()
    if found is None:
        yield None
    else:
        with found.as_directory() as folder:
            yield Path(folder)


def startable(
    waiting: Sequence[SearchTask], running: Sequence[SearchTask], room: Mapping[str, float]
) -> SearchTask | None:
    """Return the first search whose trials find room beside those of `running`, or any if nothing runs.

    A search that only waited for room would spend its time budget. Room is that of the cluster as a whole,
    and no search counts for more trials than would find it empty.

    Args:
        room: CPUs, GPUs and memory of the cluster (`cluster.resources`).
    """

    def at_once(task: SearchTask) -> int:
        needs = task.space.resources
        fitting = (int(room[kind] / needs[kind] + cluster.ROUNDING) for kind in ROOM if needs[kind])
        return max(1, min(task.concurrency, *fitting))

    def fits(task: SearchTask) -> bool:
        needs = [(of.space.resources, at_once(of)) for of in (*running, task)]
        return all(cluster.holds(room[kind], (of[kind] * n for of, n in needs)) for kind in ROOM)

    fitting = next(filter(fits, waiting), None)
    return fitting if fitting or running else next(iter(waiting), None)


def run_search(emit: Emit, task: SearchTask) -> None:
    """Run the missing trials of `task`, emitting journal events; ends with `search_ended`.

    Raises:
        RuntimeError: Tune broke, or left trials out, `CRASHES` times and once more.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    spent = sum(record.seconds for record in task.history) / task.concurrency
    ends = monotonic() + (math.inf if task.time_budget is None else task.time_budget - spent)
    emit({"event": "search_started", **task.labels, "time": time()})
    recorder = Recorder(task, emit)
    problem = ""
    for _ in range(CRASHES + 1):
        done = {record.number for record in recorder.ended.values()}
        missing = [number for number in range(1, task.trials + 1) if number not in done]
        if not missing or monotonic() >= ends:
            break
        try:
            _fit(task, missing, recorder, ends - monotonic())
        except Exception as error:  # e.g. Ray's OutOfMemoryError, which no FailureConfig catches
            problem = " ".join(str(error).split())[:300]
            recorder.running.clear()
        else:  # what still runs was stopped by the search's own time budget
            for trial_id, (record, _) in list(recorder.running.items()):
                last = record.steps.get(max(record.steps, default=0), {})
                recorder.end(trial_id, {**last, "stopped": "the search's time budget is over"}, None)
    else:
        if len(recorder.ended) < task.trials:
            raise RuntimeError(f"search {task.name} broke {CRASHES + 1} times: {problem}")
    short = len(recorder.ended) < task.trials
    reason = f"time budget of {task.time_budget:g} s" if short else ""
    emit({"event": "search_ended", **task.labels, "reason": reason, "time": time()})


def _fit(task: SearchTask, missing: Sequence[int], recorder: Recorder, seconds: float) -> None:
    past = tuple(recorder.ended.values())
    current = replace(task, history=past)
    needs = task.space.resources
    prune = task.prune and task.sampler != BASELINE
    trainable = tune.with_resources(
        tune.with_parameters(_trial, task=replace(task, history=())),
        {"cpu": needs["cpus"], "gpu": needs["gpus"], "memory": int(needs["memory_gb"] * 2**30)},
    )
    name = f"{task.study[:12]}-{task.name.replace('/', '-')}-{len(past)}"
    # Tune keeps trainables of a job by name: under one name, searches side by side would run each other's
    trainable.__name__ = name
    Tuner(
        trainable,
        tune_config=TuneConfig(
            search_alg=ConcurrencyLimiter(NumberedOptunaSearch(current, missing), task.concurrency),
            scheduler=ReplayedASHA(current) if prune else FIFOScheduler(),
            num_samples=len(missing),
            max_concurrent_trials=0,
            time_budget_s=None if math.isinf(seconds) else seconds,
            reuse_actors=bool(registry.family(task.family).REUSE_ACTORS),
        ),
        run_config=RunConfig(
            name=name,
            storage_path=task.storage,
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            failure_config=FailureConfig(max_failures=WORKER_DEATHS),
            callbacks=[recorder],
            verbose=0,
        ),
    ).fit()
