"""The Audio Spectrogram Transformer against transformers' and timm's; weights of all names and files."""

import re
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn.functional import interpolate

from benchmark import audio
from benchmark.features import log_mel
from benchmark.networks import _ast_weights as convert
from benchmark.networks import ast
from benchmark.networks.ast import AudioTransformer, load
from benchmark.networks.weights import read_weights
from benchmark.schema import SerbenchError

CLASSES = 5
SHALLOW = {"hidden_size": 192, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 768}


@pytest.fixture(autouse=True)
def two_blocks(monkeypatch):
    """Two blocks show all that six do."""
    monkeypatch.setitem(ast.SIZES, "tiny", ast.SIZES["tiny"]._replace(depth=2))


def tiny(classes: int = CLASSES, **settings) -> AudioTransformer:
    torch.manual_seed(0)
    return AudioTransformer(classes, size="tiny", **settings).eval()


def shaken(network: nn.Module) -> nn.Module:
    """Move every parameter off its start, where zeros and ones would hide what is swapped or missing."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def clips(frames: int, count: int = 2, bands: int = 128) -> Tensor:
    return torch.randn(count, frames, bands, generator=torch.Generator().manual_seed(2))


def arrays(network: nn.Module) -> dict[str, np.ndarray]:
    """The parameters, as read-only as Ray's object store hands them out."""
    made = {name: value.numpy().copy() for name, value in network.state_dict().items()}
    for value in made.values():
        value.setflags(write=False)
    return made


def said(fault: pytest.ExceptionInfo) -> str:
    assert "\n" not in str(fault.value)
    return str(fault.value)


# The peer in transformers


def of_transformers(frames: int = 1024, stride: int = 10, **settings):
    peer = pytest.importorskip("transformers")
    sizes = {"max_length": frames, "frequency_stride": stride, "time_stride": stride, "num_labels": CLASSES}
    config = peer.ASTConfig(**{**SHALLOW, **sizes, **settings})
    return shaken(peer.ASTForAudioClassification(config))


POSITIONS = "audio_spectrogram_transformer.embeddings.position_embeddings"


def with_grid(weights: dict[str, Tensor], grid: Tensor) -> dict[str, Tensor]:
    """Put the grid (1, C, F, T) in the place of that of `weights`."""
    flat = grid.flatten(2).transpose(1, 2)
    return {**weights, POSITIONS: torch.cat([weights[POSITIONS][:, :2], flat], 1)}


def grid_of(weights: dict[str, Tensor], rows: int) -> Tensor:
    return weights[POSITIONS][:, 2:].transpose(1, 2).unflatten(2, (rows, -1))


@torch.no_grad()
def assert_same_logits(
    network: AudioTransformer, peer: nn.Module, x: Tensor, tolerance: float = 1e-4
) -> None:
    expected = peer(x).logits
    assert expected.std() > 0.1
    torch.testing.assert_close(network(x), expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("original_format", [True, False], ids=["published names", "today's names"])
@pytest.mark.parametrize("stride", [10, 16])
def test_a_whole_clip_is_classified_as_by_transformers(tmp_path, stride, original_format):
    peer = of_transformers(stride=stride)
    peer.save_pretrained(tmp_path, save_original_format=original_format)
    network = tiny(stride=stride)
    load(network, read_weights(tmp_path / "model.safetensors"), "audioset")
    assert_same_logits(network, peer, clips(1024))


@pytest.mark.parametrize(("laid_out_for", "first"), [(384, 32), (1024, 0)])
def test_a_shorter_grid_is_the_middle_of_the_positions_and_a_shorter_clip_sees_the_first(laid_out_for, first):
    weights = of_transformers().state_dict()
    network, peer = tiny(frames=laid_out_for), of_transformers(384)
    load(network, weights, "audioset")
    peer.load_state_dict(with_grid(weights, grid_of(weights, 12)[..., first : first + 37]))
    assert_same_logits(network, peer, clips(384))


@pytest.mark.parametrize("laid_out_for", [1024, 1200])
def test_a_longer_clip_sees_the_positions_stretched(laid_out_for):
    weights = of_transformers().state_dict()
    network, peer = tiny(frames=laid_out_for), of_transformers(1200)
    load(network, weights, "audioset")
    peer.load_state_dict(with_grid(weights, interpolate(grid_of(weights, 12), (12, 119), mode="bilinear")))
    assert_same_logits(network, peer, clips(1200))


def test_positions_of_another_stride_keep_their_places():
    weights = of_transformers().state_dict()
    network, peer = tiny(stride=16), of_transformers(stride=16)
    load(network, weights, "audioset")
    resized = interpolate(grid_of(weights, 12), (8, 63), mode="bilinear")  # 1010 frames at a stride of 16
    peer.load_state_dict(with_grid(weights, interpolate(resized, (8, 64), mode="bilinear")))
    assert_same_logits(network, peer, clips(1024))


@pytest.mark.parametrize(
    ("given", "stride", "steps"),
    [
        ((12, 12), 16, [(8, 8), (8, 12)]),  # of the authors' Speech Commands, at a stride of 10
        ((10, 85), 10, [(12, 102), (12, 19)]),  # published at a stride of 12
        ((8, 9), 16, [(8, 12)]),  # one's own
        ((12, 9), 10, [(12, 19)]),
    ],
)
def test_a_grid_of_another_length_or_stride_is_refitted_to_200_frames(given, stride, steps):
    positions = torch.randn(1, 2 + given[0] * given[1], 4)
    grid = positions[:, 2:].transpose(1, 2).unflatten(2, given)
    for rows, columns in steps:
        if columns < grid.shape[3] and rows == grid.shape[2]:  # the middle 19 of 102
            grid = grid[..., 42:61]
        else:
            grid = interpolate(grid, (rows, columns), mode="bilinear")
    expected = torch.cat([positions[:, :2], grid.flatten(2).transpose(1, 2)], 1)
    own = convert.refit_audioset(positions, frames=200, bands=128, stride=stride)
    torch.testing.assert_close(own, expected, atol=1e-6, rtol=0)


def to_authors(name: str) -> str:
    pairs = {
        "audio_spectrogram_transformer.embeddings.patch_embeddings.projection": "module.v.patch_embed.proj",
        "audio_spectrogram_transformer.embeddings.distillation_token": "module.v.dist_token",
        "audio_spectrogram_transformer.embeddings.position_embeddings": "module.v.pos_embed",
        "audio_spectrogram_transformer.embeddings.cls_token": "module.v.cls_token",
        "audio_spectrogram_transformer.layernorm": "module.v.norm",
        "audio_spectrogram_transformer.layers": "module.v.blocks",
        "classifier.layernorm": "module.mlp_head.0",
        "classifier.dense": "module.mlp_head.1",
        "attention.o_proj": "attn.proj",
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
    }
    for old, new in pairs.items():
        name = name.replace(old, new)
    return name


def as_of_authors(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of the authors' `.pth`, with the ImageNet heads that their model carries along."""
    made = {to_authors(name): value for name, value in weights.items() if "attention" not in name}
    for name in [name for name in weights if "q_proj" in name]:
        three = [weights[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
        made[to_authors(name).replace("attention.q_proj", "attn.qkv")] = torch.cat(three)
    made |= {to_authors(name): value for name, value in weights.items() if "o_proj" in name}
    heads = {
        f"module.v.{head}.{kind}": torch.ones(3)
        for head in ("head", "head_dist")
        for kind in ("weight", "bias")
    }
    return made | heads


@pytest.mark.parametrize("prefix", ["module.", ""])
def test_the_authors_file_is_the_same_network(tmp_path, prefix):
    peer = of_transformers()
    renamed = as_of_authors(peer.state_dict())
    assert sum(name.startswith("module.v.blocks.") for name in renamed) == 2 * 12
    torch.save(
        {prefix + name.removeprefix("module."): value for name, value in renamed.items()}, tmp_path / "a.pth"
    )
    network = tiny()
    load(network, read_weights(tmp_path / "a.pth"), "audioset")
    assert_same_logits(network, peer, clips(1024))


@pytest.mark.slow
def test_the_whole_base_network_is_that_of_transformers():
    sizes = {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
    }
    peer = of_transformers(1024, **sizes).double()
    network = AudioTransformer(CLASSES).double().eval()
    load(network, peer.state_dict(), "audioset")
    assert_same_logits(network, peer, clips(1024, 1).double())


def test_gradients_are_those_of_transformers():
    peer, x = of_transformers(200), clips(200)
    network = tiny(frames=200)
    load(network, peer.state_dict(), "audioset")
    network(x).logsumexp(1).sum().backward()
    peer(x).logits.logsumexp(1).sum().backward()
    expected = convert.from_huggingface({name: p.grad for name, p in peer.named_parameters()})
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], atol=1e-4, rtol=1e-3)


def test_the_features_are_those_of_transformers(ravdess_root):
    extractor = pytest.importorskip("transformers").ASTFeatureExtractor()
    path = next(iter(sorted(ravdess_root.rglob("*.flac"))))
    clip = audio.decode(path)
    samples = audio.resample(audio.mono(clip), clip.sample_rate, 16_000)
    own = log_mel.spectrogram(samples)
    peer = extractor(samples, sampling_rate=16_000, return_tensors="pt")["input_values"][0]
    assert 200 < len(own) < 1024
    torch.testing.assert_close(own, peer[: len(own)], atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.from_numpy(log_mel.extract(samples)).float(), own, atol=5e-4, rtol=0)


# Image transformers


def of_timm(name: str) -> nn.Module:
    return shaken(timm.create_model(name, pretrained=False, depth=2))


def test_a_grey_image_is_seen_as_by_deit():
    peer = of_timm("deit_tiny_distilled_patch16_224")
    network = tiny(bands=224, frames=224, stride=16)
    load(network, arrays(peer), "imagenet")
    grey = clips(224, bands=224)
    with torch.no_grad():
        expected = peer.forward_features(grey.transpose(1, 2)[:, None].expand(-1, 3, -1, -1) / 3)[:, :2]
        assert expected.std() > 0.5
        torch.testing.assert_close(network.forward_features(grey), expected, atol=1e-3, rtol=0)


def test_a_vit_lends_its_class_token_to_both():
    given = arrays(of_timm("vit_tiny_patch16_224"))
    network = tiny(frames=384)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    load(network, given, "imagenet")
    own = network.state_dict()
    colours = given["patch_embed.proj.weight"]
    np.testing.assert_allclose(own["patch_embed.proj.weight"], colours.mean(1, keepdims=True), atol=1e-6)
    for token in ("cls_token", "reg_token"):
        np.testing.assert_array_equal(own[token], given["cls_token"])
    for position in own["pos_embed"][0, :2]:
        np.testing.assert_array_equal(position, given["pos_embed"][0, 0])
    square = torch.tensor(given["pos_embed"][:, 1:]).transpose(1, 2).unflatten(2, (14, 14))
    grid = interpolate(square, (14, 37), mode="bilinear")[:, :, 1:13]
    torch.testing.assert_close(own["pos_embed"][:, 2:], grid.flatten(2).transpose(1, 2))
    fresh = {name for name in own if name.startswith(("head.", "fc_norm."))}
    assert len(fresh) == 4
    for name in own.keys() - {"cls_token", "reg_token", "pos_embed", "patch_embed.proj.weight"}:
        np.testing.assert_array_equal(own[name], before[name] if name in fresh else given[name])


# What loads and what is refused


def audioset(classes: int = 527, **settings) -> dict[str, np.ndarray]:
    """Made weights with the authors' names, without transformers."""
    names = {"reg_token": "v.dist_token", "fc_norm": "mlp_head.0", "head": "mlp_head.1"}
    made = arrays(shaken(tiny(classes, **settings)))
    return {
        "module."
        + (names[own] + name[len(own) :] if (own := name.split(".")[0]) in names else f"v.{name}"): value
        for name, value in made.items()
    }


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("classes", [CLASSES, 527])
def test_only_the_last_layer_depends_on_the_classes(classes):
    given, network = audioset(), tiny(classes, frames=384)
    before = network.head.weight.detach().clone()
    load(network, given, "audioset")
    np.testing.assert_array_equal(network.fc_norm.bias.detach(), given["module.mlp_head.0.bias"])
    expected = torch.tensor(given["module.mlp_head.1.weight"]) if classes == 527 else before
    torch.testing.assert_close(network.head.weight, expected, atol=0, rtol=0, check_stride=False)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"module.v.norm.bias": None}, "missing: norm.bias"),
        ({"module.v.pos_embed": None, "module.v.cls_token": None}, "missing: cls_token, pos_embed"),
        ({"module.mlp_head.1.bias": None}, "missing: head.bias"),
        ({"module.extra": np.zeros(1)}, "unexpected: extra"),
        ({f"module.v.blocks.9.x{k}": np.zeros(1) for k in range(5)}, "blocks.9.x2 and 2 more"),
        ({"module.v.norm.bias": np.zeros(3)}, "of another shape: norm.bias"),
        ({"module.v.pos_embed": np.zeros((1, 1215, 192))}, "but have 1213: set the stride"),
        ({"module.v.pos_embed": np.zeros((1, 2, 192))}, "but have 0"),
    ],
)  # fmt: skip
def test_other_parameters_are_refused_by_name_and_nothing_is_loaded(change, expected):
    network = tiny()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    given = {name: value for name, value in (audioset() | change).items() if value is not None}
    with pytest.raises(SerbenchError, match=re.escape(expected)) as fault:
        load(network, given, "audioset")
    said(fault)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], atol=0, rtol=0)


def test_a_query_without_its_key_is_named():
    given = convert.from_huggingface({"layers.0.attention.q_proj.bias": np.zeros(3)})
    assert given.keys() == {"blocks.0.attn.query.bias"}


def test_another_size_is_refused():
    small = timm.create_model("vit_tiny_patch16_224", pretrained=False, depth=3, embed_dim=96)
    with pytest.raises(SerbenchError, match=r"must be of 2 blocks of 192 channels, .*unexpected: blocks\.2"):
        load(tiny(), arrays(small), "imagenet")


def test_positions_of_no_square_are_refused():
    peer = timm.create_model("vit_tiny_patch16_224", pretrained=False, depth=2, img_size=(224, 112))
    with pytest.raises(SerbenchError, match="square of patches, but have 98"):
        load(tiny(), arrays(peer), "imagenet")


@pytest.mark.parametrize(
    ("given", "pretraining", "expected"),
    [
        (
            {"patch_embed.proj.weight": 0},
            "audioset",
            "Hugging Face's AST or the AST authors, but have those of timm's",
        ),
        ({"module.v.cls_token": 0}, "imagenet", "timm's ViT or DeiT, but have those of the AST authors"),
        ({"conv1.weight": 0, "fc": 0}, "imagenet", r"those of another \(conv1.weight, fc\)"),
        ({}, "audioset", r"those of another \(nothing\)"),
    ],
)
def test_names_of_another_network_are_refused(given, pretraining, expected):
    with pytest.raises(SerbenchError, match=expected) as fault:
        load(tiny(), given, pretraining)
    said(fault)


# The network by itself


@pytest.mark.parametrize("frames", [0, 1, 16, 100, 1100])
@pytest.mark.parametrize("stride", [10, 16])
def test_any_number_of_frames(frames, stride):
    network = shaken(tiny(frames=400, stride=stride))
    x = clips(frames)
    logits = network(x)
    assert logits.shape == (2, CLASSES)
    assert logits.isfinite().all()
    if frames < 16:
        padded = torch.cat([x, torch.zeros(2, 16 - frames, 128)], 1)
        torch.testing.assert_close(logits, network(padded), atol=0, rtol=0)


def test_the_last_block_gives_the_tokens_of_a_whole_block():
    last, x = shaken(tiny()).double().blocks[-1], torch.randn(2, 50, 192, dtype=torch.float64)
    short, whole = last(x), Block.forward(last, x)[:, :2]
    torch.testing.assert_close(short, whole, atol=1e-12, rtol=0)
    parameters = list(last.parameters())
    own, full = (torch.autograd.grad(y.square().sum(), parameters) for y in (short, whole))
    torch.testing.assert_close(own, full, atol=1e-10, rtol=1e-10)


def test_the_last_block_drops_as_the_others_do():
    network, x = tiny(dropout=1.0).train(), torch.randn(2, 50, 192)
    torch.testing.assert_close(network.blocks[0](x), x, atol=0, rtol=0)
    torch.testing.assert_close(network.blocks[-1](x), x[:, :2], atol=0, rtol=0)


def test_checkpointing_gives_the_same_gradients():
    gradients = []
    for checkpoint in (False, True):
        network = shaken(tiny(frames=100, dropout=0.2, drop_path=0.2, checkpoint=checkpoint)).train()
        torch.manual_seed(3)
        network(clips(100)).logsumexp(1).sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-6, rtol=1e-5)


def test_every_parameter_has_a_depth_and_a_gradient():
    network = tiny(frames=100)
    network(clips(100)).logsumexp(1).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    depth = ast.depths(network)
    assert depth.keys() == {name for name, _ in network.named_parameters()}
    found = {d: {name.split(".")[0] for name in depth if depth[name] == d} for d in range(4)}
    assert found == {
        0: {"cls_token", "reg_token", "pos_embed", "patch_embed"},
        1: {"blocks"},
        2: {"blocks"},
        3: {"norm", "fc_norm", "head"},
    }
    assert depth["blocks.1.norm1.weight"] == 2


def test_settings_reach_their_layers():
    network = tiny(dropout=0.3, drop_path=0.2)
    modules = list(network.modules())
    assert {m.eps for m in modules if isinstance(m, nn.LayerNorm)} == {1e-12}
    assert len([m for m in modules if isinstance(m, nn.Dropout) and m.p == 0.3]) == 2 + 3 * 2
    assert network.blocks[1].drop_path1.drop_prob == pytest.approx(0.2)
    assert all(block.attn.fused_attn for block in network.blocks)


def test_the_seed_makes_the_weights():
    first, second = (tiny().state_dict() for _ in range(2))
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], atol=0, rtol=0)


@pytest.mark.parametrize(("size", "millions"), [("small", 22.1), ("base", 86.2)])
def test_sizes(size, millions):
    with torch.device("meta"):
        network = AudioTransformer(527, size=size)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, rel=0.05)


# Files


VALUES = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.arange(3)}


def write(path: Path, held) -> Path:
    save_file(held, path) if path.suffix == ".safetensors" else torch.save(held, path)
    return path


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w.pt", "w.bin"])
def test_every_kind_of_file_is_read(tmp_path, name):
    read = read_weights(write(tmp_path / name, VALUES))
    assert read.keys() == VALUES.keys()
    for key, value in VALUES.items():
        assert isinstance(read[key], np.ndarray)
        np.testing.assert_array_equal(read[key], value)


@pytest.mark.parametrize("inside", ["model", "state_dict"])
def test_weights_beside_an_optimizer_are_found(tmp_path, inside):
    read = read_weights(write(tmp_path / "w.pth", {inside: VALUES, "epoch": 3, "optimizer": {"lr": 0.1}}))
    assert read.keys() == VALUES.keys()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_parameters_and_bfloat16_are_read_as_arrays(tmp_path, name):
    held = {"p": nn.Parameter(torch.ones(2)), "h": torch.ones(2, dtype=torch.bfloat16)}
    read = read_weights(write(tmp_path / name, held))
    assert {value.dtype for value in read.values()} == {np.dtype(np.float32)}


class Code:
    """A pickle that writes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_code_in_a_file_is_refused_and_never_runs(tmp_path):
    path = write(tmp_path / "w.pth", {"a": torch.ones(1), "b": Code(tmp_path / "ran")})
    with pytest.raises(SerbenchError, match="holds code, which is not run") as fault:
        read_weights(path)
    said(fault)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("held", [[torch.ones(1)], {"a": 3}, torch.ones(1), {"model": {"a": "b"}}])
def test_a_file_of_other_things_is_refused(tmp_path, held):
    with pytest.raises(SerbenchError, match="must hold arrays by name") as fault:
        read_weights(write(tmp_path / "w.pth", held))
    said(fault)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("w.npz", b"PK", "must end in one of .safetensors, .pth, .pt, .bin, but ends in '.npz'"),
        ("w.safetensors", None, "No such file"),
        ("w.pth", None, "No such file"),
        ("w.safetensors", b"", "fetch the file again"),
        ("w.safetensors", b"<html>no such page</html>", "fetch the file again"),
        ("w.pth", b"", "fetch the file again"),
        ("w.pth", b"<html>no such page</html>", "is damaged"),
        ("w.bin", b"PK\x03\x04 cut off", "fetch the file again"),
    ],
)
def test_an_unreadable_file_is_refused_in_a_line(tmp_path, name, content, expected):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SerbenchError, match=expected) as fault:
        read_weights(tmp_path / name)
    assert said(fault).startswith(str(tmp_path / name))
