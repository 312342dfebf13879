"""Pictures: well-formed, in the page's colours, with every extreme value."""

import xml.etree.ElementTree as ElementTree

import pytest

pytest.importorskip("matplotlib")

from benchmarks.report import charts
from benchmarks.report.plots import Plotter, inline


@pytest.fixture(scope="module")
def plotter():
    return Plotter()


def parsed(svg):
    return ElementTree.fromstring(svg)


def words(svg):
    return ["".join(element.itertext()) for element in parsed(svg).iter("text")]


def test_text_stays_text_and_is_described(plotter):
    svg = charts.stacked(
        plotter, ["fp32", "a & b"], {"x": [1.0, 2.0], "y": [3.0, 4.5]}, "ms", 'say "<it>"'
    )
    assert parsed(svg).attrib["aria-label"] == 'say "<it>"'
    assert {"fp32", "a & b", "ms", "4.00", "6.50"} <= set(words(svg))


@pytest.mark.parametrize("names", [["one"], ["n%d" % i for i in range(20)]])
def test_bars_of_any_number(plotter, names):
    svg = charts.stacked(plotter, names, {"x": [0.0] * len(names)}, "ms", "zeros")
    assert len([word for word in words(svg) if word == "0.00"]) >= len(names)


def test_the_pareto_front_and_few_round_ticks(plotter):
    def point(x_ms, mAP, **more):
        return charts.Point(x_ms, more.get("low"), more.get("high"), mAP, 0, 0, "n")

    svg = charts.pareto(
        plotter,
        [point(2.0, 70.0), point(4.0, 80.0), point(6.0, 75.0, low=3.0, high=14.0)],
        "ms",
        "d",
    )
    ticks = [float(word) for word in words(svg) if word.replace(".", "").isdigit()]
    assert {2, 5, 10} <= set(ticks)
    assert len(ticks) < 20


def test_curves_survive_zeros_and_single_points(plotter):
    curves = {"a": ([0.0, 0.1, 1.0], [1.0, 0.0, 0.0]), "b": ([0.5], [0.5])}
    parsed(charts.error_curves(plotter, curves, {"a": (0.0, 0.0)}, 1e-3, "d"))
    parsed(charts.profile(plotter, [0.5], "d"))
    parsed(charts.cumulative(plotter, {"a": ([0.9, 1.0], [0])}, "x", "d"))
    parsed(
        charts.value_histogram(
            plotter, [0, 1, 2], [0, 0], (0, 2), (0.0, 3.0), {"m": (-1.0, 1.0)}, "d"
        )
    )
    parsed(charts.intervals(plotter, ["n"], [(0.0, 0.0, 0.0)], "x", "d"))
    parsed(charts.spread(plotter, ["n"], [(0.0, 0.0, 0.0)], "x", "d"))


def test_ids_of_pictures_do_not_meet():
    source = '<?xml version="1.0"?><svg viewBox="0 0 1 2" xmlns="x"><metadata>m</metadata><g id="a"/><use xlink:href="#a"/><g clip-path="url(#a)" style="font: 9px \'DejaVu Sans\', serif; fill: #010101"/></svg>'
    one = inline(source, "d", "p1")
    assert one == (
        '<svg viewBox="0 0 1 2" role="img" aria-label="d"><g id="p1-a"/><use href="#p1-a"/>'
        '<g clip-path="url(#p1-a)" style="font: 9px var(--sans); fill: var(--ink)"/></svg>'
    )
    assert "p2-a" in inline(source, "d", "p2")
