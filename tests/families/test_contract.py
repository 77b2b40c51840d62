"""What must hold for every registered family: a new file is tested the moment it exists."""

import json

import numpy as np
import pytest
from toys import CLASSES, problem, published, trained

from benchmark import registry

FORBIDDEN = (b"\x80\x04\x95", b"\x80\x05\x95", b"pickle")


@pytest.fixture(params=registry.names("families"))
def family(request):
    return registry.family(request.param)


@pytest.fixture
def toy(family):
    return problem(family.NAME, 1)


@pytest.fixture
def unseen(family):
    return problem(family.NAME, 2)


def proper(p: np.ndarray, rows: int) -> bool:
    return (
        p.shape == (rows, CLASSES)
        and p.dtype == np.float64
        and np.isfinite(p).all()
        and (p >= 0).all()
        and np.allclose(p.sum(axis=1), 1, atol=1e-9)
    )


def test_names_itself_and_its_steps(family):
    assert registry.family(family.NAME) is family
    assert family.FEATURES in registry.names("features")
    assert family.STEP in ("fold", "trees", "epoch")
    assert family.steps(published(family.NAME)) >= 1


def test_learns_and_reports(family, toy, unseen):
    config = published(family.NAME)
    fit = family.start(config, toy.x, toy.y, classes=CLASSES, seed=1, groups=toy.groups)
    told = [fit.step() for _ in range(family.steps(config))]
    assert all({"loss", "lr"} <= set(t) <= {"loss", "lr", "train_uar"} for t in told)
    scores = fit.scores(unseen.x)
    assert scores.shape == (96, CLASSES)
    assert scores.dtype == np.float64
    assert (scores.argmax(1) == unseen.y).mean() > 0.8
    model = fit.finish()
    p = model.predict_proba(unseen.x)
    assert proper(p, 96)
    assert (p.argmax(1) == unseen.y).mean() > 0.8
    assert model.parameters > 10


def test_does_not_change_its_input(family, toy):
    rows = toy.seal()  # Ray hands out read-only arrays
    before = rows.copy()
    trained(family, published(family.NAME), toy).finish()
    assert np.array_equal(rows, before)


@pytest.mark.parametrize("threads", [1, 2])
def test_same_seed_same_model(family, toy, unseen, threads):
    config = published(family.NAME)
    one, two = (trained(family, config, toy, threads=threads) for _ in range(2))
    assert np.array_equal(one.scores(unseen.x), two.scores(unseen.x))
    assert np.array_equal(one.finish().predict_proba(unseen.x), two.finish().predict_proba(unseen.x))


def test_seed_counts_only_where_the_family_says_so(family, toy, unseen):
    one, two = (trained(family, published(family.NAME), toy, seed=seed) for seed in (1, 2))
    differ = not np.array_equal(one.finish().predict_proba(unseen.x), two.finish().predict_proba(unseen.x))
    assert differ == family.SEEDED


def test_lockstep_does_not_disturb(family, toy, unseen):
    config = published(family.NAME)
    alone = trained(family, config, toy).scores(unseen.x)
    fits = [
        family.start(config, d.x, d.y, classes=CLASSES, seed=1, groups=d.groups)
        for d in (toy, problem(family.NAME, 3), problem(family.NAME, 4))
    ]
    for _ in range(family.steps(config)):
        for fit in fits:
            fit.step()
            fit.scores(unseen.x)
    assert np.array_equal(fits[0].scores(unseen.x), alone)


def test_save_and_load_without_pickle(family, toy, unseen, tmp_path):
    model = trained(family, published(family.NAME), toy).finish()
    model.save(tmp_path / "model")
    again = family.load(tmp_path / "model")
    assert np.array_equal(again.predict_proba(unseen.x), model.predict_proba(unseen.x))
    assert again.parameters == model.parameters
    for path in (tmp_path / "model").iterdir():
        assert path.suffix in (".safetensors", ".skops", ".json")
        content = path.read_bytes()
        if (
            path.suffix == ".safetensors"
        ):  # its header tells all that is in it: numbers, among which any bytes
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
            assert len(content) == 8 + int.from_bytes(content[:8], "little") + max(ends, default=0)
        else:
            assert not any(mark in content for mark in FORBIDDEN)


@pytest.mark.parametrize("present", [(0, 1, 3), (1, 2), (0, 2)])
def test_class_missing_from_training(family, toy, unseen, present, tmp_path):
    fit = trained(family, published(family.NAME), toy.where(np.isin(toy.y, present)))
    known = unseen.where(np.isin(unseen.y, present))
    assert np.isin(fit.scores(unseen.x).argmax(1), present).all()
    assert (fit.scores(known.x).argmax(1) == known.y).mean() > 0.8
    p = fit.finish().predict_proba(unseen.x)
    assert proper(p, 96)
    absent = [k for k in range(CLASSES) if k not in present]
    assert (p[:, absent] == 0).all()
    assert (p[np.isin(unseen.y, present)].argmax(1) == known.y).mean() > 0.8
    fit.finish().save(tmp_path)
    assert np.array_equal(family.load(tmp_path).predict_proba(unseen.x), p)


def test_constant_feature(family, toy, unseen):
    def constant(x):
        x[:, 2] = 0.1  # not a float32: its standard deviation is rounding

    fit = trained(family, published(family.NAME), toy.with_x(constant))
    p = fit.finish().predict_proba(unseen.x)  # where the feature does vary
    assert proper(p, 96)
    assert (fit.scores(unseen.x).argmax(1) == unseen.y).mean() > 0.75


def test_float32_extremes(family, toy, unseen):
    def extreme(x):
        x[0, 0], x[1, 0] = 1e30, -np.finfo(np.float32).max
        x[:, 1] *= np.float32(1e30)
        x[:, 2] *= np.float32(1e-38)

    fit = trained(family, published(family.NAME), toy.with_x(extreme))
    assert np.isfinite(fit.scores(unseen.with_x(extreme).x)).all()
    model = fit.finish()
    assert proper(model.predict_proba(unseen.with_x(extreme).x), 96)
    largest = unseen.where(np.arange(3)).with_x(lambda x: x.fill(np.finfo(np.float32).max))
    assert proper(model.predict_proba(largest.x), 3)


def test_one_clip_at_a_time_as_in_a_batch(family, toy, unseen):
    model = trained(family, published(family.NAME), toy).finish()
    single = np.concatenate([model.predict_proba(unseen.x[[row]]) for row in range(5)])
    assert np.allclose(single, model.predict_proba(unseen.x)[:5], atol=1e-5)
