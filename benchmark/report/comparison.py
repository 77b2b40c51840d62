"""Several bundles beside one another: what is ranked together, what stands apart, what random adds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from benchmark import bundle, scores, space
from benchmark.report import evidence, leaderboard, paired, recheck
from benchmark.report.evidence import Evidence
from benchmark.schema import UsageError, canonical_json, searched_system

Row = dict[str, Any]
Bundles = Mapping[str, Evidence]  # name of the folder → its content

SIDES = ("independent", "random")  # of an inflation
BUDGET = {  # what is equal among systems that are ranked together, and how it is told
    "trials": "{} trials", "time_budget": "{} s a search",
    "inner_folds": "{} inner folds", "seeds": "{} seeds",
}  # fmt: skip

SEARCHED = {"sampler": "their sampler", "prune": "pruning", "random_baseline": "a random search beside"}


@dataclass(frozen=True)
class Group:
    """Systems that are ranked and tested together: of one split, at one budget."""

    bundles: tuple[str, ...]
    title: str
    reason: str  # why it is not ranked with the first group; empty for the first
    rows: Sequence[Row]  # of the leaderboard, with `bundle`
    pairwise: Sequence[Row]  # with `bundle_a` and `bundle_b`
    interval: Row


@dataclass(frozen=True)
class Inflation:
    """What a random split adds to systems of a speaker-independent bundle."""

    independent: str  # name of the bundle
    random: str
    protocols: tuple[str, str]
    rows: Sequence[Row]  # of `paired.compare`
    searched: Sequence[str]  # those systems that were searched, best first


@dataclass(frozen=True)
class Comparison:
    """All that a comparison says."""

    bundles: Bundles
    groups: Sequence[Group]
    inflation: Sequence[Inflation]
    notes: Sequence[str]  # what differs although it stands side by side


def read(folders: Sequence[Path]) -> dict[str, Evidence]:
    """Read sealed bundles, each verified before anything of it is used.

    Raises:
        UsageError: two folders of one name, one that is no bundle. SerbenchError: one does not verify.
    """
    names = [folder.resolve().name for folder in folders]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"each bundle needs a name of its own here, but {name} stands twice: rename one folder"
            )
    known = {}
    for name, folder in zip(names, folders, strict=True):
        bundle.require(folder)
        recheck.refuse(folder, recheck.sources(folder), "compared")
        runs = bundle.read_runs(folder)
        known[name] = evidence.read(folder, bundle.tables(folder, runs), runs)
    return known


def compare(bundles: Bundles) -> Comparison:
    """Compare bundles of one corpus.

    Raises:
        UsageError: another label set or another corpus: their numbers have no common question.
    """
    _refuse(bundles)
    # speaker-independent ones first: the first group is what the others are told apart from
    order = sorted(bundles, key=lambda name: _diagnostic(bundles[name]))
    first = bundles[order[0]]
    members: dict[tuple[Any, ...], list[str]] = {}
    for name in order:
        members.setdefault(_key(bundles[name]), []).append(name)
    groups = [_group(tuple(names), bundles, first) for names in members.values()]
    notes = list(_code_notes(bundles))
    for group in groups:
        for told in (_search_notes, _space_notes, _repeat_notes):
            notes += told(group, bundles)
    for name, known in bundles.items():
        if known.external:
            notes.append(f"{name}:{leaderboard.external_note(known.external)}")
    inflation = []
    for independent, random in product(order, order):
        if _diagnostic(bundles[random]) and not _diagnostic(bundles[independent]):
            found = _inflation(independent, random, bundles)
            if isinstance(found, str):
                notes.append(found)
            else:
                inflation.append(found)
    return Comparison(bundles, groups, inflation, notes)


def budget(study: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must be equal among systems that are ranked together, as far as the study sets it."""
    return {key: study[key] for key in BUDGET if study.get(key) is not None}


def _refuse(bundles: Bundles) -> None:
    (first, known), *others = bundles.items()
    studies: dict[str, str] = {}
    for name, one in bundles.items():
        study = one.study.get("digests", {}).get("study", name)
        if study in studies:
            raise UsageError(
                f"{studies[study]} and {name} are one study, whose systems would be ranked twice: "
                "name one of them"
            )
        studies[study] = name
    for name, other in others:
        ours, theirs = known.corpus["classes"], other.corpus["classes"]
        if ours != theirs:
            raise UsageError(
                f"bundles of one comparison must have one label set, but {first} has {', '.join(ours)} and "
                f"{name} has {', '.join(theirs)}: `serbench diff` says what else differs"
            )
        if known.corpus["digest"] != other.corpus["digest"]:
            raise UsageError(
                f"bundles of one comparison must be of one corpus, but {_corpus(first, known)} and "
                f"{_corpus(name, other)}: `serbench diff` says which clips differ"
            )


def _corpus(name: str, known: Evidence) -> str:
    return f"{name} has {known.corpus['name']} {known.corpus['digest'][:12]}"


def _diagnostic(known: Evidence) -> bool:
    return bool(known.splits.get("diagnostic"))


def _key(known: Evidence) -> tuple[Any, ...]:
    return known.splits["fingerprint"], known.splits["protocol"], *budget(known.study).items()


def _told(name: str, value: Any) -> str:
    return BUDGET[name].format(value) if value is not None else f"no {BUDGET[name].format('').strip()}"


def _apart(first: Evidence, known: Evidence) -> Iterator[str]:
    """Yield the reasons why a bundle is not ranked with the first one."""
    ours, theirs = first.splits, known.splits
    if ours["protocol"] != theirs["protocol"]:
        yield f"another protocol, {theirs['protocol']} instead of {ours['protocol']}"
    elif ours["fingerprint"] != theirs["fingerprint"]:
        one, other = (splits["fingerprint"][:12] for splits in (ours, theirs))
        yield f"another split of that name, {other} instead of {one}"
    if _diagnostic(known):
        yield "a diagnostic, as speakers stand on both sides"
    for name in BUDGET:
        before, now = (budget(study).get(name) for study in (first.study, known.study))
        if before != now:
            yield f"{_told(name, now)} instead of {_told(name, before)}"


def _group(names: tuple[str, ...], bundles: Bundles, first: Evidence) -> Group:
    known = bundles[names[0]]
    title = ", ".join([known.splits["protocol"], *(_told(*item) for item in budget(known.study).items())])
    tables, whose = _tables(names, bundles)
    rows = [dict(zip(("bundle", "system"), whose[r["system"]], strict=True)) for r in tables.leaderboard]
    pairs = []
    for pair in tables.pairwise:
        ends = {}
        for side in ("a", "b"):
            ends[f"bundle_{side}"], ends[f"system_{side}"] = whose[pair[f"system_{side}"]]
        pairs.append(pair | ends)
    return Group(
        names, title, "" if known is first else "; ".join(_apart(first, known)),
        [row | own for row, own in zip(tables.leaderboard, rows, strict=True)], pairs, tables.interval,
    )  # fmt: skip


def _tables(names: tuple[str, ...], bundles: Bundles) -> tuple[scores.Tables, dict[str, tuple[str, str]]]:
    """Return the tables of bundles together, and whose a system of them is: key → (bundle, system)."""
    known = bundles[names[0]]
    if len(names) == 1:
        return known.tables, {row["system"]: (names[0], row["system"]) for row in known.tables.leaderboard}
    runs, costs, whose, external = [], {}, {}, []
    for name in names:
        external += [f"{system} ({name})" for system in bundles[name].external]
        for row in bundles[name].tables.leaderboard:
            key = f"{row['system']} ({name})"
            costs[key], whose[key] = row, (name, row["system"])
        runs += [replace(run, system=f"{run.system} ({name})") for run in bundles[name].runs]
    tables = scores.tables(
        runs,
        known.corpus["classes"],
        costs,
        protocol=known.splits["protocol"],
        bootstrap_seed=known.study["bootstrap_seed"],
        external=external,
        same_network=lambda one, other: False,  # each bundle has its own ablation
        searched=lambda key: _searched(*whose[key], bundles),
    )
    return tables, whose


def _searched(name: str, system: str, bundles: Bundles) -> str:
    """Return what a system is a search of: of one space in one way, the same in each bundle of a group."""
    study = bundles[name].study
    text, digest = study.get("spaces", {}).get(system), _space(system, bundles[name])
    if not text or not digest:
        return f"{searched_system(system)} in {name}"
    digests, found = study["digests"], space.parse(text, system).of(system)
    made = (
        digests.get("features", {}).get(found.features),
        digests.get("weights", {}).get(found.start_weights),
    )
    how = [study.get(key) for key in ("sampler", "prune")]
    return canonical_json([searched_system(system), digest, *made, *how])


def _inflation(independent: str, random: str, bundles: Bundles) -> Inflation | str:
    """Return what the random split adds, or why that cannot be said."""
    one, other = bundles[independent], bundles[random]
    where = f"No inflation is told of {independent} and {random}"
    if budget(one.study) != budget(other.study):
        return f"{where}: their budgets differ."
    if not paired.same_clips(one.runs, other.runs):
        return f"{where}: they do not test the same clips."
    theirs = {row["system"] for row in other.tables.leaderboard}
    shared = [row["system"] for row in one.tables.leaderboard if row["system"] in theirs]
    same = [system for system in shared if _space(system, one) == _space(system, other)]
    searched = [system for system in same if system in one.ranked]
    if not searched:
        return f"{where}: they have no searched system in common."
    rows = paired.compare(
        one.runs, other.runs, same, one.corpus["classes"],
        names=SIDES, bootstrap_seed=one.study["bootstrap_seed"],
    )  # fmt: skip
    return Inflation(independent, random, (one.splits["protocol"], other.splits["protocol"]), rows, searched)


def _space(system: str, known: Evidence) -> Any:
    """Return the digest of what a system was searched in; None for one without a search."""
    return known.study.get("digests", {}).get("spaces", {}).get(system.removesuffix(scores.PUBLISHED))


def _code_notes(bundles: Bundles) -> Iterator[str]:
    codes = {name: known.environment.get("code_digest", "") for name, known in bundles.items()}
    if len(set(codes.values())) > 1:
        told = ", ".join(f"{name} {code[:12]}" for name, code in codes.items())
        yield f"The bundles were made by different code ({told}): `serbench diff` says what else differs."


def _search_notes(group: Group, bundles: Bundles) -> Iterator[str]:
    """Tell what searches of one group did unlike one another, beyond what keeps them apart."""
    for key, words in SEARCHED.items():
        values = {name: bundles[name].study.get(key) for name in group.bundles}
        if len(set(values.values())) > 1:
            told = ", ".join(f"{name} {value}" for name, value in values.items())
            yield f"The searches differ in {words}: {told}."


def _repeat_notes(group: Group, bundles: Bundles) -> Iterator[str]:
    of = [_searched(row["bundle"], row["system"], bundles) for row in group.rows if row["rank"]]
    if len(group.bundles) > 1 and len(set(of)) < len(of):
        rule = "several searches of one system share the rank of their mean UAR: none is the best."
        yield f"{group.title}: {rule}"


def _space_notes(group: Group, bundles: Bundles) -> Iterator[str]:
    for system in sorted({row["system"] for row in group.rows if row["rank"]}):
        names = [row["bundle"] for row in group.rows if row["system"] == system]
        if len({_space(system, bundles[name]) for name in names}) > 1:
            yield f"{system} was searched in another space in each of {', '.join(sorted(names))}."
