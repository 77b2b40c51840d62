"""FAULTS 44 to 48: a YAML file of the user says one thing, and runs no code."""

import time

import pytest

from benchmark import space, spec
from benchmark.schema import SerbenchError

HEAD = "family: svm\nfeatures: functionals\n"
SEARCH = "search:\n  C: {type: float, low: 1, high: 10}\npublished: {C: 1}\n"


@pytest.fixture
def refused(tmp_path):
    def check(text: str) -> str:
        path = tmp_path / "svm.yaml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(SerbenchError) as caught:
            space.load(path)
        message = str(caught.value)
        assert "\n" not in message
        assert message.startswith(str(path))
        return message.removeprefix(str(path))

    return check


def test_fault_44_unknown_key_at_the_top(refused):
    message = refused(HEAD + SEARCH + "asumed: [C]\n")
    assert message.startswith(":6: unknown key 'asumed'")
    assert "did you mean 'assumed'?" in message


def test_fault_44_unknown_key_in_a_parameter(refused):
    message = refused(HEAD + SEARCH.replace("high", "hihg"))
    assert message.startswith(":4: unknown key 'hihg' in float C: did you mean 'high'?")


@pytest.mark.parametrize("block", ["resources: {cpu: 1}", "pruning: {graze: 1}"])
def test_fault_44_unknown_key_in_a_block(refused, block):
    assert refused(HEAD + SEARCH + block).startswith(":6: unknown key ")


def test_fault_44_in_a_study_file():
    found = space.load_strict("corpus: ravdess\ntrails: 40\n", "study.yaml")
    with pytest.raises(
        SerbenchError, match=r"study\.yaml:2: unknown key 'trails' .* did you mean 'trials'\?"
    ):
        space.check_keys(found, ("corpus", "trials"), "study")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + SEARCH + "family: mlp\n", ":6: duplicate key 'family', first on line 1; remove one"),
        (HEAD + SEARCH.replace("low: 1", "low: 1, low: 2"), ":4: duplicate key 'low', first on line 4"),
        (HEAD + SEARCH + '"family": mlp\n', ":6: duplicate key 'family'"),
    ],
)
def test_fault_45_duplicate_key(refused, text, message):
    assert refused(text).startswith(message)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("1E3", 1e3), ("-2.5e+2", -250.0), (".5", 0.5), ("1.", 1.0), ("0", 0), ("-7", -7)],
)
def test_fault_46_numbers_are_numbers(text, value):
    read = space.load_strict(f"lr: {text}", "x.yaml")["lr"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("text", ["01", "1_000", "1:30", "2020-01-01", "0x1F", "<<", ".nan", "1e"])
def test_fault_46_what_looks_like_a_number_to_yaml_1_1_stays_text(text):
    assert space.load_strict(f"a: {text}", "x.yaml")["a"] == text


@pytest.mark.parametrize("word", ["no", "on", "Yes", "OFF"])
def test_fault_46_ambiguous_words_must_be_quoted(refused, word):
    message = refused(HEAD + f"fixed:\n  weight: {word}\n" + SEARCH)
    assert message.startswith(
        f":4: unquoted {word} is a truth value to some; quote it, or write true or false"
    )
    assert refused(f"{word}: 1\n").startswith(f":1: unquoted {word} is a truth value to some")
    quoted = space.load_strict(f"a: \"{word}\"\nb: '{word}'", "x.yaml")
    assert quoted == {"a": word, "b": word}


def test_fault_46_a_key_is_text(refused):
    assert refused("1: a\n").startswith(":1: a key must be text, but got '1'; quote it")


def test_fault_46_true_and_false_are_truth_values():
    assert space.load_strict("[true, False, null, ~]", "x.yaml") == [True, False, None, None]


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['touch {0}']",
        "!!python/object/new:os.system ['touch {0}']",
        "!!python/name:os.system",
        "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{0}']]",
        "!include {0}",
        "!!binary aGVsbG8=",
    ],
)
def test_fault_47_python_objects_are_refused_and_not_run(refused, tmp_path, value):
    touched = tmp_path / "touched"
    message = refused(HEAD + "fixed:\n  a: " + value.format(touched) + "\n" + SEARCH)
    assert message.startswith(":4: anchors (&), aliases (*) and tags (!) are not allowed")
    assert not touched.exists()


def test_fault_48_alias_bomb_is_refused_at_once(refused):
    lines = ["a0: &a0 [lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 40)]
    began = time.monotonic()
    message = refused("\n".join(lines) + "\n")
    assert message.startswith(":1: anchors (&), aliases (*) and tags (!) are not allowed")
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("text", ["a: *b\n", "a: &a {b: 1}\n", "a: &a\n  <<: *a\n", "&k a: 1\n"])
def test_fault_48_anchors_and_aliases_anywhere(refused, text):
    assert "anchors (&), aliases (*) and tags (!) are not allowed" in refused(text)


def in_folder(tmp_path, change):
    """Read the svm's packaged space, changed, as `--spaces` does; return the refusal."""
    text = (spec.SPACES / "svm.yaml").read_text(encoding="utf-8")
    assert change[0] in text
    (tmp_path / "svm.yaml").write_text(text.replace(*change), encoding="utf-8")
    with pytest.raises(SerbenchError) as caught:
        spec.read_spaces(("svm",), tmp_path)
    return str(caught.value).removeprefix(str(tmp_path / "svm.yaml"))


def test_fault_44_a_searched_parameter_that_the_family_does_not_know(tmp_path):
    message = in_folder(tmp_path, ("gamma_scale", "gama_scale"))
    assert message.startswith(":9: unknown key 'gama_scale' in the parameters of svm: ")
    assert "did you mean 'gamma_scale'?" in message


def test_fault_44_a_fixed_parameter_that_the_family_does_not_know(tmp_path):
    message = in_folder(tmp_path, ("search:\n", "fixed: {kernal: rbf}\nsearch:\n"))
    assert message.startswith(":6: unknown key 'kernal' in the parameters of svm: did you mean 'kernel'?")


def test_fault_44_a_file_that_says_another_family_than_its_system(tmp_path):
    message = in_folder(tmp_path, ("family: svm", "family: mlp"))
    assert message.startswith(":3: family must be svm, as the system says, but got 'mlp'")


def test_fault_44_a_space_inside_a_study_file_is_checked_too():
    text = (spec.SPACES / "svm.yaml").read_text(encoding="utf-8").replace("gamma_scale", "gama_scale")
    with pytest.raises(SerbenchError, match=r"svm\.yaml:9: unknown key 'gama_scale'.*'gamma_scale'"):
        spec.StudySpec("x", "synthetic", "loso", ("svm",), {"svm": text})
