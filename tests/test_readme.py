"""What the README says is true: its commands parse, its map is complete, its numbers come from bundles."""

import re
import shlex
from pathlib import Path

import pytest

from benchmark.cli import build_parser
from benchmark.report import readme

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\.venv/bin/serbench (.*?)(?:\s+#.*)?$", TEXT, flags=re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_parses(command):
    assert build_parser().parse_args(shlex.split(command)).command in command


def test_there_are_commands():
    assert len(COMMANDS) >= 5


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"^make ([a-z]+)", TEXT, flags=re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


def test_every_file_is_mapped():
    rows = re.findall(r"^\| (`(?:benchmark|search_spaces|tests|results).*)$", TEXT, flags=re.MULTILINE)
    missing = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "benchmark").rglob("*.py")
        if path.name != "__init__.py" and not any(f"{path.name}`" in row for row in rows)
    ]
    assert missing == []


def test_numbers_are_those_of_the_bundles():
    block = re.search(f"{readme.BEGIN}\n(.*?){readme.END}", TEXT, flags=re.DOTALL)
    assert block is not None
    assert block[1] == readme.results(ROOT / "results")
