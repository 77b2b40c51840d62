"""Fixtures for all tests: the real corpus where there is one, and a cache that belongs to this session."""

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import studies
from helpers import make_bundle
from serving import Server

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell starts what it puts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else Ctrl-C would not reach what tests start

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Keep every cache entry of the tests out of the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["SERBENCH_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def ravdess_root() -> Path:
    """The folder above RAVDESS' Actor_* folders; the test is skipped where there is none."""
    root = Path(os.environ.get("SERBENCH_RAVDESS", REPOSITORY.parent / "shared" / "data" / "ravdess"))
    if not root.is_dir():
        pytest.skip(f"RAVDESS is not at {root}; set SERBENCH_RAVDESS")
    return root


@pytest.fixture
def server():
    """A local HTTP server; set its `content`."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB of its own; skipped where mounting is not allowed."""
    folder = tmp_path / "mount"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True
    ).returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture(scope="session")
def corpus_csv(tmp_path_factory) -> Path:
    """The CSV of a tiny corpus: 5 speakers, 3 emotions, 60 clips."""
    return studies.make_corpus(tmp_path_factory.mktemp("corpus") / "clips")


@pytest.fixture(scope="session")
def clone(tmp_path_factory) -> Path:
    """A copy of the package with tiny search spaces."""
    return studies.make_clone(tmp_path_factory.mktemp("clone") / "serbench")


@pytest.fixture(scope="session")
def original(tmp_path_factory) -> Path:
    """A small sealed bundle of made numbers, no pictures; tests only read it."""
    return make_bundle(tmp_path_factory.mktemp("original"))


@pytest.fixture
def made(original: Path, tmp_path: Path) -> Path:
    """A copy of `original` that a test may change."""
    return shutil.copytree(original, tmp_path / "made")


class Finished(NamedTuple):
    """A study run without a break: its study file, results folder, bundle and what `--json` printed."""

    study: Path
    out: Path
    bundle: Path
    printed: dict


@pytest.fixture(scope="session")
def finished(tmp_path_factory, corpus_csv, clone) -> Finished:
    """A finished study on the tiny corpus; tests only read it."""
    folder = tmp_path_factory.mktemp("finished")
    study = studies.write_study(folder / "tiny.yaml")
    status, out, said = studies.run(
        clone, "run", study, "--root", corpus_csv, "--out", folder / "results", "--json"
    )
    assert status == 0, said
    return Finished(study, folder / "results", folder / "results" / "tiny", json.loads(out))
