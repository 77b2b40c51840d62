"""The real pretrained weights beside the project; where they are absent, a test is skipped by name."""

from pathlib import Path

import pytest

MN04 = Path(__file__).parents[2] / "shared" / "weights" / "efficientat_mn04_as.safetensors"


def pretrained() -> Path:
    """The file of EfficientAT's mn04."""
    if not MN04.is_file():
        pytest.skip(f"the weights of mn04_as are not at {MN04}")
    return MN04
