"""New clips through stored models: any length and rate, from the bundle's folder or the cache."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from helpers import make_bundle

from benchmark import bundle, environment, registry, space
from benchmark.cli import main
from benchmark.files import read_json, write_json
from benchmark.predict import predict
from benchmark.schema import SerbenchError, UsageError
from benchmark.sequences import Sequences
from benchmark.spec import SPACES

CONFIG = {"kernel": "rbf", "C": 1.0, "gamma_scale": 1.0, "class_weight": "none"}


def tone(path: Path, seconds: float, rate: int, hertz: float = 200) -> Path:
    time = np.arange(int(seconds * rate)) / rate
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hertz * time), rate)
    return path


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A bundle with an svm, two of whose models lie in the cache."""
    folder = make_bundle(tmp_path, systems={"svm": 0.7})
    study = dict(bundle.read_study(folder)) | {
        "digests": {"study": "d1", "features": {"functionals": registry.feature("functionals").digest()}}
    }
    study["spaces"] = {"svm": (SPACES / "svm.yaml").read_text()}
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    columns = len(registry.feature("functionals").columns())
    x = np.random.default_rng(0).normal(size=(30, columns)).astype(np.float32)
    y = np.arange(30) % 3
    for fold in (1, 2):
        fit = registry.family("svm").start(CONFIG, x, y, classes=3, seed=fold, groups=y)
        fit.step()
        models = tmp_path / "cache" / "models" / study["digests"]["study"]
        fit.finish().save(models / f"runs/svm/fold-{fold}/seed-1")
    return folder


def test_clips_of_any_length_and_rate_are_labelled_and_bad_ones_named(made, tmp_path, capsys):
    clips = [tone(tmp_path / "a.wav", 0.3, 8000), tone(tmp_path / "b.flac", 61, 44100, 300)]
    (tmp_path / "c.wav").write_bytes(b"not audio")
    files = [str(path) for path in (*clips, tmp_path / "c.wav")]
    arguments = ["predict", str(made), "--family", "svm", "--cache", str(tmp_path / "cache"), *files]
    assert main([*arguments, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)["clips"]
    assert [row["file"] for row in told] == files
    for row in told[:2]:
        shares = {name: value for name, value in row.items() if name.startswith("p_")}
        assert set(shares) == {"p_angry", "p_calm", "p_sad"}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert "p_" + row["predicted"] == max(shares, key=shares.__getitem__)
    assert [row["note"] for row in told[:2]] == ["sampled below 16 kHz", "only its first 60 s are heard"]
    assert told[2]["error"].startswith("not_audio")
    assert main(arguments) == 1
    header, _, *lines = (line.split() for line in capsys.readouterr().out.splitlines())
    assert header == ["file", "predicted", "angry", "calm", "sad", "note"]
    for line, row in zip(lines[:2], told, strict=False):
        shares = [f"{row['p_' + label]:.3f}" for label in header[2:-1]]
        assert line == [row["file"], row["predicted"], *shares, *row["note"].split()]
    assert lines[2][:3] == [files[2], "error", "not_audio:"]


def test_a_network_labels_a_clip_alone_as_among_others(tmp_path):
    folder = make_bundle(tmp_path, systems={"lstm": 0.7})
    feature, found = registry.feature("log_mel"), space.load(SPACES / "lstm.yaml")
    study = dict(bundle.read_study(folder)) | {"spaces": {"lstm": found.text}}
    study["digests"] = {"study": "d1", "features": {"log_mel": feature.digest()}}
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    draw = np.random.default_rng(0)
    x = Sequences.of([draw.normal(size=(50, len(feature.columns()))).astype(np.float16) for _ in range(12)])
    config = found.configuration(found.published_params) | {"units": 8, "layers": 1, "epochs": 1}
    fit = registry.family("lstm").start(config, x, np.arange(12) % 3, classes=3, seed=1)
    fit.step()
    fit.finish().save(folder / "models" / "runs/lstm/fold-1/seed-1")
    clips = [tone(tmp_path / f"{n}.wav", n, 16000, 100 * n) for n in (1, 2, 3)]
    together = predict(folder, "lstm", clips, tmp_path / "cache")
    alone = [predict(folder, "lstm", [clip], tmp_path / "cache")[0] for clip in clips]
    for one, other in zip(together, alone, strict=True):
        assert one == {**other, **{k: pytest.approx(v, abs=1e-5) for k, v in other.items() if k[:2] == "p_"}}
    assert len({row["p_sad"] for row in together}) == 3


def test_models_beside_the_bundle_are_found_too(made, tmp_path):
    clip = tone(tmp_path / "a.wav", 1, 16000)
    from_cache = predict(made, "svm", [clip], tmp_path / "cache")
    digest = bundle.read_study(made)["digests"]["study"]
    (tmp_path / "cache" / "models" / digest).rename(made / "models")
    assert predict(made, "svm", [clip], tmp_path / "elsewhere") == from_cache


def test_features_of_another_version_are_refused(made, tmp_path, monkeypatch):
    monkeypatch.setattr(registry.feature("functionals"), "VERSION", 99)
    with pytest.raises(SerbenchError, match=r"svm was trained on functionals that this version.* don't make"):
        predict(made, "svm", [tone(tmp_path / "a.wav", 1, 16000)], tmp_path / "cache")


def test_models_of_other_code_are_told(made, tmp_path, capsys):
    clip = tone(tmp_path / "a.wav", 1, 16000)
    arguments = ["predict", str(made), "--family", "svm", "--cache", str(tmp_path / "cache"), str(clip)]
    assert main(arguments) == 0
    assert capsys.readouterr().err.count("trained by other code than this") == 1
    made_by = read_json(made / "environment.json") | {"code_digest": environment.code_digest()}
    write_json(made / "environment.json", made_by)
    assert main(arguments) == 0 and capsys.readouterr().err == ""


def test_a_family_that_the_bundle_has_once_needs_no_pretraining_in_its_name(made, tmp_path):
    study = yaml.safe_load((made / "study.yaml").read_text())
    study |= {"systems": ["svm@none"], "spaces": {"svm@none": study["spaces"]["svm"]}}
    (made / "study.yaml").write_text(yaml.safe_dump(study))
    runs = tmp_path / "cache" / "models" / "d1" / "runs"
    (runs / "svm").rename(runs / "svm@none")
    clips = [tone(tmp_path / "a.wav", 1, 16000)]
    assert predict(made, "svm", clips, tmp_path / "cache") == predict(
        made, "svm@none", clips, tmp_path / "cache"
    )
    study["systems"] = ["svm@none", "svm@audioset"]
    (made / "study.yaml").write_text(yaml.safe_dump(study))
    with pytest.raises(UsageError, match="unknown system of this bundle 'svm'"):
        predict(made, "svm", clips, tmp_path / "cache")


def test_no_models_and_no_such_system(made, tmp_path):
    with pytest.raises(UsageError, match="unknown system of this bundle 'swm': did you mean 'svm'"):
        predict(made, "swm", [], tmp_path / "cache")
    with pytest.raises(SerbenchError, match=r"holds no models of svm.*serbench run .*study\.yaml"):
        predict(made, "svm", [], tmp_path / "elsewhere")
