"""MLflow as a mirror: a real SQLite store, a real server over HTTP."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from tracking_tools import START, STUDY, Server, curve, journal, stored

from benchmark import cli, tracking
from benchmark.schema import SerbenchError, UsageError

pytestmark = pytest.mark.slow  # MLflow's import and the making of a database take seconds


def _bundle(out: Path) -> None:
    folder = out / "tiny" / "runs" / "mlp" / "fold-1" / "seed-1"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text('{"seed": 1}\n')
    rows = ["a,1,calm,calm,.9,.1", "b,1,calm,sad,.2,.8", "c,2,sad,sad,.3,.7", "d,2,sad,sad,.4,.6"]
    (folder / "predictions.csv").write_text(
        "\n".join(["utterance_id,speaker,label,predicted,p_calm,p_sad", *rows, ""])
    )


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    out = tmp_path_factory.mktemp("mirrored")
    _bundle(out)
    uri = tracking.default_uri(out)
    assert tracking.mirror(journal(), uri, STUDY, out) == 7  # study, search, four trials, one final
    return uri, out


def test_importing_the_module_does_not_import_mlflow() -> None:
    code = "import sys, benchmark.tracking; sys.exit(any(n.split('.')[0] == 'mlflow' for n in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_hierarchy_tags_and_states(mirrored: tuple[str, Path]) -> None:
    runs = stored(mirrored[0])
    above = {key: run.data.tags.get("mlflow.parentRunId") for key, run in runs.items()}
    study, search = runs["study"].info.run_id, runs["mlp/fold-1/tpe"].info.run_id
    assert above["study"] is None
    assert above["mlp/fold-1/tpe"] == above["mlp-final"] == study
    assert {above[f"mlp-{n}"] for n in (1, 2, 3, 4)} == {search}
    for run in runs.values():
        assert STUDY.items() <= run.data.tags.items()
    trial = runs["mlp-1"].data.tags
    assert (trial["kind"], trial["trial_id"], trial["number"], trial["fold"]) == ("trial", "mlp-1", "1", "1")
    assert [runs[f"mlp-{n}"].info.status for n in (1, 2, 3, 4)] == [
        "FINISHED",
        "FINISHED",
        "KILLED",
        "FAILED",
    ]
    assert [runs[f"mlp-{n}"].data.tags["state"] for n in (2, 3, 4)] == ["COMPLETE", "PRUNED", "FAILED"]
    assert runs["mlp-4"].data.tags["reason"] == "loss is NaN"
    assert {runs[key].info.status for key in ("study", "mlp/fold-1/tpe", "mlp-final")} == {"FINISHED"}


def test_parameters_curves_and_times(mirrored: tuple[str, Path]) -> None:
    uri, _ = mirrored
    runs = stored(uri)
    assert runs["mlp-2"].data.params == {"lr": "0.002", "layers": "2", "norm": "True"}
    assert curve(uri, runs["mlp-2"], "uar") == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert curve(uri, runs["mlp-2"], "loss") == [(1, 1.0), (2, 0.5), (3, 0.333)]
    assert [runs[f"mlp-{n}"].data.metrics.get("score") for n in (2, 3, 4)] == [pytest.approx(0.3), None, None]
    assert runs["mlp-2"].info.start_time == int((START + 20) * 1000)
    assert runs["mlp-2"].info.end_time == int((START + 25) * 1000)
    assert runs["mlp-final"].data.metrics["test_uar"] == 0.5
    assert "score" not in runs["mlp-final"].data.metrics


def test_artifacts_of_a_final(mirrored: tuple[str, Path]) -> None:
    uri, out = mirrored
    run_id = stored(uri)["mlp-final"].info.run_id
    local = tracking._client(uri).download_artifacts(run_id, "report.csv", str(out))
    assert Path(local).read_text().splitlines() == [
        "class,precision,recall,f1,support,as calm,as sad",
        "calm,1,0.5,0.6667,2,1,1",
        "sad,0.6667,1,0.8,2,0,2",
    ]
    names = {file.path for file in tracking._client(uri).list_artifacts(run_id)}
    assert names == {"report.csv", "result.json"}
    assert (out / "mlartifacts").is_dir()


def test_mirroring_again_changes_nothing(mirrored: tuple[str, Path]) -> None:
    uri, out = mirrored
    before = {key: run.info.run_id for key, run in stored(uri).items()}
    assert tracking.mirror(journal(), uri, STUDY, out) == 0
    assert {key: run.info.run_id for key, run in stored(uri).items()} == before


def test_what_a_killed_driver_left_is_continued_and_reconciled(tmp_path: Path) -> None:
    uri, events = tracking.default_uri(tmp_path), journal(trials=6)
    cut = next(i for i, e in enumerate(events) if e["event"] == "step" and e["trial_id"] == "mlp-3") + 2
    first = tracking._Mirror(uri, STUDY, tmp_path)  # a driver that is killed: nobody closes it
    for event in events[:cut]:
        first.absorb(event)
    first.flush()
    assert stored(uri)["mlp-3"].info.status == "RUNNING"

    syncer = tracking.Syncer(uri, STUDY, tmp_path)  # the resumed one is stopped, too
    for event in events[: cut + 4]:
        syncer.offer(event)
    assert syncer.close(60, finished=False) == 0
    runs = stored(uri)
    assert runs["mlp-3"].info.status == "FINISHED"
    assert curve(uri, runs["mlp-3"], "uar") == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert {run.info.status for run in runs.values()} == {"FINISHED", "KILLED"}
    assert runs["study"].info.status == runs["mlp-4"].info.status == "KILLED"

    again = tracking.Syncer(uri, STUDY, tmp_path)
    for event in events:
        again.offer(event)
    assert again.close(60) == 0
    runs = stored(uri)
    assert len(runs) == 9
    assert runs["study"].info.status == runs["mlp-4"].info.status == "FINISHED"
    for n in range(1, 7):
        assert len(curve(uri, runs[f"mlp-{n}"], "uar")) == 3


def test_what_an_unfinished_study_has_open_is_left_to_its_driver(tmp_path: Path) -> None:
    uri, events = tracking.default_uri(tmp_path), journal(trials=6)
    cut = next(i for i, e in enumerate(events) if e["event"] == "step" and e["trial_id"] == "mlp-3") + 2
    assert tracking.mirror(events[:cut], uri, STUDY, tmp_path, finished=False) == 2
    runs = stored(uri)
    assert {key: run.info.status for key, run in runs.items()} == {
        "study": "RUNNING",
        "mlp/fold-1/tpe": "RUNNING",
        "mlp-1": "FINISHED",
        "mlp-2": "FINISHED",
    }
    stopped = tracking.Syncer(uri, STUDY, tmp_path)
    for event in events[:cut]:
        stopped.offer(event)
    assert stopped.close(60, finished=False) == 0
    assert tracking.mirror(events[:cut], uri, STUDY, tmp_path, finished=False) == 0
    runs = stored(uri)
    assert (
        runs["study"].info.status == runs["mlp-3"].info.status == "KILLED"
    )  # not open again: nobody runs it
    assert tracking.mirror(events, uri, STUDY, tmp_path) == 7  # study, search, four trials, one final
    assert {run.info.status for key, run in stored(uri).items() if key in ("study", "mlp-3")} == {"FINISHED"}


def test_ui_in_a_bundle_keeps_the_store_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert cli.main(["ui", "."]) == 1
    assert "must be a bundle, but" in (said := capsys.readouterr().err)
    assert said.count("\n") == 1
    digests = {"study": "d1", "corpus": "c1", "fingerprint": "f1"}
    study = {"name": "tiny", "corpus": "synthetic", "protocol": "loso", "sampler": "tpe", "digests": digests}
    (folder / "study.yaml").write_text(json.dumps(study))
    (folder / "environment.json").write_text('{"commit": "abc"}')
    lines = [json.dumps(event) + "\n" for event in journal()]
    (folder / "journal.jsonl").write_text("".join(lines))
    with socket.create_server(("127.0.0.1", 0)) as taken:  # so that the server does not start
        assert cli.main(["ui", ".", "--port", str(taken.getsockname()[1])]) == 1
    assert "must be free" in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == [
        "environment.json",
        "journal.jsonl",
        "study.yaml",
    ]
    runs = stored(tracking.default_uri(tmp_path))
    assert runs["mlp-1"].data.tags["commit"] == "abc"
    assert runs["study"].info.status == "RUNNING"  # it has no seal


def test_another_study_of_the_same_name_keeps_its_own_runs(tmp_path: Path) -> None:
    uri = tracking.default_uri(tmp_path)
    tracking.mirror(journal(2), uri, STUDY, tmp_path)
    assert tracking.mirror(journal(2), uri, STUDY | {"study_digest": "d2"}, tmp_path) == 5
    assert tracking.mirror(journal(2), uri, STUDY, tmp_path) == 0


def test_large_records_and_many_trials(tmp_path: Path) -> None:
    uri, events = tracking.default_uri(tmp_path), journal(trials=3, steps=700)
    events[1]["params"] |= {f"p{n}": "x" * 7000 for n in range(120)}
    tracking.mirror(events, uri, STUDY, tmp_path)
    run = stored(uri)["mlp-1"]
    assert len(run.data.params) == 123
    assert len(run.data.params["p7"]) == 6000
    assert [len(curve(uri, run, name)) for name in ("uar", "loss", "lr")] == [700, 700, 700]


def test_a_hundred_trials_are_mirrored_in_seconds(mirrored: tuple[str, Path]) -> None:
    uri, out = mirrored
    begun = time.monotonic()
    assert tracking.mirror(journal(trials=100, system="svm"), uri, STUDY, out) == 102
    assert time.monotonic() - begun < 60  # 4 s on two idle cores


def test_ui_serves_the_experiment_on_loopback(mirrored: tuple[str, Path]) -> None:
    uri, _ = mirrored
    with pytest.raises(SerbenchError, match="must hold study 'other'"):
        tracking.serve_ui(uri, experiment="other")
    process, url = tracking.serve_ui(uri, experiment="tiny")
    try:
        base, _, page = url.partition("/#/")
        number = tracking._client(uri).get_experiment_by_name("tiny").experiment_id
        assert base.startswith("http://127.0.0.1:")
        assert page.startswith(f"experiments/{number}/runs?")
        assert page.endswith("&viewStateShareKey=trials")  # kept in the experiment's tag of that name
        tag = tracking._client(uri).get_experiment(number).tags["mlflow.sharedViewState.trials"]
        assert json.loads(json.loads(tag)["state"]) == tracking.TRIALS
        with urllib.request.urlopen(base, timeout=10) as answer:
            assert b"<title>MLflow</title>" in answer.read()
        final = stored(uri)["mlp-final"].info.run_id
        with urllib.request.urlopen(f"{base}/get-artifact?path=report.csv&run_uuid={final}") as answer:
            assert answer.read().startswith(b"class,precision")
        with pytest.raises(UsageError, match="serves its own pages"):
            tracking.serve_ui(base, experiment="tiny")
        with pytest.raises(SerbenchError, match="must be free"):
            tracking.serve_ui(uri, port=int(base.rpartition(":")[2]))
    finally:
        process.terminate()
        process.wait(20)
    with pytest.raises(OSError):  # the worker went with it
        urllib.request.urlopen(base, timeout=2)


def test_mirror_names_a_server_that_does_not_answer(tmp_path: Path) -> None:
    uri = Server(tmp_path).uri.replace("//", "//user:secret@")
    with pytest.raises(SerbenchError, match=r"http://127\.0\.0\.1:\d+ must answer") as caught:
        tracking.mirror(journal(), uri, STUDY, tmp_path)
    assert "\n" not in str(caught.value)
    assert "must answer" in str(caught.value)
