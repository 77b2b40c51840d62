"""Train refits of a bundle again and say how far their predictions are from those that the bundle holds.

`PYTHONPATH=. python tests/peers/repeat.py results/BUNDLE CORPUS_ROOT CACHE svm/fold-1/seed-1 …`, with the
code of the commit that the bundle names: later code may compute otherwise.
"""

import sys
from pathlib import Path

import numpy as np

from benchmark import audio, bundle, evaluation, prepare, registry, space, trainable
from benchmark.evaluation import Refit
from benchmark.files import read_csv, read_json
from benchmark.networks.weights import read_weights
from benchmark.scores import PUBLISHED
from benchmark.sequences import Sequences


def features(names, clips, root, cache):
    """Return the features of the clips of a manifest's rows, decoded anew."""
    parts = {name: prepare.feature_weights(name, cache) for name in names.split("+")}
    rows = []
    for clip in clips:
        heard = audio.decode(root / clip["path"])
        rows.append([prepare.describe(heard, name, weights) for name, weights in parts.items()])
    return (
        np.stack([np.hstack(row) for row in rows])
        if rows[0][0].ndim == 1
        else Sequences.of([r for (r,) in rows])
    )


def repeat(folder, root, cache, run):
    """Return the largest difference of a probability and the number of clips with another label."""
    study, classes = bundle.read_study(folder), read_json(folder / "corpus.json")["classes"]
    result = read_json(folder / "runs" / run / "result.json")
    system, number, seed = result["system"], result["fold"], result["seed"]
    searched = system.removesuffix(PUBLISHED)
    known = space.parse(study["spaces"][searched], system).of(searched)
    fold = next(f for f in read_json(folder / "splits.json")["folds"] if f["fold"] == number)
    clips = {row["id"]: row for row in read_csv(folder / "manifest.csv")}
    training, test = ([clips[name] for name in fold[side]] for side in ("train", "test"))
    part = trainable.TrainingPart(
        tuple(fold["train"]),
        features(known.features, training, root, cache),
        np.array([classes.index(row["label"]) for row in training]),
        np.array([row["speaker"] for row in training]),
        (),
        len(classes),
    )
    place = Refit(system, known.family, known.start, known.features, number, seed, result["params"])
    weights = known.start_weights and read_weights(prepare.weights_file(known.start_weights, cache, system))
    model, _ = trainable.refit(
        registry.family(known.family),
        result["params"],
        part,
        seed=evaluation.training_seed(study["digests"]["study"], place),
        threads=max(1, int(result["cpus"])),
        weights=weights or None,
    )
    stored = {row["utterance_id"]: row for row in read_csv(folder / "runs" / run / "predictions.csv")}
    before = np.array([[float(stored[row["id"]][f"p_{c}"]) for c in classes] for row in test])
    now = model.predict_proba(features(known.features, test, root, cache))
    return np.abs(now - before).max(), int((now.argmax(1) != before.argmax(1)).sum()), len(test)


if __name__ == "__main__":
    for name in sys.argv[4:]:
        furthest, other, among = repeat(*map(Path, sys.argv[1:4]), name)
        print(
            f"{name}: probabilities differ by {furthest:.1g} at most, {other} of {among} labels", flush=True
        )
