"""docs/extending.md is walked through in a copy of the package: its corpus, family and metric are used."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import studies

from benchmark import files
from benchmark.cli import build_parser

DOCS = studies.REPOSITORY / "docs"
TEXT = (DOCS / "extending.md").read_text(encoding="utf-8")
BLOCKS = re.findall(
    r"^```(?:python|yaml)\n# (\S+?)(?:, ([^\n]*))?\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL
)
COMMANDS = re.findall(r"^\.venv/bin/(serbench|pytest) (.*)$", TEXT, flags=re.MULTILINE)
METRICS = "METRICS: dict[str, Metric] = {\n"


@pytest.fixture(scope="module")
def extended(tmp_path_factory) -> Path:
    """A copy of package, spaces and tests with every block of the page in its place."""
    clone = tmp_path_factory.mktemp("docs") / "serbench"
    skip = shutil.ignore_patterns("__pycache__")
    for folder in ("benchmark", "search_spaces", "tests"):
        shutil.copytree(studies.REPOSITORY / folder, clone / folder, ignore=skip)
    for name, where, text in BLOCKS:
        path = clone / name
        if where:
            before, after = ("", f"{text}\n\n") if where == "before METRICS" else (METRICS, text)
            old = path.read_text(encoding="utf-8")
            assert old.count(METRICS) == 1
            new = f"{before}{after}" if before else f"{after}{METRICS}"
            path.write_text(old.replace(METRICS, new), encoding="utf-8")
        else:
            assert not path.exists()
            path.write_text(text, encoding="utf-8")
    return clone


def called(clone: Path, *command: str) -> str:
    """Run a Python module of the copy; return standard output."""
    env = os.environ | {"PYTHONPATH": str(clone), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *command], env=env, cwd=clone, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_the_page_has_what_the_walk_needs():
    assert [(name, where) for name, where, _ in BLOCKS] == [
        ("benchmark/corpora/toy.py", ""), ("benchmark/families/nearest_mean.py", ""),
        ("search_spaces/nearest_mean.yaml", ""), ("benchmark/metrics.py", "before METRICS"),
        ("benchmark/metrics.py", "in METRICS"),
    ]  # fmt: skip
    assert [line.split()[0] for program, line in COMMANDS if program == "serbench"] == [
        "list",
        "prepare",
        "run",
    ]


@pytest.mark.parametrize("line", [line for program, line in COMMANDS if program == "serbench"])
def test_its_commands_parse(line):
    assert build_parser().parse_args(shlex.split(line)).command in line


def test_what_is_added_is_listed_prepared_and_passes_the_contracts(extended, corpus_csv):
    listed = json.loads(called(extended, "benchmark.cli", "list", "--json"))
    assert "toy" in listed["corpora"] and "nearest_mean" in listed["families"]
    assert "worst_recall" in listed["metrics"]
    prepare = ("benchmark.cli", "prepare", "toy", "--root", str(corpus_csv.parent), "--json")
    prepared = json.loads(called(extended, *prepare))
    assert (prepared["clips"], prepared["speakers"], prepared["complete"]) == (60, 5, True)
    contracts = ("tests/corpora/test_every_corpus.py", "tests/families/test_contract.py")
    told = called(extended, "pytest", "-q", "-p", "no:cacheprovider", *contracts, "-k", "toy or nearest_mean")
    assert re.search(r"^1[5-9] passed", told.splitlines()[-1]), told[-500:]


def test_the_metric_has_its_columns_and_interval(extended, tmp_path):
    code = (
        "import sys; sys.path.insert(0, 'tests'); from helpers import make_bundle; from pathlib import Path; "
    )
    code += f"make_bundle(Path({str(tmp_path)!r}))"
    env = os.environ | {"PYTHONPATH": str(extended), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", code], env=env, cwd=extended, check=True)
    for row in files.read_csv(tmp_path / "made" / "leaderboard.csv"):
        classes = files.read_csv(tmp_path / "made" / "per_class" / f"{row['system']}.csv")
        assert float(row["worst_recall"]) <= min(float(line["recall"]) for line in classes) + 1e-12
        assert float(row["worst_recall_lo"]) <= float(row["worst_recall"]) <= float(row["worst_recall_hi"])


@pytest.mark.slow
def test_a_study_runs_with_all_of_it(extended, corpus_csv, tmp_path):
    (line,) = (line for program, line in COMMANDS if line.startswith("run "))
    line = line.replace("my/toy", str(corpus_csv.parent))
    status, out, said = studies.run(extended, *shlex.split(line), "--out", tmp_path, "--json")
    assert status == 0, said
    row = json.loads(out)["leaderboard"][0]
    assert row["system"] == "nearest_mean" and row["uar"] > 0.5 and row["worst_recall"] <= row["uar"]
    assert (tmp_path / "toy" / "breakdowns.csv").exists()
    assert studies.run(extended, "verify", tmp_path / "toy")[0] == 0
