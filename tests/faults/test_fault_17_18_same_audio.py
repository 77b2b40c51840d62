"""FAULTS 17 and 18: the same audio twice, with one label or two."""

import shutil
from pathlib import Path

import pytest
import small

from benchmark.prepare import manifest_rows, prepare
from benchmark.protocols import split
from benchmark.schema import SerbenchError


def test_fault_17_kept_reported_and_in_one_fold(tmp_path: Path) -> None:
    csv = small.write(tmp_path / "in", clips=24)
    shutil.copy(tmp_path / "in" / "c003.wav", tmp_path / "in" / "c009.wav")  # one speaker, one label
    corpus, _ = prepare("manifest", csv, tmp_path)
    assert len(corpus.utterances) == 24
    assert corpus.notes == ("the same audio: c003.wav and c009.wav",)
    for fold in split("random-80-20", corpus).folds:
        assert ("c003" in fold.test) == ("c009" in fold.test)
        for group in fold.validation_groups:
            assert ("c003" in group) == ("c009" in group)


def test_fault_18_two_labels_are_fatal_and_both_are_named(tmp_path: Path) -> None:
    csv = small.write(tmp_path / "in")
    shutil.copy(tmp_path / "in" / "c000.wav", tmp_path / "in" / "c003.wav")
    with pytest.raises(SerbenchError, match=r"c000\.wav \(angry\) and c003\.wav \(calm\)") as caught:
        prepare("manifest", csv, tmp_path)
    assert "--allow-modified" in str(caught.value)


def test_fault_18_the_override_leaves_both_out_and_is_recorded(tmp_path: Path) -> None:
    csv = small.write(tmp_path / "in")
    shutil.copy(tmp_path / "in" / "c000.wav", tmp_path / "in" / "c003.wav")
    corpus, _ = prepare("manifest", csv, tmp_path, allow_modified=True)
    assert [clip.id for clip in corpus.utterances] == ["c001", "c002", "c004", "c005"]
    assert corpus.modified
    assert any("c000.wav (angry) and c003.wav (calm)" in note for note in corpus.notes)
    reasons = {row["path"]: row["reason"] for row in manifest_rows(corpus)}
    assert reasons["c000.wav"] == reasons["c003.wav"] == "two_labels"
