"""Fixtures for all tests: the real corpus where there is one, and a cache that belongs to this session."""

import os
import threading
from pathlib import Path

import pytest
from serving import Server

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
