"""Every metric against an independent implementation or a published value."""

import numpy as np
import pytest
import sklearn.metrics as reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_calibration_error

from benchmark import metrics

K = 4


def drawn(seed: int, clips: int = 200, absent: int | None = None, decimals: int = 6):
    """Random truth and probabilities; few decimals make ties; `absent` has no support."""
    generator = np.random.default_rng(seed)
    labels = [k for k in range(K) if k != absent]
    truth = generator.choice(labels, size=clips)
    p = generator.dirichlet(np.ones(K), size=clips)
    p[np.arange(clips), truth] += generator.random(clips)
    return truth, np.round(p / p.sum(1, keepdims=True), decimals)


COUNT = {
    "accuracy": lambda t, p, labels: reference.accuracy_score(t, p),
    "uar": lambda t, p, labels: reference.recall_score(t, p, labels=labels, average="macro", zero_division=0),
    "macro_f1": lambda t, p, labels: reference.f1_score(
        t, p, labels=labels, average="macro", zero_division=0
    ),
    "weighted_f1": lambda t, p, labels: reference.f1_score(
        t, p, labels=labels, average="weighted", zero_division=0
    ),
    "macro_precision": lambda t, p, labels: reference.precision_score(
        t, p, labels=labels, average="macro", zero_division=0
    ),
    "weighted_precision": lambda t, p, labels: reference.precision_score(
        t, p, labels=labels, average="weighted", zero_division=0
    ),
}


def test_every_count_metric_has_a_reference():
    assert set(COUNT) == {name for name, metric in metrics.METRICS.items() if metric.kind == "counts"}


@pytest.mark.parametrize("name", COUNT)
@pytest.mark.parametrize("absent", [None, 2])
def test_count_metrics_agree_with_scikit_learn(name, absent):
    for seed in range(5):
        truth, p = drawn(seed, absent=absent)
        predicted = p.argmax(1)
        confusion = metrics.confusion(truth, predicted, K)
        assert np.array_equal(confusion, reference.confusion_matrix(truth, predicted, labels=range(K)))
        expected = COUNT[name](truth, predicted, np.unique(truth))
        assert metrics.METRICS[name].function(confusion) == pytest.approx(expected, abs=1e-12)


@given(st.integers(2, 6), st.integers(1, 60), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_count_metrics_hold_for_any_prediction_with_support(classes, clips, seed):
    generator = np.random.default_rng(seed)
    truth, predicted = generator.integers(0, classes, (2, clips))
    confusion = metrics.confusion(truth, predicted, classes)
    for name, function in COUNT.items():
        expected = function(truth, predicted, np.unique(truth))
        assert metrics.METRICS[name].function(confusion) == pytest.approx(expected, abs=1e-12), name


def test_per_class_scores_agree_with_scikit_learn_and_an_absent_class_shows_support_0():
    truth, p = drawn(3, absent=1)
    confusion = metrics.confusion(truth, p.argmax(1), K)
    expected = reference.precision_recall_fscore_support(truth, p.argmax(1), labels=range(K), zero_division=0)
    for function, column in zip(
        (metrics.precision, metrics.recall, metrics.f1, metrics.support), expected, strict=True
    ):
        assert function(confusion) == pytest.approx(column, abs=1e-12)
    assert metrics.support(confusion)[1] == 0


def test_count_metrics_take_stacks_and_groups():
    truth, p = drawn(4)
    groups = np.arange(len(truth)) % 5
    stack = metrics.confusion(truth, p.argmax(1), K, groups, 5)
    assert np.array_equal(stack.sum(0), metrics.confusion(truth, p.argmax(1), K))
    for metric in (m for m in metrics.METRICS.values() if m.kind == "counts"):
        assert metric.function(stack) == pytest.approx([float(metric.function(c)) for c in stack])


@pytest.mark.parametrize("decimals", [6, 1])
@pytest.mark.parametrize("absent", [None, 0])
def test_auc_and_average_precision_agree_with_scikit_learn_ties_too(decimals, absent):
    for seed in range(5):
        truth, p = drawn(seed, absent=absent, decimals=decimals)
        present = np.unique(truth)
        auc = np.mean([reference.roc_auc_score(truth == k, p[:, k]) for k in present])
        average_precision = np.mean([reference.average_precision_score(truth == k, p[:, k]) for k in present])
        assert metrics.auc(truth, p) == pytest.approx(auc, abs=1e-12)
        assert metrics.average_precision(truth, p) == pytest.approx(average_precision, abs=1e-12)


def test_auc_of_one_class_alone_is_undefined_and_of_a_constant_one_half():
    assert np.isnan(metrics.auc(np.zeros(5, int), np.full((5, 2), 0.5)))
    assert metrics.average_precision(np.zeros(5, int), np.full((5, 2), 0.5)) == 1.0
    assert metrics.auc(np.array([0, 1, 1]), np.full((3, 2), 0.5)) == 0.5


@pytest.mark.parametrize(("auc", "published"), [(0.959, 2.452), (0.973, 2.732)])
def test_d_prime_agrees_with_published_pairs(auc, published):
    """Hershey et al. 2017 (ResNet-50, AudioSet), Kong et al. 2020 (CNN14); their AUC has three digits."""
    low, high = metrics.d_prime(auc - 0.0005), metrics.d_prime(auc + 0.0005)
    assert low - 0.001 < published < high + 0.001


def test_d_prime_is_odd_around_one_half_and_finite():
    assert metrics.d_prime(0.5) == 0
    assert metrics.d_prime(0.3) == pytest.approx(-metrics.d_prime(0.7))
    assert 6 < metrics.d_prime(1.0) < 7 and metrics.d_prime(0.0) == pytest.approx(-metrics.d_prime(1.0))


def test_ece_agrees_with_torchmetrics():
    for seed in range(5):
        truth, p = drawn(seed, decimals=7)
        expected = multiclass_calibration_error(
            torch.tensor(p), torch.tensor(truth), num_classes=K, n_bins=15, norm="l1"
        )
        assert metrics.ece(truth, p) == pytest.approx(float(expected), abs=1e-6)


def test_ece_by_hand_with_confidences_on_the_edges_of_bins():
    p = np.array([[1.0, 0.0], [1.0, 0.0], [0.8, 0.2], [0.8, 0.2]])
    truth = np.array([0, 1, 0, 0])
    # bin of 1.0: |.5 − 1|; bin that begins at .8: |1 − .8|; half of the clips each
    assert metrics.ece(truth, p) == pytest.approx(0.5 * 0.5 + 0.5 * 0.2)


def test_brier_agrees_with_scikit_learn():
    truth, p = drawn(1, decimals=15)
    expected = reference.brier_score_loss(truth, p, labels=range(K), scale_by_half=False)
    assert metrics.brier(truth, p) == pytest.approx(expected, abs=1e-9)


def test_brier_of_certainty():
    sure = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert metrics.brier(np.array([0, 0]), sure) == 0
    assert metrics.brier(np.array([1, 1]), sure) == 2


def test_the_table_names_known_kinds_and_says_what_each_is():
    for name, metric in metrics.METRICS.items():
        assert metric.kind in ("counts", "pooled", "fold", "auc"), name
        assert metric.title and metric.what
        assert set(metric.parts) <= {"lo", "hi", "fold_mean", "seed_sd"}
