"""The layers of the design, and what the light commands may import."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "torchaudio", "ray", "mlflow", "optuna", "sklearn", "soundfile", "soxr", "matplotlib"}


def imported(code: str) -> set[str]:
    """Return the top-level names of what a fresh interpreter has imported after `code`."""
    show = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    command = [sys.executable, "-c", f"{code}\n{show}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.splitlines()[-1].split())


def test_imports_keep_to_the_layers() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "module", ["schema", "metrics", "statistics", "scores", "bundle", "report.leaderboard", "cli", "tracking"]
)
def test_light_modules_import_nothing_heavy(module: str) -> None:
    assert imported(f"import benchmark.{module}") & HEAVY == set()


def test_the_check_sees_a_heavy_import() -> None:
    assert "soundfile" in imported("import benchmark.audio, soundfile")
