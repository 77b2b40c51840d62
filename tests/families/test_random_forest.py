import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from toys import CLASSES, published, trained

from benchmark.families import random_forest

CONFIG = published("random_forest")
SAME = ("criterion", "max_depth", "max_features", "min_samples_leaf")


@pytest.mark.parametrize("class_weight", ["none", "balanced"])
def test_growing_forest_equals_one_separate_fit(toy, unseen, class_weight):
    few = toy.where((toy.y != 0) | (np.arange(96) < 40))
    grown = trained(random_forest, CONFIG | {"class_weight": class_weight}, few, seed=3)
    counts = np.bincount(few.y)
    weight = (len(few.y) / counts / CLASSES)[few.y] if class_weight == "balanced" else None
    given = {name: CONFIG[name] for name in SAME}
    whole = RandomForestClassifier(60, random_state=3, **given).fit(few.x, few.y, sample_weight=weight)
    assert [t.random_state for t in grown.model.forest.estimators_] == [
        t.random_state for t in whole.estimators_
    ]
    for ours, theirs in zip(grown.model.forest.estimators_, whole.estimators_, strict=True):
        assert np.array_equal(ours.tree_.threshold, theirs.tree_.threshold)
        assert np.array_equal(ours.tree_.value, theirs.tree_.value)
    assert np.allclose(grown.scores(unseen.x), whole.predict_proba(unseen.x), atol=1e-12)
    assert grown.finish().parameters == sum(t.tree_.node_count for t in whole.estimators_)


def test_blocks_and_the_last_smaller_one(toy):
    assert [random_forest.steps({"n_estimators": n}) for n in (1, 25, 26, 60, 100)] == [1, 1, 2, 3, 4]
    fit = random_forest.start(CONFIG, toy.x, toy.y, classes=CLASSES, seed=1)
    sizes = [fit.step() and len(fit.model.forest.estimators_) for _ in range(3)]
    assert sizes == [25, 50, 60]


def test_scores_while_growing_equal_scores_at_once(toy, unseen):
    """The running sum must survive new trees, other clips in between, and a matrix changed in place."""
    fit = random_forest.start(CONFIG, toy.x, toy.y, classes=CLASSES, seed=1)
    for _ in range(3):
        fit.step()
        assert np.allclose(fit.scores(unseen.x), fit.model.predict_proba(unseen.x), atol=1e-12)
    assert np.allclose(fit.scores(toy.x[:7]), fit.model.predict_proba(toy.x[:7]), atol=1e-12)
    changed = unseen.x.copy()
    fit.scores(changed)
    changed[:] = toy.x
    assert np.allclose(fit.scores(changed), fit.model.predict_proba(toy.x), atol=1e-12)


def test_only_new_trees_are_asked(toy, unseen, monkeypatch):
    fit = random_forest.start(CONFIG, toy.x, toy.y, classes=CLASSES, seed=1)
    asked = []
    genuine = type(RandomForestClassifier().estimator).predict_proba

    def spy(tree, x, check_input=True):
        asked.append(id(tree))
        return genuine(tree, x, check_input)

    monkeypatch.setattr(type(RandomForestClassifier().estimator), "predict_proba", spy)
    for _ in range(3):
        fit.step()
        fit.scores(unseen.x.copy())  # a trial makes the same matrix anew each time
    assert len(asked) == len(set(asked)) == 60


def test_probabilities_are_averaged_not_voted(toy, unseen):
    model = trained(random_forest, CONFIG | {"min_samples_leaf": 8}, toy).finish()
    each = np.mean([tree.predict_proba(unseen.x) for tree in model.forest.estimators_], axis=0)
    assert np.allclose(model.predict_proba(unseen.x), each)
