"""How good the predictor is on the published figures, each predicted without its family."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from benchmarks.predictor.figures import Figure, figures_sha256, host_wait_ms, read_figures
from benchmarks.predictor.fit import MODELS, Fit, HeldOut, usable
from benchmarks.predictor.interval import covered, log_half_width
from benchmarks.predictor.networks import NETWORKS
from benchmarks.predictor.params import ModelFit, Parameters

BARS = {"mape": 15.0, "worst": 30.0, "spearman": 0.95, "resnet_mape": 8.0, "coverage": 90.0}
"""Percent, but for Spearman's rank correlation; the first, second and fourth are upper limits."""


def fit_published() -> Parameters:
    """Fit both models on the published figures."""
    figures = read_figures()
    models: Dict[str, ModelFit] = {}
    for name in MODELS:
        values, held_out = _fitted(name)
        rows = usable(figures, name)
        models[name] = ModelFit(
            {key: float("%.6g" % value) for key, value in values.items()},
            float("%.6g" % log_half_width(held_out)),
            len(rows),
            tuple(sorted({row.family for row in rows})),
        )
    wait_ms = float("%.3g" % host_wait_ms(figures))
    return Parameters(figures_sha256(), "published figures", wait_ms, models)


def check() -> Dict[str, Any]:
    """Leave one family out, for every model.

    Returns:
        JSON-able: ``label``, ``figures_sha256``, ``bars``, ``boards`` and ``models`` (name to
        measures), ``overall``, ``rows`` (one per scored figure), ``excluded`` (id, reason, and the
        error where the network is described).
    """
    figures = read_figures()
    rows: List[Dict[str, Any]] = []
    excluded: List[Dict[str, Any]] = []
    for name in MODELS:
        values, held_out = _fitted(name)
        rows += [_row(item, ok) for item, ok in zip(held_out, covered(held_out))]
        excluded += [
            _excluded(row, name, values) for row in figures if row.excluded and row.model == name
        ]
    groups = {"boards": "board", "models": "model"}
    return {
        "label": "published figures, each predicted by a model that has seen none of its family",
        "figures_sha256": figures_sha256(),
        "bars": BARS,
        "overall": measures(rows),
        **{
            title: {
                key: measures([row for row in rows if row[field] == key])
                for key in dict.fromkeys(row[field] for row in rows)
            }
            for title, field in groups.items()
        },
        "rows": rows,
        "excluded": excluded,
    }


def measures(rows: Sequence[Dict[str, Any]]) -> Dict[str, Any]:
    """Errors of some rows in percent: means over figures, and with each condition counted once."""
    errors = np.array([abs(row["error_percent"]) for row in rows])
    weights = np.array([row["weight"] for row in rows])
    resnet = np.array([row["family"] == "resnet" for row in rows])
    inside = np.array([row["inside"] for row in rows], float)
    found = {
        "figures": len(rows),
        "mape": errors.mean(),
        "mape_once": np.average(errors, weights=weights),
        "worst": errors.max(),
        "spearman": _spearman(rows),
        "coverage": 100 * inside.mean(),
        "coverage_once": 100 * np.average(inside, weights=weights),
    }
    if resnet.any():
        found["resnet_mape"] = errors[resnet].mean()
        found["resnet_mape_once"] = np.average(errors[resnet], weights=weights[resnet])
    return {key: value if key == "figures" else float(value) for key, value in found.items()}


def met(found: Dict[str, Any]) -> Dict[str, bool]:
    """Bar to whether these measures reach it."""
    limits = ("mape", "worst", "resnet_mape")
    return {
        bar: found[bar] <= value if bar in limits else found[bar] >= value
        for bar, value in BARS.items()
        if bar in found
    }


@lru_cache(maxsize=None)
def _fitted(name: str) -> Tuple[Dict[str, float], List[HeldOut]]:
    """Parameters on all published figures of a model, and every figure without its family."""
    fit = Fit(name, usable(read_figures(), name))
    values = fit.fit()
    return values, fit.hold_out(values)


def _spearman(rows: Sequence[Dict[str, Any]]) -> float:
    """Rank correlation of predicted and measured time per image."""
    from scipy.stats import spearmanr

    predicted = [row["predicted_ms"] / row["images"] for row in rows]
    measured = [row["measured_ms"] / row["images"] for row in rows]
    return float(spearmanr(predicted, measured)[0])


def _row(item: HeldOut, inside: bool) -> Dict[str, Any]:
    figure = item.figure
    alone = len(figure.units) == 1
    return {
        "id": figure.id,
        "board": figure.board,
        "model": figure.model,
        "family": figure.family,
        "units": [list(unit) for unit in figure.units],
        "images": figure.units[0][1] if alone else 1,
        "measured_ms": figure.measured_ms,
        "predicted_ms": item.predicted_ms,
        "error_percent": 100 * item.error,
        "fitted_error_percent": 100 * (item.fitted_ms / figure.measured_ms - 1),
        "weight": item.weight,
        "inside": inside,
    }


def _excluded(figure: Figure, model: str, values: Dict[str, float]) -> Dict[str, Any]:
    error = None
    latency = not figure.excluded.startswith("Not the latency")
    if latency and figure.network in NETWORKS:
        error = 100 * (float(Fit(model, [figure]).predict(values)[0]) / figure.measured_ms - 1)
    return {"id": figure.id, "reason": figure.excluded, "error_percent": error}
