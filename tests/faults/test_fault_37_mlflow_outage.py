"""FAULTS 37 and 39: MLflow is away at the start, in the middle, at the end; numbers that are none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tracking_tools import STUDY, Server, curve, journal, stored

from benchmark import tracking

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.kill()


def _offer(syncer: tracking.Syncer, events: list[dict[str, Any]]) -> None:
    begun = time.monotonic()
    for event in events:
        syncer.offer(event)
    assert time.monotonic() - begun < 0.5  # whatever the server does, the search does not wait


def _until(condition: Any, seconds: float = 60) -> None:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds
        time.sleep(0.2)


def test_fault_37_server_away_at_the_start_and_killed_midway(server: Server) -> None:
    events = journal(trials=12)
    syncer = tracking.Syncer(server.uri, STUDY, server.folder)
    _offer(syncer, events[:20])
    time.sleep(1)
    assert syncer._mirror.client is None  # nobody there yet
    server.start()
    _until(lambda: len(syncer._mirror.found) >= 4)
    server.kill()
    _offer(syncer, events[20:40])
    time.sleep(2)
    server.start()
    _offer(syncer, events[40:])
    assert syncer.close(60) == 0

    runs = stored(server.uri)  # fails on doubles
    assert len(runs) == 15
    assert "RUNNING" not in {run.info.status for run in runs.values()}
    for n in range(1, 13):
        assert len(curve(server.uri, runs[f"mlp-{n}"], "uar")) == 3


def test_fault_37_server_never_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    syncer = tracking.Syncer(Server(tmp_path).uri, STUDY, tmp_path)
    _offer(syncer, journal())
    begun = time.monotonic()
    assert syncer.close(60) == 7
    assert time.monotonic() - begun < 30
    assert len([r for r in caplog.records if "MLflow is away" in r.message]) == 1


def test_fault_37_what_comes_back_is_an_empty_store(tmp_path: Path) -> None:
    mirror = tracking._Mirror(tracking.default_uri(tmp_path), STUDY, tmp_path)
    for event in journal(trials=3):
        mirror.absorb(event)
    assert mirror.flush() == 6
    (tmp_path / "new").mkdir()
    mirror.uri, mirror.client = tracking.default_uri(tmp_path / "new"), None
    for event in journal(trials=2, system="svm"):
        mirror.absorb(event)
    mirror.flush()
    runs = stored(mirror.uri)
    assert len(runs) == 10
    assert len(curve(mirror.uri, runs["mlp-1"], "uar")) == 3


def test_fault_39_numbers_that_are_none_are_not_sent(tmp_path: Path) -> None:
    events, uri = journal(trials=3), tracking.default_uri(tmp_path)
    steps = [event for event in events if event["event"] == "step"]
    steps[0]["score"], steps[1]["loss"] = float("nan"), float("inf")
    events[-1]["metrics"]["auc"] = float("-inf")
    syncer = tracking.Syncer(uri, STUDY, tmp_path)
    _offer(syncer, events)
    assert syncer.close(60) == 0
    runs = stored(uri)
    assert curve(uri, runs["mlp-1"], "uar") == [(2, 0.2), (3, 0.3)]
    assert curve(uri, runs["mlp-1"], "loss") == [(1, 1.0), (3, 0.333)]
    assert "test_auc" not in runs["mlp-final"].data.metrics
    assert "score" not in runs["mlp-3"].data.metrics
