"""Support-vector machine on standardised statistics (Cortes and Vapnik 1995; libsvm through scikit-learn).

Scores are SVC's one-versus-rest view of its one-versus-one votes: votes plus squashed confidences; their
argmax is the vote, ties broken by confidence. Probabilities are made in `finish` alone: the softmax of the
scores times one slope (a temperature: the multinomial sigmoid, with a single parameter), fitted to scores of
clips whose speakers the scoring machine did not hear; SVC(probability=True) splits by clip. One slope keeps
the decision that selection has judged; Platt's sigmoids, one a class, move it and were no more honest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.model_selection import GroupKFold
from sklearn.svm import SVC

from benchmark.families import _common as common
from benchmark.families._common import Array, Config, Fit, Told

NAME, FEATURES, REUSE_ACTORS, SEEDED, STEP = "svm", "functionals", True, False, "fold"
PARAMETERS = ("kernel", "C", "gamma_scale", "class_weight")
LIMITS = common.LIMITS
CHOICES = {"kernel": ("rbf", "linear"), "class_weight": ("none", "balanced")}
OPTIONAL = ("gamma_scale",)  # of the RBF kernel alone
CALIBRATION_FOLDS = 5
ABSENT = -1.0  # below every score of a class seen in training


@dataclass(frozen=True)
class SvmModel:
    """Scaler, machine and the slope that makes probabilities of its scores."""

    scaler: common.Scaler
    svc: SVC
    classes: int
    slope: float = 1.0

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
        return common.spread(decision, self.svc.classes_, self.classes, ABSENT)

    def predict_proba(self, x: Array) -> Array:
        """Return (n, classes): softmax(slope · scores) over the classes seen in training."""
        seen = self.svc.classes_
        return common.spread(softmax(self.slope * self.scores(x)[:, seen], axis=1), seen, self.classes)

    def save(self, folder: Path) -> None:
        """Write the scaler as safetensors, the machine as skops."""
        common.save_arrays(folder, vars(self.scaler), {"classes": self.classes, "slope": self.slope})
        import skops.io  # takes seconds, and no trial needs it

        skops.io.dump(self.svc, folder / "svc.skops")


def load(folder: Path) -> SvmModel:
    """Return the model saved in `folder`; a file with types beyond scikit-learn's own is refused."""
    arrays, facts = common.load_arrays(folder)
    import skops.io

    svc = skops.io.load(folder / "svc.skops", trusted=[])
    return SvmModel(common.Scaler(arrays["mean"], arrays["inverse"]), svc, facts["classes"], facts["slope"])


def train(config: Config, x: Array, y: Array, classes: int) -> SvmModel:
    """Train one machine, not calibrated. Raises common.TrialFailed if there is only one class."""
    if len(np.unique(y)) < 2:
        raise common.TrialFailed("an SVM needs at least two classes in its training part, but got one")
    scaler = common.Scaler.fit(x)
    weight = "balanced" if config["class_weight"] == "balanced" else None
    # columns are standardised: 1 / columns brings distances and products of clips to order one, so that
    # one range of C and of gamma_scale fits both kernels and every feature set
    rbf, unit = config["kernel"] == "rbf", 1 / x.shape[1]
    gamma, cost = (config["gamma_scale"] * unit, config["C"]) if rbf else (unit, config["C"] * unit)
    svc = SVC(kernel=config["kernel"], C=cost, gamma=gamma, class_weight=weight, cache_size=500)
    return SvmModel(scaler, svc.fit(scaler(x), y), classes)


def calibration_splits(groups: Array) -> list[tuple[Array, Array]]:
    """Return (fit, held out) row numbers: whole groups, at most CALIBRATION_FOLDS; none for one group."""
    folds = min(CALIBRATION_FOLDS, len(np.unique(groups)))
    return list(GroupKFold(folds).split(groups, groups=groups)) if folds > 1 else []


def slope(scores: Array, truth: Array) -> float:
    """Return the slope of the likeliest P = softmax(slope · scores) for (n, classes) scores, (n,) classes."""

    def loss(log_slope: float) -> float:
        return -float(log_softmax(np.exp(log_slope) * scores, axis=1)[np.arange(len(truth)), truth].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


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
        splits = [s for s in calibration_splits(groups) if len(np.unique(self.y[s[0]])) > 1]
        if not splits:  # a single speaker: nothing is out of fold
            return self.model
        scores = [train(self.config, self.x[a], self.y[a], self.classes).scores(self.x[b]) for a, b in splits]
        truth = self.y[np.concatenate([b for _, b in splits])]
        return replace(self.model, slope=slope(np.concatenate(scores), truth))


start = SvmFit


def steps(config: Config) -> int:
    """Return 1: a trial reports after each inner fold."""
    return 1
