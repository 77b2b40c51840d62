"""The committed search spaces: each loads, its published configuration is valid, sampling stays in range."""

from pathlib import Path

import numpy as np
import optuna
import pytest

from benchmark import registry, space

FOLDER = Path(__file__).parents[1] / "search_spaces"
SPACES = [space.load(path) for path in sorted(FOLDER.glob("*.yaml"))]


def test_every_family_has_a_space():
    assert {s.family for s in SPACES} == set(registry.names("families"))
    assert all((FOLDER / f"{s.family}.yaml").exists() for s in SPACES)


by_family = pytest.mark.parametrize("found", SPACES, ids=[s.family for s in SPACES])


@by_family
def test_features_exist_and_are_the_familys_own(found):
    assert found.features in registry.names("features")
    assert found.features == registry.family(found.family).FEATURES


@by_family
def test_published_configuration_is_valid(found):
    config = found.configuration(found.published_params)
    assert registry.family(found.family).steps(config) >= 1
    assert set(found.assumed) <= set(config)


@by_family
def test_sampling_stays_in_range_and_runs(found):
    family = registry.family(found.family)
    random = np.random.default_rng(0)
    x, y = random.normal(size=(24, 20)).astype(np.float32), np.arange(24) % 3
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for number in range(50):
        params = found.sample(study.ask())
        config = found.configuration(params)  # raises where a value is out of range
        assert family.steps(config) >= 1
        if number < 5:
            fit = family.start(config, x, y, classes=3, seed=0, groups=y)
            fit.step()
            assert np.isfinite(fit.scores(x)).all()


def test_what_the_reference_study_states():
    """Forest of 100 trees; MLP of 5 × 300, batch norm, dropout .5, Adam at 1e-3: stated, so never assumed."""
    stated = {s.family: {k: v for k, v in s.published_params.items() if k not in s.assumed} for s in SPACES}
    assert stated["random_forest"] == {"n_estimators": 100}
    assert stated["mlp"] == {
        "layers": 5, "units": 300, "batch_norm": True, "dropout": 0.5, "optimizer": "adam", "lr": 0.001,
    }  # fmt: skip
    assert stated["svm"] == {}
