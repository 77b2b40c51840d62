"""One growing forest, scored after each block of trees, against a separate fit for each number of trees."""

from collections.abc import Iterator

import numpy as np
from _bench import COLUMNS, Comparison, Side, made_part
from sklearn.ensemble import RandomForestClassifier

from benchmark.families import random_forest

REPEATS = 3
CONFIG = {
    "criterion": "gini", "max_depth": 24, "max_features": 0.045, "min_samples_leaf": 1,
    "class_weight": "none",
}  # fmt: skip


def growing(x, y, held_out, counts: range, classes: int) -> np.ndarray:
    """Probabilities at each number of trees: (counts, clips, classes)."""
    fit = random_forest.start({**CONFIG, "n_estimators": counts[-1]}, x, y, classes=classes, seed=1)
    scores = []
    for _ in counts:
        fit.step()
        scores.append(fit.scores(held_out))
    return np.array(scores)


def separate(x, y, held_out, counts: range) -> np.ndarray:
    """The same, each forest from its first tree."""
    config = {name: value for name, value in CONFIG.items() if name != "class_weight"}
    forests = (RandomForestClassifier(count, **config, random_state=1) for count in counts)
    return np.array([forest.fit(x, y).predict_proba(held_out) for forest in forests])


def comparisons(tiny: bool = False) -> Iterator[Comparison]:
    block = random_forest.TREES_PER_STEP
    counts = range(block, (50 if tiny else 300) + 1, block)
    part = made_part(3 if tiny else 12)
    train, held_out = part.inner(0)
    data = part.x[train], part.y[train], part.x[held_out], counts
    yield Comparison(
        f"forest scored at {block}, {2 * block} … {counts[-1]} trees: {len(train)} clips × {COLUMNS}",
        "scores",
        Side("one growing forest", len(counts), lambda: growing(*data, part.classes)),
        Side("a fit for each count", len(counts), lambda: separate(*data)),
        lambda ours, other: np.allclose(ours, other, rtol=0, atol=1e-12),
    )
