"""MobileNet with random weights anywhere, and with the real ones of AudioSet where they are."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from pretrained import MN04
from safetensors.numpy import load_file, save_file
from torch import nn
from torchvision.models import mobilenet_v3_large

from benchmark import audio
from benchmark.features import audioset_embedding, log_mel_32k
from benchmark.networks.mobilenet import MobileNet
from benchmark.schema import SerbenchError

SPEECH = 0  # AudioSet's first class
real = pytest.mark.skipif(not MN04.is_file(), reason=f"the weights of mn04_as are not at {MN04}")


@pytest.fixture
def network() -> MobileNet:
    torch.manual_seed(0)
    return MobileNet(8).eval()


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    return load_file(MN04)


def made_weights(classes: int = 527) -> dict[str, np.ndarray]:
    """Weights of the right shapes, as read-only as Ray's object store hands them out."""
    torch.manual_seed(1)
    made = {name: value.numpy() for name, value in MobileNet(classes).state_dict().items()}
    for value in made.values():
        value.setflags(write=False)
    return made


@pytest.mark.parametrize("frames", [1, 3, 100, 370])
def test_shapes(network, frames):
    x = torch.randn(2, 1, 128, frames)
    assert network(x).shape == (2, 8)
    assert network.embed(x).shape == (2, 384)


def test_logits_are_the_head_on_the_embedding(network):
    x = torch.randn(2, 1, 128, 100)
    torch.testing.assert_close(network.classifier[2:](network.embed(x)), network(x))


def test_the_layout_is_torchvisions_but_for_stem_gates_and_head():
    own, peer = MobileNet(1000, width=1.0), mobilenet_v3_large()
    shapes = [
        {
            name.replace("conc_se_layers.0.", ""): value.numel()
            for name, value in network.features.state_dict().items()
            if not name.startswith("0.0.")
        }
        for network in (own, peer)
    ]
    assert shapes[0] == shapes[1]
    layers = [[m.stride for m in n.features.modules() if isinstance(m, nn.Conv2d)] for n in (own, peer)]
    gates = 2 * sum(".fc1.weight" in name for name in shapes[0])  # convolutions in torchvision
    assert len(layers[0]) == len(layers[1]) - gates
    assert layers[0].count((2, 2)) == layers[1].count((2, 2)) == 5


def test_settings_reach_their_layers():
    network = MobileNet(3, dropout=0.5, momentum=0.02)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.02)}
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.5]


def test_the_seed_makes_the_weights():
    first, second = made_weights(8), made_weights(8)
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])


def test_channels_last_gives_the_same_logits(network):
    x = torch.randn(2, 1, 128, 100)
    before = network(x)
    after = network.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)


@pytest.mark.filterwarnings("error")
def test_all_but_the_last_layer_is_loaded(network):
    made, before = made_weights(), {name: v.clone() for name, v in network.state_dict().items()}
    network.load_audioset(made)
    for name, value in network.state_dict().items():
        expected = before[name] if name.startswith("classifier.5.") else torch.tensor(made[name])
        torch.testing.assert_close(value, expected, atol=0, rtol=0)


def test_every_parameter_gets_a_gradient():
    torch.manual_seed(0)
    network = MobileNet(8, dropout=0.0)
    network.load_audioset(made_weights())
    network(torch.randn(4, 1, 128, 64)).logsumexp(1).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"features.0.0.weight": None}, "missing: features.0.0.weight"),
        ({"extra": np.zeros(1)}, "unexpected: extra"),
        ({"classifier.2.bias": np.zeros(1)}, "of another shape: classifier.2.bias"),
        ({f"x{k}": np.zeros(1) for k in range(5)}, "unexpected: x0, x1, x2 and 2 more"),
    ],
)  # fmt: skip
def test_other_weights_are_refused_by_name_and_nothing_is_loaded(network, change, said):
    given = {name: value for name, value in (made_weights() | change).items() if value is not None}
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(SerbenchError, match=re.escape(f"({said})")):
        network.load_audioset(given)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], atol=0, rtol=0)


def test_audiosets_own_classes_need_the_last_layer():
    given = {name: value for name, value in made_weights().items() if name != "classifier.5.bias"}
    with pytest.raises(SerbenchError, match=r"missing: classifier\.5\.bias"):
        MobileNet(527).load_audioset(given)


def test_weights_of_another_width_are_refused():
    with pytest.raises(SerbenchError, match=r"of another shape: classifier\.2\.bias, .* take the checkpoint"):
        MobileNet(8, width=1.0).load_audioset(made_weights())


@real
def test_every_real_parameter_is_loaded(weights):
    network = MobileNet(527)
    network.load_audioset(weights)
    assert network.state_dict().keys() == weights.keys()
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), weights[name])
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(0.98e6, rel=0.01)


def real_clips(root: Path, count: int) -> list[np.ndarray]:
    decoded = [audio.decode(path) for path in sorted(root.rglob("*.flac"))[:count]]
    return [audio.resample(audio.mono(clip), clip.sample_rate, 32_000) for clip in decoded]


@real
def test_speech_is_heard_as_speech(weights, ravdess_root):
    network = MobileNet(527).eval()
    network.load_audioset(weights)
    for samples, expected in zip(real_clips(ravdess_root, 3), (0.854, 0.889, 0.785), strict=True):
        spectrogram = torch.from_numpy(log_mel_32k.extract(samples).astype(np.float32))
        p = network(spectrogram.T[None, None]).sigmoid()[0]
        assert p.argmax() == SPEECH
        assert p[SPEECH].item() == pytest.approx(expected, abs=0.01)


@real
def test_the_embedding_is_the_trunks_mean(weights, ravdess_root):
    network = MobileNet(8).eval()
    network.load_audioset(weights)
    [samples] = real_clips(ravdess_root, 1)
    values = audioset_embedding.extract(samples, MN04)
    trunk = network.features(log_mel_32k.spectrogram(samples).T[None, None])
    assert values.dtype == np.float32
    assert values.shape == (len(audioset_embedding.columns()),) == (384,)
    np.testing.assert_allclose(values, trunk.mean((2, 3))[0].detach().numpy(), atol=1e-5)


@real
@pytest.mark.filterwarnings("error")
def test_any_clip_has_a_finite_embedding_the_same_each_time():
    rng, state = np.random.default_rng(0), torch.random.get_rng_state()
    for samples in (0.1 * rng.standard_normal(48_000), np.zeros(32_000), np.full(9, np.nan), np.empty(0)):
        clip = samples.astype(np.float32)
        clip.setflags(write=False)
        values = audioset_embedding.extract(clip, MN04)
        assert np.isfinite(values).all()
        np.testing.assert_array_equal(values, audioset_embedding.extract(clip, MN04))
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_file_of_another_network_is_refused(tmp_path):
    save_file({"w": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(SerbenchError, match="unexpected: w"):
        audioset_embedding.extract(np.zeros(32_000, np.float32), tmp_path / "other.safetensors")


def test_the_digest_follows_version_and_front_end(monkeypatch):
    digests = {audioset_embedding.digest()}
    monkeypatch.setattr(audioset_embedding, "VERSION", 2)
    digests.add(audioset_embedding.digest())
    monkeypatch.setattr(log_mel_32k, "HOP", 1)
    digests.add(audioset_embedding.digest())
    assert len(digests) == 3
