"""The whole line: what a finished study leaves, that it comes out the same, and what it refuses."""

from __future__ import annotations

import contextlib
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import studies
import yaml

from benchmark import (
    bundle,
    cli,
    cluster,
    evaluation,
    files,
    protocols,
    records,
    registry,
    schema,
    search,
    spec,
    study,
    trainable,
)
from benchmark.journal import Journal
from benchmark.report import leaderboard


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run a command in this process: its exit status, standard output and standard error."""
    termination = signal.getsignal(signal.SIGTERM)
    status = cli.main(arguments)
    signal.signal(signal.SIGTERM, termination)
    return status, *capsys.readouterr()


SYSTEMS = ("majority", "mlp", "mlp-published", "svm", "svm-published")


@pytest.mark.slow
def test_the_bundle_is_sealed_whole_and_verifies(finished: Any, clone: Path) -> None:
    assert bundle.is_sealed(finished.bundle)
    assert leaderboard.verify(finished.bundle) == []
    assert finished.printed["bundle"] == str(finished.bundle)
    assert finished.printed["leaderboard"][0]["system"] in ("svm", "mlp")
    assert {row["system"] for row in finished.printed["leaderboard"]} == set(SYSTEMS)
    left = {path.name for path in finished.bundle.iterdir()}
    assert not left & {"journal.jsonl", ".tune", ".lock", ".owner"}
    status, out, said = studies.run(clone, "verify", finished.bundle, "--json")
    assert status == 0, said
    told = json.loads(out)
    assert (told["bundle"], told["verified"], told["problems"]) == (str(finished.bundle), True, [])
    assert told["files"] == bundle.sealed_files(finished.bundle) and told["cells"] > 500


@pytest.mark.slow
def test_each_search_has_its_budget(finished: Any) -> None:
    tables = dict(studies.trials(finished.bundle))
    assert len(tables) == 2 * 2
    for name, rows in tables.items():
        assert [row["number"] for row in rows] == ["1", "2", "3", "4"], name
    ids = [row["trial_id"] for rows in tables.values() for row in rows]
    assert len(set(ids)) == 4 * 4


@pytest.mark.slow
def test_fault_39_a_trial_without_numbers_is_failed_and_never_best(finished: Any) -> None:
    for fold in (1, 2):
        place = finished.bundle / f"searches/mlp/fold-{fold}"
        first, *others = files.read_csv(place / "trials.csv")
        assert (first["state"], first["score"], first["param.lr"]) == ("FAILED", "", "1e+38")
        assert "finite" in first["reason"]
        assert {row["state"] for row in others} <= {"COMPLETE", "PRUNED"}
        best = files.read_json(place / "best.json")
        complete = [float(row["score"]) for row in others if row["state"] == "COMPLETE"]
        assert best["number"] > 1
        assert best["score"] == max(complete)
    rows = {row["system"]: row for row in files.read_csv(finished.bundle / "leaderboard.csv")}
    assert [rows[s]["failed_trials"] for s in ("svm", "mlp")] == ["0", "2"]


@pytest.mark.slow
def test_failed_refits_are_counted_and_predict_the_training_priors(finished: Any) -> None:
    rows = {row["system"]: row for row in files.read_csv(finished.bundle / "leaderboard.csv")}
    failed = {system: int(row["failed_runs"]) for system, row in rows.items()}
    assert failed == dict.fromkeys(SYSTEMS, 0) | {"mlp-published": 4}
    for run in ("fold-1/seed-2", "fold-2/seed-1"):
        broken, constant = (
            finished.bundle / "runs" / system / run / "predictions.csv"
            for system in ("mlp-published", "majority")
        )
        assert broken.read_text() == constant.read_text()


@pytest.mark.slow
def test_each_opening_of_a_test_part_is_one_line(finished: Any) -> None:
    rows = files.read_csv(finished.out / "openings.csv")
    assert [row["fold"] for row in rows] == ["1", "2"]
    assert {row["runs"] for row in rows} == {str(len(SYSTEMS) * 2)}
    splits = files.read_json(finished.bundle / "splits.json")
    assert {(row["study"], row["fingerprint"]) for row in rows} == {("tiny", splits["fingerprint"])}
    assert "opened 2 times" in (finished.bundle / "README.md").read_text()


@pytest.mark.slow
def test_a_sealed_bundle_is_never_overwritten(
    finished: Any, corpus_csv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = studies.content(finished.bundle)
    command = ["run", str(finished.study), "--root", str(corpus_csv), "--out", str(finished.out)]
    for extra in ([], ["--resume"]):
        status, out, said = called(capsys, *command, *extra)
        assert (status, out) == (2, "")
        assert said.strip().endswith("is sealed and never overwritten: choose another --name")
        assert said.count("\n") == 1
    assert studies.content(finished.bundle) == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--corpus", "ravdes"], "did you mean 'ravdess'"),
        (["--corpus", "synthetic", "--families", "svn"], "did you mean 'svm'"),
        (["--corpus", "synthetic", "--protocol", "speaker5fold"], "did you mean 'speaker-5fold'"),
        (["--corpus", "synthetic", "--sampler", "tpee"], "did you mean 'tpe'"),
        (["--corpus", "synthetic", "--trials", "0"], "trials must be at least 1, but got 0"),
        (["--corpus", "synthetic", "--families", "svm,svm"], "named twice: svm, svm"),
        (["--corpus", "synthetic", "--families", "svm@imagenet"], "unknown system 'svm@imagenet'"),
        (["--corpus", "synthetic", "--families", ","], "--families must name systems, but got ','"),
        (
            ["--corpus", "synthetic", "--families", "svm", "--spaces", "nowhere"],
            "--spaces must name a folder",
        ),
        ([], "run needs --corpus NAME"),
        (["--familes", "svm"], "unknown argument --familes, did you mean --families?"),
        (["--corpus", "synthetic", "--triels=3"], "unknown argument --triels=3, did you mean --trials?"),
        (["--corpus", "synthetic", "--bogus"], "unknown argument --bogus: see `serbench run --help`"),
    ],
)
def test_a_mistaken_command_is_one_line_and_exit_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    status, out, said = called(capsys, "run", *arguments, "--out", str(tmp_path / "results"))
    assert (status, out) == (2, "")
    assert said.splitlines()[-1].startswith("serbench: ")
    assert told in said.splitlines()[-1]
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("trails: 3", "tiny.yaml:LAST: unknown key 'trails' in study: did you mean 'trials'"),
        ("trials: many", "tiny.yaml:LAST: trials must be int, but got 'many'"),
        ("trials: true", "tiny.yaml:LAST: trials must be int, but got True"),
        ("prune: 1", "tiny.yaml:LAST: prune must be bool, but got 1"),
        ("inner_folds: [3]", "tiny.yaml:LAST: inner_folds must be int, but got [3]"),
        ("schema_version: 99", "schema_version must be 1"),
    ],
)
def test_a_mistaken_study_file_is_refused_with_its_line(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "tiny.yaml"
    content = {key: value for key, value in studies.STUDY.items() if key != "trials"}
    path.write_text(yaml.safe_dump(content, default_flow_style=None, sort_keys=False) + line + "\n")
    with pytest.raises(schema.SerbenchError) as raised:
        spec.read_study(path)
    assert told.replace("LAST", str(path.read_text().count("\n"))) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_options_make_another_study_of_a_frozen_file(finished: Any) -> None:
    same, frozen = spec.resolve(finished.bundle / "study.yaml", {"name": "other", "concurrency": 2}, None)
    assert frozen == yaml.safe_load((finished.bundle / "study.yaml").read_text())["digests"]
    assert (same.name, same.trials) == ("other", 4)
    changed, frozen = spec.resolve(finished.bundle / "study.yaml", {"trials": 9}, None)
    assert (changed.trials, frozen) == (9, {})


@pytest.fixture(scope="module")
def planned(finished: Any, corpus_csv: Path, own_cache: Path) -> study.Study:
    """The finished study, prepared and split again, with all five folds."""
    same, _ = spec.resolve(finished.bundle / "study.yaml", {}, None)
    place = study.Place(out=own_cache, cache=own_cache, root=corpus_csv)
    planned = study.plan(study.replace(same, folds=()), place)
    return study.replace(
        planned, digest=yaml.safe_load((finished.bundle / "study.yaml").read_text())["digests"]["study"]
    )


def poison(planned: study.Study, fold: schema.Fold) -> study.Study:
    """Make every feature of the fold's test clips NaN and take their labels and speakers away."""
    table = planned.tables["functionals"]
    values = table.values.copy()
    values[[table.ids.index(id_) for id_ in fold.test]] = np.nan
    utterances = tuple(u for u in planned.corpus.utterances if u.id not in set(fold.test))
    return study.replace(
        planned,
        tables={"functionals": study.replace(table, values=values)},
        corpus=study.replace(planned.corpus, utterances=utterances),
    )


@pytest.mark.slow
def test_what_a_search_or_a_refit_is_handed_holds_no_test_clip(planned: study.Study) -> None:
    assert len(planned.split.folds) == 5
    for fold in planned.split.folds:
        part = poison(planned, fold).part("functionals", fold)
        assert np.isfinite(part.x).all()
        assert set(part.ids) == set(fold.train)
        assert not set(part.ids) & set(fold.test)
        assert not set(part.groups) & set(fold.test_speakers)
        assert len(part.x) == len(part.y) == len(part.groups) == len(fold.train)
        assert sorted(np.concatenate(part.validation)) == list(range(len(fold.train)))
        for number in range(3):
            rest, held = part.inner(number)
            assert not set(part.groups[rest]) & set(part.groups[held])


@pytest.mark.slow
@pytest.mark.parametrize("system", ["svm", "mlp"])
@pytest.mark.parametrize("number", [1, 2])
def test_the_numbers_of_a_run_follow_from_its_training_part_alone(
    finished: Any, planned: study.Study, system: str, number: int
) -> None:
    fold, family, space = planned.split.folds[number - 1], registry.family(system), planned.spec.space(system)
    part = poison(planned, fold).part("functionals", fold)
    best = files.read_json(finished.bundle / f"searches/{system}/fold-{number}/best.json")
    config, told = space.configuration(best["params"]), []
    seed = search.seed_of(best["trial_id"])
    trainable.run_trial(family, config, part, inner_folds=3, seed=seed, report=told.append)
    assert told[-1]["score"] == pytest.approx(best["score"], abs=1e-12)

    run = next(
        r for r in bundle.read_runs(finished.bundle) if (r.system, r.fold, r.seed) == (system, number, 1)
    )
    refit = evaluation.Refit(system, system, "none", "functionals", number, 1, config)
    seed = evaluation.training_seed(planned.digest, refit)
    model, _ = trainable.refit(family, config, part, seed=seed)
    test = planned.tables["functionals"].rows(run.ids)
    assert run.ids == fold.test
    np.testing.assert_allclose(model.predict_proba(test), run.probabilities, rtol=1e-5, atol=1e-9)


@pytest.mark.slow
def test_refits_that_were_kept_before_a_cut_are_not_made_again(
    planned: study.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one CPU, cut in the second turn: the first is kept, and each session's opening is one line."""
    spec_ = study.replace(planned.spec, systems=("svm", "mlp"), seeds=2)
    planned = study.replace(planned, spec=spec_)
    fold, place = planned.split.folds[0], study.Place(out=tmp_path, cache=tmp_path / "cache")
    best = {(system, fold.number): spec_.space(system).published_params for system in spec_.systems}
    folder = tmp_path / spec_.name
    fitted: list[str] = []
    fit_all = evaluation.fit_all

    def watched(models: Any, *args: Any) -> Any:
        fitted.extend(refit.folder for model in models for refit in model)
        if cut and len(fitted) > 4:  # svm is one model: two seeds of two rows
            raise KeyboardInterrupt
        return fit_all(models, *args)

    monkeypatch.setattr(evaluation, "fit_all", watched)
    with cluster.connect(), contextlib.closing(Journal(folder)) as journal:
        monkeypatch.setattr(cluster, "resources", lambda: {"cpus": 1.0, "gpus": 0.0})
        parts = {("functionals", fold.number): cluster.put(planned.part("functionals", fold))}
        for cut, told in ((True, pytest.raises(KeyboardInterrupt)), (False, contextlib.nullcontext())):
            fitted.clear()
            with told:
                study.evaluate(planned, fold, place, journal, parts, {}, best, journal.append)
            if cut:
                kept = set(journal.state.refits)
                assert kept == {
                    f"runs/{row}/fold-1/seed-{n}" for row in ("svm", "svm-published") for n in (1, 2)
                }
    assert set(fitted) == set(journal.state.refits) - kept
    assert len(fitted) == len(set(fitted)) == 6
    assert [row["runs"] for row in files.read_csv(tmp_path / "openings.csv")] == ["10", "6"]


@pytest.mark.slow
def test_a_fold_that_leaks_is_refused_when_its_part_is_made(planned: study.Study) -> None:
    fold = planned.split.folds[0]
    leaky = study.replace(fold, train=(*fold.train, fold.test[0]))
    with pytest.raises(schema.SerbenchError, match="must share no clip"):
        planned.part("functionals", leaky)


@pytest.mark.slow
def test_the_digest_counts_what_a_number_depends_on_and_nothing_else(planned: study.Study) -> None:
    def digest(**changes: Any) -> str:
        changed = study.replace(planned.spec, **changes)
        return changed.digest(planned.corpus.digest, planned.split.fingerprint, {"functionals": "f"}, {})

    same = digest()
    assert same == digest(name="other", concurrency=4, bootstrap_seed=9)
    commented = {system: text + "\n# a remark\n" for system, text in planned.spec.spaces.items()}
    assert same == digest(spaces=commented)
    edited = dict(planned.spec.spaces) | {"mlp": planned.spec.spaces["mlp"].replace("high: 6", "high: 7")}
    changes = (
        {"trials": 3},
        {"seeds": 1},
        {"seed": 1},
        {"prune": False},
        {"time_budget": 3.0},
        {"spaces": edited},
        {"folds": (1,)},
    )
    assert len({same, *(digest(**change) for change in changes)}) == 8


@pytest.mark.slow
def test_a_study_file_on_another_corpus_names_the_clips_that_differ(
    tmp_path: Path, corpus_csv: Path, own_cache: Path
) -> None:
    asked = spec.make_spec({"corpus": "manifest", "systems": ["svm"]})
    planned = study.plan(asked, study.Place(out=tmp_path, cache=own_cache, root=corpus_csv))
    records.freeze(tmp_path / "sealed", planned, {}, {}, resumed=False)
    path = tmp_path / "sealed" / "study.yaml"
    frozen = records.frozen_inputs(path, spec.read_study(path)[1])
    records.refuse_other_inputs(frozen, planned)
    assert records.frozen_inputs(tmp_path / "alone.yaml", planned.digests) == dict(planned.digests)
    changed = {**frozen["clips"], "1-angry-0": "0" * 64, "9-angry-0": "1" * 64}
    with pytest.raises(schema.SerbenchError) as raised:
        records.refuse_other_inputs({**frozen, "clips": changed, "corpus": "f" * 64}, planned)
    said = str(raised.value)
    assert "clips.1-angry-0: 000000000000… → " in said
    assert "clips.9-angry-0: 111111111111… → None" in said
    assert "take `digests` out of a copy of the file" in said


def test_only_the_chosen_folds_are_run(planned: study.Study, corpus_csv: Path, own_cache: Path) -> None:
    place = study.Place(out=own_cache, cache=own_cache, root=corpus_csv)
    some = study.plan(study.replace(planned.spec, folds=(2, 4)), place)
    assert [fold.number for fold in some.split.folds] == [2, 4]
    with pytest.raises(schema.UsageError, match=r"among 1 to 5, but got \[2, 6\]"):
        study.plan(study.replace(planned.spec, folds=(2, 6)), place)


@pytest.mark.slow
def test_json_of_prepare_and_list_is_one_object(finished: Any, clone: Path, corpus_csv: Path) -> None:
    status, out, said = studies.run(clone, "prepare", "manifest", "--root", corpus_csv, "--json")
    assert status == 0, said
    assert json.loads(out)["clips"] == 60
    assert json.loads(out)["digest"] == files.read_json(finished.bundle / "corpus.json")["digest"]
    status, out, said = studies.run(clone, "list", "--json")
    assert json.loads(out)["protocols"] == list(protocols.NAMES)
    assert json.loads(out)["families"] == list(registry.names("families"))
