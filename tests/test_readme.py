"""What the README says is true: its commands parse, its map is complete, its numbers come from bundles."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.cli import build_parser
from benchmark.report import leaderboard, readme

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
LINES = [
    line.partition("#")[0].strip()
    for block in re.findall(r"^```sh\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
COMMANDS = re.findall(r"^\.venv/bin/serbench (.*?)(?:\s+#.*)?$", TEXT, flags=re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_parses(command):
    assert build_parser().parse_args(shlex.split(command)).command in command


def test_there_are_commands():
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize("line", LINES)
def test_printed_commands_use_one_convention(line):
    assert re.match(r"(\.venv/bin/(serbench|ray) |make |export RAY_AUTH_MODE=token$)", line), line


def test_no_command_stands_outside_of_a_block():
    outside = re.sub(r"^```sh\n.*?^```$", "", TEXT, flags=re.MULTILINE | re.DOTALL)
    assert not re.search(r"^ {4}|^\.venv", outside, flags=re.MULTILINE)


@pytest.mark.slow
def test_rays_commands_know_these_options():
    ray = Path(sys.executable).with_name("ray")
    for line in (line for line in LINES if line.startswith(".venv/bin/ray ")):
        _, command, *options = shlex.split(line)
        told = subprocess.run([ray, command, "--help"], capture_output=True, text=True, check=True).stdout
        for option in (option for option in options if option.startswith("--")):
            assert option in told, line


@pytest.mark.slow
def test_the_committed_bundles_verify_as_the_readme_says():
    sealed = sorted(seal.parent for seal in (ROOT / "results").glob("*/SHA256SUMS"))  # the rest is unfinished
    assert len(sealed) >= 3
    for bundle in sealed:
        assert leaderboard.verify(bundle) == [], bundle.name


def test_links_lead_to_files_and_the_picture_is_small():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)#]+)\)", text):
            assert "://" in link or (page.parent / link).exists(), f"{page.name}: {link}"
    assert (ROOT / "docs" / "report.png").stat().st_size < 300_000


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"^make ([a-z]+)", TEXT, flags=re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


def test_the_demo_keeps_out_of_the_openings_that_studies_count():
    for root in ("", "ROOT=x"):
        command = ["make", "-n", "demo", *filter(None, [root])]
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert "--out results/demos" in told and "`results/demos/demo`" in TEXT


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
