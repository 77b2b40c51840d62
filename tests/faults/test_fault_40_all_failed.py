"""FAULT 40: every trial fails, so there is no winner."""

from __future__ import annotations

from pathlib import Path

import pytest
import studies

from benchmark import bundle

HOPELESS = studies.MLP.replace(
    "{type: float, low: 0.001, high: 0.01, log: true}", "{type: categorical, choices: [1e38]}"
)


@pytest.mark.slow
def test_fault_40_all_trials_fail(corpus_csv: Path, clone: Path, tmp_path: Path) -> None:
    changes = {
        "systems": ["mlp"],
        "folds": [1],
        "trials": 3,
        "sampler": "random",
        "spaces": {"mlp": HOPELESS},
    }
    study = studies.write_study(tmp_path / "hopeless.yaml", **changes)
    status, out, said = studies.run(
        clone, "run", study, "--root", corpus_csv, "--out", tmp_path / "results", "--json"
    )
    assert (status, out) == (1, "")
    last = said.splitlines()[-1]
    assert last.startswith("serbench: mlp, fold 1: all 3 trials failed, so there is no winner: ")
    assert "not finite at step 1" in last
    assert "Traceback" not in said
    folder = tmp_path / "results" / "tiny"
    assert not bundle.is_sealed(folder)
    assert not (tmp_path / "results" / "openings.csv").exists()
    ends = studies.events(folder, "trial_ended")
    assert [event["state"] for event in ends] == ["FAILED"] * 3
    assert all(event["reason"] and event["score"] is None for event in ends)
