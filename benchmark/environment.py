"""What a number was made with: versions, hardware, lock file, code, commit. No host names, no paths."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from benchmark.schema import SCHEMA_VERSION

PROJECT = Path(__file__).parent.parent
PACKAGES = (
    "serbench", "ray", "optuna", "torch", "torchaudio", "timm", "scikit-learn", "mlflow", "numpy", "scipy",
    "soundfile", "soxr",
)  # fmt: skip
# modules that show or carry numbers and make none: a change here does not end a running study
NO_NUMBERS = (
    *("cli.py", "progress.py", "tracking.py", "journal.py", "fetch.py", "predict.py", "report"),
    *("card.py", "external.py", "foreign.py", "rebuild.py", "review.py", "restore.py"),
)


@functools.cache
def commit() -> str:
    """Return the commit of the working tree, `-modified` where files differ from it, or `unknown`."""
    git = ["git", "-C", str(PROJECT)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "--show-toplevel", "HEAD"], capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no", "--", "benchmark", "search_spaces"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    top, revision = head.stdout.split("\n")[:2]
    if Path(top) != PROJECT:  # installed inside somebody else's repository
        return "unknown"
    return revision + ("-modified" if changed.stdout.strip() else "")


@functools.cache
def code_digest() -> str:
    """Return the SHA-256 of the package's modules that make numbers."""
    package = Path(__file__).parent
    total = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        relative = path.relative_to(package)
        if relative.parts[0] not in NO_NUMBERS:
            total.update(f"{relative.as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return total.hexdigest()


def describe() -> dict[str, Any]:
    """Return the content of environment.json."""
    lock = PROJECT / "requirements.lock"
    return {
        "schema_version": SCHEMA_VERSION,
        "commit": commit(),
        "code_digest": code_digest(),
        "lock_digest": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.exists() else "",
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "hardware": {
            "cpu": _cpu(), "cores": os.cpu_count(), "gpus": gpus(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30),
        },
    }  # fmt: skip


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def gpus() -> list[str]:
    """Return the names of this machine's NVIDIA GPUs."""
    try:
        found = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return []
    return found.stdout.split("\n")[:-1]
