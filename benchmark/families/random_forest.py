"""Random forest (Breiman 2001), grown block by block so that a trial is scored while its forest grows.

Probabilities are averaged over trees, as scikit-learn does; the reference study let the trees vote. The
trees of a growing forest are those of one separate fit at the same seed (tested). They need no scaling.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from zipfile import ZIP_DEFLATED

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from benchmark.families import _common as common
from benchmark.families._common import Array, Config, Fit, Told

NAME, FEATURES, REUSE_ACTORS, SEEDED, STEP = "random_forest", "functionals", True, True, "trees"
PARAMETERS = ("n_estimators", "max_depth", "max_features", "min_samples_leaf", "criterion", "class_weight")
LIMITS = common.LIMITS
CHOICES = {"criterion": ("gini", "entropy", "log_loss"), "class_weight": ("none", "balanced")}
TREES_PER_STEP = 25


@dataclass(frozen=True)
class ForestModel:
    """A grown forest."""

    forest: RandomForestClassifier
    classes: int

    @property
    def parameters(self) -> int:
        """Count the nodes."""
        return sum(tree.tree_.node_count for tree in self.forest.estimators_)

    def predict_proba(self, x: Array) -> Array:
        """Return (n, classes): the mean of the trees' leaves."""
        return common.spread(self.forest.predict_proba(x), self.forest.classes_, self.classes)

    def save(self, folder: Path) -> None:
        """Write the forest as skops."""
        common.save_arrays(folder, {}, {"classes": self.classes})
        import skops.io  # takes seconds, and no trial needs it

        skops.io.dump(self.forest, folder / "forest.skops", compression=ZIP_DEFLATED, compresslevel=1)


def load(folder: Path) -> ForestModel:
    """Return the model saved in `folder`; beyond scikit-learn's own types only its trees are trusted."""
    import skops.io

    forest = skops.io.load(folder / "forest.skops", trusted=["sklearn.tree._tree.Tree"])
    return ForestModel(forest, common.load_arrays(folder)[1]["classes"])


class ForestFit(Fit):
    """A forest that grows by TREES_PER_STEP trees a step."""

    def __post_init__(self) -> None:
        names = ("criterion", "max_depth", "max_features", "min_samples_leaf")
        given = {name: self.config[name] for name in names}
        forest = RandomForestClassifier(
            0, **given, n_jobs=self.threads, random_state=self.seed, warm_start=True
        )
        self.model = ForestModel(forest, self.classes)
        balanced = self.config["class_weight"] == "balanced"
        self.weight = common.balanced_weights(self.y, self.classes)[self.y] if balanced else None
        self._seen, self._scored, self._sum = np.empty((0, 0)), 0, np.empty((0, 0))

    def step(self) -> Told:
        """Add the next block of trees; there is neither a loss nor a learning rate."""
        forest = self.model.forest
        forest.n_estimators = min(forest.n_estimators + TREES_PER_STEP, self.config["n_estimators"])
        forest.fit(self.x, self.y, sample_weight=self.weight)
        return {"loss": None, "lr": None}

    def scores(self, x: Array) -> Array:
        """Return probabilities; the clips of the call before cost the new trees only."""
        forest = self.model.forest
        if not np.array_equal(x, self._seen):
            self._seen, self._scored, self._sum = x.copy(), 0, np.zeros((len(x), len(forest.classes_)))
        for tree in forest.estimators_[self._scored :]:
            self._sum += tree.predict_proba(self._seen, check_input=False)
        self._scored = len(forest.estimators_)
        return common.spread(self._sum / self._scored, forest.classes_, self.classes)


start = ForestFit


def steps(config: Config) -> int:
    """Return the number of blocks, the last one possibly smaller."""
    return ceil(config["n_estimators"] / TREES_PER_STEP)
