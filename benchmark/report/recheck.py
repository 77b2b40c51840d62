"""What the files beside the predictions say, made again: the study's digests, the audit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark import audit, bundle, restore, space
from benchmark.files import differences, read_csv, read_json
from benchmark.report import lineage, whole
from benchmark.schema import SerbenchError, digest, study_digest

ENVIRONMENT = ("commit", "code_digest", "python", "packages")


def sources(folder: Path) -> list[str]:
    """Return one line a problem of what tables are made of: nothing is rebuilt from a bundle that has one."""
    return bundle.verify(folder) + whole.problems(folder) + lineage.problems(folder)


def refuse(folder: Path, found: Sequence[str], done: str) -> None:
    """Raise SerbenchError with the first of the problems that were found; `done`: what was not done."""
    if found:
        raise SerbenchError(f"{folder} does not verify, so nothing was {done}: {found[0]}")


def problems(folder: Path) -> list[str]:
    """Return one line a problem; each names the file that is at fault, not what follows from it."""
    found: list[str] = []
    checks = {
        _study: "study.yaml", _environment: "environment.json", _trials: "study.yaml", _audit: "audit.json",
    }  # fmt: skip
    for check, file in checks.items():
        if (folder / file).exists():  # else the seal has named it
            with bundle.noting(found, file):
                found += check(folder)
    return found


def _study(folder: Path) -> Iterator[str]:
    study = bundle.read_study(folder)
    seed = read_json(folder / "leaderboard.json")["interval"]["seed"]
    if seed != study["bootstrap_seed"]:
        stored = study["bootstrap_seed"]
        yield f"study.yaml: bootstrap_seed: stored {stored}, but the leaderboard was made with {seed}"
    if "digests" not in study:
        return
    stored, weights = study["digests"], study["digests"].get("weights", {})
    spaces = [(system, space.parse(text, system).of(system)) for system, text in study["spaces"].items()]
    started = {found.start_weights: weights.get(found.start_weights) for _, found in spaces}
    started.pop("", None)
    corpus, fingerprint = read_json(folder / "corpus.json")["digest"], _fingerprint(folder)
    digests = {system: found.digest for system, found in spaces}
    made = study_digest(study, digests, corpus, fingerprint, stored["features"], started)
    computed = {"corpus": corpus, "fingerprint": fingerprint, "spaces": digests, "study": made}
    yield from differences("study.yaml: digests", {key: stored.get(key) for key in computed}, computed)


def _fingerprint(folder: Path) -> str:
    return str(read_json(folder / "splits.json")["fingerprint"])


def _environment(folder: Path) -> Iterator[str]:
    found = read_json(folder / "environment.json")
    for key in ENVIRONMENT:
        if not found.get(key):
            yield f"environment.json: {key}: stored {found.get(key)}, but every run writes one"
    for key in ("code_digest", "lock_digest"):
        if not re.fullmatch(r"([0-9a-f]{64})?", str(found.get(key, ""))):
            yield f"environment.json: {key}: stored {found[key]}, but it is no SHA-256"


def _trials(folder: Path) -> Iterator[str]:
    """Trial ids follow from the study's digest: a search of another study is told by them."""
    study = bundle.read_study(folder)
    if "digests" not in study:
        return
    for name, sampler in (("trials.csv", study["sampler"]), ("random.csv", "baseline")):
        for path in sorted(folder.glob(f"searches/*/fold-*/{name}")):
            system, fold = path.parts[-3], int(path.parts[-2].removeprefix("fold-"))
            for row in read_csv(path):
                key = [study["digests"]["study"], system, fold, sampler, int(row["number"])]
                if row["trial_id"] != digest(key)[:16]:
                    place = path.relative_to(folder).as_posix()
                    told = f"stored {row['trial_id']}, recomputed {digest(key)[:16]}"
                    yield f"{place}: trial {row['number']}: trial_id: {told}"
                    break


def _audit(folder: Path) -> Iterator[str]:
    stored = read_json(folder / "audit.json")
    weights = bundle.read_study(folder).get("digests", {}).get("weights", {})
    computed = audit.audit(restore.corpus(folder), restore.split(read_json(folder / "splits.json")), weights)
    names = {check["name"] for check in stored["checks"]}
    computed["checks"] = [
        check
        for check in computed["checks"]
        if check["name"] in names or check["name"] not in audit.LATER or check["status"] in ("amber", "red")
    ]
    computed["status"] = audit.worst(computed["checks"])
    yield from differences("audit.json", _by_name(stored), _by_name(computed))


def _by_name(report: Mapping[str, Any]) -> dict[str, Any]:
    checks = {}
    for check in report["checks"]:
        findings = [f"{finding['status']}: {finding['reason']}" for finding in check["findings"]]
        checks[check["name"]] = {"status": check["status"], "reason": check["reason"], "findings": findings}
    return {**report, "checks": checks}
