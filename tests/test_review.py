"""`serbench audit`: anyone's manifest and split, as files, with and without audio."""

import json

import numpy as np
import pytest
import soundfile
from helpers import make_bundle

from benchmark import cli, files, fingerprints
from benchmark.corpora import synthetic
from benchmark.schema import digest

HEADER = "path,speaker,label"


def voice(number):
    """Clip `number` of speakers 1 to 4, four each."""
    return synthetic.clip(1 + number // 4, ("angry", "sad")[number % 2], 1 + number % 4 // 2, 1)


@pytest.fixture
def split(tmp_path):
    """Write a manifest of 4 speakers × 4 clips and a split by speakers; return what writes another."""
    rows = [f"{s}-{k}.wav,{s},{('angry', 'calm')[k % 2]}" for s in "abcd" for k in range(4)]

    def write(fold=None, header=HEADER, rows=rows, **content):
        (tmp_path / "m.csv").write_text("\n".join([header, *rows]) + "\n")
        fold = fold or {"test_speakers": ["a"], "train_speakers": ["b", "c", "d"]}
        content = content or {"protocol": "mine", "folds": [fold]}
        (tmp_path / "s.json").write_text(json.dumps(content))
        return tmp_path

    write.rows = rows
    return write


def run(folder, capsys, manifest="m.csv", splits="s.json"):
    cache = ["--cache", str(folder / "cache")]
    status = cli.main(
        ["audit", "--json", "--manifest", str(folder / manifest), "--splits", str(folder / splits), *cache]
    )
    said = capsys.readouterr()
    report = json.loads(said.out) if said.out else {"checks": []}
    return status, {c["name"]: (c["status"], c["reason"]) for c in report["checks"]}, said.err


def test_without_audio_what_needs_it_is_not_checked(split, capsys):
    status, checks, _ = run(split(), capsys)
    assert status == 0
    assert checks["speakers"][0] == checks["parts"][0].replace("note", "green") == "green"
    for name in ("labels", "content", "near_duplicates", "selection", "pretraining", "openings"):
        assert checks[name][0] == "not checked", name


def test_clips_of_one_speaker_on_both_sides_are_red_unless_it_is_declared(split, capsys):
    ids = [row.split(",")[0] for row in split.rows]
    fold = {"test": ids[::4], "train": [f"/data/{i}" for i in ids if i not in ids[::4]]}
    status, checks, _ = run(split(fold), capsys)
    assert (status, checks["speakers"][0]) == (1, "red") and "speaker a is on both sides" in checks[
        "speakers"
    ][1]
    status, checks, _ = run(split(protocol="mine", diagnostic=True, **fold), capsys)
    assert (status, checks["speakers"][0]) == (0, "note")


@pytest.mark.parametrize(
    ("fold", "name", "said"),
    [
        ({"fitted_on": ["a-0", "b-0"]}, "selection", "a statistic was fitted on a-0"),
        ({"selected_on": ["a-1"]}, "selection", "a-1 is a test clip and was in the search"),
        ({"validation_groups": [["a-1"]]}, "parts", "a-1 is validated on but is not in training"),
        ({"test": ["nobody"]}, "parts", "nobody is not in the corpus"),
        ({"train": ["a-0", "b-0"]}, "parts", "a-0 is in test and in training"),
    ],
)  # fmt: skip
def test_what_a_fold_states_is_looked_at(split, capsys, fold, name, said):
    speakers = {"test_speakers": ["a"], "train_speakers": ["b", "c", "d"]}
    speakers = {key: names for key, names in speakers.items() if key.removesuffix("_speakers") not in fold}
    status, checks, _ = run(split(speakers | fold), capsys)
    assert (status, checks[name][0]) == (1, "red") and said in checks[name][1]


def test_what_a_split_of_this_program_states_of_its_use_is_looked_at_too(tmp_path, capsys):
    made = make_bundle(tmp_path)
    content = files.read_json(made / "splits.json")
    fold = content["folds"][0]
    for key, said in (("fitted_on", "a statistic was fitted on"), ("selected_on", "was in the search")):
        fold |= {key: fold["test"][:1]}
        files.write_json(made / "splits.json", content | {"fingerprint": digest(content["folds"])})
        status, checks, _ = run(made, capsys, "manifest.csv", "splits.json")
        assert (status, checks["selection"][0], checks["fingerprint"][0]) == (1, "red", "green")
        assert said in checks["selection"][1]
        del fold[key]


def test_fingerprints_without_hashes_are_compared_and_one_that_is_none_is_one_line(split, capsys):
    values = np.random.default_rng(0).integers(-fingerprints.STEPS, fingerprints.STEPS + 1, size=(15, 384))
    texts = [fingerprints.to_text(row) for row in [values[0], *values]]  # a-0 and a-1 sound alike
    rows = [f"{row},{text}" for row, text in zip(split.rows, texts, strict=True)]
    fold = {"test": ["a-0"], "train": ["a-1", "b-0", "c-1"], "fold": "A"}
    status, checks, _ = run(split(fold, f"{HEADER},fingerprint", rows), capsys)
    assert checks["near_duplicates"][0] == "amber" and "a-0.wav and a-1.wav" in checks["near_duplicates"][1]
    status, _, error = run(split(fold, f"{HEADER},fingerprint", [f"{rows[0]}!", *rows[1:]]), capsys)
    assert status == 1 and "fingerprint must be what this program writes" in error and error.count("\n") == 1


def test_a_use_that_is_stated_and_sound_is_green(split, capsys):
    fold = {"test_speakers": ["a"], "train_speakers": ["b", "c"], "validation": ["d-0", "d-1"]}
    status, checks, _ = run(split(fold | {"fitted_on": ["b-0", "c-1"]}), capsys)
    assert (status, checks["selection"][0]) == (0, "green")


def test_audio_beside_the_manifest_is_heard(split, capsys):
    folder = split()
    for k, row in enumerate(split.rows):
        soundfile.write(folder / row.split(",")[0], voice(k), synthetic.RATE)
    status, checks, _ = run(folder, capsys)
    assert status == 0 and checks["content"][0] == checks["near_duplicates"][0] == "green"
    soundfile.write(folder / "b-0.wav", voice(0) * 0.5, synthetic.RATE)  # speaker a's clip, at half its level
    status, checks, _ = run(folder, capsys)
    assert (status, checks["near_duplicates"][0]) == (0, "amber")
    assert "a-0.wav and b-0.wav, cosine" in checks["near_duplicates"][1]
    soundfile.write(folder / "b-0.wav", voice(0), synthetic.RATE)
    status, checks, _ = run(folder, capsys)
    assert (status, checks["content"][0], checks["near_duplicates"][0]) == (1, "red", "green")


def test_a_bundles_own_files_pass_and_a_changed_fingerprint_is_red(tmp_path, capsys):
    made = make_bundle(tmp_path)
    fingerprint = files.read_json(made / "splits.json")["fingerprint"]
    files.write_csv(tmp_path / "openings.csv", ["fingerprint"], [{"fingerprint": fingerprint}] * 2)
    status, checks, _ = run(made, capsys, "manifest.csv", "splits.json")
    assert status == 0
    assert checks["fingerprint"][0] == checks["selection"][0] == checks["content"][0] == "green"
    assert checks["openings"] == ("note", "test parts of this split were opened 2 times, a fold at a time")
    changed = files.read_json(made / "splits.json")
    changed["folds"][0]["train"].pop()
    files.write_json(made / "splits.json", changed)
    status, checks, _ = run(made, capsys, "manifest.csv", "splits.json")
    assert (status, checks["fingerprint"][0]) == (1, "red")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"folds": []}, "s.json: folds must be a list"),
        (
            {"folds": [{"test": ["a-0"]}]},
            "s.json: fold 1 needs train (clips) or train_speakers, but has test",
        ),
        (
            {"test": ["a-0"], "train": ["b-0"], "validation": ["b-0"]},
            "s.json: fold 1: a clip must be in training or in validation, but b-0 is in both",
        ),
    ],
)
def test_a_split_that_is_none_is_one_line(split, capsys, content, said):
    status, _, error = run(split(**content), capsys)
    assert status == 1 and error.startswith(f"serbench: {said}") and error.count("\n") == 1


def test_a_manifest_that_is_none_is_one_line(split, capsys):
    for header, rows, said in (
        ("path,speaker", ["a.wav,a"], "m.csv: column 'label' is needed"),
        (HEADER, ["a.wav,a,x", "a.flac,a,x"], "m.csv: each clip must stand once, but a does not"),
    ):
        status, _, error = run(split(header=header, rows=rows), capsys)
        assert status == 1 and error.startswith(f"serbench: {said}")
    assert run(split(), capsys, splits="none.json")[0] == 1
    folder = split()
    (folder / "s.json").write_text("{")
    assert "must be JSON" in run(folder, capsys)[2]


@pytest.mark.parametrize("name", ["validation", "val", "dev", "valid"])
@pytest.mark.parametrize("kind", ["", "_speakers"])
def test_validation_is_known_by_its_usual_names(split, capsys, name, kind):
    clips = ["a-0", "a-1"] if not kind else ["a"]
    status, checks, _ = run(
        split({"test_speakers": ["a"], "train_speakers": ["b"], name + kind: clips}), capsys
    )
    assert (status, checks["selection"][0], checks["parts"][0]) == (1, "red", "red")
    assert "a-0.wav is in test and in training" in checks["parts"][1].replace("a-0 ", "a-0.wav ")


def test_what_the_audit_has_no_name_for_is_said(split, capsys):
    fold = {"test_speakers": ["a"], "train_speakers": ["b"], "devel": ["a-0"]}
    _, checks, _ = run(split(protocol="p", folds=[fold], seed=3), capsys)
    assert checks["stated"] == (
        "note",
        "the split states what this audit has no name for, and did not check: seed, devel",
    )
    folder = split(fold)
    assert cli.main(["audit", "--manifest", str(folder / "m.csv"), "--splits", str(folder / "s.json")]) == 0
    assert "checks could not be made" in capsys.readouterr().out


def test_each_fold_keeps_what_it_states_whatever_its_number(split, capsys):
    leaky = {"fold": 2, "test_speakers": ["a"], "train_speakers": ["b", "c"], "fitted_on": ["a-0"]}
    sound = {"test_speakers": ["d"], "train_speakers": ["b", "c"]}
    status, checks, _ = run(split(folds=[leaky, sound]), capsys)
    assert (status, checks["selection"][0]) == (1, "red") and "fold 1: a statistic" in checks["selection"][1]


def test_repeated_folds_and_rare_classes_are_notes_in_anyones_split(split, capsys):
    folds = [{"test_speakers": [s], "train_speakers": ["c", "d"]} for s in "aab"]
    rows = [*split.rows[:-1], "d-3.wav,d,proud"]
    status, checks, _ = run(split(rows=rows, folds=folds), capsys)
    assert status == 0 and checks["parts"][0] == "note" and checks["classes"][0] == "note"
    assert "4 clips are tested more than once" in checks["parts"][1]


@pytest.mark.parametrize(
    ("fold", "said"),
    [
        ({"validation": None}, "validation must be a list of names, but is None"),
        ({"test": "abc"}, "test must be a list of names, but is 'abc'"),
        ({"validation_groups": 3}, "validation_groups must be a list of lists, but is 3"),
        ({"validation_groups": [3]}, "validation_groups must be a list of names, but is 3"),
        ({"fitted_on": "all"}, "fitted_on must be a list of names, but is 'all'"),
        ({"test_speakers": ["a", "z"]}, "must be speakers of the manifest, but 'z' is none"),
    ],
)
def test_what_a_fold_cannot_state_is_one_line(split, capsys, fold, said):
    status, _, error = run(split({"test_speakers": ["a"], "train_speakers": ["b"]} | fold), capsys)
    assert status == 1 and said in error and error.count("\n") == 1


def test_of_the_split_as_such_too(split, capsys):
    fold = {"test_speakers": ["a"], "train_speakers": ["b"]}
    status, _, error = run(split(folds=[fold], diagnostic="no"), capsys)
    assert status == 1 and "diagnostic must be true or false, but is 'no'" in error
    status, checks, _ = run(split(**fold, fingerprint="abc"), capsys)
    assert (status, checks["fingerprint"][0], checks["selection"][0]) == (1, "red", "not checked")
    rows = ["a-0.wav,,angry", *split.rows[1:]]
    status, _, error = run(split(fold, rows=rows), capsys)
    assert status == 1 and "line 2: speaker must be given, but is empty" in error
    rows = [f"{row},fine" for row in split.rows]  # a column that is someone else's
    assert run(split(fold, f"{HEADER},status", rows), capsys)[0] == 0


def test_a_fingerprint_is_that_of_the_folds_and_makes_no_split_this_program_s(split, capsys):
    ids = [row.split(",")[0].removesuffix(".wav") for row in split.rows]
    fold = {"test": ids[:4], "train": ids[4:]}
    _, checks, _ = run(split(**fold), capsys)
    told = checks["fingerprint"][1].rpartition(" ")[2]
    for content in ({**fold, "fingerprint": told}, {"folds": [fold], "fingerprint": told}):
        status, checks, _ = run(split(**content), capsys)
        assert (status, checks["fingerprint"][0], checks["selection"][0]) == (0, "green", "not checked")
    status, checks, _ = run(split(**fold, fingerprint=digest(None)), capsys)
    assert (status, checks["fingerprint"][0], checks["selection"][0]) == (1, "red", "not checked")


def test_what_is_stated_twice_must_agree(split, capsys):
    ids = [row.split(",")[0].removesuffix(".wav") for row in split.rows]
    fold = {"test": ids[:4], "train": ids[4:8], "validation": ids[8:12], "dev": ids[8:12]}
    assert run(split({**fold, "test_speakers": ["a"]}), capsys)[0] == 0
    for twice in ({"test_speakers": ["a", "b"]}, {"val": [], "val_speakers": ["a"]}):
        status, _, error = run(split(fold | twice), capsys)
        assert status == 1 and "must be those of the clips in" in error and error.count("\n") == 1
    leaky = {"fold": "1", "test_speakers": ["a"], "train_speakers": ["b", "c"], "selected_on": ["a-0"]}
    sound = {"fold": "01", "test_speakers": ["d"], "train_speakers": ["b", "c"]}
    assert run(split(folds=[leaky, sound]), capsys)[0] == 1
