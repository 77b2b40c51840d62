"""The bundle's files about the study itself and its searches: frozen first, derived from the journal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from benchmark import files, prepare, space
from benchmark.journal import COMPLETE, State, TrialRecord, read
from benchmark.schema import SCHEMA_VERSION, SerbenchError, digest, of_system

if TYPE_CHECKING:
    from benchmark.study import Study

TRIAL_COLUMNS = ("trial_id", "number", "state", "reason", "score", "steps", "seconds")


def refuse_change(
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    what: str,
    otherwise: str = "start a new study with --name",
) -> None:
    """Raise SerbenchError with the first differences if the frozen values are not those of now."""
    old, new = _flat(before), _flat(now)
    changed = [key for key in sorted(old | new) if old.get(key) != new.get(key)]
    if changed:
        shown = "; ".join(f"{key}: {_short(old.get(key))} → {_short(new.get(key))}" for key in changed[:3])
        shown += f"; and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise SerbenchError(
            f"{what} was made with other inputs and can't go on ({shown}): restore them, or {otherwise}"
        )


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {k: v for key, inner in value.items() for k, v in _flat(inner, f"{prefix}{key}.").items()}
    return {prefix.rstrip("."): value}


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else text[:12] + "…"


def frozen_inputs(path: Path, digests: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a study file was frozen with, so that a refusal can name the clips that differ.

    That is its digests and, where its bundle's manifest is beside it, the digest of every clip by id.
    """
    manifest = path.with_name("manifest.csv")
    if not digests or not manifest.exists():
        return dict(digests)
    rows = (row for row in files.read_csv(manifest) if row["status"] == "accepted")
    return {"clips": {row["id"]: row["digest"] for row in rows}, **digests}


def refuse_other_inputs(frozen: Mapping[str, Any], study: Study) -> None:
    """Raise SerbenchError where a study comes out with other inputs than its file was frozen with."""
    clips = {"clips": {clip.id: clip.digest for clip in study.corpus.utterances}} if "clips" in frozen else {}
    otherwise = "take `digests` out of a copy of the file, which is another study then"
    refuse_change(frozen, {**clips, **study.digests}, "the study file", otherwise)


def freeze(
    folder: Path, study: Study, environment: Mapping[str, Any], report: Mapping[str, Any], *, resumed: bool
) -> None:
    """Write what is fixed before the first trial; on resume, refuse another study, data or code.

    Raises:
        SerbenchError: the folder was started with another space, corpus, split, budget or code.
    """
    path = folder / "study.yaml"
    if resumed and path.exists():
        before = _inputs(path.read_text(encoding="utf-8"), files.read_csv(folder / "manifest.csv"))
        now = _inputs(study.spec.to_yaml(study.digests), prepare.manifest_rows(study.corpus))
        refuse_change(before, now, folder.name)
        made = files.read_json(folder / "environment.json")
        before, now = ({"code": e["code_digest"], "packages": e["packages"]} for e in (made, environment))
        refuse_change(before, now, folder.name)
        return
    card, corpus = study.corpus.card, study.corpus
    files.write_json(folder / "environment.json", environment)
    files.write_json(
        folder / "corpus.json",
        {
            "name": card.name, "classes": list(card.classes), "digest": corpus.digest, "title": card.title,
            "version": card.version, "citation": card.citation, "licence": card.licence, "doi": card.doi,
            "official_clips": card.official_clips, "accepted_clips": len(corpus.utterances),
            "complete": corpus.complete, "modified": corpus.modified, "notes": list(corpus.notes),
            "schema_version": SCHEMA_VERSION,
        },
        sort_keys=False,
    )  # fmt: skip
    rows = prepare.manifest_rows(corpus)
    files.write_csv(folder / "manifest.csv", list(dict.fromkeys(key for row in rows for key in row)), rows)
    files.write_json(folder / "splits.json", study.split.to_json())
    files.write_json(folder / "audit.json", report)
    files.write_text(path, study.spec.to_yaml(study.digests))


def _inputs(study: str, clips: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a number depends on, each under a name that tells a reader what to restore."""
    content = yaml.safe_load(study)
    for key in ("concurrency", "bootstrap_seed"):
        del content[key]
    for key in ("study", "spaces"):  # they would only say that something below differs
        del content["digests"][key]
    spaces = {name: space.load_strict(text, name) for name, text in content["spaces"].items()}
    return {**content, "spaces": spaces, "clips": {clip["path"]: clip["digest"] for clip in clips}}


def write_searches(folder: Path, study: Study, state: State) -> dict[tuple[str, int], dict[str, Any]]:
    """Write searches/<system>/fold-<k>/ from the journal; return the selected configurations.

    Raises:
        SerbenchError: a search has no complete trial, so no winner; the reasons are listed.
    """
    best = {}
    for system in study.spec.systems:
        text = study.spec.space(system).text
        for fold in study.split.folds:
            place = folder / "searches" / system / f"fold-{fold.number}"
            trials = _sorted(state.ended(f"{system}/fold-{fold.number}/{study.spec.sampler}"))
            files.write_text(place / "space.yaml", text)
            _write_trials(place / "trials.csv", trials)
            _write_steps(place / "steps.csv", trials)
            baseline = _sorted(state.ended(f"{system}/fold-{fold.number}/baseline"))
            if baseline:
                _write_trials(place / "random.csv", baseline)
            winner = select(trials, f"{system}, fold {fold.number}")
            best[system, fold.number] = winner.params
            ended = state.closed.get(f"{system}/fold-{fold.number}/{study.spec.sampler}", "")
            files.write_json(
                place / "best.json",
                {
                    "schema_version": SCHEMA_VERSION, "system": system, "fold": fold.number,
                    "sampler": study.spec.sampler, "trial_id": winner.trial_id, "number": winner.number,
                    "score": winner.score, "steps": max(winner.steps), "params": winner.params,
                    "search_ended": ended or "all trials started",
                },
            )  # fmt: skip
    return best


def select(trials: Iterable[TrialRecord], where: str) -> TrialRecord:
    """Return the complete trial with the best score, the earliest number on a tie.

    Raises:
        SerbenchError: no trial reached its last step.
    """
    trials = list(trials)
    complete = [t for t in trials if t.state == COMPLETE and t.score is not None]
    if not complete:
        reasons = "; ".join(sorted({t.reason for t in trials if t.reason})) or "none was complete"
        raise SerbenchError(f"{where}: all {len(trials)} trials failed, so there is no winner: {reasons}")
    return min(complete, key=lambda t: (-float(t.score or 0.0), t.number))


def _sorted(trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    return sorted(trials, key=lambda t: t.number)


def _write_trials(path: Path, trials: list[TrialRecord]) -> None:
    names = list(dict.fromkeys(name for t in trials for name in t.params))
    rows = [
        {
            "trial_id": t.trial_id, "number": t.number, "state": t.state, "reason": t.reason,
            "score": t.score, "steps": max(t.steps, default=0), "seconds": round(t.seconds, 3),
            **{f"param.{name}": value for name, value in t.params.items()},
        }
        for t in trials
    ]  # fmt: skip
    files.write_csv(path, [*TRIAL_COLUMNS, *(f"param.{name}" for name in sorted(names))], rows)


def _write_steps(path: Path, trials: list[TrialRecord]) -> None:
    rows = [
        {"trial_id": t.trial_id, "step": step, **values}
        for t in trials
        for step, values in sorted(t.steps.items())
    ]
    files.write_csv(path, ["trial_id", "step", "score", "loss", "lr"], rows)


def read_events(folder: Path) -> tuple[dict[str, str], Iterable[dict[str, Any]]]:
    """Return the MLflow tags of a bundle and its events: the journal's or, sealed, those of its CSV files.

    Raises:
        SerbenchError: `folder` is no bundle.
    """
    try:
        study = yaml.safe_load((folder / "study.yaml").read_text(encoding="utf-8"))
        commit = files.read_json(folder / "environment.json")["commit"]
    except OSError as error:
        raise SerbenchError(
            f"{folder} must be a bundle, but {error.filename} cannot be read ({error.strerror}): "
            "name a folder that `serbench run` made"
        ) from None
    journal = folder / "journal.jsonl"
    events = read(journal)[0] if journal.exists() else _events(folder, study["sampler"])
    return tags(study, commit), events


def tags(study: Mapping[str, Any], commit: str) -> dict[str, str]:
    """Return what every MLflow run of a study is tagged with, from the content of study.yaml."""
    frozen = study["digests"]
    return {
        "schema_version": str(SCHEMA_VERSION), "study": study["name"], "study_digest": frozen["study"],
        "corpus": study["corpus"], "corpus_digest": frozen["corpus"], "protocol": study["protocol"],
        "fingerprint": frozen["fingerprint"], "commit": commit,
    }  # fmt: skip


def _events(folder: Path, sampler: str) -> Iterator[dict[str, Any]]:
    for place in sorted(folder.glob("searches/*/fold-*")):
        system, fold = place.parent.name, int(place.name.removeprefix("fold-"))
        steps = files.read_csv(place / "steps.csv")
        for name, used in (("trials.csv", sampler), ("random.csv", "baseline")):
            if (place / name).exists():
                labels = {
                    "search": f"{system}/fold-{fold}/{used}", "system": system,
                    "family": of_system(system)[0], "fold": fold, "sampler": used,
                }  # fmt: skip
                yield {"event": "search_started", **labels}
                for row in files.read_csv(place / name):
                    yield from _trial_events(row, steps, labels)
                yield {"event": "search_ended", **labels}
    for path in sorted(folder.glob("runs/*/fold-*/seed-*/result.json")):
        history = map(_numbers, files.read_csv(path.parent / "history.csv"))
        yield refit_event(files.read_json(path), path.parent.relative_to(folder).as_posix(), history)


def _trial_events(
    row: Mapping[str, str], steps: Iterable[Mapping[str, str]], labels: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    params = {key.removeprefix("param."): cell for key, cell in row.items() if key.startswith("param.")}
    params = {name: cell for name, cell in params.items() if cell}  # the others were not active
    trial = {**labels, "trial_id": row["trial_id"], "number": int(row["number"]), "params": params}
    yield {"event": "trial_started", **trial}
    for step in steps:
        if step["trial_id"] == row["trial_id"]:
            yield {"event": "step", **trial, **_numbers(step)}
    yield {"event": "trial_ended", **trial, "state": row["state"], "reason": row["reason"], **_numbers(row)}


def _numbers(row: Mapping[str, str]) -> dict[str, float | None]:
    found = (key for key in ("step", "score", "loss", "lr", "seconds") if key in row)
    return {key: float(row[key]) if row[key] else None for key in found}


def refit_event(
    result: Mapping[str, Any], folder: str, history: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the journal's event of a scored run, from its result.json."""
    kept = ("system", "family", "fold", "seed", "params", "metrics", "seconds")
    return {
        "event": "refit", "run_id": digest([folder])[:16], "folder": folder, "history": list(history),
        **{key: result[key] for key in kept},
    }  # fmt: skip
