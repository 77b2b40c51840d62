"""Content-addressed store of arrays: an entry is one file, named by its key and checked whenever it is read.

There is no lock and no clock in it. A writer fills a file of its own and renames it into place, so two
processes can at worst compute the same entry twice, and a killed one leaves nothing that another waits for.

Layout of an entry: one line of JSON (dtype, shape, sha256), then the raw samples in C order.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import uuid
from pathlib import Path

import numpy as np

log = logging.getLogger(__name__)


def default_folder() -> Path:
    """Return the cache folder: SERBENCH_CACHE, else `.cache/serbench` in the home folder."""
    return Path(os.environ.get("SERBENCH_CACHE") or Path.home() / ".cache" / "serbench")


class Cache:
    """Arrays by key under `folder`.

    A cache is a convenience: a damaged entry counts as absent, and where nothing can be written (read-only,
    disk full) one warning is given and the work goes on without it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writable = True

    def get(self, key: str) -> np.ndarray | None:
        """Return the array stored under `key` (hex), read-only; None if absent or damaged."""
        path = self._path(key)
        try:
            header, _, body = path.read_bytes().partition(b"\n")
            stated = json.loads(header)
            if stated["sha256"] != _checksum(key, stated["dtype"], stated["shape"], body):
                raise ValueError("checksum")
            return np.frombuffer(body, dtype=stated["dtype"]).reshape(stated["shape"])
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("cache entry %s is damaged (%s): computed again", path, error)
            return None

    def put(self, key: str, array: np.ndarray) -> None:
        """Store `array` under `key` (hex): temporary file, fsync, rename."""
        if not self._writable:
            return
        path = self._path(key)
        temporary = path.with_name(f"{uuid.uuid4().hex}.partial")
        body = np.ascontiguousarray(array).tobytes()
        dtype, shape = array.dtype.str, list(array.shape)
        header = {"dtype": dtype, "shape": shape, "sha256": _checksum(key, dtype, shape, body)}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("xb") as file:
                file.write(json.dumps(header).encode() + b"\n" + body)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            self._writable = False
            log.warning("cache %s can't be written (%s): going on without it", self.folder, error.strerror)
            try:
                temporary.unlink(missing_ok=True)
            except OSError:  # a read-only or vanished folder: nothing of ours is left in it
                return

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.array"


def _checksum(key: str, dtype: str, shape: list[int], body: bytes) -> str:
    """Hash the key, too: an entry under another's name is as wrong as a flipped bit."""
    return hashlib.sha256(f"{key} {dtype} {shape}\n".encode() + body).hexdigest()
