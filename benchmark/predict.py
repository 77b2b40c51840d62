"""Label new clips with the models that a study trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import audio, bundle, environment, prepare, registry, space
from benchmark.files import read_json
from benchmark.schema import SerbenchError, of_system
from benchmark.scores import PUBLISHED
from benchmark.sequences import Sequences

NOTES = {  # what `audio.decode` flags of a clip that a label should not be read without
    "capped": f"only its first {audio.CAP_SECONDS} s are heard",
    "silent": "silent",
    "narrow_band": f"sampled below {audio.WIDE_BAND // 1000} kHz",
}


def predict(folder: Path, system: str, clips: Sequence[Path], cache_folder: Path) -> list[dict[str, Any]]:
    """Return a row a clip: file, note, predicted, p_<class>…; or file and error, where it can't be used.

    Probabilities are the mean over all stored models of the system: its folds and seeds. `note` says what a
    reader must know of the clip, "" where there is nothing.

    Args:
        folder: the bundle; its models lie in its `models` or in the cache's, under the study's digest.
        system: a row of its leaderboard, or a family that it has once: `cnn` for `cnn@audioset`.
        clips: audio files of any sample rate; of long ones the first `audio.CAP_SECONDS` are heard.
        cache_folder: of models and pretrained weights.

    Raises:
        UsageError: no bundle, or no such system. SerbenchError: its models are not on this machine, or were
            trained on features that this version or these weights don't make.
    """
    bundle.require(folder)
    study, classes = bundle.read_study(folder), read_json(folder / "corpus.json")["classes"]
    variants = [name for name in study["systems"] if system in (of_system(name)[0], f"{name}@none")]
    if system not in study["systems"] and len(variants) == 1:
        system = variants[0]
    searched = system.removesuffix(PUBLISHED)
    registry.closest(searched, study["systems"], "system of this bundle")
    found = space.parse(study["spaces"][searched], searched)
    trained = study["digests"]["study"]
    places = (folder / "models", folder / "models" / trained, cache_folder / "models" / trained)
    stored = [path for place in places for path in sorted(place.glob(f"runs/{system}/fold-*/seed-*"))]
    if not stored:
        again = f"serbench run {folder / 'study.yaml'} --root CORPUS --name {study['name']}-again"
        ended = bundle.is_sealed(folder)
        cure = f"run it again: {again}" if ended else "its study has not ended: go on with --resume"
        where = f"{folder} holds no models of {system}, nor does this machine's cache, {places[-1]}"
        where += ": they lie in the cache of the machine where its study ran"
        raise SerbenchError(f"{where}; {cure}")
    trained_on = study["digests"]["features"][found.features]
    if prepare.feature_digest(found.features, cache_folder) != trained_on:
        raise SerbenchError(
            f"{system} was trained on {found.features} that this version, or the weights in {cache_folder}, "
            f"don't make: use the commit in {folder / 'environment.json'} and the weights of its study"
        )
    features: list[np.ndarray] = []
    rows: list[dict[str, Any]] = []
    for clip in clips:
        try:
            decoded = audio.decode(clip)
            features.append(_features(decoded, found.features, cache_folder))
            rows.append({"file": str(clip), "note": "; ".join(NOTES[f] for f in decoded.flags if f in NOTES)})
        except audio.Rejected as error:
            rows.append({"file": str(clip), "error": f"{error.reason}: {error.detail}"})
    if features:
        x = Sequences.of(features) if features[0].ndim == 2 else np.stack(features)
        models = (registry.family(found.family).load(path) for path in stored)
        mean = np.mean([model.predict_proba(x) for model in models], axis=0)
        good = (row for row in rows if "error" not in row)
        for row, shares in zip(good, mean, strict=True):
            row["predicted"] = classes[int(shares.argmax())]
            row |= {f"p_{label}": float(f"{p:.6g}") for label, p in zip(classes, shares, strict=True)}
    return rows


def other_code(folder: Path) -> str:
    """Return the commit whose code trained a bundle's models, "" where the code here is the same."""
    made = read_json(folder / "environment.json")
    return "" if made["code_digest"] == environment.code_digest() else str(made["commit"])


def _features(clip: audio.Decoded, name: str, cache_folder: Path) -> np.ndarray:
    parts = [
        prepare.describe(clip, part, prepare.feature_weights(part, cache_folder)) for part in name.split("+")
    ]
    return np.hstack(parts) if len(parts) > 1 else parts[0]
