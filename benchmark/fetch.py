"""Bring corpora (and pretrained weights) into the cache: downloaded or from a file, always checked by hash.

A download that breaks goes on where it stopped (HTTP Range), in the same call or a later one. An archive is
looked through before a byte of it is written, and unpacked beside its place, then renamed into it.
"""

from __future__ import annotations

import re
import shutil
import stat
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from benchmark import registry
from benchmark.schema import SerbenchError

MAX_RATIO = 50  # unpacked to packed: WAV packs to about a third, a bomb to a thousandth
MAX_UNPACKED = 20 * 2**30  # bytes, above any corpus of this field
ATTEMPTS = 5  # in one call, each from where the last one broke
CHUNK = 2**14  # bytes; a break loses less than one


@dataclass(frozen=True)
class Known:
    """Something that can be fetched: `kind` is "archive" (unpacked to a folder) or "file"."""

    url: str  # up to the file's name
    file: str
    bytes: int
    hash: str  # algorithm:hexadecimal digits
    kind: str = "archive"


KNOWN = {
    "ravdess": Known(
        "https://zenodo.org/records/1188976/files",
        "Audio_Speech_Actors_01-24.zip",
        208_468_073,
        "md5:bc696df654c87fed845eb13823edef8a",
    ),
}


def place(name: str, cache_folder: Path) -> Path:
    """Return where `name` is, or would be, in the cache.

    Raises:
        UsageError: nothing of that name can be fetched.
    """
    entry = KNOWN[registry.closest(name, KNOWN, "thing to fetch")]
    return (
        cache_folder / "corpora" / name if entry.kind == "archive" else cache_folder / "weights" / entry.file
    )


def fetch(name: str, cache_folder: Path, source: Path | None = None, base_url: str | None = None) -> Path:
    """Return the folder (archive) or file of `name` in the cache, bringing it there first where it is not.

    Args:
        source: the archive or file, already on this machine; else it is downloaded.
        base_url: a mirror's address, up to the file's name.

    Raises:
        SerbenchError: no connection, wrong hash, or an archive that is damaged or unsafe; nothing enters.
    """
    target = place(name, cache_folder)
    if target.exists():
        return target
    entry = KNOWN[name]
    target.parent.mkdir(parents=True, exist_ok=True)
    if source is None:
        found = _download(entry, f"{base_url or entry.url}/{entry.file}", target.parent)
    else:
        found = _checked(source, entry)
    if entry.kind == "archive":
        extract(found, target)
        if source is None:
            found.unlink()
    elif source is not None:
        with _aside(target) as aside:
            shutil.copyfile(found, aside)
    return target


def extract(archive: Path, target: Path) -> None:
    """Unpack a zip or tar to the new folder `target`: all of it or nothing.

    Raises:
        SerbenchError: a path leaves the folder, something is no plain file, the size or its ratio to the
            archive's is a bomb's, or the archive is damaged.
    """
    try:
        with _opened(archive) as (members, unpack), _aside(target) as aside:
            total = 0
            for name, size, plain in members:
                total += size
                _check_member(archive, name, plain, total)
            aside.mkdir()
            unpack(aside)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, RuntimeError, EOFError) as error:
        raise SerbenchError(
            f"fetch: {archive} must be a sound zip or tar, but: {error}; get it again"
        ) from error


@contextmanager
def _opened(archive: Path) -> Iterator[tuple[Iterable[tuple[str, int, bool]], Any]]:
    """Yield (name, unpacked bytes, whether a plain file or folder) of each member, and what unpacks them."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            kinds = ((item, stat.S_IFMT(item.external_attr >> 16)) for item in packed.infolist())
            plain = (0, stat.S_IFREG, stat.S_IFDIR)
            yield ((item.filename, item.file_size, kind in plain) for item, kind in kinds), packed.extractall
    else:
        with tarfile.open(archive) as tape:
            members = ((item.name, item.size, item.isfile() or item.isdir()) for item in tape)
            yield members, lambda folder: tape.extractall(folder, filter="data")


def _check_member(archive: Path, name: str, plain: bool, total: int) -> None:
    refused = f"fetch: {archive} is refused, nothing was unpacked:"
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", name):
        raise SerbenchError(f"{refused} paths must stay in the folder, but one is '{name}'; get it elsewhere")
    if not plain:
        raise SerbenchError(f"{refused} members must be plain files, but '{name}' is not; get it elsewhere")
    packed = max(1, archive.stat().st_size)
    if total > MAX_UNPACKED or (total > 2**20 and total > MAX_RATIO * packed):
        raise SerbenchError(
            f"{refused} at most {MAX_UNPACKED} bytes and {MAX_RATIO} times its size may come out, "
            f"but {packed} bytes hold at least {total}; get it elsewhere"
        )


@contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """Yield a path in a temporary folder beside `target`, renamed to `target` at the end."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".new-") as folder:
        aside = Path(folder) / target.name
        yield aside
        aside.replace(target)


def _checked(source: Path, entry: Known) -> Path:
    import pooch

    if not source.is_file():
        raise SerbenchError(f"fetch: --from must name a file, but {source} is none; give {entry.file}")
    algorithm, _, wanted = entry.hash.partition(":")
    found = pooch.file_hash(str(source), algorithm)
    if found != wanted:
        raise SerbenchError(f"fetch: {source} must have {entry.hash}, but has {found}; get it again")
    return source


def _download(entry: Known, url: str, folder: Path) -> Path:
    """Download to `folder`, through a `.part` file that outlives a break but not a wrong hash."""
    import pooch
    import requests

    part = folder / f"{entry.file}.part"

    def resume(_url: str, output_file: str, _pooch: object) -> None:
        _collect(entry, url, part)
        part.replace(output_file)

    pooch.get_logger().setLevel("WARNING")
    try:
        return Path(pooch.retrieve(url, entry.hash, fname=entry.file, path=folder, downloader=resume))
    except ValueError as error:  # pooch's own for a wrong hash: it names both and has deleted the file
        raise SerbenchError(f"fetch: {url}: {error}") from error
    except requests.RequestException as error:
        have = part.stat().st_size if part.exists() else 0
        raise SerbenchError(
            f"fetch: {url} must be reachable, but: {error}; {have} of {entry.bytes} bytes are kept: "
            "run it again to go on, or give the file with --from"
        ) from error


def _collect(entry: Known, url: str, part: Path) -> None:
    """Append to `part` what it lacks; a broken connection is taken up again, with growing pauses."""
    import requests
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        "{task.description}",
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task(entry.file, total=entry.bytes)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                for have in _receive(url, part, entry.bytes):
                    progress.update(bar, completed=have)
                return
            except requests.HTTPError:
                raise
            except requests.RequestException:
                if attempt == ATTEMPTS:
                    raise
                time.sleep(0.2 * 2**attempt)


def _receive(url: str, part: Path, wanted: int) -> Iterator[int]:
    """Append the rest of `url` to `part`, yielding the bytes there are; a server may start it over."""
    import requests

    have = part.stat().st_size if part.exists() else 0
    if have == wanted:  # complete, but the call ended before its hash was looked at
        return
    headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"}
    with requests.get(url, headers=headers, stream=True, timeout=30) as response:
        if response.status_code == 416:  # what is there is no beginning of that file
            part.unlink()
        response.raise_for_status()
        with part.open("ab" if response.status_code == 206 else "wb") as file:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                yield file.tell()
                if file.tell() > wanted:  # another file: its hash will say so
                    return
