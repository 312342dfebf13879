"""Thresholds as the toolchain's calibration types choose them, recomputed here by other means."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.entropy import pytorch_quantization_amax
from calibration.histogram import TensorHistogram
from export.graph import Graph
from export.parity import compare
from export.placement import x3
from export.placement.base import Placement
from export.qdq import insert, symmetric
from export.x3.thresholds import (
    CALIBRATION_TYPES,
    KL_LEAST_VALUES,
    METHODS,
    MIX_CROPS,
    MIX_TIE,
    Calibrator,
    check_calibration_type,
)
from runtime.errors import ReidEdgeError
from tests.export.small_models import node, normal, run, small_model

CROPS = 12


@pytest.fixture(scope="module")
def graph() -> Graph:
    """A gated residual network; its first weights make rare large values, which clipping trades."""
    stem = normal(8, 3, 3, 3, scale=0.2)
    stem[0] *= 12
    return Graph(
        small_model(
            [
                node("Conv", "x w0", "a", "stem", pads=[1] * 4),
                node("Relu", "a", "r", "stem_relu"),
                node("GlobalAveragePool", "r", "q", "squeeze"),
                node("Conv", "q w1", "g", "gate"),
                node("Sigmoid", "g", "h", "sigmoid"),
                node("Mul", "r h", "m", "product"),
                node("Mul", "m third", "n", "constant_product"),
                node("Add", "n r", "s", "add"),
                node("GlobalAveragePool", "s", "p", "pool"),
                node("Conv", "p w2", "z", "neck"),
                node("Flatten", "z", "y", "flatten"),
            ],
            {
                "w0": stem,
                "w1": normal(8, 8, 1, 1, seed=1),
                "w2": normal(16, 8, 1, 1, seed=2),
                "third": np.array([1 / 3], np.float32),
            },
            shape=("batch", 3, 40, 24),
        )
    )


@pytest.fixture(scope="module")
def placement(graph):
    return x3.place(graph, frozenset(["flatten"]))


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    images = normal(CROPS, 3, 40, 24, seed=5)
    images[:, :, :3, :3] *= 6  # a bright corner: a few values far beyond the others
    return images


@pytest.fixture(scope="module")
def values(graph, placement, crops) -> dict[str, np.ndarray]:
    tensors = [t for t in placement.tensors if t not in ("x", "third")]
    return dict(zip(tensors, run(graph.to_model(), crops, tensors)), x=crops)


@pytest.fixture(scope="module")
def calibrator(graph, placement, crops) -> Calibrator:
    return Calibrator(graph, placement, crops, threads=1)


@pytest.fixture(scope="module")
def by_type(calibrator):
    return {name: calibrator.run(name) for name in CALIBRATION_TYPES}


def test_max_is_the_largest_magnitude(by_type, values):
    found = by_type["max"]
    assert set(found.methods.values()) == {"max"} and not found.cosines
    for tensor, seen in values.items():
        scale = found.scales[tensor]
        assert scale.scale == pytest.approx(np.abs(seen).max() / 127, rel=1e-6)
        assert (scale.zero_point, scale.dtype) == (0, "int8")


def test_a_constant_has_the_range_of_its_values(by_type):
    for found in by_type.values():
        assert found.scales["third"] == symmetric(np.float32(1 / 3))
        assert "third" not in found.methods


def test_max_percentile_cuts_the_largest(calibrator, values):
    found = calibrator.run("max", 0.999)
    assert set(found.methods.values()) == {"max-percentile"}
    for tensor in ("x", "r", "m"):
        expected = np.quantile(np.abs(values[tensor]), 0.999) / 127
        assert found.scales[tensor].scale == pytest.approx(expected, rel=0.01)
        assert found.scales[tensor].scale < 0.8 * np.abs(values[tensor]).max() / 127


def test_kl_clips_but_not_what_it_has_few_values_of(by_type, values):
    scales = by_type["kl"].scales
    for tensor, seen in values.items():
        largest = np.abs(seen).max() / 127
        if seen.size < KL_LEAST_VALUES:
            assert scales[tensor].scale == pytest.approx(largest, rel=1e-6), tensor
    thick = [t for t, seen in values.items() if seen.size >= KL_LEAST_VALUES]
    assert {"x", "r", "m"} <= set(thick) and "h" not in thick
    clipped = 0
    for tensor in thick:
        histogram = TensorHistogram(tensor)
        histogram.update(values[tensor])
        amax = pytorch_quantization_amax(histogram)
        assert scales[tensor].scale == pytest.approx(min(amax, histogram.peak) / 127, rel=1e-6)
        clipped += amax < 0.9 * histogram.peak
    assert clipped


def test_default_is_the_method_with_the_best_cosine_on_the_first_crop(
    graph, placement, crops, calibrator, by_type
):
    """Against networks with the pairs written in, their weights rounded by Q/DQ as well."""
    table = by_type["default"].table
    first, cosines = crops[:1], {}
    reference = run(graph.to_model(), first)
    for name in METHODS:
        methods = dict.fromkeys(table.tensors, name)
        scales = calibrator.scales(table, methods)
        cosines[name] = compare(reference, run(insert(graph, placement, scales), first)).cosine_mean
    assert by_type["default"].cosines == pytest.approx(cosines, abs=2e-5)
    ranked = sorted(cosines.values())
    assert ranked[-1] - ranked[-2] > 1e-4, "the choice must not hang on rounding"
    best = max(cosines, key=lambda name: cosines[name])
    assert set(by_type["default"].methods.values()) == {best}
    assert by_type["default"].scales == calibrator.scales(table, by_type["default"].methods)


def test_default_looks_at_the_first_crop_only(graph, placement, crops, by_type):
    """The other crops have a part in the ranges, not in the comparison."""
    turned = Calibrator(graph, placement, crops[[1, 0, *range(2, CROPS)]], threads=1)
    assert turned.run("default").cosines != by_type["default"].cosines
    rest_turned = Calibrator(graph, placement, crops[[0, *range(CROPS - 1, 0, -1)]], threads=1)
    assert rest_turned.run("default").cosines == by_type["default"].cosines


def test_mix_takes_the_best_method_for_each_tensor_rounded_alone(
    graph, placement, crops, calibrator, by_type
):
    mixed, base = by_type["mix"], by_type["default"].methods
    reference = run(graph.to_model(), crops[:MIX_CROPS])
    for tensor in ("x", "r", "h", "m", "q"):
        alone = Placement({tensor: placement.reads[tensor]})
        cosines = {}
        for name in METHODS:
            scales = calibrator.scales(mixed.table, dict.fromkeys(mixed.methods, name))
            model = insert(graph, alone, scales)
            cosines[name] = compare(reference, run(model, crops[:MIX_CROPS])).cosine_mean
        chosen = cosines[mixed.methods[tensor]]
        assert chosen >= max(cosines.values()) - 3 * MIX_TIE, (tensor, cosines)
        if max(cosines.values()) - cosines[base[tensor]] < MIX_TIE / 2:
            assert mixed.methods[tensor] == base[tensor]
    assert len(set(mixed.methods.values())) > 1, "a mix of one method shows nothing"


def test_tensors_that_share_a_scale_are_tried_together():
    graph = Graph(
        small_model(
            [
                node("Conv", "x w0", "a", "stem", pads=[1] * 4),
                node("MaxPool", "a", "m", "shrink", kernel_shape=[2, 2]),
                node("Conv", "m w1", "c", "last"),
                node("GlobalAveragePool", "c", "p", "pool"),
                node("Flatten", "p", "y", "flatten"),
            ],
            {"w0": normal(8, 3, 3, 3), "w1": normal(8, 8, 1, 1, seed=1)},
        )
    )
    placement = x3.place(graph, frozenset(["flatten"]))
    steps: list[tuple[str, int]] = []

    class Bar:
        def update(self, done):
            steps.append(("update", done))

        def close(self):
            steps.append(("close", 0))

    def progress(label, total):
        steps.append((label, total))
        return Bar()

    crops = normal(3, 3, 9, 7)
    found = Calibrator(graph, placement, crops, 1, progress).run("mix")
    assert set(placement.tensors) == {"x", "a", "m", "c", "p"}
    assert set(found.methods) == {"x", "a", "c", "p"}
    assert found.scales["m"] == found.scales["a"]
    start = steps.index(("mixing methods", 4))
    assert steps[0] == ("collecting ranges", 3)
    assert steps[start + 1 :] == [("update", 1)] * 4 + [("close", 0)]


@pytest.mark.parametrize(
    ("calibration_type", "percentile", "message"),
    [
        ("entropy", 1.0, "must be one of default, mix, kl, max, got 'entropy'"),
        ("skip", 1.0, "got 'skip'"),
        ("max", 0.5, "above 0.5 and at most 1, got 0.5"),
        ("max", 99.99, "got 99.99"),
        ("max", float("nan"), "got nan"),
        ("kl", 0.999, "belongs to calibration type max, not to kl"),
    ],
)
def test_what_cannot_be_simulated_is_refused(calibration_type, percentile, message):
    with pytest.raises(ReidEdgeError, match=message):
        check_calibration_type(calibration_type, percentile)
