"""Support-vector machine on standardised statistics (Cortes and Vapnik 1995; libsvm through scikit-learn).

Scores are SVC's one-versus-rest view of its one-versus-one votes: votes plus squashed confidences, so the
argmax is the vote, ties broken by confidence. Probabilities are made in `finish` alone, by sigmoids fitted to
scores of clips whose speakers the scoring machine did not hear; SVC(probability=True) splits by clip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.model_selection import GroupKFold
from sklearn.svm import SVC

from benchmark.families._common import (
    Array,
    Config,
    Fit,
    Scaler,
    Told,
    TrialFailed,
    load_arrays,
    save_arrays,
    spread,
)  # fmt: skip

NAME, FEATURES, REUSE_ACTORS, SEEDED, STEP = "svm", "functionals", True, False, "fold"
CALIBRATION_FOLDS = 5
ABSENT = -1.0  # below every score of a class seen in training


@dataclass(frozen=True)
class SvmModel:
    """Scaler, machine and one sigmoid a class."""

    scaler: Scaler
    svc: SVC
    classes: int
    sigmoids: Array  # (classes, 2) float64: slope and offset

    @property
    def parameters(self) -> int:
        """Count dual coefficients, support vectors and intercepts."""
        return int(self.svc.dual_coef_.size + self.svc.support_vectors_.size + self.svc.intercept_.size)

    def scores(self, x: Array) -> Array:
        """Return (n, classes): votes plus confidences within ±1/3; ABSENT for unseen classes."""
        decision = self.svc.decision_function(self.scaler(x))
        if decision.ndim == 1:  # two classes: one margin, squashed as the votes are
            margin = decision / (3 * (np.abs(decision) + 1))
            decision = np.stack([(decision <= 0) - margin, (decision > 0) + margin], axis=1)
        return spread(decision, self.svc.classes_, self.classes, ABSENT)

    def predict_proba(self, x: Array) -> Array:
        """Return (n, classes): the sigmoids, normalised."""
        slope, offset = self.sigmoids.T
        p = expit(slope * self.scores(x) + offset)[:, self.svc.classes_] + 1e-12
        return spread(p / p.sum(axis=1, keepdims=True), self.svc.classes_, self.classes)

    def save(self, folder: Path) -> None:
        """Write scaler and sigmoids as safetensors, the machine as skops."""
        save_arrays(folder, {**vars(self.scaler), "sigmoids": self.sigmoids}, {"classes": self.classes})
        import skops.io  # takes seconds, and no trial needs it

        skops.io.dump(self.svc, folder / "svc.skops")


def load(folder: Path) -> SvmModel:
    """Return the model saved in `folder`; a file with types beyond scikit-learn's own is refused."""
    arrays, facts = load_arrays(folder)
    import skops.io

    svc = skops.io.load(folder / "svc.skops", trusted=[])
    return SvmModel(Scaler(arrays["mean"], arrays["inverse"]), svc, facts["classes"], arrays["sigmoids"])


def train(config: Config, x: Array, y: Array, classes: int) -> SvmModel:
    """Train one machine, not calibrated. Raises TrialFailed if there is only one class."""
    if len(np.unique(y)) < 2:
        raise TrialFailed("an SVM needs at least two classes in its training part, but got one")
    scaler = Scaler.fit(x)
    weight = "balanced" if config["class_weight"] == "balanced" else None
    # columns are standardised: 1 / columns brings distances and products of clips to order one, so that
    # one range of C and of gamma_scale fits both kernels and every feature set
    rbf, unit = config["kernel"] == "rbf", 1 / x.shape[1]
    gamma, cost = (config["gamma_scale"] * unit, config["C"]) if rbf else (unit, config["C"] * unit)
    svc = SVC(kernel=config["kernel"], C=cost, gamma=gamma, class_weight=weight, cache_size=500)
    return SvmModel(scaler, svc.fit(scaler(x), y), classes, np.tile([1.0, 0.0], (classes, 1)))


def calibration_splits(groups: Array) -> list[tuple[Array, Array]]:
    """Return (fit, held out) row numbers: whole groups, at most CALIBRATION_FOLDS; none for one group."""
    folds = min(CALIBRATION_FOLDS, len(np.unique(groups)))
    return list(GroupKFold(folds).split(groups, groups=groups)) if folds > 1 else []


def sigmoid(score: Array, positive: Array) -> Array:
    """Fit P(positive) = expit(slope · score + offset), with the smoothed targets of Platt (1999)."""
    n, n_positive = len(positive), positive.sum()
    target = np.where(positive, (n_positive + 1) / (n_positive + 2), 1 / (n - n_positive + 2))

    def loss(ab: Array) -> tuple[float, Array]:
        z = ab[0] * score + ab[1]
        error = expit(z) - target
        return float((np.logaddexp(0, z) - target * z).sum()), np.array([error @ score, error.sum()])

    return minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS").x


class SvmFit(Fit):
    """The one step is the whole training; libsvm knows neither seed nor threads."""

    def step(self) -> Told:
        """Train; there is neither a loss nor a learning rate."""
        self.model = train(self.config, self.x, self.y, self.classes)
        return {"loss": None, "lr": None}

    def scores(self, x: Array) -> Array:
        """Return the machine's scores."""
        return self.model.scores(x)

    def finish(self) -> SvmModel:
        """Calibrate on out-of-fold scores, by speaker (by clip where no groups are known)."""
        groups = np.arange(len(self.y)) if self.groups is None else np.asarray(self.groups)
        scores = np.full((len(self.y), self.classes), np.nan)
        for fit, rest in calibration_splits(groups):
            if len(np.unique(self.y[fit])) > 1:
                scores[rest] = train(self.config, self.x[fit], self.y[fit], self.classes).scores(self.x[rest])
        known = ~np.isnan(scores[:, 0])
        if not known.any():  # a single speaker: the scores as they are
            return self.model
        columns = [sigmoid(scores[known, k], self.y[known] == k) for k in range(self.classes)]
        return replace(self.model, sigmoids=np.array(columns))


start = SvmFit


def steps(config: Config) -> int:
    """Return 1: a trial reports after each inner fold."""
    return 1
