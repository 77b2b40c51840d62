import json

import numpy as np
import pytest
from sklearn.metrics import log_loss
from sklearn.svm import SVC
from skops.io import dump
from toys import CLASSES, Toy, make, published, trained

from benchmark.families import svm
from benchmark.families._common import Scaler, TrialFailed

CONFIG = {"kernel": "rbf", "C": 1.0, "gamma_scale": 1.0, "class_weight": "none"}


@pytest.mark.parametrize("present", [(0, 1, 2, 3), (0, 2)])
def test_argmax_of_the_scores_is_the_vote(toy, unseen, present):
    noisy = Toy(unseen.x + np.random.default_rng(0).normal(size=unseen.x.shape) * 3, unseen.y, unseen.groups)
    data = toy.where(np.isin(toy.y, present))
    fit = trained(svm, CONFIG, data)
    scaler = Scaler.fit(data.x)
    reference = SVC(gamma=1 / 12, break_ties=len(present) > 2).fit(scaler(data.x), data.y)
    assert np.array_equal(fit.scores(noisy.x).argmax(1), reference.predict(scaler(noisy.x)))


@pytest.mark.parametrize("speakers", [2, 3, 6, 19])
def test_calibration_never_shares_a_speaker(speakers):
    groups = np.random.default_rng(speakers).permutation(np.arange(200) % speakers)
    splits = svm.calibration_splits(groups)
    assert len(splits) == min(5, speakers)
    for fit, rest in splits:
        assert not set(groups[fit]) & set(groups[rest])
    assert np.array_equal(np.sort(np.concatenate([rest for _, rest in splits])), np.arange(200))


def test_calibration_hears_no_speaker_twice(toy, monkeypatch):
    seen = []
    genuine = svm.train

    def spy(config, x, y, classes):
        seen.append({toy.groups[np.flatnonzero((toy.x == row).all(1))[0]] for row in x})
        return genuine(config, x, y, classes)

    monkeypatch.setattr(svm, "train", spy)
    trained(svm, CONFIG, toy).finish()
    everyone = set(toy.groups)
    assert seen[0] == everyone
    held_out = [everyone - s for s in seen[1:]]
    assert set.union(*held_out) == everyone
    assert sum(map(len, held_out)) == len(everyone)


def test_calibrated_probabilities_are_honest(toy):
    """Better than an uninformed guess and than certainty, on a problem with much overlap."""
    blur = [np.random.default_rng(n).normal(size=toy.x.shape) * 4 for n in range(2)]
    train, test = (make(n) for n in (1, 2))
    train = Toy((train.x + blur[0]).astype(np.float32), train.y, train.groups)
    fit = trained(svm, CONFIG, train)
    p = fit.finish().predict_proba((test.x + blur[1]).astype(np.float32))
    assert log_loss(test.y, p, labels=range(CLASSES)) < np.log(CLASSES)
    assert abs(p.max(1).mean() - (p.argmax(1) == test.y).mean()) < 0.12


def test_slope_recovers_its_own_curve():
    random = np.random.default_rng(0)
    scores = random.normal(size=(20_000, CLASSES))
    truth = (2.5 * scores + random.gumbel(size=scores.shape)).argmax(1)  # drawn from softmax(2.5 · scores)
    assert svm.slope(scores, truth) == pytest.approx(2.5, abs=0.1)


def test_calibration_keeps_the_decision(toy, unseen):
    blurred = unseen.x + np.random.default_rng(0).normal(size=unseen.x.shape) * 3
    fit = trained(svm, CONFIG, toy)
    model = fit.finish()
    assert model.slope != 1
    assert np.array_equal(model.predict_proba(blurred).argmax(1), fit.scores(blurred).argmax(1))


def test_a_single_speaker_and_no_groups(toy, unseen):
    for groups in (None, np.full(len(toy.y), "only")):
        p = trained(svm, CONFIG, Toy(toy.x, toy.y, groups)).finish().predict_proba(unseen.x)
        assert (p.argmax(1) == unseen.y).mean() > 0.8


def test_one_class_fails(toy):
    with pytest.raises(TrialFailed, match="two classes"):
        trained(svm, CONFIG, toy.where(toy.y == 1))


def test_gamma_is_relative_to_the_columns(toy):
    fit = trained(svm, CONFIG | {"gamma_scale": 3.0}, toy)
    assert fit.finish().svc.gamma == pytest.approx(3 / 12)


def test_class_weight_counts(toy):
    few = toy.where((toy.y != 0) | (np.arange(96) < 20))
    plain, balanced = (trained(svm, CONFIG | {"class_weight": w}, few) for w in ("none", "balanced"))
    assert not np.array_equal(plain.scores(toy.x), balanced.scores(toy.x))


def test_foreign_type_is_refused(toy, tmp_path):
    trained(svm, published("svm"), toy).finish().save(tmp_path)
    assert json.loads((tmp_path / "model.json").read_text())["classes"] == CLASSES

    dump(Scaler(np.zeros(1), np.ones(1)), tmp_path / "svc.skops")
    with pytest.raises(Exception, match="Scaler"):
        svm.load(tmp_path)
