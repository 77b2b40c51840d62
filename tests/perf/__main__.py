"""Measure everything and write README.md beside this file: `make perf`."""

import importlib
import os
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmark.cores import THREADS

SETTLE = 5  # seconds
BUSY = 10  # percent of all cores
BENCHES = (
    "bench_features",
    "bench_forest",
    "bench_bootstrap",
    "bench_report",
    "bench_trials",
    "bench_networks",
)
TEXT = """# Measured ratios

Written by `make perf`; every number is from that one run. A row compares this program with a named
alternative that does the same work on the same data, which each run checks (features and padded clips differ
by their nature: `bench_features.py` and `bench_networks.py` say in what). A ratio above 1 means that this
program is faster. Both sides run in turn, three or five times; rates are medians, the ratio is theirs, and
the last column is the smallest and the largest ratio of a pair of runs. One thread a process; trials use all
{cores} cores, the rest one.

{table}

Trials are on made-up data, smaller than a fold of RAVDESS, so that the price of Ray Tune, Optuna and the
journal shows: it is paid once a study (start and stop; in brackets this program's and joblib's) and once a
trial, however long that takes. TPE, pruning and MLflow's mirror are not in these rows. Time without start
and stop goes from the first trial's begin to the last one's end, so that a second process which is slow to
start counts in it, on either side. Where the last column spans 1, the run does not tell which side is faster.

Networks train on the CPU in float32. An epoch of the {fold} clips that a trial of RAVDESS trains on (one of 5
folds and one of 3 inner folds held out) takes, at the medians above, the time below; the memory is the peak
of the process, imports and the networks of all its runs counted.

{epochs}

- date: {date}; commit: `{commit}`
- machine: {cpu}, {cores} cores, {memory} GiB
- others' use of its cores in the {settle} s before the first run: {load:.0f} %; niceness: {nice}{busy}
- {versions}
"""


def main() -> None:
    os.environ.update(dict.fromkeys(THREADS, "1"))  # before numpy is imported
    sys.path.append(str(Path(__file__).parents[1]))  # of the helpers that make a bundle
    load = psutil.cpu_percent(interval=SETTLE)
    _bench, environment = importlib.import_module("_bench"), importlib.import_module("benchmark.environment")
    rows = [_bench.HEADER]
    for name in BENCHES:
        bench = importlib.import_module(name)
        for comparison in bench.comparisons():
            measured = _bench.measure(comparison, bench.REPEATS)
            print(*measured, sep="\n", flush=True)
            rows += measured
    facts, cores = environment.describe(), os.cpu_count() or 1
    versions = {"Python": facts["python"], **facts["packages"], "librosa": version("librosa")}
    versions["joblib"] = version("joblib")
    text = TEXT.format(
        table="\n".join(rows),
        date=datetime.now(UTC).date(),
        commit=environment.commit(),
        cpu=facts["hardware"]["cpu"],
        memory=facts["hardware"]["memory_gib"],
        cores=cores,
        fold=importlib.import_module("bench_networks").FOLD,
        epochs="\n".join(importlib.import_module("bench_networks").EPOCHS),
        load=load,
        settle=SETTLE,
        nice=os.nice(0),
        busy="" if load < BUSY else ": **a busy machine**: rates are too low, ratios rough",
        versions=", ".join(f"{package} {number}" for package, number in versions.items() if number),
    )
    Path(__file__).with_name("README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
