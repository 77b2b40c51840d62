"""The training loop that every network shares: rates, crops, masks, checkpoints, memory."""

import math
import weakref
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from pretrained import pretrained
from toys import CLASSES, problem, published, trained

from benchmark import registry, space
from benchmark.families import _memory as memory
from benchmark.families import _torch as loop
from benchmark.families import cnn
from benchmark.families._common import TrialFailed
from benchmark.networks.weights import read_weights
from benchmark.sequences import Sequences
from benchmark.spec import SPACES

DEEP = ("cnn", "lstm", "ast")
every_deep = pytest.mark.parametrize("name", DEEP)


def begun(name: str, **changes):
    data = problem(name, 1)
    config = published(name) | {"epochs": 4} | changes
    return registry.family(name).start(config, data.x, data.y, classes=CLASSES, seed=1), config


def test_the_published_rate_of_the_ast_is_85_hundredths_at_epoch_6():
    config = space.load(SPACES / "ast.yaml").published_params
    rates = [config["lr"] * loop.factor(config, epoch - 1) for epoch in range(1, 26)]
    assert rates[:5] == [1e-5] * 5
    assert rates[5] == pytest.approx(0.85e-5)
    assert rates[24] == pytest.approx(1e-5 * 0.85**20)


def test_warm_up_rises_and_then_leaves_the_schedule_alone():
    config = {"schedule": "constant", "epochs": 10, "warmup": 2}
    rates = [loop.factor(config, done) for done in np.linspace(0, 2, 9)]
    assert rates == sorted(rates)
    assert 0 < rates[0] < 0.1
    assert {loop.factor(config, done) for done in (2, 5, 9.9)} == {1.0}


@pytest.mark.parametrize("name", (*DEEP, "mlp"))
def test_a_checkpoint_goes_on_with_the_numbers_of_an_unbroken_training(name, tmp_path):
    unbroken, _ = begun(name)
    first, _ = begun(name)
    for _ in range(4):
        unbroken.step()
    for _ in range(2):
        first.step()
    first.save(tmp_path)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors"]
    second, _ = begun(name)
    second.restore(tmp_path)
    told = [second.step() for _ in range(2)]
    assert second.epoch == 4
    assert all(math.isfinite(row["loss"]) for row in told)
    unseen = problem(name, 2).x
    assert np.array_equal(second.scores(unseen), unbroken.scores(unseen))


@pytest.mark.skipif(not memory.GLIBC or torch.cuda.is_available(), reason="needs glibc, and a CPU's training")
def test_only_the_first_epoch_asks_the_system_for_memory_and_the_end_gives_it_back():
    import resource

    def faults() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    def resident() -> int:
        return psutil.Process().memory_info().rss

    y = np.arange(32) % CLASSES
    x = Sequences.of([*np.random.default_rng(0).normal(size=(32, 256, 128)).astype(np.float16)])
    config = published("cnn") | {"crop_frames": 256, "batch_size": 16}
    training = registry.family("cnn").start(config, x, y, classes=CLASSES, seed=1)
    epochs, begin = [faults()], resident()
    for _ in range(4):
        training.step()
        epochs.append(faults())
    first, *later = np.diff(epochs)
    assert np.median(later) < first / 10
    held = resident()
    assert held > begin + 2**26
    training.finish()
    assert resident() < (begin + held) / 2


def test_memory_that_ends_makes_the_transformer_compute_activations_twice(monkeypatch):
    fit, _ = begun("ast", batch_size=32, checkpointing=False)
    real = fit._loss

    def limited(rows):
        if len(rows) > 16:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(rows)

    monkeypatch.setattr(fit, "_loss", limited)
    assert not fit.model.net.net.grad_checkpointing
    assert math.isfinite(fit.step()["loss"])
    assert fit.model.net.net.grad_checkpointing


def test_clips_that_are_scored_again_stay_on_the_device():
    fit, data, other = begun("cnn")[0], problem("cnn", 2).x, problem("cnn", 3).x
    first = fit.scores(data)
    held = fit._scored[1]
    assert np.array_equal(fit.scores(data), first)
    assert fit._scored[1] is held
    assert np.array_equal(fit.scores(other), fit.model.predict_proba(other))


def test_memory_that_ends_halves_the_batch_once_and_then_fails_the_trial(monkeypatch):
    fit, _ = begun("lstm", batch_size=32)
    sizes, real = [], fit._loss

    def limited(most: int):
        def loss(rows):
            sizes.append(len(rows))
            if len(rows) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return real(rows)

        return loss

    monkeypatch.setattr(fit, "_loss", limited(16))
    assert math.isfinite(fit.step()["loss"])
    assert sizes == [32, 16, 16, 16, 16, 16, 16]
    monkeypatch.setattr(fit, "_loss", limited(8))
    with pytest.raises(TrialFailed, match="out of memory even at half of batch_size"):
        fit.step()


class Held:
    """What a graph holds on to."""


class Ends(torch.autograd.Function):
    """Passes its input on; memory ends in its backward pass. `held` lives as long as the graph."""

    @staticmethod
    def forward(ctx, x, held):
        ctx.held = held
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_memory_that_ends_in_the_backward_pass_frees_the_batch_before_its_halves(monkeypatch):
    fit, _ = begun("lstm", batch_size=32)
    real, graphs, alive = fit._loss, [], []

    def loss(rows):
        value, *told = real(rows)
        if len(rows) > 16:
            held = Held()
            graphs.append(weakref.ref(held))
            value = Ends.apply(value, held)
        else:
            alive.append(graphs[0]() is not None)
        return (value, *told)

    monkeypatch.setattr(fit, "_loss", loss)
    assert math.isfinite(fit.step()["loss"])
    assert len(graphs) == 1
    assert alive == [False] * 6


def test_features_that_the_device_has_no_room_for_stay_beside_it(monkeypatch):
    data, device, real = problem("lstm", 1).x, torch.device("cpu"), torch.Tensor.to
    rows = torch.tensor([3, 50, 4])
    expected = loop.Clips(data, device).take(rows)

    def full(tensor, *args, **kwargs):
        if args == (device,) and tensor.shape == data.frames.shape:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "to", full)
    for own, other in zip(loop.Clips(data, device).take(rows), expected, strict=True):
        assert torch.equal(own, other)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_features_beside_a_gpu_are_taken_onto_it():
    data, rows = loop.Clips(problem("lstm", 1).x, torch.device("cuda")), torch.arange(5, device="cuda")
    expected = data.take(rows)
    data.frames = data.frames.cpu()
    for own, other in zip(data.take(rows), expected, strict=True):
        assert own.device.type == "cuda" and torch.equal(own, other)


def test_a_short_last_batch_is_not_halved_to_single_clips():
    fit, _ = begun("mlp", batch_size=31)  # 96 clips: the last batch has 3
    fit.parts = 2
    assert math.isfinite(fit.step()["loss"])


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("lstm", {"dropout": 0.0, "crop_frames": 0, "band_mask": 0}),
        ("mlp", {"dropout": 0.0, "batch_norm": False, "class_weight": "balanced"}),
    ],
)
def test_halved_batches_have_the_gradient_of_whole_ones(name, changes):
    data, config = problem(name, 1), published(name) | changes
    y = np.where(np.arange(len(data.y)) < 16, 0, data.y)  # the halves' classes differ
    whole, halves = (registry.family(name).start(config, data.x, y, classes=CLASSES, seed=1) for _ in "12")
    halves.parts = 2
    rows = torch.arange(32)
    for fit in (whole, halves):
        fit.model.net.train()
        fit._backward(rows)
    for one, two in zip(whole.model.net.parameters(), halves.model.net.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, atol=1e-6, rtol=1e-4)


def test_a_crop_is_the_clip_from_anywhere_and_begins_again_behind_its_end():
    clip = np.arange(10, dtype=np.float32)[:, None] / 10
    data = loop.Clips(Sequences.of([clip, clip[:3]]), torch.device("cpu"))
    torch.manual_seed(0)
    begins = set()
    for _ in range(60):
        x, lengths = data.take(torch.tensor([0, 1]), crop=7)
        assert lengths.tolist() == [7, 7]
        for number, size in enumerate((10, 3)):
            values = (10 * x[number, :, 0]).round().long()
            assert torch.equal(values, (values[0] + torch.arange(7)) % size)
        begins.add(int(10 * x[0, 0, 0] + 0.5))
    assert begins == set(range(10))


def test_a_batch_is_as_long_as_its_longest_clip_and_silent_behind_the_others():
    clips = [np.ones((n, 2), np.float16) for n in (40, 5, 300)]
    data = loop.Clips(Sequences.of(clips), torch.device("cpu"))
    x, lengths = data.take(torch.tensor([0, 1]))
    assert x.shape == (2, 64, 2)
    assert lengths.tolist() == [40, 5]
    assert (x[1, :5] == 1).all()
    assert (x[1, 5:] == loop.SILENCE).all()


def test_masks_cover_spans_of_frames_and_of_bands():
    torch.manual_seed(0)
    x = loop.mask(torch.ones(200, 50, 40), 10, 8)
    frames = (x == 0).all(2).sum(1)
    bands = (x == 0).all(1).sum(1)
    assert 0 <= int(frames.min()) < 2
    assert 8 < int(frames.max()) <= 10
    assert 6 < int(bands.max()) <= 8
    assert torch.equal(loop.mask(torch.ones(2, 5, 5), 0, 0), torch.ones(2, 5, 5))


@every_deep
def test_mixup_and_masks_train(name):
    fit, _ = begun(name, mixup=0.3, time_mask=8, band_mask=4, label_smoothing=0.1)
    losses = [fit.step()["loss"] for _ in range(4)]
    assert losses[-1] < losses[0]


def seen_by(fit) -> dict[bool, list[torch.Tensor]]:
    """What the network is shown from now on, in training (True) and in scoring."""
    seen: dict[bool, list[torch.Tensor]] = {True: [], False: []}
    fit.model.net.register_forward_pre_hook(lambda net, shown: seen[net.training].append(shown[0].detach()))
    return seen


@every_deep
def test_masks_cover_training_clips_alone(name):
    fit, _ = begun(name, mixup=0.0, time_mask=8, band_mask=4)
    seen = seen_by(fit)
    fit.step()
    fit.scores(problem(name, 2).x)
    frames = {training: [(x == 0).all(2).any() for x in shown] for training, shown in seen.items()}
    bands = {training: [(x == 0).all(1).any() for x in shown] for training, shown in seen.items()}
    assert all(frames[True]) and all(bands[True])
    assert not any(frames[False]) and not any(bands[False])


@every_deep
def test_mixup_mixes_training_clips_alone(name):
    def own(mixup: float) -> dict[bool, float]:
        """The share of clips that are shown as they are."""
        fit, _ = begun(name, mixup=mixup, time_mask=0, band_mask=0)
        seen, held = seen_by(fit), problem(name, 1).x
        fit.step()
        fit.scores(held)
        known = {row.tobytes() for row in held.frames}
        first = {training: torch.cat([x[:, 0] for x in shown]) for training, shown in seen.items()}
        return {
            training: np.mean([row.numpy().tobytes() in known for row in x]) for training, x in first.items()
        }

    assert own(0.0) == {True: 1.0, False: 1.0}
    mixed = own(0.3)
    assert mixed[True] < 0.5
    assert mixed[False] == 1.0


class Oracle(torch.nn.Module):
    """Its logits are its input: right about the clip that is heard most, where the input is the label."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.scale * x


def test_the_uar_of_training_counts_the_label_heard_most_under_mixup():
    config = published("mlp") | {"mixup": 0.3}
    y = np.arange(96) % CLASSES
    x = np.eye(CLASSES, dtype=np.float32)[y]
    fit = registry.family("mlp").start(config, x, y, classes=CLASSES, seed=1)
    fit.model.net = Oracle()
    assert fit.step()["train_uar"] == 1.0


def test_layers_below_the_head_learn_slower():
    fit, _ = begun("ast", layer_decay=0.5)
    scales = [group["scale"] for group in fit.optimizer.param_groups]
    assert scales == [0.5 ** (7 - depth) for depth in range(8)]  # embeddings, six blocks, the head
    told = fit.step()
    assert [group["lr"] for group in fit.optimizer.param_groups] == [told["lr"] * scale for scale in scales]


def test_settings_of_the_ast_reach_its_network():
    fit, _ = begun("ast", dropout=0.15, drop_path=0.2)
    net = fit.model.net.net
    assert net.blocks[-1].drop_path1.drop_prob == pytest.approx(0.2)
    assert net.head_drop.p == net.pos_drop.p == net.blocks[0].mlp.drop1.p == 0.15


@every_deep
def test_gradients_are_clipped(name, monkeypatch):
    fit, _ = begun(name)
    monkeypatch.setattr(type(fit), "CLIP_NORM", 1e-3)
    fit.step()
    squares = [float((p.grad**2).sum()) for p in fit.model.net.parameters() if p.grad is not None]
    assert math.sqrt(sum(squares)) == pytest.approx(1e-3, rel=0.01)


def test_a_training_uses_the_threads_that_it_is_given():
    data, before = problem("mlp", 1), torch.get_num_threads()
    try:
        for threads in (1, 2):
            registry.family("mlp").start(
                published("mlp"), data.x, data.y, classes=CLASSES, seed=1, threads=threads
            )
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_audiosets_weights_are_where_the_training_begins_and_the_head_learns_at_its_own_rate():
    weights = read_weights(pretrained())
    data = problem("cnn", 1)
    config = space.load(SPACES / "cnn.yaml")
    config = config.configuration(config.published_params) | {
        "epochs": 6, "crop_frames": 32, "head_rate": 3.0, "band_mask": 0, "batch_size": 16, "lr": 0.003,
    }  # fmt: skip
    fit = registry.family("cnn").start(config, data.x, data.y, classes=CLASSES, seed=1, weights=weights)
    own = fit.model.net.net.state_dict()
    assert np.array_equal(own["features.0.0.weight"].numpy(), weights["features.0.0.weight"])
    assert [group["scale"] for group in fit.optimizer.param_groups] == [1.0, 3.0]
    for _ in range(6):
        fit.step()
    assert (fit.scores(problem("cnn", 2).x).argmax(1) == data.y).mean() > 0.4


def test_timm_weights_with_three_colours_fit_a_network_of_one_channel():
    import timm

    torch.manual_seed(0)
    coloured = timm.create_model("test_resnet", num_classes=1000)
    weights = {name: value.numpy() for name, value in coloured.state_dict().items()}
    data = problem("cnn", 1)
    fit = registry.family("cnn").start(
        published("cnn"), data.x, data.y, classes=CLASSES, seed=1, weights=weights
    )
    first = fit.model.net.net.conv1[0].weight.detach()
    torch.testing.assert_close(first, coloured.conv1[0].weight.sum(1, keepdim=True).detach())
    assert torch.equal(fit.model.net.net.state_dict()["bn1.running_mean"], coloured.bn1.running_mean)
    del weights["conv1.0.weight"]
    with pytest.raises(Exception, match="must be those of the timm network named"):
        registry.family("cnn").start(
            published("cnn"), data.x, data.y, classes=CLASSES, seed=1, weights=weights
        )


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("repvgg_a0", "head.fc"),  # two first layers
        ("dpn68", "classifier"),  # a convolution is the last layer
        ("repvit_m0_9", "head.head.l head.head_dist.l"),  # two last layers
        ("convnext_atto", "head.fc"),
        ("mobilenetv3_small_050", "classifier"),
    ],
)
def test_networks_of_timm_take_their_weights_and_know_their_last_layer(name, head):
    import timm

    coloured = timm.create_model(name, num_classes=1000).state_dict()
    net = cnn.network({"network": name, "classes": CLASSES, "dropout": 0.1})
    cnn.load_timm(net.net, {key: value.numpy() for key, value in coloured.items()})
    fit = SimpleNamespace(config={"network": name, "head_rate": 3.0})
    rest, last = cnn.CnnFit.parameter_groups(fit, net)
    own = {id(p): key for key, p in net.net.named_parameters()}
    assert {own[id(p)].rpartition(".")[0] for p in last["params"]} == set(head.split())
    assert last["scale"] == 3.0
    assert len(rest["params"]) + len(last["params"]) == len(own)
    for key, value in net.net.state_dict().items():
        if value.shape == coloured[key].shape:
            assert torch.equal(value, coloured[key]), key
        elif not key.startswith(tuple(head.split())):
            torch.testing.assert_close(value, coloured[key].sum(1, keepdim=True))
    with torch.no_grad():
        assert net.eval()(torch.zeros(1, 64, 128), torch.tensor([64])).shape == (1, CLASSES)


def test_a_model_predicts_any_length(tmp_path):
    model = trained(registry.family("lstm"), published("lstm"), problem("lstm", 1)).finish()
    random = np.random.default_rng(0)
    x = Sequences.of([random.normal(size=(n, 32)).astype(np.float16) for n in (1, 3, 500, 33, 32)])
    together = model.predict_proba(x)
    alone = np.concatenate([model.predict_proba(x[[row]]) for row in range(len(x))])
    np.testing.assert_allclose(together, alone, atol=1e-6)
