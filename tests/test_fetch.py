"""Fetching: a real HTTP server that cuts the connection, resumes by Range, or serves another file."""

import hashlib
import io
import wave
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save, save_file

from benchmark import fetch, prepare, spec
from benchmark.cli import FETCHED, main
from benchmark.corpora import ravdess
from benchmark.schema import SerbenchError, UsageError

CLIPS = [
    f"03-01-0{emotion}-01-01-0{take}-{actor}"
    for actor in ("01", "02")
    for emotion in (2, 5)
    for take in (1, 2)
]


@pytest.fixture(scope="module")
def archive():
    """An archive in the layout of the real one: noise, so that it does not pack."""
    draw = np.random.default_rng(0)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for clip in CLIPS:
            sound = io.BytesIO()
            with wave.open(sound, "wb") as out:
                out.setnchannels(1)
                out.setsampwidth(2)
                out.setframerate(48_000)
                out.writeframes(draw.integers(-9000, 9000, 48_000, dtype="<i2").tobytes())
            file.writestr(f"Actor_{clip[-2:]}/{clip}.wav", sound.getvalue())
    return packed.getvalue()


@pytest.fixture
def known(monkeypatch, archive, server):
    """RAVDESS' entry with the size and hash of the test's archive, on the test's server."""
    published = fetch.KNOWN["ravdess"]
    entry = fetch.Known(
        f"{server.url}/{published.file}", len(archive), f"md5:{hashlib.md5(archive).hexdigest()}"
    )
    monkeypatch.setitem(fetch.KNOWN, "ravdess", entry)
    return entry


def left(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_published_archive():
    entry = fetch.KNOWN["ravdess"]
    assert entry.url == "https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip"
    assert entry.file == "Audio_Speech_Actors_01-24.zip"
    assert (entry.bytes, entry.hash) == (208_468_073, "md5:bc696df654c87fed845eb13823edef8a")


def test_download_unpacks_and_scans(server, known, archive, tmp_path):
    server.content = archive
    folder = fetch.fetch("ravdess", tmp_path)
    assert folder == tmp_path / "corpora" / "ravdess"
    assert [clip.id for clip in ravdess.scan(folder)] == sorted(CLIPS)
    assert len(left(tmp_path)) == len(CLIPS)
    assert fetch.fetch("ravdess", tmp_path) == folder
    assert len(server.asked) == 1


def test_cut_connections_are_taken_up_where_they_broke(server, known, archive, tmp_path):
    third = 15 * fetch.CHUNK
    server.content, server.cut, server.cuts = archive, third, 2
    fetch.fetch("ravdess", tmp_path)
    assert server.asked == ["bytes=0-", f"bytes={third}-", f"bytes={2 * third}-"]


def test_a_later_call_goes_on(server, known, archive, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "ATTEMPTS", 1)
    server.content, server.cut, server.cuts = archive, 16 * fetch.CHUNK, 1
    with pytest.raises(SerbenchError, match=rf"262144 of {len(archive)} bytes are kept: run it again"):
        fetch.fetch("ravdess", tmp_path)
    assert left(tmp_path) == [f"corpora/{known.file}.part"]
    assert len(ravdess.scan(fetch.fetch("ravdess", tmp_path))) == len(CLIPS)
    assert server.asked == ["bytes=0-", "bytes=262144-"]


def test_a_server_without_ranges_starts_over(server, known, archive, tmp_path):
    server.content, server.cut, server.cuts, server.ranges = archive, 300_000, 1, False
    assert len(ravdess.scan(fetch.fetch("ravdess", tmp_path))) == len(CLIPS)


def test_a_part_of_something_else_is_dropped(server, known, archive, tmp_path):
    part = tmp_path / "corpora" / f"{known.file}.part"
    part.parent.mkdir()
    part.write_bytes(archive[:1000])
    server.content = b"short"
    with pytest.raises(SerbenchError, match="416"):
        fetch.fetch("ravdess", tmp_path)
    assert left(tmp_path) == []


def test_no_server_is_one_line_with_the_cure(known, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "ATTEMPTS", 1)
    monkeypatch.setitem(fetch.KNOWN, "ravdess", replace(known, url="http://127.0.0.1:9/a.zip"))
    with pytest.raises(SerbenchError, match="give the file with --from") as error:
        fetch.fetch("ravdess", tmp_path)
    assert "\n" not in str(error.value)


def test_an_archive_at_hand_is_taken_and_kept(known, archive, tmp_path):
    source = tmp_path / "mine.zip"
    source.write_bytes(archive)
    folder = fetch.fetch("ravdess", tmp_path / "cache", source)
    assert len(ravdess.scan(folder)) == len(CLIPS)
    assert source.read_bytes() == archive
    with pytest.raises(SerbenchError, match="--from must name a file"):
        fetch.fetch("ravdess", tmp_path / "other", tmp_path / "absent.zip")


def test_a_full_disk_is_one_line_and_leaves_nothing(known, archive, tmp_path, tmpfs):
    source = tmp_path / "mine.zip"
    source.write_bytes(archive)
    with pytest.raises(SerbenchError, match=r"No space left on device.* make room, or choose") as error:
        fetch.fetch("ravdess", tmpfs, source)
    assert "\n" not in str(error.value)
    assert left(tmpfs) == []


def test_an_unknown_name_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="'ravdes': did you mean 'ravdess'"):
        fetch.fetch("ravdes", tmp_path)


def test_a_damaged_archive_leaves_nothing(archive, tmp_path):
    spoilt = tmp_path / "spoilt.zip"
    spoilt.write_bytes(archive[:5000] + b"x" * 50 + archive[5050:])
    with pytest.raises(SerbenchError, match="must be a sound zip"):
        fetch.extract(spoilt, tmp_path / "out")
    spoilt.write_bytes(b"no archive at all")
    with pytest.raises(SerbenchError, match="must be a sound zip"):
        fetch.extract(spoilt, tmp_path / "out")
    assert left(tmp_path) == ["spoilt.zip"]


def test_weights_come_from_a_file_and_stay_in_the_cache(tmp_path):
    source = tmp_path / "some.safetensors"
    save_file({"features.16.0.weight": np.ones((384, 64, 1, 1), np.float32)}, source)
    path = fetch.fetch("mn04-audioset", tmp_path / "cache", source)
    assert path == tmp_path / "cache" / "weights" / "mn04-audioset" / "some.safetensors"
    assert path.read_bytes() == source.read_bytes()
    assert fetch.fetch("mn04-audioset", tmp_path / "cache", source) == path
    save_file({"features.16.0.weight": np.zeros((384, 64, 1, 1), np.float32)}, source)
    with pytest.raises(SerbenchError, match=r"in the cache already, .* is another file: .* delete"):
        fetch.fetch("mn04-audioset", tmp_path / "cache", source)
    source.unlink()
    assert fetch.fetch("mn04-audioset", tmp_path / "cache") == path
    assert fetch.weights("mn04-audioset", tmp_path / "cache") == path
    assert fetch.weights("ast-audioset", tmp_path / "cache") is None


def test_weights_of_another_network_are_refused(tmp_path):
    source = tmp_path / "model.safetensors"
    save_file({"conv_stem.weight": np.ones((16, 3, 3, 3), np.float32)}, source)
    with pytest.raises(SerbenchError, match=r"must hold features\.16\.0\.weight .* hold conv_stem\.weight"):
        fetch.fetch("mn04-audioset", tmp_path / "cache", source)
    assert fetch.weights("mn04-audioset", tmp_path / "cache") is None


def test_any_network_of_timm_is_fetched_by_its_name_on_the_hub(tmp_path):
    source = tmp_path / "model.safetensors"
    save_file({"conv_stem.weight": np.ones((16, 3, 3, 3), np.float32)}, source)
    name = "timm/resnet18.a1_in1k"
    with pytest.raises(
        SerbenchError, match=r"timm/resnet18\.a1_in1k must hold conv1\.weight \(64, 3, 7, 7\)"
    ):
        fetch.fetch(name, tmp_path / "cache", source)
    with pytest.raises(UsageError, match="unknown model of timm 'resnett18': did you mean 'resnet18'"):
        fetch.fetch("timm/resnett18.a1_in1k", tmp_path / "cache", source)
    save_file({"conv1.weight": np.ones((64, 3, 7, 7), np.float32)}, source)
    assert fetch.entry_of(name).url.endswith("/timm/resnet18.a1_in1k/resolve/main/model.safetensors")
    path = fetch.fetch(name, tmp_path / "cache", source)
    assert fetch.weights(name, tmp_path / "cache") == path
    assert fetch.command(name) == f"serbench fetch {name}"
    with pytest.raises(UsageError, match="unknown thing to fetch 'tim/resnet18'"):
        fetch.fetch("tim/resnet18", tmp_path / "cache", source)


def test_weights_of_the_hub_are_held_to_the_hash_that_it_sends(server, tmp_path, monkeypatch, capsys):
    server.content = save({"conv1.weight": np.ones((64, 3, 7, 7), np.float32)})
    monkeypatch.setattr(fetch, "HUB", server.url + "/hub/{}/model.safetensors")
    server.linked = "0" * 64
    wanted = hashlib.sha256(server.content).hexdigest()
    with pytest.raises(SerbenchError, match=rf"must have sha256:{'0' * 64}, but has {wanted}; get it again"):
        fetch.fetch("timm/resnet18.a1_in1k", tmp_path)
    assert left(tmp_path) == []
    server.linked, server.cuts, server.cut = wanted, 1, 20_000
    arguments = ["fetch", "timm/resnet18.a1_in1k", "--cache", str(tmp_path)]
    assert main(arguments) == 0
    path, told = Path(capsys.readouterr().out.strip()), fetch.fetch("timm/resnet18.a1_in1k", tmp_path)
    assert path == told and path.read_bytes() == server.content
    assert server.asked[-1] == f"bytes={fetch.CHUNK}-"
    assert main(arguments) == 0
    assert f"sha256:{wanted}" in capsys.readouterr().err


def test_weights_that_were_damaged_in_the_cache_are_named(tmp_path):
    source = tmp_path / "some.safetensors"
    save_file({"features.16.0.weight": np.ones((384, 64, 1, 1), np.float32)}, source)
    path = fetch.fetch("mn04-audioset", tmp_path / "cache", source)
    (path.parent / ".DS_Store").write_text("x")
    assert fetch.weights("mn04-audioset", tmp_path / "cache") == path
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(
        SerbenchError, match=r"some\.safetensors: weights must be readable.*; delete it first"
    ):
        fetch.fetch("mn04-audioset", tmp_path / "cache")


def test_an_answer_that_is_no_file_is_one_line(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "HUB", server.url + "/missing/{}/model.safetensors")
    with pytest.raises(SerbenchError, match=r"must be there, but its server answers 404 .*--from") as fault:
        fetch.fetch("timm/resnet18.a1_in1k", tmp_path)
    assert "\n" not in str(fault.value)
    assert not list(tmp_path.rglob(".part-*"))


def test_weights_that_are_none_leave_nothing_in_the_cache(tmp_path):
    source = tmp_path / "page.safetensors"
    source.write_text("<html>")
    with pytest.raises(SerbenchError, match=r"page\.safetensors"):
        fetch.fetch("mn04-audioset", tmp_path / "cache", source)
    with pytest.raises(SerbenchError, match="--from must name a file"):
        fetch.fetch("mn04-audioset", tmp_path / "cache", tmp_path / "nowhere")
    assert fetch.weights("mn04-audioset", tmp_path / "cache") is None


def test_missing_weights_are_one_line_with_the_command_that_brings_them(tmp_path):
    with pytest.raises(UsageError, match="cnn@audioset needs the weights mn04-audioset: serbench fetch"):
        prepare.weights_file("mn04-audioset", tmp_path, "cnn@audioset")


def test_a_study_without_its_weights_ends_before_it_reads_the_corpus(tmp_path, capsys):
    arguments = ["--families", "cnn@audioset", "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "c")]
    assert main(["run", "--corpus", "synthetic", *arguments]) == 2
    said = capsys.readouterr().err
    assert "cnn@audioset needs the weights mn04-audioset: serbench fetch mn04-audioset" in said
    assert "Corpus" not in said
    assert not (tmp_path / "c").exists()


def test_bare_systems_are_those_whose_weights_are_at_hand(tmp_path):
    have, skipped = spec.at_hand(tmp_path)
    assert {"svm", "mlp", "random_forest", "lstm", "cnn@none"} == set(have)
    assert set(skipped) == {
        "cnn@audioset",
        "cnn@imagenet",
        "ast@audioset",
        "ast@imagenet",
        "ast@none",
        "svm@audioset",
    }
    assert "serbench fetch deit-base-imagenet" in skipped["ast@imagenet"]
    assert "hours without a GPU" in skipped["ast@none"]
    assert "ast@none" in spec.at_hand(tmp_path, gpu=True)[0]
    (tmp_path / "weights" / "mn04-audioset").mkdir(parents=True)
    (tmp_path / "weights" / "mn04-audioset" / "w.safetensors").touch()
    assert {"cnn@audioset", "svm@audioset"} <= set(spec.at_hand(tmp_path)[0])


def test_a_bare_family_with_pretrained_weights_is_its_default():
    assert list(spec.read_spaces(("cnn", "ast@none", "svm"), None)) == ["cnn@audioset", "ast@none", "svm"]
    assert list(spec.read_spaces(("svm@none", "svm@audioset"), None)) == ["svm", "svm@audioset"]
    for wrong, told in (
        ("cnn@audiset", "did you mean 'cnn@audioset'"),
        ("svm@imagenet", "known: .*svm, svm@audioset"),
        ("cnn@", "did you mean 'cnn@none'"),
        ("lstm@", "did you mean 'lstm'"),
    ):
        with pytest.raises(UsageError, match=f"unknown system '{wrong}': .*{told}"):
            spec.read_spaces((wrong,), None)


def test_the_help_names_all_that_can_be_fetched():
    assert set(FETCHED) == {*fetch.KNOWN, *fetch.WEIGHTS, fetch.TIMM + "MODEL.TAG"}
