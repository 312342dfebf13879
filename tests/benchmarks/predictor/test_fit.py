"""Fitting and holding out."""

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.predictor.figures import read_figures
from benchmarks.predictor.fit import Fit, HeldOut, usable
from benchmarks.predictor.interval import CHOSEN_IN_VIEW, bounds, covered, log_half_width
from benchmarks.predictor.parameters import from_log, guesses, to_log


@pytest.fixture(scope="module")
def figures():
    return read_figures()


def synthetic(rows, values, model):
    """The same conditions with times that the model with ``values`` gives exactly."""
    fit = Fit(model, rows)
    exact = fit.predict(values)
    return [
        replace(row, fps=None, latency_ms=float(ms))
        if len(row.units) == 1
        else replace(row, fps=1000 / float(ms), latency_ms=None)
        for row, ms in zip(rows, exact)
    ]


@pytest.mark.parametrize("model", ["xavier", "x3"])
def test_times_made_by_the_model_are_reproduced(figures, model):
    rows = usable(figures, model)
    fit = Fit(model, rows)
    truth = {
        p.name: p.guess * math.exp(0.5 * p.spread * (-1) ** i) for i, p in enumerate(fit.parameters)
    }
    made = Fit(model, synthetic(rows, truth, model))
    errors = np.log(made.predict(made.fit(spread=0.002))) - made.measured
    assert np.abs(errors).max() < 0.01
    before = np.log(made.predict(guesses(made.parameters))) - made.measured
    assert np.abs(before).max() > 0.1


def test_one_wrong_figure_does_not_bend_the_fit(figures):
    rows = usable(figures, "x3")
    index = next(i for i, row in enumerate(rows) if row.id == "x3-zoo-googlenet")
    wrong = list(rows)
    wrong[index] = replace(rows[index], latency_ms=10 * rows[index].measured_ms)
    others = np.arange(len(rows)) != index
    good, bent = Fit("x3", rows), Fit("x3", wrong)
    change = bent.predict(bent.fit()) / good.predict(good.fit())
    assert np.abs(change[others] - 1).max() < 0.1


def test_parameters_nobody_measures_stay_at_their_guess(figures):
    fit = Fit("xavier", usable(figures, "xavier"))
    values, first = fit.fit(), guesses(fit.parameters)
    for name in ("cores_fp32", "dla_switch_us"):
        assert values[name] == pytest.approx(first[name])


def test_units_side_by_side_add_their_rates(figures):
    row = next(f for f in figures if f.id == "agx-mlperf-v1.1-offline-resnet50")
    values = guesses(Fit("xavier", [row]).parameters)
    gpu = replace(row, units=(("gpu", 64),), fps=1000.0)
    dla = replace(row, units=(("dla", 32),), fps=1000.0)
    gpu_ms, dla_ms = (float(Fit("xavier", [one]).predict(values)[0]) for one in (gpu, dla))
    rate = 64 / gpu_ms + 2 * 32 / dla_ms
    together = float(Fit("xavier", [row]).predict(values)[0])
    assert together == pytest.approx(1 / (rate * values["together"]))


def test_held_out_means_unseen(figures):
    """The wrong time of a family changes nothing about its own prediction."""
    families = ("vgg", "resnet", "mobilenet")
    rows = [row for row in usable(figures, "x3") if row.family in families]
    wrong = [
        replace(row, latency_ms=3 * row.measured_ms) if row.family == "vgg" else row for row in rows
    ]
    plain = {item.figure.id: item for item in Fit("x3", rows).hold_out()}
    tampered = {item.figure.id: item for item in Fit("x3", wrong).hold_out()}
    for name, item in plain.items():
        if item.figure.family == "vgg":
            assert tampered[name].predicted_ms == pytest.approx(item.predicted_ms)
            assert tampered[name].fitted_ms != pytest.approx(item.fitted_ms)


def test_parts_are_fitted_but_not_scored(figures):
    rows = [row for row in usable(figures, "x3") if row.family in ("dequantize", "vgg")]
    assert [item.figure.family for item in Fit("x3", rows).hold_out()] == ["vgg", "vgg"]


def test_logarithms_and_back(figures):
    parameters = Fit("x3", usable(figures, "x3")).parameters
    values = guesses(parameters)
    assert from_log(parameters, to_log(parameters, values)) == pytest.approx(values)


def item(figure, family, log_error, weight=1.0):
    named = replace(figure, family=family, latency_ms=1.0, fps=None)
    return HeldOut(named, math.exp(log_error), 1.0, weight)


def test_interval_by_hand(figures):
    """Two families with mean squares 0.01 and 0.03: t(0.95, 1) = 6.314."""
    held_out = [
        item(figures[0], "a", 0.1),
        item(figures[0], "b", -math.sqrt(0.02), 0.5),
        item(figures[0], "b", 0.2, 0.5),
    ]
    expected = CHOSEN_IN_VIEW * 6.3138 * math.sqrt(0.02 * 1.5)
    assert log_half_width(held_out) == pytest.approx(expected, rel=1e-4)
    assert bounds(10.0, math.log(2)) == pytest.approx((5.0, 20.0))
    assert held_out[0].error == pytest.approx(math.exp(0.1) - 1)


def test_a_family_does_not_widen_its_own_interval(figures):
    calm = [item(figures[0], name, error) for name, error in zip("abcd", (0.01, -0.02, 0.03, 0.01))]
    wild = item(figures[0], "z", 1.0)
    assert covered([*calm, wild]) == [True] * 4 + [False]
