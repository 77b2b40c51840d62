"""Trials through this program (Ray Tune, Optuna's random sampler, journal) against joblib.

`study.search` runs one search with a trial on each core, without pruning, so that every run does the same
work; joblib then does the configurations it drew, with the same seeds, on as many cores. Nothing runs before
a run's clock starts or after it stops. MLflow's mirror is left out. What runs in joblib's processes imports
neither Ray nor Optuna.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from time import time

import joblib
from _bench import COLUMNS, Comparison, Side, made_part
from joblib.externals.loky import get_reusable_executor

from benchmark import registry
from benchmark.trainable import TrainingPart, run_trial

REPEATS = 3
INNER_FOLDS = 3


@dataclass
class Done:
    """What a run leaves: score of each trial id, and when (Unix time) each trial began and ended."""

    scores: dict[str, float] = field(default_factory=dict)
    spans: list[tuple[float, float]] = field(default_factory=list)

    def seconds(self) -> float:
        """From the first trial's begin to the last one's end."""
        return max(end for _, end in self.spans) - min(begin for begin, _ in self.spans)


@dataclass
class Work:
    """`trials` trials of one family on `part`; `configs` is what this program's run drew."""

    family: str
    trials: int
    part: TrainingPart
    configs: dict[str, tuple[dict, int]] = field(default_factory=dict)  # trial id → configuration, seed

    def through_this_program(self) -> Done:
        """Search as `serbench run` does, from no Ray to no Ray."""
        from benchmark import cluster, search, spec, study
        from benchmark.journal import Journal
        from benchmark.schema import Fold, Split

        systems = (self.family,)
        asked = spec.StudySpec(
            "perf", "synthetic", "speaker-5fold", systems, spec.read_spaces(systems, None), self.trials,
            inner_folds=INNER_FOLDS, sampler="random", prune=False, concurrency=os.cpu_count() or 1,
        )  # fmt: skip
        split = Split("made", False, (Fold(1, (), (), (), (), ()),))
        searched = study.Study(asked, None, split, {}, {}, "perf", {})  # type: ignore[arg-type]
        with tempfile.TemporaryDirectory() as folder, closing(Journal(Path(folder) / "perf")) as journal:
            place = study.Place(out=Path(folder), cache=Path(folder))
            with cluster.connect():
                space = asked.space(self.family)
                parts = {(space.features, 1): cluster.put(self.part)}
                study.search(searched, place, journal, parts, {}, journal.append)
        ended = [event for event in journal.state.events if event["event"] == "trial_ended"]
        self.configs = {
            e["trial_id"]: (space.configuration(e["params"]), search.seed_of(e["trial_id"])) for e in ended
        }
        return Done(
            {e["trial_id"]: e["score"] for e in ended}, [(e["time"] - e["seconds"], e["time"]) for e in ended]
        )

    def through_joblib(self) -> Done:
        """Run the same trials in processes that start and end here."""
        jobs = (joblib.delayed(trial)(self.family, *given, self.part) for given in self.configs.values())
        results = joblib.Parallel(n_jobs=os.cpu_count())(jobs)
        get_reusable_executor().shutdown()
        scores, spans = zip(*results, strict=True)
        return Done(dict(zip(self.configs, scores, strict=True)), list(spans))


def trial(name: str, config: dict, seed: int, part: TrainingPart) -> tuple[float | None, tuple[float, float]]:
    """Return the score, None where the trial fails as a trial may, and the span of one trial."""
    family = registry.family(name)  # imported before the clock starts, as in this program
    begun, told = time(), []
    run_trial(family, config, part, inner_folds=INNER_FOLDS, seed=seed, report=told.append)
    return told[-1]["score"], (begun, time())


def comparisons(tiny: bool = False) -> Iterator[Comparison]:
    part = made_part(3 if tiny else 12)
    for family, trials in (("svm", 4 if tiny else 30), ("mlp", 4 if tiny else 20)):
        work = Work(family, trials, part)
        yield Comparison(
            f"{trials} {family} trials: {INNER_FOLDS} inner folds, {len(part.y)} clips × {COLUMNS}",
            "trials",
            Side("serbench", trials, work.through_this_program),
            Side("joblib", trials, work.through_joblib),
            lambda ours, other, trials=trials: len(ours.scores) == trials and ours.scores == other.scores,
            Done.seconds,
        )
