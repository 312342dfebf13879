"""Fit a latency model to figures: least squares on logarithms, with first guesses as priors.

With residuals r = log(predicted / measured) and parameters as logarithms, the sum of w r² / s² over the
figures and ((log p - log guess) / spread)² over the parameters is minimised, each term through a loss
that grows linearly beyond one (a figure that contradicts the others does not bend the model).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from benchmarks.predictor.figures import Figure, weights
from benchmarks.predictor.parameters import Parameter, from_log, guesses, to_log
from benchmarks.predictor.table import Job
from benchmarks.predictor.x3 import PARAMETERS as X3_PARAMETERS
from benchmarks.predictor.x3 import X3Model
from benchmarks.predictor.xavier import PARAMETERS as XAVIER_PARAMETERS
from benchmarks.predictor.xavier import XavierModel
from runtime.errors import ReidEdgeError

MODELS: Dict[str, Tuple[Callable[[Sequence[Job]], Any], Sequence[Parameter]]] = {
    "xavier": (XavierModel, XAVIER_PARAMETERS),
    "x3": (X3Model, X3_PARAMETERS),
}
FIGURE_SPREAD = 0.1
"""How far a good model is off a good figure: standard deviation of the logarithm."""


@dataclass(frozen=True)
class HeldOut:
    """A figure predicted by a model that has seen none of its family.

    Attributes:
        figure: The row.
        predicted_ms: By the model without the family.
        fitted_ms: By the model fitted on all.
        weight: Of the row: one over the number of rows of its condition.
    """

    figure: Figure
    predicted_ms: float
    fitted_ms: float
    weight: float

    @property
    def log_error(self) -> float:
        return math.log(self.predicted_ms / self.figure.measured_ms)

    @property
    def error(self) -> float:
        """Relative: 0.1 is 10 % too long."""
        return self.predicted_ms / self.figure.measured_ms - 1


class Fit:
    """Figures of one model, ready to be predicted for any parameter values.

    Args:
        model: Key of ``MODELS``.
        figures: Rows to predict, none of them excluded.
    """

    def __init__(self, model: str, figures: Sequence[Figure]) -> None:
        make, self.parameters = MODELS[model]
        self.figures = list(figures)
        jobs = [figure.jobs() for figure in self.figures]
        self.model = make([job for several in jobs for job in several])
        counts = [len(several) for several in jobs]
        self.owner = np.repeat(np.arange(len(counts)), counts)
        self.batch = np.array([job.batch for several in jobs for job in several], np.float64)
        self.together = np.array(counts) > 1
        self.part = np.array([figure.part == "dequantize" for figure in self.figures])
        self.measured = np.log([figure.measured_ms for figure in self.figures])
        self.weights = np.array(weights(self.figures))

    def predict(self, values: Mapping[str, float]) -> np.ndarray:
        """Milliseconds of each figure: per inference, or per image of units side by side."""
        job_ms = np.sum(list(self.model.terms(values).values()), axis=0)
        rate = np.bincount(self.owner, self.batch / job_ms, len(self.figures))
        first = np.searchsorted(self.owner, np.arange(len(self.figures)))
        ms = np.where(self.together, 1 / (rate * values.get("together", 1.0)), job_ms[first])
        if self.part.any():
            ms = np.where(self.part, self.model.dequantize_ms(values)[first], ms)
        return ms

    def fit(
        self,
        use: Optional[np.ndarray] = None,
        prior: Optional[Sequence[Parameter]] = None,
        spread: float = FIGURE_SPREAD,
    ) -> Dict[str, float]:
        """Parameter values.

        Args:
            use: (figures,) bool, rows to fit; default all.
            prior: First guesses and spreads; default: the model's own.
            spread: Expected error of a figure, as a standard deviation of the logarithm.

        Raises:
            ReidEdgeError: scipy is missing.
        """
        least_squares = _least_squares()
        prior = list(self.parameters if prior is None else prior)
        start = to_log(prior, guesses(prior))
        tight = np.array([parameter.spread for parameter in prior])
        rows = np.arange(len(self.figures)) if use is None else np.flatnonzero(use)
        scale = np.sqrt(self.weights[rows]) / spread

        def residuals(logs: np.ndarray) -> np.ndarray:
            error = np.log(self.predict(from_log(prior, logs))) - self.measured
            return np.concatenate([error[rows] * scale, (logs - start) / tight])

        found = least_squares(residuals, start, loss="soft_l1", xtol=1e-10, ftol=1e-10)
        return from_log(prior, found.x)

    def hold_out(self, values: Optional[Mapping[str, float]] = None) -> List[HeldOut]:
        """Every scored figure, predicted without its family.

        Args:
            values: Of the fit on all figures, if it is known already.
        """
        fitted = self.predict(self.fit() if values is None else values)
        families = np.array([figure.family for figure in self.figures])
        predicted = np.zeros(len(families))
        for family in sorted(set(families)):
            left_out = families == family
            predicted[left_out] = self.predict(self.fit(~left_out))[left_out]
        return [
            HeldOut(figure, float(predicted[i]), float(fitted[i]), float(self.weights[i]))
            for i, figure in enumerate(self.figures)
            if not figure.part
        ]


def usable(figures: Sequence[Figure], model: str) -> List[Figure]:
    """The rows of a model that are not excluded."""
    return [figure for figure in figures if figure.model == model and not figure.excluded]


def _least_squares():
    try:
        from scipy.optimize import least_squares
    except ImportError:
        raise ReidEdgeError(
            "Fitting latency models needs scipy; install it with `pip install scipy`."
        ) from None
    return least_squares
