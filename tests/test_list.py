"""`serbench list` says what each metric and protocol is, and gives bare names to programs."""

import json

from benchmark import cli, metrics, protocols


def test_metrics_and_protocols_are_told_with_what_they_are(capsys):
    for kind, table in (
        ("metrics", {name: metric.what for name, metric in metrics.METRICS.items()}),
        ("protocols", protocols.ABOUT),
    ):
        assert cli.main(["list", kind]) == 0
        first, *lines = capsys.readouterr().out.splitlines()
        assert first == f"{kind}:"
        assert [line.split(maxsplit=1) for line in lines] == [[name, what] for name, what in table.items()]


def test_json_holds_lists_of_names(capsys):
    assert cli.main(["list", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == list(cli.KINDS)
    assert told["metrics"] == list(metrics.METRICS) and "svm" in told["families"]
