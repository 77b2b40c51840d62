import numpy as np
import pytest
import torch
from toys import CLASSES, Toy, published, trained

from benchmark.families import _torch, mlp
from benchmark.families._common import TrialFailed

CONFIG = {
    "layers": 1, "units": 32, "dropout": 0.0, "batch_norm": False, "lr": 0.01, "optimizer": "adam",
    "batch_size": 32, "epochs": 20, "label_smoothing": 0.0, "schedule": "constant", "class_weight": "none",
}  # fmt: skip


def test_rates_of_the_schedules():
    assert {_torch.rate("constant", p) for p in (0, 0.4, 1)} == {1.0}
    assert [_torch.rate("cosine", p) for p in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])
    assert [_torch.rate("one_cycle", p) for p in (0, 0.3, 0.65, 1)] == pytest.approx([0.04, 1, 0.5, 0])
    rising = [_torch.rate("one_cycle", p) for p in np.linspace(0, 0.3, 9)]
    assert rising == sorted(rising)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_learning_rate_spans_the_configurations_epochs(toy, schedule):
    fit = mlp.start(CONFIG | {"schedule": schedule, "epochs": 10}, toy.x, toy.y, classes=CLASSES, seed=1)
    rates = [fit.step()["lr"] for _ in range(10)]
    last = [(epoch + 2 / 3) / 10 for epoch in range(10)]  # three batches: the last begins at two thirds
    assert rates == pytest.approx([0.01 * _torch.rate(schedule, p) for p in last])


def test_separable_problem_is_learnt(toy, unseen):
    fit = mlp.start(CONFIG, toy.x, toy.y, classes=CLASSES, seed=1)
    losses = [fit.step()["loss"] for _ in range(20)]
    assert losses[-1] < 0.1 < losses[0]
    assert (fit.scores(unseen.x).argmax(1) == unseen.y).mean() > 0.9


def test_not_a_number_fails_the_trial(toy):
    fit = mlp.start(CONFIG | {"lr": 1e30, "layers": 3}, toy.x, toy.y, classes=CLASSES, seed=1)
    with pytest.raises(TrialFailed, match="loss must be finite"):
        for _ in range(20):
            fit.step()


def test_scores_do_not_disturb_the_training(toy, unseen):
    config = published("mlp")
    quiet = trained(mlp, config, toy)
    asked = mlp.start(config, toy.x, toy.y, classes=CLASSES, seed=1)
    for _ in range(mlp.steps(config)):
        asked.step()
        asked.scores(unseen.x)
    assert np.array_equal(quiet.scores(unseen.x), asked.scores(unseen.x))


def test_random_state_of_the_process_is_left_alone(toy):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    trained(mlp, published("mlp"), toy)
    assert torch.equal(torch.get_rng_state(), before)


def test_single_clip_left_over_with_batch_norm(toy):
    rows = np.arange(65)
    fit = mlp.start(published("mlp") | {"batch_size": 32}, toy.x[rows], toy.y[rows], classes=CLASSES, seed=1)
    assert sorted(len(b) for b in fit._batches()) == [32, 33]
    assert np.isfinite(fit.step()["loss"])


def test_weight_decay_only_where_asked(toy):
    plain, decayed = (
        trained(mlp, CONFIG | more, toy).model.net[0].weight.norm()
        for more in ({}, {"optimizer": "adamw", "weight_decay": 5.0})
    )
    assert decayed < 0.8 * plain


def test_published_architecture_and_its_parameters():
    config = published("mlp")
    assert (config["layers"], config["units"], config["dropout"], config["batch_norm"]) == (5, 300, 0.5, True)
    data = Toy(np.zeros((20, 100), np.float32), np.arange(20) % 8, None)
    model = mlp.start(config, data.x, data.y, classes=8, seed=1).finish()
    linear = 100 * 300 + 4 * 300 * 300 + 300 * 8 + 5 * 300 + 8
    assert model.parameters == linear + 5 * 2 * 300


def test_threads_are_set(toy):
    before = torch.get_num_threads()
    mlp.start(CONFIG, toy.x, toy.y, classes=CLASSES, seed=1, threads=1)
    assert torch.get_num_threads() == 1
    torch.set_num_threads(before)
