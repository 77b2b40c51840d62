"""FAULTS 49, 50, 52: hostile archives and wrong downloads; nothing of them is written or kept."""

import hashlib
import io
import tarfile
import zipfile

import pytest

from benchmark import fetch
from benchmark.schema import SerbenchError

LINK = 0o120777 << 16


def zipped(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content, attributes in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = attributes
            file.writestr(info, content)
    return path


def taped(path, members):
    with tarfile.open(path, "w:gz") as file:
        for name, content, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            info.size = len(content) if kind == tarfile.REGTYPE else 0
            file.addfile(info, io.BytesIO(content))
    return path


def refused(archive, said):
    """The archive is refused, and not even its harmless first member is on disk."""
    target = archive.parent / "cache" / "ravdess"
    target.parent.mkdir()
    before = sorted(archive.parent.parent.rglob("*"))
    with pytest.raises(SerbenchError, match=said) as error:
        fetch.extract(archive, target)
    assert "\n" not in str(error.value)
    assert sorted(archive.parent.parent.rglob("*")) == before


@pytest.mark.parametrize(
    "name", ["../out.wav", "a/../../out.wav", "/tmp/out.wav", "..\\out.wav", "C:\\out.wav", "C:out.wav"]
)
def test_fault_49_zip_path_leaves(tmp_path, name):
    archive = zipped(tmp_path / "bad.zip", [("fine.wav", b"fine", 0), (name, b"bad", 0)])
    refused(archive, "paths must stay in the folder")


def test_fault_49_zip_symlink(tmp_path):
    archive = zipped(tmp_path / "bad.zip", [("fine.wav", b"fine", 0), ("link", b"/etc/passwd", LINK)])
    refused(archive, "members must be plain files, but 'link' is not")


@pytest.mark.parametrize(
    ("name", "kind", "target"),
    [
        ("../out.wav", tarfile.REGTYPE, ""),
        ("/tmp/out.wav", tarfile.REGTYPE, ""),
        ("link", tarfile.SYMTYPE, "fine.wav"),
        ("link", tarfile.LNKTYPE, "fine.wav"),
        ("pipe", tarfile.FIFOTYPE, ""),
        ("sound.wav", tarfile.REGTYPE, ""),
    ],
)
def test_fault_49_no_tar_is_unpacked(tmp_path, name, kind, target):
    members = [("fine.wav", b"fine", tarfile.REGTYPE, ""), (name, b"bad", kind, target)]
    refused(taped(tmp_path / "bad.tar.gz", members), "must be a sound zip")


def test_fault_50_bomb_by_ratio(tmp_path):
    archive = zipped(tmp_path / "bomb.zip", [("fine.wav", b"fine", 0), ("zeros", bytes(30 * 2**20), 0)])
    refused(archive, "50 times its size may come out, but .* hold 31457284")


def test_fault_50_bomb_in_many_members(tmp_path):
    members = [(f"zeros-{part}", bytes(2**20), 0) for part in range(30)]
    refused(zipped(tmp_path / "bomb.zip", members), "times its size may come out")


def test_fault_50_bomb_by_size(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "MAX_UNPACKED", 1000)
    archive = zipped(tmp_path / "bomb.zip", [("a", bytes(600), 0), ("b", bytes(600), 0)])
    refused(archive, "at most 1000 bytes")


@pytest.fixture
def known(monkeypatch, server):
    entry = fetch.Known(f"{server.url}/a.zip", 8, f"md5:{hashlib.md5(b'expected').hexdigest()}")
    monkeypatch.setitem(fetch.KNOWN, "ravdess", entry)
    return entry


@pytest.mark.parametrize("content", [b"tampered", b"short", b"a page much longer than the archive"])
def test_fault_52_wrong_hash_downloaded(tmp_path, known, server, content):
    server.content = content
    with pytest.raises(SerbenchError) as error:
        fetch.fetch("ravdess", tmp_path)
    assert known.hash.partition(":")[2] in str(error.value)
    assert hashlib.md5(content).hexdigest() in str(error.value)
    assert "\n" not in str(error.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_fault_52_wrong_hash_at_hand(tmp_path, known):
    source = tmp_path / "mine.zip"
    source.write_bytes(b"tampered")
    with pytest.raises(SerbenchError) as error:
        fetch.fetch("ravdess", tmp_path / "cache", source)
    assert known.hash in str(error.value)
    assert hashlib.md5(b"tampered").hexdigest() in str(error.value)
    assert source.read_bytes() == b"tampered"
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []
