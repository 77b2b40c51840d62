"""Pretrained weights of spectrogram and image transformers under the names of benchmark.networks.ast.

Shapes: F × T patches (band × frame), C channels; positions are (1, 2 + F·T, C), those of the class and the
distillation token first, then the grid's, band by band.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from benchmark.networks.weights import some
from benchmark.schema import SerbenchError

PATCH = 16  # bands and frames of a patch
TOKENS = 2  # class and distillation
PUBLISHED = ((10, 1024), (10, 128), (12, 1024), (14, 1024), (16, 1024))  # the authors' strides and frames

Given = Mapping[str, np.ndarray | Tensor]
Grid = tuple[int, int]

FROM_HUGGING_FACE = (  # patterns in the order of use: the names of today, and those of the published files
    (r"^audio_spectrogram_transformer\.", ""),
    (r"^embeddings\.", ""),
    (r"^distillation_token", "reg_token"),
    (r"^position_embeddings", "pos_embed"),
    (r"^patch_embeddings\.projection", "patch_embed.proj"),
    (r"^(encoder\.layer|layers)\.(\d+)", r"blocks.\2"),
    (r"\.attention\.attention\.(query|key|value)\.", r".attn.\1."),
    (r"\.attention\.q_proj\.", ".attn.query."),
    (r"\.attention\.k_proj\.", ".attn.key."),
    (r"\.attention\.v_proj\.", ".attn.value."),
    (r"\.attention\.(output\.dense|o_proj)\.", ".attn.proj."),
    (r"(\d)\.intermediate\.dense\.", r"\1.mlp.fc1."),
    (r"(\d)\.output\.dense\.", r"\1.mlp.fc2."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"^layernorm\.", "norm."),
    (r"^classifier\.layernorm\.", "fc_norm."),
    (r"^classifier\.dense\.", "head."),
)
FROM_AUTHORS = (
    (r"^module\.", ""),
    (r"^v\.", ""),
    (r"^dist_token", "reg_token"),
    (r"^mlp_head\.0\.", "fc_norm."),
    (r"^mlp_head\.1\.", "head."),
)
HUGGING_FACE, AUTHORS, TIMM = "Hugging Face's AST", "the AST authors", "timm's ViT or DeiT"  # layouts
STARTS = {
    "audio_spectrogram_transformer.": HUGGING_FACE,
    "module.v.": AUTHORS,
    "v.": AUTHORS,
    "patch_embed.": TIMM,
}
PRETRAINING = {"audioset": (HUGGING_FACE, AUTHORS), "imagenet": (TIMM,)}


def cells(length: int, stride: int) -> int:
    """Return how many whole patches start every `stride` in `length` bands or frames, at least one."""
    return max(0, length - PATCH) // stride + 1


def refit(positions: Tensor, old: Grid, new: Grid) -> Tensor:
    """Return the positions (1, 2 + F·T, C) of the grid `new`, from those of `old`, a grid of the same stride.

    An axis that shrinks is cut around its middle, one that grows is interpolated linearly, as the authors do.
    """
    if old == new:
        return positions
    in_time = _fit_last(_unflat(positions, old), new[1])
    return _flat(positions, _fit_last(in_time.transpose(2, 3), new[0]).transpose(2, 3))


def from_the_start(positions: Tensor, grid: Grid, columns: int) -> Tensor:
    """Return the positions (1, 2 + F·columns, C) of the grid's first columns, or of all stretched."""
    if columns >= grid[1]:
        return refit(positions, grid, (grid[0], columns))
    return _flat(positions, _unflat(positions, grid)[..., :columns])


def _fit_last(grid: Tensor, size: int) -> Tensor:
    had = grid.shape[3]
    if size > had:
        return _resized(grid, (grid.shape[2], size))
    return grid.narrow(3, had // 2 - size // 2, size)


def refit_audioset(positions: Tensor, frames: int, bands: int, stride: int) -> Tensor:
    """Return the positions for a spectrogram, from those of a published AST or one of the same stride.

    A grid of another stride is resized to this one first, so that patches keep their places in band and time.

    Raises:
        SerbenchError: a number of positions that no such grid has.
    """
    held = positions.shape[1] - TOKENS
    published = {cells(bands, step) * cells(length, step): step for step, length in PUBLISHED}
    old_stride, rows = published.get(held, stride), cells(bands, stride)
    old = (cells(bands, old_stride), held // cells(bands, old_stride))
    if old[0] * old[1] != held or held < 1:
        raise SerbenchError(
            f"weights must have positions for columns of {rows} patches ({bands} bands at stride {stride}), "
            f"but have {held}: set the stride of the pretrained network"
        )
    if old_stride != stride:
        same = (rows, max(1, round(old[1] * old_stride / stride)))
        positions, old = _flat(positions, _resized(_unflat(positions, old), same)), same
    return refit(positions, old, (rows, cells(frames, stride)))


def _unflat(positions: Tensor, grid: Grid) -> Tensor:
    return positions[:, TOKENS:].transpose(1, 2).unflatten(2, grid)  # (1, C, F, T)


def _flat(positions: Tensor, grid: Tensor) -> Tensor:
    return torch.cat([positions[:, :TOKENS], grid.flatten(2).transpose(1, 2)], 1)


def _resized(grid: Tensor, size: Grid) -> Tensor:
    return interpolate(grid, size, mode="bilinear", align_corners=False)


def layout(weights: Given) -> str:
    """Return whose names these are, or what they are instead."""
    for start, name in STARTS.items():
        if any(held.startswith(start) for held in weights):
            return name
    return f"another ({some(weights)})" if weights else "another (nothing)"


def from_huggingface(weights: Given) -> dict[str, Tensor]:
    """Return the parameters of transformers' ASTForAudioClassification under our names, the grid as it was.

    The names of today's transformers and those of `MIT/ast-finetuned-audioset-10-10-0.4593` are known; others
    are kept.
    """
    renamed = _renamed(weights, FROM_HUGGING_FACE)
    for name in [name for name in renamed if ".attn.query." in name]:
        three = [name.replace("query", part) for part in ("query", "key", "value")]
        if all(part in renamed for part in three):
            renamed[name.replace("query", "qkv")] = torch.cat([renamed.pop(part) for part in three])
    return renamed


def from_authors(weights: Given) -> dict[str, Tensor]:
    """Return the parameters of the authors' ASTModel under our names, the grid as it was.

    The heads for ImageNet that their files carry along are left out.
    """
    heads = ("module.v.head.", "module.v.head_dist.", "v.head.", "v.head_dist.")
    return _renamed({n: v for n, v in weights.items() if not n.startswith(heads)}, FROM_AUTHORS)


def from_imagenet(weights: Given, frames: int, bands: int, stride: int) -> dict[str, Tensor]:
    """Return the parameters of timm's ViT or DeiT under our names, without a head.

    Weights of the three colours are averaged to one channel (section 2.2 of the paper; the authors' code sums
    them). The square grid is refitted as of one stride. A ViT's class token and its position serve as the
    distillation token's too.

    Raises:
        SerbenchError: positions that aren't a square's.
    """
    made = _renamed({n: v for n, v in weights.items() if not n.startswith(("head.", "head_dist."))}, ())
    if "patch_embed.proj.weight" in made:
        made["patch_embed.proj.weight"] = made["patch_embed.proj.weight"].mean(1, keepdim=True)
    if "dist_token" in made:
        made["reg_token"] = made.pop("dist_token")
    elif {"cls_token", "pos_embed"} <= made.keys():
        made["reg_token"] = made["cls_token"].clone()
        made["pos_embed"] = torch.cat([made["pos_embed"][:, :1], made["pos_embed"]], 1)
    if "pos_embed" in made:
        side = _side(made["pos_embed"])
        new = (cells(bands, stride), cells(frames, stride))
        made["pos_embed"] = refit(made["pos_embed"], (side, side), new)
    return made


def _side(positions: Tensor) -> int:
    held = positions.shape[1] - TOKENS
    side = math.isqrt(max(0, held))
    if not held == side * side > 0:
        raise SerbenchError(
            f"weights of imagenet must have positions for a square of patches, but have {held}: "
            "take a ViT of square images"
        )
    return side


def _renamed(weights: Given, patterns: tuple[tuple[str, str], ...]) -> dict[str, Tensor]:
    renamed = {}
    for name, value in weights.items():
        new = name
        for pattern, replacement in patterns:
            new = re.sub(pattern, replacement, new)
        renamed[new] = torch.tensor(np.asarray(value), dtype=torch.float32)
    return renamed
