"""Search spaces as data: strict YAML with a closed vocabulary → a checked, picklable `Space`.

PyYAML alone keeps the last of two equal keys, reads `1e-3` as text and `no` as false; this loader does not,
and knows no tags, anchors or aliases: a file holds no code and no bomb. Study files are read by it too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import yaml

from benchmark.schema import SCHEMA_VERSION, SerbenchError, digest, nearest, of_system

REQUIRED = ("family", "features", "search", "published")
TOP_LEVEL = (
    *REQUIRED,
    *("schema_version", "pretraining", "weights", "fixed", "assumed", "resources", "pruning"),
)
NUMBER = ("type", "low", "high", "log", "step", "when")
ENTRY = {"float": NUMBER, "int": NUMBER, "categorical": ("type", "choices", "when")}
NUMBERS: dict[str, tuple[type, ...]] = {"float": (int, float), "int": (int,)}
RESOURCES: dict[str, float] = {"cpus": 1, "gpus": 0, "memory_gb": 1, "time_limit_s": 600}  # of one trial
PRUNING: dict[str, float] = {"grace": 1, "reduction": 3}  # in steps
LEAST = {"cpus": 0.01, "gpus": 0, "memory_gb": 0.01, "time_limit_s": 1, "grace": 1, "reduction": 2}
Limit = tuple[str, float, float]  # "int" | "float" | "str", least and greatest value
_TAG = "tag:yaml.org,2002:"


class Located(dict[str, Any]):
    """A YAML mapping that remembers its file and lines."""

    def __init__(self, name: str = "", line: int = 1) -> None:
        super().__init__()
        self.name, self.line = name, line
        self.lines: dict[str, int] = {}

    def where(self, key: str = "") -> str:
        """Return `file:line` of `key`, or of the mapping itself."""
        return f"{self.name}:{self.lines.get(key, self.line)}"


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 (PyYAML's protocol: none inherited)

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()
        if event.anchor or getattr(event, "tag", None):
            _fail(event, "anchors (&), aliases (*) and tags (!) are not allowed; write the plain value")
        if isinstance(event, yaml.ScalarEvent) and event.implicit[0] and event.value.lower() in _AMBIGUOUS:
            _fail(event, f"unquoted {event.value} is a truth value to some; quote it, or write true or false")
        return super().compose_node(parent, index)


_AMBIGUOUS = ("yes", "no", "on", "off")
for _kind, _pattern in (
    ("bool", r"^(true|false)$"),
    ("null", r"^(~|null|)$"),
    ("int", r"^[-+]?(0|[1-9][0-9]{0,17})$"),
    ("float", r"^[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)(e[-+]?[0-9]+)?$|^[-+]?[0-9]+e[-+]?[0-9]+$"),
):
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(_pattern, re.IGNORECASE), None)


def _fail(node: Any, message: str) -> NoReturn:
    raise SerbenchError(f"{node.start_mark.name}:{node.start_mark.line + 1}: {message}")


def _mapping(loader: _Loader, node: Any) -> Located:
    found = Located(node.start_mark.name, node.start_mark.line + 1)
    for key_node, value_node in node.value:
        key = key_node.value
        if key_node.tag != _TAG + "str":
            _fail(key_node, f"a key must be text, but got {key!r}; quote it")
        if key in found:
            _fail(key_node, f"duplicate key {key!r}, first on line {found.lines[key]}; remove one")
        found.lines[key] = key_node.start_mark.line + 1
        found[key] = loader.construct_object(value_node, deep=True)
    return found


_Loader.add_constructor(_TAG + "map", _mapping)


def load_strict(text: str, name: str) -> Any:
    """Return the value of one YAML document, each mapping a `Located`; `name` stands in the errors.

    Raises SerbenchError with name and line: syntax, duplicate key, tag, anchor, `no` or `on` without quotes.
    """
    try:
        loader = _Loader(text)
        loader.name = name
        return loader.get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        place = f"{name}:{mark.line + 1}" if mark else name
        raise SerbenchError(f"{place}: not valid YAML: {problem}") from None
    except RecursionError:
        raise SerbenchError(f"{name}: YAML nested too deeply; flatten it") from None


def load_yaml(path: Path) -> Any:
    """Return the value of the YAML file `path`, as `load_strict` does."""
    return load_strict(_read(path), str(path))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise SerbenchError(f"{path}: must be a readable YAML file in UTF-8, but: {why}") from None


def need(where: str, rule: bool, message: str) -> None:
    """Raise SerbenchError, `where: message`, unless `rule` holds."""
    if not rule:
        raise SerbenchError(f"{where}: {message}")


def check_keys(found: Any, allowed: Iterable[str], what: str, required: Iterable[str] = ()) -> Located:
    """Return `found` if a mapping with `allowed` keys only and all `required` ones, else SerbenchError."""
    if not isinstance(found, Located):
        raise SerbenchError(f"{what} must be a mapping of key: value, but got {found!r}")
    for key in found:
        if key not in allowed:
            raise SerbenchError(f"{found.where(key)}: unknown key {key!r} in {what}: {nearest(key, allowed)}")
    for key in required:
        need(found.where(), key in found, f"{what} must have the key {key!r}; add it")
    return found


@dataclass(frozen=True)
class Parameter:
    """One searched hyperparameter; active where each condition of `when` (name, accepted values) holds."""

    name: str
    type: str  # float | int | categorical
    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None
    choices: tuple[Any, ...] = ()
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    def active(self, params: Mapping[str, Any]) -> bool:
        """Tell whether the parameter counts beside the earlier ones in `params`."""
        return all(name in params and _among(params[name], values) for name, values in self.when)

    def suggest(self, trial: Any) -> Any:
        """Ask an Optuna-like trial for a value."""
        if self.type == "categorical":
            return trial.suggest_categorical(self.name, list(self.choices))
        if self.type == "int":
            return trial.suggest_int(self.name, self.low, self.high, step=self.step or 1, log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)


@dataclass(frozen=True)
class Space:
    """A family's search space, as its YAML states it. Parameters keep the order of the file."""

    family: str
    features: str
    pretraining: str | None
    fixed: Mapping[str, Any]
    search: tuple[Parameter, ...]
    published_params: Mapping[str, Any]  # of the reference study; numbers may lie outside the searched range
    assumed: tuple[str, ...]  # published or fixed values that the reference study leaves open
    resources: Mapping[str, float]
    pruning: Mapping[str, float]
    text: str = ""
    weights: Mapping[str, str] = field(default_factory=dict)  # pretraining → its name for `fetch`

    def of(self, system: str) -> Space:
        """Return the space of a system in it: the pretraining that its name tells, else the space's own."""
        told = of_system(system)[1]
        return replace(self, pretraining=told) if told else self

    @property
    def start(self) -> str:
        """The pretraining that its networks start from; `none`: from random weights."""
        return self.pretraining or "none"

    @property
    def start_weights(self) -> str:
        """The name of the weights that its networks start from, or ""."""
        return self.weights.get(self.start, "")

    @property
    def unpublished(self) -> bool:
        """Whether the published configuration is assumed from end to end: the reference study has none."""
        return set(self.published_params) <= set(self.assumed)

    @property
    def digest(self) -> str:
        """SHA-256 of the content: comments and layout don't count, the order of parameters does."""
        content = {**asdict(self), "text": ""}
        if not self.weights:  # as it was before there were any
            del content["weights"]
        return digest(content)

    def sample(self, trial: Any) -> dict[str, Any]:
        """Draw a configuration define-by-run: only active parameters are asked for and returned."""
        params: dict[str, Any] = {}
        for parameter in self.search:
            if parameter.active(params):
                params[parameter.name] = parameter.suggest(trial)
        return params

    def configuration(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return all that the family gets: `fixed`, and `params` as drawn by `sample` or published."""
        return {**self.fixed, **params}


def _among(value: Any, values: Iterable[Any]) -> bool:
    # True == 1 in Python; in a file they are two values
    return any(isinstance(value, bool) == isinstance(other, bool) and value == other for other in values)


def _published(search: Iterable[Parameter], given: Located, where: str) -> dict[str, Any]:
    checked: dict[str, Any] = {}
    for p in search:
        active = p.active(checked)
        cure = "missing; give it a value" if active else "inactive by its `when`; leave it out"
        need(where, active == (p.name in given), f"parameter {p.name!r} is {cure}")
        if active:
            value, told = given[p.name], f"but got {given[p.name]!r}"
            if p.type == "categorical":
                need(where, _among(value, p.choices), f"{p.name} must be one of {list(p.choices)}, {told}")
            else:
                finite = type(value) in NUMBERS[p.type] and math.isfinite(value)
                need(where, finite, f"{p.name} must be a finite {p.type}, {told}")
                need(where, not p.log or value > 0, f"{p.name} must be > 0 on a log scale, {told}")
            checked[p.name] = float(value) if p.type == "float" else value
    return checked


def _parameter(name: str, entry: Any, where: str, earlier: Mapping[str, Parameter]) -> Parameter:
    require = partial(need, f"{where}: {name}")
    require(re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) is not None, "a name has letters, digits and _ only")
    require(isinstance(entry, Located), f"must be a mapping with `type`, but got {entry!r}")
    kind = entry.get("type")
    require(kind in list(ENTRY), f"type must be one of {', '.join(ENTRY)}, but got {kind!r}")
    required = ("choices",) if kind == "categorical" else ("low", "high")
    check_keys(entry, ENTRY[kind], f"{kind} {name}", required)
    conditions = entry.get("when", {})
    require(isinstance(conditions, dict), f"when must be {{parameter: value}}, but got {conditions!r}")
    when = []
    for parent, wanted in conditions.items():
        choices = earlier[parent].choices if parent in earlier else ()
        require(bool(choices), f"when must name a categorical parameter above it, but got {parent!r}")
        values = tuple(wanted) if isinstance(wanted, list) else (wanted,)
        for value in values:
            require(_among(value, choices), f"{parent} is never {value!r}; its choices: {list(choices)}")
        when.append((parent, values))
    if kind == "categorical":
        options = entry["choices"]
        require(isinstance(options, list) and bool(options), f"choices must be a list, but got {options!r}")
        for place, option in enumerate(options):
            require(
                not isinstance(option, list | dict), f"a choice must be a plain value, but got {option!r}"
            )
            require(option not in options[:place], f"choices must be unique, but {option!r} equals another")
        return Parameter(name, kind, choices=tuple(options), when=tuple(when))
    low, high, step, log = entry["low"], entry["high"], entry.get("step"), entry.get("log", False)
    for key in ("low", "high", *(["step"] if "step" in entry else [])):
        fits = type(entry[key]) in NUMBERS[kind] and math.isfinite(entry[key])
        require(fits, f"{key} must be a finite number of type {kind}, but got {entry[key]!r}")
    require(isinstance(log, bool), f"log must be true or false, but got {log!r}")
    require(low <= high, f"low <= high must hold, but got low={low}, high={high}")
    require(not log or low > 0, f"low > 0 must hold with log: true, but got low={low}")
    require(step is None or (step > 0 and not log), f"step must be > 0 and without log, but got step={step}")
    steps = (high - low) / step if step else 0.0
    whole = math.isclose(steps, round(steps), abs_tol=1e-6)
    require(whole, f"high - low must be a multiple of step, but got {low}, {high}, {step}")
    return Parameter(name, kind, low, high, log, step, when=tuple(when))


def _block(top: Located, key: str, allowed: Iterable[str] | None = None) -> Located:
    found = top.get(key, Located())
    told = f"{key} must be a mapping of key: value, but got {found!r}"
    need(top.where(key), isinstance(found, Located), told)
    return check_keys(found, found if allowed is None else allowed, key)


def _fits(value: Any, kind: str, least: float, most: float) -> bool:
    if kind == "str":
        return isinstance(value, str)
    return type(value) in NUMBERS[kind] and least <= value <= most


def _rule(kind: str, least: float, most: float) -> str:
    if kind == "str":
        return "text"
    above = "above 0" if 0 < least < 1 else f">= {least:g}"
    below = f" and <= {most:g}" if most < math.inf else ""
    return f"{'a whole number' if kind == 'int' else 'a number'} {above}{below}"


def _weights(top: Located, family: Any) -> dict[str, str]:
    """Return the weights by pretraining; the family must know those, and the space's own be one of them."""
    weights, own = _block(top, "weights"), top.get("pretraining", "none")
    for key, value in weights.items():
        named = isinstance(value, str) and key != "none"
        need(weights.where(key), named, f"{key} must be a pretraining and the name of its weights")
        known = getattr(family, "PRETRAININGS", ()) if family else (key,)
        told = nearest(key, known) if known else "its networks begin with random weights; leave `weights` out"
        need(weights.where(key), key in known, f"{top['family']} has no pretraining {key!r}: {told}")
    among, offered = not (family and weights), ("none", *weights)
    told = f"pretraining must be none or among `weights`, but got {own!r}: {nearest(own, offered)}"
    need(top.where("pretraining"), among or own in offered, told)
    return dict(weights)


def _numbers(top: Located, key: str, defaults: Mapping[str, float]) -> dict[str, float]:
    given = _block(top, key, defaults)
    for name, value in given.items():
        fits = type(value) in NUMBERS["float"] and LEAST[name] <= value < math.inf
        need(given.where(name), fits, f"{name} must be a number >= {LEAST[name]}, got {value!r}")
    return {**defaults, **given}


def parse(text: str, name: str, family: Any = None) -> Space:
    """Return the space that the YAML `text` states.

    Args:
        name: stands in the errors.
        family: the module that the space is for: NAME must be the file's, PARAMETERS hold all that it gives.

    Raises:
        SerbenchError: with name and line.
    """
    top = check_keys(load_strict(text, name), TOP_LEVEL, f"search space {name}", REQUIRED)
    for key in ("family", "features", "pretraining"):
        is_text = isinstance(top.get(key, ""), str)
        need(top.where(key), is_text, f"{key} must be text, but got {top.get(key)!r}")
    version, own = top.get("schema_version", SCHEMA_VERSION), top["family"]
    known = _among(version, (SCHEMA_VERSION,))
    need(top.where("schema_version"), known, f"schema_version must be {SCHEMA_VERSION}, but got {version!r}")
    if family:
        rule = f"family must be {family.NAME}, as the system says, but got {own!r}"
        need(top.where("family"), own == family.NAME, rule)
    entries, fixed = _block(top, "search"), _block(top, "fixed")
    for block in (entries, fixed):
        check_keys(block, family.PARAMETERS if family else block, f"the parameters of {own}")
    for key, value in fixed.items():
        plain = key not in entries and not isinstance(value, list | dict)
        need(fixed.where(key), plain, f"fixed {key} must be one plain value and not searched too")
    for key in family.PARAMETERS if family else ():
        there = key in entries or key in fixed or key in getattr(family, "OPTIONAL", ())
        need(top.where("search"), there, f"parameter {key!r} of {own} must be searched or fixed; add it")
    search: dict[str, Parameter] = {}
    for key, entry in entries.items():
        search[key] = _parameter(key, entry, entries.where(key), search)
    offered = [(entries, p.name, value) for p in search.values() for value in p.choices]
    for block, key, value in [*offered, *((fixed, *item) for item in fixed.items())]:
        known = getattr(family, "CHOICES", {}).get(key, (value,))
        told = f"{key} has no {value!r}: {nearest(str(value), map(str, known))}"
        need(block.where(key), _among(value, known), told)
    given, place = _block(top, "published", entries), f"{top.where('published')}: published"
    published, assumed = _published(search.values(), given, place), top.get("assumed", [])
    listed = isinstance(assumed, list) and all(key in [*published, *fixed] for key in assumed)
    need(top.where("assumed"), listed, f"assumed must list published or fixed names: {assumed!r}")
    limits = getattr(family, "LIMITS", {})
    for p in search.values():
        whole = p.type == "float" and limits.get(p.name, ("float",))[0] == "int"
        need(entries.where(p.name), not whole, f"{p.name} must have type: int")
    stated = [
        *((entries.where(p.name), p.name, v) for p in search.values() for v in p.choices or (p.low, p.high)),
        *((fixed.where(key), key, value) for key, value in fixed.items()),
        *((top.where("published"), key, value) for key, value in published.items()),
    ]
    for where, key, value in (item for item in stated if item[1] in limits):
        need(where, _fits(value, *limits[key]), f"{key} must be {_rule(*limits[key])}, but got {value!r}")
    weights = _weights(top, family)
    needs, pruning = _numbers(top, "resources", RESOURCES), _numbers(top, "pruning", PRUNING)
    return Space(
        *(own, top["features"], top.get("pretraining"), dict(fixed), tuple(search.values())),
        *(published, tuple(assumed), needs, pruning, text),
        weights=weights,
    )


def load(path: Path, family: Any = None) -> Space:
    """Return the space of the YAML file `path`, as `parse` does."""
    return parse(_read(path), str(path), family)
