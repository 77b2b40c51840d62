"""Files of pretrained weights, and what to say when they are another network's."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmark.schema import SerbenchError

PICKLES = (".pth", ".pt", ".bin")
INSIDE = ("model", "state_dict")  # where training scripts keep the weights beside an optimizer's state
NAMED = 3


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays by name of a `.safetensors` file, or of a `.pth`, `.pt` or `.bin` file of torch.

    Of the latter, weights only are read: code in it never runs, and makes it unreadable. Weights kept under
    "model" or "state_dict" are unwrapped; bfloat16 becomes float32.

    Raises:
        SerbenchError: another ending, no such file, a damaged one, or one that holds more than arrays.
    """
    if path.suffix not in (".safetensors", *PICKLES):
        known = ", ".join((".safetensors", *PICKLES))
        raise SerbenchError(
            f"{path}: a file of weights must end in one of {known}, but ends in {path.suffix!r}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of a file that is refused below
            held: Any = (
                load_file(path)
                if path.suffix == ".safetensors"
                else torch.load(path, map_location="cpu", weights_only=True)
            )
    except pickle.UnpicklingError:
        raise SerbenchError(
            f"{path}: a file of weights must hold arrays alone, but this one is damaged or holds code, which "
            "is not run: fetch it again, or convert it to .safetensors where you trust it"
        ) from None
    except Exception as fault:  # a damaged file fails in any way
        odd = isinstance(fault, EOFError | KeyError | IndexError)  # what reading no file of torch ends in
        reason = "it is empty or no file of torch" if odd else (str(fault).splitlines() or [repr(fault)])[0]
        raise SerbenchError(f"{path}: weights must be readable, but {reason}: fetch the file again") from None
    return _arrays(path, held)


def _arrays(path: Path, held: Any) -> dict[str, np.ndarray]:
    for name in INSIDE:
        if isinstance(held, Mapping) and isinstance(held.get(name), Mapping):
            held = held[name]
    if not isinstance(held, Mapping) or not all(isinstance(value, Tensor) for value in held.values()):
        raise SerbenchError(
            f"{path}: a file of weights must hold arrays by name, but this one holds other things: save the "
            "network's state_dict()"
        )
    return {
        str(name): (value.float() if value.dtype == torch.bfloat16 else value).detach().numpy()
        for name, value in held.items()
    }


def some(names: Iterable[str]) -> str:
    """Return the first names in order, and how many more there are."""
    first, rest = sorted(names)[:NAMED], sorted(names)[NAMED:]
    return ", ".join(first) + (f" and {len(rest)} more" if rest else "")


def differences(own: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """Say by names and shapes how the arrays `given` differ from a network's `own`; "" where they don't."""
    faults = {
        "missing": own.keys() - given.keys(),
        "unexpected": given.keys() - own.keys(),
        "of another shape": {n for n in own.keys() & given.keys() if np.shape(given[n]) != np.shape(own[n])},
    }
    return "; ".join(f"{what}: {some(names)}" for what, names in faults.items() if names)
