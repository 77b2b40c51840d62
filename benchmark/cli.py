"""The command line. Imports lazily, so that `serbench --help` is instant."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from benchmark import __version__
from benchmark.schema import SerbenchError, UsageError

KINDS = ("corpora", "protocols", "features", "families", "systems", "metrics")


class _Parser(argparse.ArgumentParser):
    commands: Mapping[str, argparse.ArgumentParser]

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; an unknown option is an error of its command, with the nearest one that there is."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            command = self.commands[found.command]
            known = re.findall(r"--[a-z][\w-]*", command.format_help())
            near = difflib.get_close_matches(unknown[0].partition("=")[0], known, n=1, cutoff=0.75)
            hint = f", did you mean {near[0]}?" if near else ""
            command.error(f"unknown argument {unknown[0]}{hint}")
        return found

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}: see `{self.prog} --help`")


FETCHED = (  # as `fetch` knows them, which a test compares; any weights of timm, too
    *("ravdess", "mn04-audioset", "ast-audioset", "deit-base-imagenet", "mobilenetv3-imagenet"),
    "timm/MODEL.TAG",
)  # fmt: skip
LISTED = 20  # entries that `prepare` prints
VERDICTS = {  # of an audit, by its worst status
    "green": "no leak found", "note": "no leak found; read the notes",
    "not checked": "no leak found in what could be checked",
    "amber": "listen to what is amber", "red": "no number of it counts before what is red is mended",
}  # fmt: skip


def duration(text: str) -> float:
    """Return the seconds of `90`, `90s`, `30m` or `2h`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not match or float(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"a duration is written 90s, 30m or 2h, but got {text!r}")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def share(text: str) -> float:
    """Return a number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"a share is a number from 0 to 1, but got {text!r}")
    return value


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    parser = _Parser(
        prog="serbench", description="Search and benchmark models of speech emotion recognition."
    )
    parser.add_argument("--version", action="version", version=f"serbench {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    parser.commands = commands.choices

    def add(name: str, text: str, json_output: bool = True) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument(
            "--cache", type=Path, help="cache folder (default: SERBENCH_CACHE or ~/.cache/serbench)"
        )
        if json_output:
            command.add_argument(
                "--json", action="store_true", help="print one JSON object on standard output"
            )
        return command

    command = add("list", "what there is: corpora, protocols, features, families, systems, metrics")
    command.add_argument("kind", nargs="?", metavar="|".join(KINDS))
    command.add_argument("--spaces", type=Path, help="folder of search spaces, for `list systems`")

    command = add(
        "fetch", f"bring a corpus or pretrained weights into the cache, checked by hash: {', '.join(FETCHED)}"
    )
    command.add_argument("name")
    command.add_argument("--from", dest="source", type=Path, help="a file that is already here")

    command = add("prepare", "check a corpus's audio and compute its features")
    command.add_argument("corpus")
    _corpus_options(command)
    command.add_argument(
        "--features", default="functionals", help="feature set to compute (default: functionals)"
    )

    command = add("run", "search, evaluate and seal a bundle")
    command.add_argument("study", nargs="?", type=Path, help="a study file instead of options")
    command.add_argument("--corpus", help="name of a corpus: see `serbench list corpora`")
    _corpus_options(command)
    command.add_argument("--protocol", help="default: luna-jimenez-5fold on ravdess, else speaker-5fold")
    command.add_argument("--families", help="systems, by commas (default: all whose weights are here)")
    command.add_argument("--trials", type=int, help="trials of each search (default: 40)")
    command.add_argument("--time-budget", type=duration, help="wall time of each search, e.g. 30m")
    command.add_argument("--seeds", type=int, help="refits of each selected configuration (default: 5)")
    command.add_argument("--sampler", help="tpe (default) or random")
    command.add_argument("--inner-folds", type=int, help="validation groups that a trial uses (default: 3)")
    command.add_argument("--concurrency", type=int, help="trials at once in each search (default: 1)")
    command.add_argument("--no-prune", action="store_true", help="let every trial reach its last step")
    command.add_argument("--spaces", type=Path, help="folder of search spaces (default: the packaged ones)")
    command.add_argument("--storage", help="Ray Tune's storage, shared by all nodes of a cluster")
    command.add_argument(
        "--address", help="a running Ray cluster: auto or HOST:PORT (default: a private one)"
    )
    command.add_argument("--mlflow", help="an MLflow server (default: a SQLite file under --out)")
    command.add_argument("--name", help="name of the bundle (default: <corpus>-<protocol>)")
    command.add_argument(
        "--out", type=Path, default=Path("results"), help="where bundles go (default: results)"
    )
    command.add_argument("--resume", action="store_true", help="go on with an unfinished study")

    command = add("report", "rebuild a bundle's tables and seal it again, or compare several bundles")
    command.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    command.add_argument(
        "--out", type=Path, help="of a comparison (default: results/comparisons/A-vs-B, by their names)"
    )
    command = add("verify", "recompute every number and checksum of a bundle, or a comparison")
    command.add_argument("bundle", type=Path)
    command = add("audit", "leakage audit of anyone's split")
    command.add_argument("--manifest", type=Path, required=True, help="CSV: speaker, label, id or path")
    command.add_argument("--splits", type=Path, required=True, help="JSON: folds with train and test")
    command = add("import", "predictions from elsewhere join a bundle's table")
    command.add_argument("predictions", type=Path, metavar="PREDICTIONS.csv")
    command.add_argument("--bundle", type=Path, required=True)
    command.add_argument("--family", required=True, help="the system's name in the table")
    command.add_argument("--source", default="", help="whose they are (default: the file's name)")
    command.add_argument("--caveat", default="", help="what a reader must know of them")
    command = add("diff", "say what differs between two bundles")
    command.add_argument("a", type=Path, metavar="A")
    command.add_argument("b", type=Path, metavar="B")
    command = add("predict", "label new clips with a bundle's trained models")
    command.add_argument("bundle", type=Path)
    command.add_argument("--family", required=True, help="a system of the bundle, e.g. cnn@audioset")
    command.add_argument("files", nargs="+", type=Path, metavar="FILE")
    command = add("ui", "MLflow UI on the study's store, on this machine only", json_output=False)
    command.add_argument("bundle", nargs="?", type=Path)
    command.add_argument("--out", type=Path, default=Path("results"))
    command.add_argument("--mlflow", help="an MLflow server or store (default: the SQLite file under --out)")
    command.add_argument("--port", type=int, default=5000)
    return parser


def _corpus_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--root", type=Path, help="folder of the corpus, or a CSV for `manifest`")
    command.add_argument("--strict", action="store_true", help="stop at the first bad clip")
    command.add_argument(
        "--max-bad",
        type=share,
        metavar="FRACTION",
        help="share of bad clips that is too many (default: 0.01)",
    )
    command.add_argument(
        "--allow-modified", action="store_true", help="accept audio that differs from the official release"
    )


def _cache(args: argparse.Namespace) -> Path:
    from benchmark.cache import default_folder

    return args.cache or default_folder()


def run_list(args: argparse.Namespace) -> dict[str, Any]:
    """List what is registered, one kind or all."""
    from benchmark import metrics, protocols, registry, spec
    from benchmark.environment import gpus

    def systems() -> dict[str, str]:
        ready, skipped = spec.at_hand(_cache(args), args.spaces, gpu=bool(gpus()))
        told = {**dict.fromkeys(ready, "can run here"), **skipped}
        return {name: told[name] for name in spec.known_systems(args.spaces)}

    def measured() -> dict[str, str]:
        return {name: metric.what for name, metric in metrics.METRICS.items()}

    kinds = [registry.closest(args.kind, KINDS, "kind")] if args.kind else list(KINDS)
    about: dict[str, Callable[[], dict[str, str]]] = {
        "protocols": lambda: protocols.ABOUT, "systems": systems, "metrics": measured,
    }  # fmt: skip
    known = {kind: about.get(kind, partial(registry.about, kind))() for kind in kinds}
    if not args.json:
        for kind, names in known.items():
            print(f"{kind}:", *(f"  {name:20}{what}".rstrip() for name, what in names.items()), sep="\n")
    return {kind: list(names) for kind, names in known.items()}


def run_fetch(args: argparse.Namespace) -> dict[str, Any]:
    """Fetch a corpus or weights."""
    from benchmark import fetch, files

    path = fetch.fetch(args.name, _cache(args), source=args.source)
    told = {"sha256": files.sha256(path)} if path.is_file() else {}  # weights; a corpus was held to its hash
    if not args.json:
        print(path)
        for algorithm, found in told.items():
            print(f"{algorithm}:{found}{fetch.unchecked(args.name, args.source)}", file=sys.stderr)
    return {"name": args.name, "path": str(path), **told}


def run_prepare(args: argparse.Namespace) -> dict[str, Any]:
    """Check a corpus and compute its features."""
    from benchmark import audit, prepare

    corpus, root = prepare.prepare(
        args.corpus, args.root, _cache(args), strict=args.strict, allow_modified=args.allow_modified,
        max_bad=prepare.MAX_BAD if args.max_bad is None else args.max_bad,
    )  # fmt: skip
    corpus = prepare.fingerprinted(corpus, root, _cache(args))
    table = prepare.feature_table(corpus, root, args.features, _cache(args))
    near = audit.near_duplicates(corpus) or ()
    found: dict[str, Any] = {
        "corpus": corpus.card.name, "digest": corpus.digest, "clips": len(corpus.utterances),
        "official_clips": corpus.card.official_clips, "complete": corpus.complete,
        "modified": corpus.modified,
        "speakers": len({u.speaker for u in corpus.utterances}), "classes": list(corpus.card.classes),
        "quarantined": [{"path": q.path, "reason": q.reason, "detail": q.detail} for q in corpus.quarantined],
        "notes": list(corpus.notes),
        "near_duplicates": [[one.path, other.path, round(cosine, 3)] for one, other, cosine in near],
        "features": {"name": table.name, "columns": len(table.columns)},
    }  # fmt: skip
    if not args.json:
        for key, value in found.items():
            many = isinstance(value, list) and len(value) > LISTED
            print(f"{key}: {f'{len(value)}, listed by --json' if many else value}")
    return found


def run_run(args: argparse.Namespace) -> dict[str, Any]:
    """Run a study to a sealed bundle and print its leaderboard."""
    from benchmark.environment import gpus
    from benchmark.spec import at_hand, check_names, resolve

    names = ("name", "corpus", "protocol", "trials", "seeds", "sampler", "inner_folds", "concurrency")
    given = {name: getattr(args, name) for name in (*names, "time_budget", "max_bad")}
    given["systems"] = None
    if args.families is not None:
        given["systems"] = tuple(filter(None, map(str.strip, args.families.split(","))))
        if not given["systems"]:
            raise UsageError(f"--families must name systems, but got {args.families!r}: see `serbench list`")
    given |= {"prune": False if args.no_prune else None, "allow_modified": args.allow_modified or None}
    check_names(args.corpus, args.protocol)
    if args.study is None and not given["systems"]:
        given["systems"], skipped = at_hand(
            _cache(args), args.spaces, gpu=bool(gpus()) or args.address is not None
        )
        for system, reason in skipped.items():
            print(f"skipped: {system}: {reason}", file=sys.stderr)
    spec, frozen = resolve(args.study, given, args.spaces)

    from benchmark import records, study  # Ray, torch and MLflow: a mistyped name is told before them
    from benchmark.report import leaderboard

    place = study.Place(
        out=args.out, cache=_cache(args), root=args.root, address=args.address, storage=args.storage,
        mlflow=args.mlflow, resume=args.resume, strict=args.strict,
    )  # fmt: skip
    folder = study.run(spec, place, records.frozen_inputs(args.study, frozen) if frozen else None)
    rows = leaderboard.read(folder)
    if not args.json:
        print(leaderboard.text(rows, f"\n{leaderboard.read_caption(folder)}"))
        print(f"\nBundle: {folder}    check it: serbench verify {folder}")
    return {"bundle": str(folder), "leaderboard": rows}


def run_report(args: argparse.Namespace) -> dict[str, Any]:
    """Rebuild the tables of a verified bundle, or compare several."""
    from benchmark.rebuild import rebuilding
    from benchmark.report import leaderboard

    if len(args.bundles) > 1:
        return _compare(args)
    if args.out:
        raise UsageError("--out is where a comparison goes, but one bundle is named: name two or more")
    (folder,) = args.bundles
    with rebuilding(folder):
        pass
    rows = leaderboard.read(folder)
    if not args.json:
        print(leaderboard.text(rows))
    return {"bundle": str(folder), "leaderboard": rows}


def _compare(args: argparse.Namespace) -> dict[str, Any]:
    from benchmark.report import comparison, comparison_files

    names = (folder.resolve().name for folder in args.bundles)
    out = args.out or Path("results", "comparisons", "-vs-".join(names))
    found = comparison.compare(comparison.read(args.bundles))
    content = comparison_files.write(found, out)
    if not args.json:
        print(comparison_files.text(found))
        print(f"\nComparison: {out}    look at it: {out / 'comparison.html'}")
    return {"comparison": str(out), **content}


def run_diff(args: argparse.Namespace) -> dict[str, Any]:
    """Say what differs between two bundles."""
    from benchmark.report import diff

    found = diff.diff(args.a, args.b)
    if not args.json:
        print(diff.text(found))
    return found


def run_audit(args: argparse.Namespace) -> dict[str, Any]:
    """Audit a split; exit status 1 where a check is red."""
    from benchmark.report.formats import counted
    from benchmark.review import review

    report = review(args.manifest, args.splits, _cache(args))
    if not args.json:
        for check in report["checks"]:
            print(f"{check['status']:12}{check['name']}: {check['reason']}")
            for finding in check["findings"][1:]:
                print(f"{finding['status']:12}  {finding['reason']}")
        left = sum(check["status"] == "not checked" for check in report["checks"])
        unknown = f"; {counted(left, 'check')} could not be made" if left else ""
        print(f"{args.splits}: {report['status']}: {VERDICTS[report['status']]}{unknown}")
    args.status = int(report["status"] == "red")
    return report


def run_import(args: argparse.Namespace) -> dict[str, Any]:
    """Add a system from elsewhere to a bundle."""
    from benchmark import external
    from benchmark.report import leaderboard
    from benchmark.report.formats import counted

    joined = external.join(args.bundle, args.predictions, args.family, args.source, args.caveat)
    names = ", ".join(name or "(without a name)" for name in joined["unused"])
    unused = f"; columns not used: {names}" if joined["unused"] else ""
    seeds = counted(joined["seeds"], "seed")
    told = f"{joined['clips']} clips, {seeds}, separated by {joined['separator']}{unused}"
    print(f"{args.predictions}: {told}", file=sys.stderr)
    rows = leaderboard.read(args.bundle)
    if not args.json:
        print(leaderboard.text(rows, f"\n{leaderboard.read_caption(args.bundle)}"))
    return {"bundle": str(args.bundle), **joined, "leaderboard": rows}


def run_verify(args: argparse.Namespace) -> dict[str, Any]:
    """Recompute a bundle or a comparison of some; exit status 1 where anything differs."""
    from benchmark import bundle, rebuild
    from benchmark.report import comparison_files

    if (args.bundle / "comparison.json").exists() and not (args.bundle / "study.yaml").exists():
        verdict = comparison_files.check(args.bundle)
    else:
        bundle.require(args.bundle)
        verdict = rebuild.check(args.bundle)
    if not args.json:
        print(*verdict.problems, f"{args.bundle}: {verdict}", sep="\n")
    args.status = 1 if verdict.problems else 0
    return {
        "bundle": str(args.bundle), "verified": not verdict.problems, "problems": verdict.problems,
        "files": verdict.files, "cells": verdict.cells,
    }  # fmt: skip


def run_predict(args: argparse.Namespace) -> dict[str, Any]:
    """Label new clips; exit status 1 where one can't be used."""
    from benchmark.predict import other_code, predict
    from benchmark.report import formats

    rows = predict(args.bundle, args.family, args.files, _cache(args))
    if trained_by := other_code(args.bundle):
        told = "its models were trained by other code than this, which may read them otherwise"
        print(f"serbench: {args.bundle}: {told}; commit: {trained_by}", file=sys.stderr)
    if not args.json:
        shares = [name for name in dict.fromkeys(key for row in rows for key in row) if name.startswith("p_")]
        cells = [
            [
                *(row["file"], row.get("predicted", "error")),
                *(f"{row[name]:.3f}" if name in row else "" for name in shares),
                row.get("error") or row["note"],
            ]
            for row in rows
        ]
        print(formats.text(["file", "predicted", *(name[2:] for name in shares), "note"], cells))
    args.status = int(any("error" in row for row in rows))
    return {"bundle": str(args.bundle), "family": args.family, "clips": rows}


def run_ui(args: argparse.Namespace) -> dict[str, Any]:
    """Serve the MLflow UI until interrupted."""
    from benchmark import bundle, progress, records, tracking

    folder = args.bundle.resolve() if args.bundle else None
    out, name = folder.parent if folder else args.out, None
    uri = args.mlflow or tracking.default_uri(out)
    if folder:
        tags, events = records.read_events(folder)
        name = tags["study"]
        progress.step(f"Mirroring {folder.name} to MLflow")
        tracking.mirror(events, uri, tags, out, finished=bundle.is_sealed(folder))
    process, url = tracking.serve_ui(uri, port=args.port, experiment=name)
    print(f"MLflow UI: {url}    (Ctrl-C ends it)", flush=True)
    try:
        process.wait()
    finally:
        process.terminate()
    return {"url": url}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: 0 done, 1 failed, 2 usage, 130 interrupted."""
    argv = list(sys.argv[1:] if argv is None else argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended politely: as Ctrl-C
    try:
        args = build_parser().parse_args(argv)
        args.status = 0
        found = globals()[f"run_{args.command}"](args)
        if getattr(args, "json", False):
            print(json.dumps(found, ensure_ascii=False))
        sys.stdout.flush()
        return int(args.status)
    except SerbenchError as error:
        print(f"serbench: {error}", file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:  # whoever read standard output, `head` perhaps, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered goes nowhere
        return 1
    except OSError as error:  # a full disk, a missing file: the system's own words say which
        print(f"serbench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        resume = [*argv, *([] if "--resume" in argv else ["--resume"])]
        again = f": go on with `serbench {shlex.join(resume)}`" if argv[:1] == ["run"] else ""
        print(f"\nserbench: interrupted{again}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
