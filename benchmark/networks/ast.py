"""Audio Spectrogram Transformer: a vision transformer that reads a spectrogram in overlapping patches.

Gong, Chung and Glass 2021, "AST: Audio Spectrogram Transformer" (doi 10.21437/Interspeech.2021-698). Built on
timm's VisionTransformer (Dosovitskiy et al. 2021; distillation token: Touvron et al. 2021); it computes what
Hugging Face's ASTForAudioClassification computes from the same weights.

Shapes: n clips, F × T patches (band × frame), L = 2 + F·T tokens, C channels.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from timm.layers import Attention, LayerNorm
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import linear, pad, scaled_dot_product_attention

from benchmark.networks import _ast_weights as convert
from benchmark.networks._ast_weights import PATCH, TOKENS, Given
from benchmark.networks.weights import differences
from benchmark.schema import SerbenchError

EPSILON = 1e-12  # of layer norms, as in Hugging Face's configuration; the authors' are 1e-6 and 1e-5
HEAD = ("head.weight", "head.bias")  # the layer that knows the classes


class Size(NamedTuple):
    """Channels of a token, blocks, and attention heads of a block."""

    width: int
    depth: int
    heads: int


SIZES = {"tiny": Size(192, 6, 3), "small": Size(384, 12, 6), "base": Size(768, 12, 12)}


class _Patches(nn.Module):
    """Cut (n, frames, bands) into overlapping patches and embed each: (n, F, T, C)."""

    def __init__(self, bands: int, frames: int, stride: int, width: int) -> None:
        super().__init__()
        self.bands, self.frames, self.stride = bands, frames, stride
        self.grid_size = (convert.cells(bands, stride), convert.cells(frames, stride))
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        self.proj = nn.Conv2d(1, width, PATCH, stride)

    def forward(self, x: Tensor) -> Tensor:
        x = pad(x, (0, 0, 0, max(0, PATCH - x.shape[1])))
        return self.proj(x.transpose(1, 2)[:, None]).permute(0, 2, 3, 1)


class _LastBlock(Block):
    """A block that returns the two pooled tokens alone, (n, L, C) to (n, 2, C): nobody reads the others."""

    attn: Attention

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        x, attended = x[:, :TOKENS], self._attend(self.norm1(x))
        x = x + self.drop_path1(self.ls1(attended))
        return x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))

    def _attend(self, x: Tensor) -> Tensor:
        own, width = self.attn, x.shape[2]
        (to_q, to_kv), (q_bias, kv_bias) = (
            p.split([width, 2 * width]) for p in (own.qkv.weight, own.qkv.bias)
        )
        q = linear(x[:, :TOKENS], to_q, q_bias).unflatten(2, (own.num_heads, -1)).transpose(1, 2)
        k, v = linear(x, to_kv, kv_bias).unflatten(2, (2, own.num_heads, -1)).permute(2, 0, 3, 1, 4)
        heads = scaled_dot_product_attention(q, k, v)
        return own.proj_drop(own.proj(heads.transpose(1, 2).flatten(2)))


def _block(last: int, depth: int, **settings: Any) -> Block:
    return (_LastBlock if depth == last else Block)(depth=depth, **settings)


class AudioTransformer(VisionTransformer):
    """Patches, two learnt tokens, pre-norm blocks, and a norm and linear layer on the mean of the two tokens.

    Args:
        classes: number of outputs.
        size: a name of SIZES.
        bands, frames: of the spectrograms that the positional grid is laid out for.
        stride: bands and frames between the starts of two patches of 16 × 16; 16 is without overlap.
        dropout: share dropped in training: after the embeddings, after attention, in and after every MLP and
            before the last layer; never of the attention weights.
        drop_path: share of clips that skip the last block's branches in training, rising from 0 at the first
            block (Huang et al. 2016).
        checkpoint: recompute the blocks' inside in the backward pass: slower, for a fraction of the memory.
    """

    patch_embed: _Patches
    cls_token: nn.Parameter
    reg_token: nn.Parameter  # the distillation token
    pos_embed: nn.Parameter

    def __init__(
        self,
        classes: int,
        *,
        size: str = "base",
        bands: int = 128,
        frames: int = 1024,
        stride: int = 10,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        checkpoint: bool = False,
    ) -> None:
        width, depth, heads = SIZES[size]
        super().__init__(
            num_classes=classes,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            reg_tokens=1,
            drop_rate=dropout,
            pos_drop_rate=dropout,
            proj_drop_rate=dropout,
            drop_path_rate=drop_path,
            embed_layer=lambda **_: _Patches(bands, frames, stride, width),
            norm_layer=partial(LayerNorm, eps=EPSILON),
            block_fn=partial(_block, depth - 1),  # type: ignore[arg-type]
        )
        self.fc_norm = LayerNorm(width, eps=EPSILON)
        self.set_grad_checkpointing(checkpoint)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Return logits (n, classes) of normalised spectrograms (n, frames, bands).

        Any number of frames will do. Fewer than 16 are padded with zeros. Clips shorter than the positional
        grid see its first columns, as if they were padded to its length (their batch's length moves none);
        for longer ones it is interpolated.
        """
        return super().forward(x)

    def _pos_embed(self, x: Tensor) -> Tensor:
        positions = convert.from_the_start(self.pos_embed, self.patch_embed.grid_size, x.shape[2])
        tokens = [token.expand(len(x), -1, -1) for token in (self.cls_token, self.reg_token)]
        return self.pos_drop(torch.cat([*tokens, x.flatten(1, 2)], 1) + positions)

    def pool(self, x: Tensor, pool_type: str | None = None) -> Tensor:
        """Return the mean (n, C) of the two tokens (n, 2, C)."""
        return x.mean(1)


def depths(model: AudioTransformer) -> dict[str, int]:
    """Return the depth of each parameter by name: 0 of embeddings, i + 1 of block i, one more of the rest."""
    last = len(model.blocks) + 1

    def depth(name: str) -> int:
        if name.startswith("blocks."):
            return int(name.split(".")[1]) + 1
        return last if name.startswith(("norm.", "fc_norm.", "head.")) else 0

    return {name: depth(name) for name, _ in model.named_parameters()}


def load(model: AudioTransformer, weights: Given, pretraining: str) -> None:
    """Copy pretrained `weights` (arrays by name) into `model`, their positional grid refitted to the model's.

    `pretraining` is "audioset" (names of Hugging Face or of the authors) or "imagenet" (timm's ViT or DeiT).
    AudioSet's last layer is taken if it has the model's number of classes, the norm before it always; of
    ImageNet's weights neither. What isn't taken stays as initialised.

    Raises:
        SerbenchError: names of another network, or other parameters or shapes than the model's; nothing is
            copied.
    """
    own, given = model.state_dict(), _converted(model, weights, pretraining)
    if pretraining == "imagenet":
        fresh = [name for name in own if name.startswith(("fc_norm.", "head."))]
    else:
        fresh = [name for name in HEAD if name in given and len(given[name]) != model.num_classes]
    given |= {name: own[name] for name in fresh}
    if said := differences(own, given):
        raise SerbenchError(
            f"weights of {pretraining} must be of {len(model.blocks)} blocks of {model.embed_dim} channels, "
            f"but these have other parameters ({said}): take the checkpoint of that size"
        )
    model.load_state_dict(given)


def _converted(model: AudioTransformer, weights: Given, pretraining: str) -> dict[str, Tensor]:
    layout, known, patches = convert.layout(weights), convert.PRETRAINING[pretraining], model.patch_embed
    if layout not in known:
        raise SerbenchError(
            f"weights of {pretraining} must have the names of {' or '.join(known)}, but have "
            f"those of {layout}: name the pretraining that they had, or take others"
        )
    if pretraining == "imagenet":
        return convert.from_imagenet(weights, patches.frames, patches.bands, patches.stride)
    huggingface = layout == convert.HUGGING_FACE
    given = (convert.from_huggingface if huggingface else convert.from_authors)(weights)
    if "pos_embed" in given:
        given["pos_embed"] = convert.refit_audioset(
            given["pos_embed"], patches.frames, patches.bands, patches.stride
        )
    return given
