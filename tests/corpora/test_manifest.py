"""A corpus described by a CSV of the user's own."""

import pytest

from benchmark.corpora import manifest
from benchmark.schema import SerbenchError

ROWS = ["path,speaker,label,age", "b/two.wav,s2,sad,31", "a/one.flac,s1,happy,", "a/thrée 🙂.wav,s1,sad,40"]


@pytest.fixture
def write(tmp_path):
    def write(text, encoding="utf-8"):
        for name in ("a/one.flac", "b/two.wav", "a/thrée 🙂.wav", "a/one.wav"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / "mine.csv").write_text(text, encoding=encoding)
        return tmp_path / "mine.csv"

    return write


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_dialect_is_the_same_corpus(write, delimiter, encoding, newline):
    root = write(newline.join(ROWS).replace(",", delimiter) + newline * 2, encoding)
    clips = manifest.scan(root)
    assert [clip.id for clip in clips] == ["a/one", "a/thrée 🙂", "b/two"]
    assert [clip.path for clip in clips] == ["a/one.flac", "a/thrée 🙂.wav", "b/two.wav"]
    assert [clip.speaker for clip in clips] == ["s1", "s1", "s2"]
    assert [clip.columns for clip in clips] == [{"age": ""}, {"age": "40"}, {"age": "31"}]
    card = manifest.card(root)
    assert (card.name, card.title, card.classes) == ("manifest", "mine.csv", ("happy", "sad"))


def test_order_of_columns_is_free_and_cells_are_stripped(write):
    root = write('label, path , speaker\n"sad, very", b/two.wav,s2\n')
    clip = manifest.scan(root)[0]
    assert (clip.label, clip.path, clip.speaker) == ("sad, very", "b/two.wav", "s2")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,speakers,label\nb/two.wav,s,l", "column 'speaker' is needed.*rename 'speakers'"),
        ("path,speaker\nb/two.wav,s", "column 'label' is needed.*add it"),
        ("path,speaker,label,label\nb/two.wav,s,l,l", "column names must differ"),
        ("path,speaker,label\nb/two.wav,,l", "line 2: 'speaker' must not be empty"),
        ("path,speaker,label\n\nb/two.wav,s", "line 3 must have 3 cells, but has 2"),
        ("path,speaker,label\n", "at least one row"),
        ("", "at least one row"),
        ("path,speaker,label\nno.wav,s,l\nb/two.wav,s,l", r"1 files are not in the CSV's folder: no\.wav"),
        ("path,speaker,label\na,s,l", "1 files are not in"),
        ("path,speaker,label\nb/two.wav,s,l\n./b/two.wav,s,l", "'b/two' is repeated"),
        ("path,speaker,label\na/one.wav,s,l\na/one.flac,s,l", "'a/one' is repeated"),
        ("path,speaker,label\n../two.wav,s,l", r"line 2: a path must be below .*'\.\./two.wav'"),
        ("path,speaker,label\n/b/two.wav,s,l", "line 2: a path must be below"),
        ('path,speaker,label\n"b/two.wav,s,l', "is no CSV"),
    ],
)
def test_errors_name_file_and_rule_in_one_line(write, text, said):
    with pytest.raises(SerbenchError, match=said) as error:
        manifest.scan(write(text))
    assert "mine.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_one_label_is_no_corpus(write):
    with pytest.raises(SerbenchError, match="2 labels are needed, but all are 'l'"):
        manifest.card(write("path,speaker,label\nb/two.wav,s,l"))


def test_other_encodings_folders_and_nothing_are_refused(write, tmp_path):
    with pytest.raises(SerbenchError, match="text must be UTF-8"):
        manifest.scan(write("path,speaker,label\nb/two.wav,é,l", "latin-1"))
    with pytest.raises(SerbenchError, match="must be a readable CSV"):
        manifest.scan(tmp_path)
    with pytest.raises(SerbenchError, match="must be a readable CSV"):
        manifest.scan(tmp_path / "absent.csv")
