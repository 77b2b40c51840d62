"""A study of a network with and without pretrained weights, from fetch to predict; skipped without them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import studies
from pretrained import pretrained

from benchmark import files
from benchmark.report import leaderboard

pytestmark = pytest.mark.slow
CNN = """
family: cnn
features: log_mel_32k
pretraining: audioset
weights: {audioset: mn04-audioset}
search: {lr: {type: float, low: 0.001, high: 0.002}}
fixed: {network: mn04, batch_size: 16, crop_frames: 64, schedule: one_cycle, epochs: 2, weight_decay: 0.01,
        dropout: 0.2, label_smoothing: 0.1, head_rate: 1.0, time_mask: 0, band_mask: 16, mixup: 0.0}
published: {lr: 0.001}
"""


def test_a_network_is_searched_with_and_without_its_weights_and_labels_new_clips(
    clone: Path, corpus_csv: Path, tmp_path: Path
) -> None:
    assert studies.run(clone, "fetch", "mn04-audioset", "--from", pretrained())[0] == 0
    systems = ["cnn@audioset", "cnn@none"]
    study = studies.write_study(
        tmp_path / "networks.yaml", systems=systems, spaces=dict.fromkeys(systems, CNN), folds=[1], trials=1,
        seeds=1, inner_folds=1,
    )  # fmt: skip
    status, out, said = studies.run(clone, "run", study, "--root", corpus_csv, "--out", tmp_path, "--json")
    assert status == 0, said
    rows = {row["system"]: row for row in json.loads(out)["leaderboard"]}
    assert {*systems, "cnn@audioset-published", "cnn@none-published"} < rows.keys()
    assert not any(row["failed_trials"] or row["failed_runs"] for row in rows.values())
    bundle = tmp_path / "tiny"
    assert leaderboard.verify(bundle) == []
    start = {
        system: files.read_csv(bundle / "runs" / system / "fold-1" / "seed-1" / "history.csv")[0]["loss"]
        for system in systems
    }
    assert start["cnn@audioset"] != start["cnn@none"]  # the same clips and random numbers, other weights
    told = {row["comparison"]: row for row in files.read_csv(bundle / "ablation.csv")}
    assert told["searched"]["system"] == "cnn@audioset" and told["searched"]["scratch"] == "cnn@none"
    repeated = subprocess.run(
        [
            *(sys.executable, studies.REPOSITORY / "tests/peers/repeat.py", bundle, corpus_csv.parent),
            *(os.environ["SERBENCH_CACHE"], *(f"{system}/fold-1/seed-1" for system in systems)),
        ],
        env=os.environ | {"PYTHONPATH": str(clone), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        check=True,
    ).stdout  # fmt: skip
    for line in repeated.splitlines():
        found = re.fullmatch(r"\S+: probabilities differ by (\S+) at most, 0 of \d+ labels", line)
        assert found and float(found[1]) < 1e-5, line  # six digits are stored
    assert len(repeated.splitlines()) == len(systems)
    clip = tmp_path / "short.wav"
    soundfile.write(clip, 0.1 * np.sin(np.arange(2400)), 8000)
    for system in systems:
        status, out, said = studies.run(clone, "predict", bundle, "--family", system, clip, "--json")
        assert status == 0, said
        (row,) = json.loads(out)["clips"]
        assert sum(row[f"p_{emotion}"] for emotion in studies.EMOTIONS) == pytest.approx(1)
