import pickle
from types import SimpleNamespace

import pytest

from benchmark import space
from benchmark.schema import SerbenchError

GOOD = """\
schema_version: 1
family: svm
features: functionals
fixed: {shrinking: true}
search:
  kernel: {type: categorical, choices: [rbf, linear]}
  C: {type: float, low: 1e-2, high: 1000, log: true}
  gamma: {type: float, low: 1e-5, high: 1, log: true, when: {kernel: rbf}}
  layers: {type: int, low: 2, high: 8, step: 2}
  norm: {type: categorical, choices: [true, false]}
  rate: {type: float, low: 0, high: 0.6, step: 0.2, when: {norm: [true], kernel: [rbf, linear]}}
published: {kernel: rbf, C: 1.0, gamma: 10, layers: 5, norm: true, rate: 0.2}
assumed: [C, shrinking]
resources: {cpus: 1, gpus: 0.25, memory_gb: 2, time_limit_s: 60}
"""
PARAMS = {"kernel": "linear", "C": 0.5, "layers": 4, "norm": False}


class Trial:
    """Takes the values given and notes what it was asked."""

    def __init__(self, **values):
        self.values, self.asked = values, []

    def suggest_categorical(self, name, choices):
        self.asked.append((name, choices))
        return self.values[name]

    def suggest_float(self, name, low, high, *, step=None, log=False):
        self.asked.append((name, low, high, step, log))
        return self.values[name]

    def suggest_int(self, name, low, high, *, step=1, log=False):
        self.asked.append((name, low, high, step, log))
        return self.values[name]


@pytest.fixture
def good():
    return space.parse(GOOD, "svm.yaml")


def refused(*changes: tuple[str, str]) -> str:
    text = GOOD
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    with pytest.raises(SerbenchError) as caught:
        space.parse(text, "svm.yaml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_content(good):
    assert (good.family, good.features, good.pretraining) == ("svm", "functionals", None)
    assert good.fixed == {"shrinking": True}
    assert good.assumed == ("C", "shrinking")
    assert good.resources == {"cpus": 1, "gpus": 0.25, "memory_gb": 2, "time_limit_s": 60}
    assert good.pruning == space.PRUNING
    assert good.text == GOOD
    assert good.published_params == {
        "kernel": "rbf",
        "C": 1.0,
        "gamma": 10.0,
        "layers": 5,
        "norm": True,
        "rate": 0.2,
    }


def test_sample_asks_for_active_parameters_only_in_the_order_of_the_file(good):
    trial = Trial(kernel="linear", C=0.5, layers=4, norm=False)
    assert good.sample(trial) == PARAMS
    assert trial.asked == [
        ("kernel", ["rbf", "linear"]),
        ("C", 0.01, 1000, None, True),
        ("layers", 2, 8, 2, False),
        ("norm", [True, False]),
    ]


def test_sample_reads_define_by_run_with_optuna(good):
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(60):
        trial = study.ask()
        params = good.sample(trial)
        assert params == trial.params
        assert ("gamma" in params) == (params["kernel"] == "rbf")
        assert ("rate" in params) == params["norm"]
        assert good.configuration(params) == {"shrinking": True, **params}
        assert {type(params["C"]), type(params["layers"])} == {float, int}
        study.tell(trial, 0.0)


def test_published_values_become_plain_ones_and_may_lie_out_of_range(good):
    assert good.configuration(good.published_params) == {"shrinking": True, **good.published_params}
    assert good.published_params["gamma"] == 10 and good.published_params["layers"] == 5
    assert type(good.published_params["gamma"]) is float and type(good.published_params["layers"]) is int


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{kernel: rbf, C: 1.0, gamma", "{kernel: rbf, Cc: 1.0, gamma", "did you mean 'C'?"),
        ("C: 1.0", "C: null", "C must be a finite float, but got None"),
        ("C: 1.0", "C: .nan", "C must be a finite float, but got '.nan'"),
        ("C: 1.0", "C: 1e999", "C must be a finite float, but got inf"),
        ("C: 1.0", "C: true", "C must be a finite float, but got True"),
        ("C: 1.0", 'C: "1"', "C must be a finite float, but got '1'"),
        ("C: 1.0", "C: 0", "C must be > 0 on a log scale"),
        ("layers: 5", "layers: 4.0", "layers must be a finite int, but got 4.0"),
        ("{kernel: rbf, C", "{kernel: poly, C", "kernel must be one of ['rbf', 'linear'], but got 'poly'"),
        ("norm: true, rate", "norm: 1, rate", "norm must be one of [True, False], but got 1"),
        ("{kernel: rbf, C", "{kernel: linear, C", "'gamma' is inactive by its `when`"),
        (", rate: 0.2}", "}", "'rate' is missing"),
        ("C: 1.0, ", "", "'C' is missing"),
    ],
)
def test_published_values_are_strict(old, new, message):
    told = refused((old, new))
    assert message in told and told.startswith("svm.yaml:12: ")


FAMILY = SimpleNamespace(NAME="svm", PARAMETERS=(*PARAMS, "gamma", "rate", "shrinking"))


def test_a_space_of_its_family_passes(good):
    assert space.parse(GOOD, "svm.yaml", FAMILY) == good


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("family: svm", "family: mlp"), "svm.yaml:2: family must be svm, as the system says, but got 'mlp'"),
        (("  C: {", "  CC: {"), "svm.yaml:7: unknown key 'CC' in the parameters of svm: did you mean 'C'?"),
        (
            ("{shrinking: true}", "{shrinkin: true}"),
            "svm.yaml:4: unknown key 'shrinkin' in ",
        ),
    ],
)
def test_another_family_and_parameters_that_it_does_not_know_are_refused(change, message):
    with pytest.raises(SerbenchError) as caught:
        space.parse(GOOD.replace(*change), "svm.yaml", FAMILY)
    assert str(caught.value).startswith(message)


def test_a_parameter_that_the_family_needs_must_be_there():
    lines = [line for line in GOOD.splitlines() if not line.startswith("fixed:")]
    with pytest.raises(
        SerbenchError, match=r"^svm.yaml:\d+: parameter 'shrinking' of svm must be searched or"
    ):
        space.parse("\n".join(lines), "svm.yaml", FAMILY)


@pytest.mark.parametrize("version", ["2", "true", "'1'"])
def test_another_schema_version_is_refused_and_none_is_this_one(good, version):
    told = refused(("schema_version: 1", f"schema_version: {version}"))
    assert told.startswith("svm.yaml:1: schema_version must be 1, but got ")
    assert space.parse(GOOD.replace("schema_version: 1\n", ""), "svm.yaml").digest == good.digest


def test_digest_counts_content_and_order_but_not_layout(good):
    relaid = space.parse("# why\n" + GOOD.replace("{shrinking: true}", "\n  shrinking: true"), "x.yaml")
    assert relaid.digest == good.digest
    edited = space.parse(GOOD.replace("low: 1e-2", "low: 1e-3"), "svm.yaml")
    assert edited.digest != good.digest
    norm = "  norm: {type: categorical, choices: [true, false]}\n"
    turned = space.parse(GOOD.replace(norm, "").replace("search:\n", "search:\n" + norm), "svm.yaml")
    assert turned.digest != good.digest


def test_a_space_and_its_sampler_are_picklable(good):
    again = pickle.loads(pickle.dumps(good.sample))
    assert again(Trial(**PARAMS)) == PARAMS
    assert pickle.loads(pickle.dumps(good)) == good


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("low: 1e-2", "low: 2000", "svm.yaml:7: C: low <= high must hold, but got low=2000, high=1000"),
        ("low: 1e-2", "low: 0", "svm.yaml:7: C: low > 0 must hold with log: true, but got low=0"),
        (
            "low: 1e-2",
            "low: tiny",
            "svm.yaml:7: C: low must be a finite number of type float, but got 'tiny'",
        ),
        ("low: 1e-2", "low: .inf", "C: low must be a finite number of type float, but got '.inf'"),
        ("low: 1e-2", "low: 1e999", "svm.yaml:7: C: low must be a finite number of type float, but got inf"),
        ("low: 1e-2, ", "", "svm.yaml:7: float C must have the key 'low'"),
        (
            "low: 2, high: 8",
            "low: 2.5, high: 8",
            "layers: low must be a finite number of type int, but got 2.5",
        ),
        ("high: 8", "high: 9", "layers: high - low must be a multiple of step, but got 2, 9, 2"),
        ("step: 2}", "step: 0}", "layers: step must be > 0 and without log"),
        ("step: 2}", "log: true, step: 1}", "layers: step must be > 0 and without log"),
        ("high: 1000, log: true", "high: 1000, log: 1", "log must be true or false, but got 1"),
        (
            "[rbf, linear]}\n  C",
            "[rbf, rbf]}\n  C",
            "kernel: choices must be unique, but 'rbf' equals another",
        ),
        ("choices: [true, false]", "choices: [true, 1]", "norm: choices must be unique"),
        ("choices: [true, false]", "choices: []", "norm: choices must be a list, but got []"),
        (
            "choices: [true, false]",
            "choices: [[1], [2]]",
            "norm: a choice must be a plain value, but got [1]",
        ),
        ("type: int", "type: integer", "layers: type must be one of float, int, categorical"),
        ("{kernel: rbf}}", "{kernel: poly}}", "svm.yaml:8: gamma: kernel is never 'poly'"),
        ("{kernel: rbf}}", "{norm: true}}", "gamma: when must name a categorical parameter above it"),
        ("{kernel: rbf}}", "{C: 1}}", "gamma: when must name a categorical parameter above it, but got 'C'"),
        ("{kernel: rbf}}", "rbf}", "gamma: when must be {parameter: value}, but got 'rbf'"),
        ("{norm: [true], ", "{norm: [1], ", "rate: norm is never 1"),
        ("{shrinking: true}", "{C: 1}", "svm.yaml:4: fixed C must be one plain value and not searched too"),
        ("gamma: 10, ", "", "svm.yaml:12: published: parameter 'gamma' is missing"),
        ("gamma: 10, ", "gama: 10, ", "svm.yaml:12: unknown key 'gama' in "),
        ("layers: 5", "layers: five", "svm.yaml:12: published: layers must be a finite int, but got 'five'"),
        ("assumed: [C, ", "assumed: [D, ", "svm.yaml:13: assumed must list published or fixed names"),
        ("assumed: [C, shrinking]", "assumed: C", "svm.yaml:13: assumed must list"),
        ("cpus: 1", "cpus: 0", "svm.yaml:14: cpus must be a number >= 0.01, got 0"),
        ("cpus: 1", "cpus: many", "cpus must be a number"),
        ("family: svm", "family: 1", "svm.yaml:2: family must be text, but got 1"),
        ("family: svm\n", "", "search space svm.yaml must have the key 'family'"),
        ("  C: {", "  C-1: {", "svm.yaml:7: C-1: a name has letters, digits and _ only"),
        (
            "[C, shrinking]\n",
            "[C]\npruning: {grace: 0}\n",
            "grace must be a number >= 1, got 0",
        ),
        ("[C, shrinking]\n", "[C]\npruning: {reduction: 1}\n", "reduction must be a number >= 2"),
    ],
)
def test_entries_are_validated(old, new, message):
    assert message in refused((old, new))


def test_an_entry_or_a_file_of_another_shape_is_refused():
    assert "kernel: must be a mapping with `type`" in refused(
        ("{type: categorical, choices: [rbf, linear]}", "rbf")
    )
    for text in ("", "- a\n", "text"):
        with pytest.raises(SerbenchError, match="must be a mapping of key: value"):
            space.parse(text, "x.yaml")


def test_load_names_the_file(tmp_path):
    path = tmp_path / "svm.yaml"
    path.write_text(GOOD, encoding="utf-8")
    assert space.load(path) == space.parse(GOOD, "svm.yaml")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SerbenchError, match=r"svm\.yaml: must be a readable YAML file in UTF-8"):
        space.load(path)
    with pytest.raises(SerbenchError, match="No such file"):
        space.load(tmp_path / "none.yaml")


@pytest.mark.parametrize("text", ["a: [1", "a: b: c", "a: 1\n---\nb: 2", "\t- a", "a: \x07", "'"])
def test_broken_yaml_is_one_line_with_the_name(text):
    with pytest.raises(SerbenchError, match=r"^x\.yaml.*not valid YAML: [^\n]+$"):
        space.load_strict(text, "x.yaml")


def test_deep_nesting_is_refused():
    with pytest.raises(SerbenchError, match="nested too deeply"):
        space.load_strict("[" * 2000 + "]" * 2000, "x.yaml")
