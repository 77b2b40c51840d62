"""`serbench list` says what each name is, and gives bare names to programs."""

import json
import os
import subprocess
import sys

import pytest

from benchmark import cli, metrics, protocols, registry, spec


def listed(capsys, kind):
    assert cli.main(["list", kind]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == f"{kind}:"
    return dict(line.split(maxsplit=1) for line in lines)


def test_metrics_and_protocols_are_told_with_what_they_are(capsys):
    assert listed(capsys, "metrics") == {name: metric.what for name, metric in metrics.METRICS.items()}
    assert listed(capsys, "protocols") == protocols.ABOUT


@pytest.mark.parametrize("kind", ["corpora", "features", "families"])
def test_files_are_told_with_their_first_sentence(capsys, kind):
    told = listed(capsys, kind)
    assert tuple(told) == registry.names(kind)
    assert all(len(text) > 30 and not text.endswith(".") for text in told.values())


def test_systems_are_told_with_what_they_lack(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("SERBENCH_CACHE", str(tmp_path))
    told = listed(capsys, "systems")
    assert tuple(told) == spec.known_systems()
    assert told["svm"] == told["cnn@none"] == "can run here"
    assert told["cnn@audioset"] == told["svm@audioset"] and told["cnn@audioset"].endswith(
        "fetch mn04-audioset"
    )


def test_a_reader_that_goes_away_hears_no_complaint():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "benchmark.cli", "list", "metrics"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_json_holds_lists_of_names(capsys):
    assert cli.main(["list", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == list(cli.KINDS)
    assert told["metrics"] == list(metrics.METRICS) and "svm" in told["families"]
