"""The results card of a bundle, its README.md: asked, found, its limits, what it took, how to do it again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmark import audit, bundle, fetch, files, protocols, space, spec
from benchmark.files import read_csv, read_json, write_text
from benchmark.report import page
from benchmark.report.formats import markdown_text
from benchmark.schema import is_first, searched_system
from benchmark.space import Space

PRETRAINING = {  # weights → what they have seen, from their sources (`fetch.WEIGHTS`)
    "mn04-audioset": "ImageNet first, then AudioSet",
    "ast-audioset": "ImageNet first, then AudioSet, so that `ast@imagenet` is what it came from",
    "deit-base-imagenet": "ImageNet",
    "mobilenetv3-imagenet": "ImageNet",
}

_PASSING = (  # lines of a card that change while its bundle does not: openings, version of the program
    r"- Test parts of this split were opened (?:\d+|an unknown number of) times in this results folder "
    r"\(`openings\.csv`\), a fold at a time\.",
    r"- Not run, of what this program has: (?:`[\w@.-]+`(?:, )?)+\.",
    r"- Not run here: other protocols \((?:`[\w-]+`(?:, )?)+\), other corpora"
    r"(?:, searches with another seed)?\.",
    r"  version = \{[\w.+-]+\},",
)


def write(folder: Path) -> None:
    """Write README.md of a bundle whose tables are written."""
    write_text(folder / "README.md", text(folder))


def text(folder: Path) -> str:
    """Return the card."""
    study, corpus = bundle.read_study(folder), read_json(folder / "corpus.json")
    splits, rows = read_json(folder / "splits.json"), read_json(folder / "leaderboard.json")
    found = bundle.read_spaces(folder)
    parts = {
        "": (folder / "leaderboard.md").read_text(encoding="utf-8").strip(),
        "Several searches": _repeats(folder),
        "Asked": _list(_asked(folder, study, corpus, splits)),
        "Limits": _list(limits(folder, study, splits, rows["interval"], found)),
        "Settings that nobody published": _list(assumed(found)),
        "Pretraining": _list(_pretraining(found)),
        "Compute": _list(_compute(folder, rows["rows"])),
        "What stands where": _places(folder),
        "Again": _again(folder, study),
        "Cite": f"This bundle and its corpus:\n\n```bibtex\n{page.bibtex(corpus, study)}```",
    }
    told = (f"## {title}\n\n{part}" if title else part for title, part in parts.items() if part)
    return "\n\n".join([f"# {study['name']}", *told]) + "\n"


def problems(folder: Path) -> Iterator[str]:
    """Yield a line where README.md is not the card of its bundle, save for what the bundle does not hold."""
    stored, computed = map(_lasting, ((folder / "README.md").read_text(encoding="utf-8"), text(folder)))
    yield from files.differences(
        "README.md", *(files.parse("README.md", card) for card in (stored, computed))
    )


def _lasting(card: str) -> str:
    """Return a card without how often test parts were opened and what the program's version adds."""
    for line in _PASSING:
        card = re.sub(f"^{line}\n", "", card, flags=re.MULTILINE)
    return card


def _list(lines: Iterator[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _asked(
    folder: Path, study: Mapping[str, Any], corpus: Mapping[str, Any], splits: Mapping[str, Any]
) -> Iterator[str]:
    systems = ", ".join(f"`{system}`" for system in dict.fromkeys(map(searched_system, study["systems"])))
    yield f"Which of {systems} recognises the emotions of `{corpus['name']}` best, at one budget?"
    if _repeats(folder):
        yield "What does the search's own chance add, with other random numbers in each of several searches?"
    version = f" {corpus['version']}" if corpus["version"] else ""
    clips = f"{corpus['accepted_clips']:,} clips"
    official = corpus.get("official_clips")
    if official and not corpus["complete"]:
        clips += f" of {official:,}"
    modified = ", accepted although it differs from the official release" if corpus["modified"] else ""
    yield (
        f"Corpus: {markdown_text(corpus['title'])}{version}, {clips}{modified}; licence "
        f"{markdown_text(corpus['licence'] or 'unknown')}; digest `{corpus['digest'][:16]}`."
    )
    for note in corpus["notes"]:
        yield f"Corpus, note: {markdown_text(note)}."
    yield (
        f"Protocol: `{splits['protocol']}`, {len(splits['folds'])} folds; fingerprint "
        f"`{splits['fingerprint'][:16]}`; audit: {read_json(folder / 'audit.json').get('status', 'none')}."
    )
    within = f" within {study['time_budget']:g} s" if study.get("time_budget") else ""
    pruned = "" if study.get("prune", True) else ", nothing pruned"
    random = " and as many random ones beside, not refitted" if has_random(folder) else ""
    yield (
        f"Budget: {study['trials']} trials a system and fold{within} ({study['sampler']}{pruned}){random}; "
        f"{study['inner_folds']} inner folds; {study['seeds']} seeds a refit."
    )
    opened = bundle.count_openings(folder.parent, splits["fingerprint"])
    times = "an unknown number of" if opened is None else opened
    yield (
        f"Test parts of this split were opened {times} times in this results folder "
        f"(`{bundle.OPENINGS}`), a fold at a time."
    )


def has_random(folder: Path) -> bool:
    """Whether a random search ran beside the searches."""
    return any(folder.glob("searches/*/fold-*/random.csv"))


def limits(
    folder: Path,
    study: Mapping[str, Any],
    splits: Mapping[str, Any],
    interval: Mapping[str, Any],
    found: Mapping[str, Space],
) -> Iterator[str]:
    """Yield what the numbers do not tell, first what was not run."""
    asked, repeated = set(map(searched_system, study["systems"])), bool(_repeats(folder))
    missing = [f"`{s}`" for s in spec.known_systems() if s not in asked]
    if missing:
        yield f"Not run, of what this program has: {', '.join(missing)}."
    if study.get("folds"):
        yield f"Not run: folds other than {', '.join(map(str, study['folds']))} of the protocol."
    others = [f"`{name}`" for name in protocols.NAMES if name != splits["protocol"]]
    seeds = "" if repeated else ", searches with another seed"
    yield f"Not run here: other protocols ({', '.join(others)}), other corpora{seeds}."
    if found and not has_random(folder):
        yield "Not run: a random search beside, which would say what the sampler is worth."
    checked = {check["name"]: check["status"] for check in read_json(folder / "audit.json")["checks"]}
    if checked.get("near_duplicates", "not checked") == "not checked":
        yield "Not checked: clips that sound alike without being the same (the manifest has no fingerprints)."
    older = [f"`{name}`" for name in audit.LATER if name not in {*checked, "near_duplicates"}]
    if older:
        yield f"Not in the audit of this version of the program: {', '.join(older)}."
    if splits.get("diagnostic"):
        yield (
            "A diagnostic: speakers stand on both sides, so that these numbers say nothing of people whom a "
            "model has not heard."
        )
    if checked.get("sentences") == "note":
        yield "Sentences of the test parts are spoken in training, too: nothing is said of other texts."
    if interval["reason"]:
        yield f"No intervals, tests or ties: {interval['reason']}."
    else:
        if study["bootstrap_seed"] != spec.StudySpec.bootstrap_seed:
            yield (
                f"Intervals use bootstrap seed {study['bootstrap_seed']}, not the default "
                f"{spec.StudySpec.bootstrap_seed}."
            )
        yield (
            f"Intervals are conditional on the trained models and on {interval['speakers']} speakers: the "
            "spread that searches and training sets add is not in them"
            f"{'; that of searches stands in `repeats.md`' if repeated else ''}."
        )
    broken = {path.parts[-4] for path in folder.glob(bundle.RESULTS) if read_json(path)["failed"]}
    if broken:
        yield f"Refits that failed stand as constant predictors: {', '.join(sorted(broken))}."


def assumed(found: Mapping[str, Space]) -> Iterator[str]:
    """Yield what each `-published` row assumes beyond the published configuration."""
    for system, there in found.items():
        names = ", ".join(f"`{name}`" for name in there.assumed)
        if not is_first(system):
            continue
        if there.unpublished:
            yield (
                f"`{system}-published` carries no published setting: the reference study has no such system; "
                f"all of it is a usual default or ours ({names})."
            )
        elif names:
            yield f"`{system}-published`: the reference study leaves open {names}; they are assumed."


def _pretraining(found: Mapping[str, Space]) -> Iterator[str]:
    for system, there in found.items():
        name = there.of(system).start_weights
        if not name and "audioset_embedding" in there.features:
            name = "mn04-audioset"  # frozen, in its features
        if name:
            saw = f"which saw {PRETRAINING[name]}" if name in PRETRAINING else fetch.entry_of(name).about
            yield f"`{system}` starts from `{name}`, {saw}."


def _compute(folder: Path, rows: list[Mapping[str, Any]]) -> Iterator[str]:
    cpu, gpu = (sum(row[key] or 0 for row in rows) for key in ("cpu_hours", "gpu_hours"))
    yield f"Searches and refits: {cpu:.2f} CPU hours, {gpu:.2f} GPU hours (seconds × what a trial holds)."
    if has_random(folder):
        beside = sum(
            float(trial["seconds"] or 0) * space.load(path.with_name("space.yaml")).resources["cpus"]
            for path in folder.glob("searches/*/fold-*/random.csv")
            for trial in read_csv(path)
        )
        yield f"Random searches beside: {beside / 3600:.2f} CPU hours."
    made = read_json(folder / "environment.json")
    hardware = made.get("hardware", {})
    about = [hardware.get("cpu"), hardware.get("cores") and f"{hardware['cores']} cores"]
    about += [hardware.get("memory_gib") and f"{hardware['memory_gib']} GiB", *hardware.get("gpus", [])]
    told = ", ".join(str(part) for part in about if part)
    python = f"Python {made['python']}" if made.get("python") else ""
    commit = f"commit `{made['commit'][:16]}`" if made.get("commit") else ""
    yield f"Machine of the driver: {'; '.join(filter(None, (told, python, commit)))}."


def _repeats(folder: Path) -> str:
    path = folder / "repeats.md"
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def _places(folder: Path) -> str:
    random = " and the random search beside" if has_random(folder) else ""
    beside = "`reference.md` the reference study's per-class tables beside ours, "
    return (
        "`report.html` shows all of it, `leaderboard.csv` holds every column, `per_class/` every class, "
        "`breakdowns.md` every group of speakers and clips, "
        f"{'`repeats.md` the spread of the searches, ' if _repeats(folder) else ''}"
        f"{beside if (folder / 'reference.md').exists() else ''}`pairwise.csv` the paired tests, "
        f"`validation.md` what the searches{random} reached, `runs/` every prediction, `searches/` every "
        "trial, `study.yaml` the study itself, `croissant.json` the corpus in a form that others read."
    )


def _again(folder: Path, study: Mapping[str, Any]) -> str:
    name, commit = study["name"], read_json(folder / "environment.json")["commit"].removesuffix("-modified")
    commands = [
        f"(cd results/{name} && sha256sum -c SHA256SUMS)    # nothing was changed",
        f"serbench verify results/{name}    # every number follows from the predictions",
        *(f"serbench fetch {weights}" for weights in sorted(study.get("digests", {}).get("weights", {}))),
        f"serbench run results/{name}/study.yaml --root CORPUS --name {name}-again    # again",
    ]
    if commit != "unknown":
        own = f"git checkout {commit} -- benchmark search_spaces    # what ran it: other code may differ"
        commands.insert(2, own)
    return "From the project's folder:\n\n" + "\n".join(f"    {command}" for command in commands)
