"""The committed search spaces: each loads, its published configuration is valid, sampling stays in range."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optuna
import pytest

from benchmark import registry, space, spec
from benchmark.cli import main
from benchmark.schema import SerbenchError, UsageError
from benchmark.sequences import Sequences

FOLDER = Path(__file__).parents[1] / "search_spaces"
SPACES = {path.stem: space.load(path) for path in sorted(FOLDER.glob("*.yaml"))}
ROWS = ("mlp", "random_forest", "svm")  # whose features are a row a clip
DIGESTS = {  # of the spaces that results/ was made with: a change here makes them other studies
    "mlp": "71148774d638e835a3a179f801c0a7d05fa9a39e48e5a91a046db7f08b1771fb",
    "random_forest": "3da5a8ececd1ccaa577ed437bb262550eed097b0f7ac3a118a4141e8b110d807",
    "svm": "762516ed2327fcad206690f79893801695e5083ec62d1e10d24de724dad96f4d",
}


def test_every_family_has_a_space():
    assert set(registry.names("families")) <= set(SPACES)
    assert all(name.partition("@")[0] == s.family for name, s in SPACES.items())


by_family = pytest.mark.parametrize("found", SPACES.values(), ids=SPACES)


def test_the_spaces_are_those_of_the_committed_results():
    assert {name: SPACES[name].digest for name in DIGESTS} == DIGESTS


@by_family
def test_the_family_knows_every_parameter_and_the_space_gives_every_one(found):
    family = registry.family(found.family)
    assert space.parse(found.text, "a space", family) == found
    assert sorted(family.PARAMETERS) == sorted({*found.fixed, *(p.name for p in found.search)})


@by_family
def test_a_configuration_of_the_parameters_alone_is_all_that_is_read(found):
    """No family reads a key that it does not name; only what a `when` may leave out is optional."""
    family, config = registry.family(found.family), Read(small(found.configuration(found.published_params)))
    x, y = data(found), np.arange(24) % 3
    family.steps(config)
    family.start(config, x, y, classes=3, seed=0, groups=y).step()
    assert config.read <= set(family.PARAMETERS)


def data(found):
    """24 clips of noise in the form of the space's features."""
    random = np.random.default_rng(0)
    if found.family in ROWS:
        return random.normal(size=(24, 20)).astype(np.float32)
    return Sequences.of([random.normal(size=(64, 128)).astype(np.float32) for _ in range(24)])


def small(config):
    """The configuration with the smallest transformer of the space's family."""
    return config | {"size": "tiny", "stride": 16} if "size" in config else config


class Read(dict):
    """A configuration that notes what is read of it."""

    def __init__(self, values):
        super().__init__(values)
        self.read = set()

    def __getitem__(self, key):
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key, default=None):
        self.read |= {key} & set(self)
        return super().get(key, default)


@pytest.mark.parametrize(
    ("family", "old", "new", "told"),
    [
        (
            "svm",
            "choices: [rbf, linear]",
            "choices: [rbf, lnear]",
            "kernel has no 'lnear': did you mean 'linear'?",
        ),
        ("mlp", "choices: [adamw, adam]", "choices: [adamw, adam, sgd]", "optimizer has no 'sgd': "),
        (
            "random_forest",
            "choices: [gini",
            "choices: [ginni",
            "criterion has no 'ginni': did you mean 'gini'?",
        ),
    ],
)
def test_a_choice_that_the_family_does_not_know_is_refused(family, old, new, told):
    text = (FOLDER / f"{family}.yaml").read_text()
    assert old in text
    with pytest.raises(SerbenchError, match=re.escape(told)):
        space.parse(text.replace(old, new, 1), f"{family}.yaml", registry.family(family))


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("cnn", "batch_size: 32", 'batch_size: "32"', "batch_size must be a whole number >= 1, but got '32'"),
        ("cnn", "crop_frames: 384", "crop_frames: -5", "crop_frames must be a whole number >= 0, but got -5"),
        ("cnn", "network: mn04", "network: 4", "7: network must be text, but got 4"),
        ("lstm", "low: 0.0003, high: 0.005, log: true}", "low: 0, high: 0.005}",
         "12: lr must be a number above 0, but got 0"),
        ("lstm", "dropout: 0.3", "dropout: 1.5", "dropout must be a number >= 0 and <= 0.99, but got 1.5"),
        ("svm", "pretraining: none", "pretraining: audioset\nweights: {audioset: mn04-audioset}",
         "svm has no pretraining 'audioset': its networks begin with random weights; leave `weights` out"),
        ("cnn", "weights: {audioset:", "weights: {audoiset:",
         "6: cnn has no pretraining 'audoiset': did you mean 'audioset'?"),
        ("cnn", "pretraining: audioset", "pretraining: audoset",
         "5: pretraining must be none or among `weights`, but got 'audoset': did you mean 'audioset'?"),
    ],
)  # fmt: skip
def test_a_value_that_no_training_could_have_is_refused_with_its_line(file, old, new, told):
    text = (FOLDER / f"{file}.yaml").read_text()
    assert old in text
    with pytest.raises(SerbenchError, match=re.escape(told)):
        space.parse(text.replace(old, new, 1), f"{file}.yaml", registry.family(file))


def test_a_whole_number_is_not_searched_as_a_float():
    text = (FOLDER / "svm.yaml").read_text().replace("family: svm", "family: mlp")
    family = SimpleNamespace(
        NAME="mlp", PARAMETERS=("kernel", "C", "gamma_scale", "class_weight"), LIMITS={"C": ("int", 1, 10)}
    )
    with pytest.raises(SerbenchError, match="C must have type: int"):
        space.parse(text, "mlp.yaml", family)


def test_every_parameter_has_choices_or_limits():
    for name in registry.names("families"):
        family = registry.family(name)
        assert set(family.PARAMETERS) <= {*family.CHOICES, *family.LIMITS}, name


@pytest.mark.parametrize(
    ("system", "file", "old", "new", "told"),
    [
        ("cnn@imagenet", "cnn@imagenet.yaml",
         "pretraining: imagenet\nweights: {imagenet: mobilenetv3-imagenet}\n", "pretraining: none\n",
         r"cnn@imagenet\.yaml: pretraining must be imagenet, as the file's name says"),
        ("svm@audioset", "svm@audioset.yaml", "functionals+audioset_embedding", "functionals",
         r"svm@audioset\.yaml: pretraining must be none, since .* its features, functionals, have none"),
        ("cnn", "cnn.yaml", "weights: {audioset: mn04-audioset}\n", "",
         r"cnn\.yaml: pretraining must be none, since it names no weights"),
        ("svm", "mlp.yaml", "family: mlp", "family: mlp", r"svm needs a space svm\.yaml, but .* holds mlp"),
    ],
)  # fmt: skip
def test_a_name_of_pretraining_that_nothing_backs_is_refused(tmp_path, system, file, old, new, told):
    text = (FOLDER / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new))
    with pytest.raises((SerbenchError, UsageError), match=told):
        spec.make_spec({"corpus": "synthetic", "systems": (system,)}, tmp_path)


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("cnn", "network: mn04", "network: mobilnetv3_large_100",
         "network must be mn04 or a model of timm, but got 'mobilnetv3_large_100': did you mean 'mobilenet"),
        ("cnn", "network: mn04", "network: vit_tiny_patch16_224", "AssertionError: Input"),
        ("svm", "features: functionals", "features: log_mel", "svm reads statistics, which log_mel is not"),
        ("lstm", "features: log_mel", "features: functionals",
         "lstm reads one set of frames, which functionals is not"),
    ],
)  # fmt: skip
def test_what_would_end_every_trial_is_told_before_the_corpus_is_read(tmp_path, capsys, file, old, new, told):
    text = (FOLDER / f"{file}.yaml").read_text()
    (tmp_path / f"{file}.yaml").write_text(
        text.replace(old, new).replace("pretraining: audioset", "pretraining: none")
    )
    folders = {"--spaces": tmp_path, "--out": tmp_path / "out", "--cache": tmp_path / "cache"}
    arguments = [text for option, folder in folders.items() for text in (option, str(folder))]
    assert main(["run", "--corpus", "synthetic", "--families", file, *arguments]) in (1, 2)
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1
    assert not (tmp_path / "cache").exists()


@by_family
def test_features_exist_and_are_the_familys_own(found):
    assert set(found.features.split("+")) <= set(registry.names("features"))
    assert registry.family(found.family).FEATURES in found.features.split("+")


@by_family
def test_published_configuration_is_valid(found):
    config = found.configuration(found.published_params)
    assert registry.family(found.family).steps(config) >= 1
    assert set(found.assumed) <= set(config)


@by_family
def test_sampling_stays_in_range_and_runs(found):
    family = registry.family(found.family)
    x, y = data(found), np.arange(24) % 3
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for number in range(50):
        params = found.sample(study.ask())
        for p in found.search:
            if p.name in params:
                value = params[p.name]
                assert value in p.choices if p.choices else p.low <= value <= p.high
        config = small(found.configuration(params))
        assert family.steps(config) >= 1
        if number < (5 if found.family in ROWS else 2):
            fit = family.start(config, x, y, classes=3, seed=0, groups=y)
            fit.step()
            assert np.isfinite(fit.scores(x)).all()


def test_what_the_reference_study_states():
    """Forest of 100 trees; MLP of 5 × 300, batch norm, dropout .5, Adam at 1e-3: stated, so never assumed."""
    stated = {
        name: {k: v for k, v in s.published_params.items() if k not in s.assumed}
        for name, s in SPACES.items()
    }
    rate = {"schedule": "exponential", "lr": 1e-5, "decay": 0.85, "decay_start": 5, "epochs": 25}
    assert stated["ast"] == rate
    assert stated["random_forest"] == {"n_estimators": 100}
    assert stated["mlp"] == {
        "layers": 5, "units": 300, "batch_norm": True, "dropout": 0.5, "optimizer": "adam", "lr": 0.001,
    }  # fmt: skip
    assert stated["svm"] == {}
