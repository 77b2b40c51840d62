"""Bring corpora into the cache: downloaded or from a file, always checked by hash.

A download that breaks goes on where it stopped (HTTP Range), in the same call or a later one. An archive is
looked through before a byte of it is written, and unpacked beside its place, then renamed into it.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import stat
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from benchmark import registry
from benchmark.files import sha256
from benchmark.schema import SerbenchError

MAX_RATIO = 50  # unpacked to packed: WAV packs to about a third, a bomb to a thousandth
MAX_UNPACKED = 20 * 2**30  # bytes, above any corpus of this field
ATTEMPTS = 5  # in one call, each from where the last one broke
CHUNK = 2**14  # bytes; a break loses less than one


@dataclass(frozen=True)
class Known:
    """A zip archive that can be fetched."""

    url: str
    bytes: int
    hash: str  # algorithm:hexadecimal digits

    @property
    def file(self) -> str:
        """The archive's name."""
        return PurePosixPath(self.url).name


KNOWN = {
    "ravdess": Known(
        "https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip",
        208_468_073,
        "md5:bc696df654c87fed845eb13823edef8a",
    ),
}


@dataclass(frozen=True)
class Weights:
    """A file of pretrained weights that can be fetched.

    No page publishes its hash, but the Hugging Face hub sends one with the file, which is held to it. A
    bundle records the hash in any case.
    """

    url: str
    about: str
    holds: tuple[tuple[str, tuple[int, ...]], ...] = ()  # parameters and shapes, one for each known layout
    bytes: int = 0  # unknown
    hash: None = None

    @property
    def file(self) -> str:
        """The file's name."""
        return PurePosixPath(self.url).name


HUB = "https://huggingface.co/{}/resolve/main/model.safetensors"
HUB_HASH = "X-Linked-ETag"  # a header of its answers: the SHA-256 of a large file
WEIGHTS = {
    "mn04-audioset": Weights(
        "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/mn04_as_mAP_432.pt",
        "EfficientAT mn04 on AudioSet, MIT licence, doi 10.1109/ICASSP49357.2023.10096110",
        (("features.16.0.weight", (384, 64, 1, 1)),),
    ),
    "ast-audioset": Weights(
        HUB.format("MIT/ast-finetuned-audioset-10-10-0.4593"),
        "AST-base on ImageNet and AudioSet, BSD-3-Clause, doi 10.21437/Interspeech.2021-698",
        (
            ("audio_spectrogram_transformer.embeddings.position_embeddings", (1, 1214, 768)),
            ("module.v.pos_embed", (1, 1214, 768)),
            ("v.pos_embed", (1, 1214, 768)),
        ),
    ),
    "deit-base-imagenet": Weights(
        HUB.format("timm/deit_base_distilled_patch16_384.fb_in1k"),
        "DeiT-base distilled on ImageNet, Apache-2.0, arXiv 2012.12877",
        (("patch_embed.proj.weight", (768, 3, 16, 16)),),
    ),
    "mobilenetv3-imagenet": Weights(
        HUB.format("timm/mobilenetv3_large_100.ra_in1k"),
        "timm's mobilenetv3_large_100 on ImageNet, Apache-2.0, arXiv 1905.02244",
        (("conv_stem.weight", (16, 3, 3, 3)),),
    ),
}


TIMM = "timm/"  # then a model and its tag, as the hub names them: timm/resnet18.a1_in1k


def entry_of(name: str) -> Weights:
    """Return what is known of the weights `name`: one of WEIGHTS, or any of timm's on the hub.

    Raises:
        UsageError: no such weights.
    """
    if re.fullmatch(TIMM + r"\w[\w-]*(\.[\w-]+)?", name):
        return Weights(HUB.format(name), f"{name} on the Hugging Face hub, see its card")
    return WEIGHTS[registry.closest(name, WEIGHTS, "weights")]


def weights(name: str, cache_folder: Path) -> Path | None:
    """Return the file of the pretrained weights `name` in the cache, None where there is none."""
    found = sorted((cache_folder / "weights" / name).glob("[!.]*"))
    return found[0] if found else None


def command(name: str) -> str:
    """Return the command that brings weights into the cache."""
    entry_of(name)
    return f"serbench fetch {name}"


def unchecked(name: str, source: Path | None) -> str:
    """Return what a user must know of weights that were held to no hash, "" where the hub sent one."""
    if source is None and entry_of(name).url.startswith(HUB.partition("{")[0]):
        return ""
    return ", recorded in each study that takes them; no published hash to hold them to"


def _fetch_weights(name: str, cache_folder: Path, source: Path | None) -> Path:
    from benchmark.networks.weights import read_weights

    entry = entry_of(name)
    if source:
        _must_be_a_file(source, entry)
    if found := weights(name, cache_folder):
        _must_be_the_same(name, found, source)
        try:
            _must_be_that_network(name, entry, read_weights(found))
        except SerbenchError as error:
            raise SerbenchError(f"{error}; delete it first") from None
        return found
    folder = cache_folder / "weights"
    with _room(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = source or _download_apart(entry, folder / f".part-{name.replace('/', '-')}")
        try:
            _must_be_that_network(name, entry, read_weights(file))
        except SerbenchError:
            if source is None:
                _remove(file)
            raise
        with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as aside:
            shutil.copy(file, Path(aside) / file.name)
            (folder / name).mkdir(parents=True, exist_ok=True)
            (Path(aside) / file.name).replace(folder / name / file.name)
        if source is None:
            _remove(file)
    return folder / name / file.name


def _download_apart(entry: Weights, parts: Path) -> Path:
    """Download into a folder of its own, since files of several networks have one name on the hub."""
    parts.mkdir(exist_ok=True)
    try:
        return _download(entry, parts)
    finally:
        with contextlib.suppress(OSError):  # holds what came so far
            parts.rmdir()


def _remove(file: Path) -> None:
    file.unlink()
    file.parent.rmdir()


def _must_be_that_network(name: str, entry: Weights, held: Mapping[str, Any]) -> None:
    from benchmark.networks.weights import some

    holds = entry.holds or _first_layers(name)
    if not any(key in held and held[key].shape == shape for key, shape in holds):
        wanted = " or ".join(f"{key} {shape}" for key, shape in holds)
        raise SerbenchError(
            f"fetch: the weights {name} must hold {wanted}, but hold {some(held)}: another network's; "
            "give the file of " + entry.about
        )


def _first_layers(name: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Return the first parameter of timm's network `timm/MODEL.TAG`, and its shape."""
    import timm
    import torch

    model = name.removeprefix(TIMM).partition(".")[0]
    registry.closest(model, timm.list_models(), "model of timm")
    with torch.device("meta"):
        return tuple((key, tuple(p.shape)) for key, p in timm.create_model(model).named_parameters())[:1]


def _must_be_the_same(name: str, found: Path, source: Path | None) -> None:
    if source and source.is_file() and sha256(source) != sha256(found):
        raise SerbenchError(
            f"fetch: {name} is in the cache already, and {source} is another file: to change it, delete "
            f"{found} first"
        )


@contextmanager
def _room(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SerbenchError(
            f"fetch: {folder} must be writable and have room, but: {error}; "
            "make room, or choose another folder with --cache"
        ) from error


def fetch(name: str, cache_folder: Path, source: Path | None = None) -> Path:
    """Return the folder of corpus, or the file of weights `name` in the cache, brought there if it is not.

    Args:
        source: the archive or file of weights, already on this machine; else it is downloaded.

    Raises:
        UsageError: nothing of that name can be fetched.
        SerbenchError: no connection, wrong hash, an archive that is damaged or unsafe, or no room on the
            disk; nothing enters the cache.
    """
    if (
        name.startswith(TIMM)
        or registry.closest(name, (*KNOWN, *WEIGHTS, f"{TIMM}MODEL.TAG"), "thing to fetch") in WEIGHTS
    ):
        return _fetch_weights(name, cache_folder, source)
    entry = KNOWN[name]
    target = cache_folder / "corpora" / name
    if target.exists():
        return target
    with _room(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        archive = _checked(source, entry) if source else _download(entry, target.parent)
        extract(archive, target)
        if source is None:
            archive.unlink()
    return target


def extract(archive: Path, target: Path) -> None:
    """Unpack a zip to the new folder `target`: all of it or nothing.

    Raises:
        SerbenchError: a path leaves the folder, something is no plain file, the size or its ratio to the
            archive's is a bomb's, or the archive is damaged.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            _check_members(archive, packed.infolist())
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".new-") as aside:
                unpacked = Path(aside) / target.name
                unpacked.mkdir()
                packed.extractall(unpacked)
                unpacked.replace(target)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError) as error:
        raise SerbenchError(f"fetch: {archive} must be a sound zip, but: {error}; get it again") from error


def _check_members(archive: Path, members: list[zipfile.ZipInfo]) -> None:
    refused = f"fetch: {archive} is refused, nothing was unpacked:"
    for member in members:
        path = PurePosixPath(member.filename.replace("\\", "/"))
        named = f"'{member.filename}'"
        if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", member.filename):
            raise SerbenchError(
                f"{refused} paths must stay in the folder, but one is {named}; get it elsewhere"
            )
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise SerbenchError(
                f"{refused} members must be plain files, but {named} is not; get it elsewhere"
            )
    packed, total = archive.stat().st_size, sum(member.file_size for member in members)
    if total > MAX_UNPACKED or total > max(2**20, MAX_RATIO * packed):
        raise SerbenchError(
            f"{refused} at most {MAX_UNPACKED} bytes and {MAX_RATIO} times its size may come out, "
            f"but {packed} bytes hold {total}; get it elsewhere"
        )


def _must_be_a_file(source: Path, entry: Known | Weights) -> None:
    if not source.is_file():
        raise SerbenchError(f"fetch: --from must name a file, but {source} is none; give {entry.file}")


def _checked(source: Path, entry: Known) -> Path:
    import pooch

    _must_be_a_file(source, entry)
    algorithm, _, wanted = entry.hash.partition(":")
    found = pooch.file_hash(str(source), algorithm)
    if found != wanted:
        raise SerbenchError(f"fetch: {source} must have {entry.hash}, but has {found}; get it again")
    return source


def _download(entry: Known | Weights, folder: Path) -> Path:
    """Download to `folder`, through a `.part` file that outlives a break but not a wrong hash."""
    import pooch
    import requests

    part = folder / f"{entry.file}.part"

    def resume(url: str, output_file: str, _pooch: object) -> None:
        _collect(entry, part)
        part.replace(output_file)

    pooch.get_logger().setLevel("WARNING")
    size = entry.bytes or "unknown"
    try:
        return Path(pooch.retrieve(entry.url, entry.hash, entry.file, folder, downloader=resume))
    except ValueError as error:  # pooch's own for a wrong hash: it names both and has deleted the file
        raise SerbenchError(f"fetch: {entry.url}: {error}") from error
    except requests.HTTPError as error:
        raise SerbenchError(
            f"fetch: {entry.url} must be there, but its server answers {error}; give the file with --from"
        ) from error
    except requests.RequestException as error:
        have = part.stat().st_size if part.exists() else 0
        reason = str(getattr(error.args[0], "reason", error) if error.args else error)
        why = reason.partition("): ")[2] or reason  # what urllib3 says behind its own object
        raise SerbenchError(
            f"fetch: {entry.url} must be reachable, but: {why}; {have} of {size} bytes are kept: "
            "run it again to go on, or give the file with --from"
        ) from error


def _collect(entry: Known | Weights, part: Path) -> None:
    """Append to `part` what it lacks; a broken connection is taken up again, with growing pauses."""
    import requests
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

    columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task(entry.file, total=entry.bytes or None)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                for have in _receive(entry, part):
                    progress.update(bar, completed=have)
                return
            except requests.RequestException as error:
                if attempt == ATTEMPTS or isinstance(error, requests.HTTPError):
                    raise
                time.sleep(0.2 * 2**attempt)


def _receive(entry: Known | Weights, part: Path) -> Iterator[int]:
    """Append the rest of the archive to `part`, yielding the bytes there are; a server may start it over."""
    import requests

    have = part.stat().st_size if part.exists() else 0
    if have and have == entry.bytes:  # complete, but the call ended before its hash was looked at
        return
    headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"}
    with requests.get(entry.url, headers=headers, stream=True, timeout=30) as response:
        if response.status_code == 416:  # what is there is no beginning of that file
            part.unlink()
        response.raise_for_status()
        hashes = [answer.headers.get(HUB_HASH, "").strip('"') for answer in (*response.history, response)]
        with part.open("ab" if response.status_code == 206 else "wb") as file:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                yield file.tell()
                if 0 < entry.bytes < file.tell():  # another file: its hash will say so
                    return
    for published in (text for text in hashes if re.fullmatch("[0-9a-f]{64}", text)):
        if (found := sha256(part)) != published:
            part.unlink()
            raise SerbenchError(
                f"fetch: {entry.url} must have sha256:{published}, but has {found}; get it again"
            )
