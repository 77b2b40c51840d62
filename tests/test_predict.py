"""New clips through stored models: any length and rate, from the bundle's folder or the cache."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from helpers import make_bundle

from benchmark import bundle, registry
from benchmark.cli import main
from benchmark.predict import predict
from benchmark.schema import SerbenchError, UsageError
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
    clips = [tone(tmp_path / "a.wav", 0.3, 8000), tone(tmp_path / "b.flac", 4, 44100, 300)]
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
    assert told[2]["error"].startswith("not_audio")
    assert main(arguments[:-1]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{files[0]}  {told[0]['predicted']}  {told[0]['predicted']} 0.")


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
    with pytest.raises(SerbenchError, match=r"holds no models.*serbench run .*study\.yaml"):
        predict(made, "svm", [], tmp_path / "elsewhere")
