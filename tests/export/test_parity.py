"""Comparison of embeddings, the thresholds, and the first layer that diverges."""

from __future__ import annotations

import numpy as np
import pytest

from export.graph import Graph
from export.parity import (
    FLOAT_RELATIVE_L2,
    QUANTIZED_MEAN_COSINE,
    Parity,
    check,
    compare,
    first_divergence,
    layer_errors,
)
from runtime.errors import VerificationError
from tests.export.small_models import node, normal, run, small_model


def chain(spoil: str | None = None, factor: float = 1.5):
    """Four convolutions with ReLUs in a row; ``spoil`` names the weight to multiply."""
    weights = {"w%d" % i: normal(4, 4 if i else 3, 3, 3, seed=i, scale=0.2) for i in range(4)}
    if spoil:
        weights[spoil] = weights[spoil] * np.float32(factor)
    nodes, tensor = [], "x"
    for i in range(4):
        nodes.append(node("Conv", "%s w%d" % (tensor, i), "c%d" % i, "conv%d" % i, pads=[1] * 4))
        nodes.append(node("Relu", "c%d" % i, "r%d" % i, "relu%d" % i))
        tensor = "r%d" % i
    nodes += [
        node("GlobalAveragePool", tensor, "p", "pool"),
        node("Flatten", "p", "y", "flatten"),
    ]
    return small_model(nodes, weights)


def parity(**changes) -> Parity:
    values = dict(
        n=8, relative_l2_max=0.0, cosine_min=1.0, cosine_p1=1.0, cosine_mean=1.0, abs_max=0.0,
        rank_top1=100.0, rank_overlap=100.0,
    )  # fmt: skip
    return Parity(**{**values, **changes})


def test_compare_measures_what_was_done_to_the_embeddings():
    reference = normal(20, 32)
    scaled = compare(reference, reference * 1.01)
    assert scaled.relative_l2_max == pytest.approx(0.01, rel=1e-3)
    assert scaled.cosine_min == pytest.approx(1.0, abs=1e-6)
    assert (scaled.rank_top1, scaled.rank_overlap) == (100.0, 100.0)
    assert scaled.abs_max == pytest.approx(0.01 * np.abs(reference).max(), rel=1e-3)

    turned = reference.copy()
    turned[3] = -turned[3]
    one_bad = compare(reference, turned)
    assert one_bad.cosine_min == pytest.approx(-1.0, abs=1e-6)
    assert one_bad.cosine_mean == pytest.approx(18 / 20, abs=1e-6)
    assert one_bad.relative_l2_max == pytest.approx(2.0)
    assert -1.0 < one_bad.cosine_p1 < 1.0
    assert one_bad.rank_top1 < 100.0


def test_noise_lowers_every_figure():
    reference = normal(30, 64)
    small, large = (
        compare(reference, reference + normal(30, 64, seed=1, scale=s)) for s in (0.05, 0.5)
    )
    assert large.cosine_mean < small.cosine_mean < 1.0
    assert large.cosine_min <= large.cosine_p1 <= large.cosine_mean
    assert large.rank_overlap < small.rank_overlap <= 100.0
    assert large.relative_l2_max > small.relative_l2_max


def test_two_crops_have_no_order_to_disagree_on():
    """Shares are in percent, also where there are too few crops to rank."""
    both = compare(normal(2, 8), normal(2, 8))
    assert (both.n, both.rank_top1, both.rank_overlap) == (2, 100.0, 100.0)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_embeddings_that_are_not_finite_fail_and_the_layer_is_named(precision, bad):
    candidate = normal(8, 16)
    candidate[5, 2] = bad
    measured = compare(normal(8, 16), candidate)
    with pytest.raises(VerificationError, match="diverges is conv7"):
        check("The candidate", precision, measured, lambda: "conv7")


@pytest.mark.parametrize(
    "precision, within, beyond",
    [
        (
            "fp32",
            parity(relative_l2_max=FLOAT_RELATIVE_L2),
            parity(relative_l2_max=FLOAT_RELATIVE_L2 * 1.01),
        ),
        *(
            (p, parity(cosine_mean=floor), parity(cosine_mean=floor - 1e-4))
            for p, floor in QUANTIZED_MEAN_COSINE.items()
        ),
    ],
)
def test_thresholds(precision, within, beyond):
    def unexpected():
        raise AssertionError("looked for a layer although nothing failed")

    assert check("A stage", precision, within, unexpected) is within
    with pytest.raises(VerificationError) as caught:
        check("The INT8 network", precision, beyond, lambda: "conv3 (relative error 0.7)")
    message = str(caught.value)
    assert message.startswith("The INT8 network does not reproduce")
    assert message.endswith(
        "over 8 crops; the first layer that diverges is conv3 (relative error 0.7)."
    )
    assert caught.value.exit_code == 3
    with pytest.raises(VerificationError, match=r"over 8 crops\.$"):
        check("A stage", precision, beyond, lambda: None)


@pytest.mark.parametrize("index", range(4))
def test_first_divergence_names_the_changed_layer(index):
    found = first_divergence(chain(), chain("w%d" % index), normal(2, 3, 9, 7), "fp32")
    assert found is not None and found.startswith("conv%d (relative error 0.5" % index)


def test_first_divergence_allows_what_the_precision_costs():
    images = normal(2, 3, 9, 7)
    assert first_divergence(chain(), chain(), images, "fp32") is None
    slightly = chain("w1", 1.02)
    assert first_divergence(chain(), slightly, images, "fp16") is None
    assert first_divergence(chain(), slightly, images, "fp32").startswith("conv1 ")
    assert first_divergence(chain(), chain("w2", np.nan), images, "int8").startswith("conv2 ")


def test_layer_errors_follow_the_graph_and_are_relative():
    images = normal(2, 3, 9, 7)
    errors = layer_errors(chain(), chain("w2", 1.25), images)
    assert list(errors) == [n.name for n in Graph(chain()).nodes]
    assert [errors["conv%d" % i] for i in range(3)] == pytest.approx([0, 0, 0.25], abs=1e-5)
    left, right = run(chain(), images), run(chain("w2", 1.25), images)
    expected = np.linalg.norm(right - left) / np.linalg.norm(left)
    assert errors["flatten"] == pytest.approx(expected, rel=1e-4)


def test_layer_errors_skip_what_only_one_model_has():
    """The candidate may have merged nodes: their tensors are gone, the others still compare."""
    candidate = small_model(
        [node("Conv", "x w", "c0", "conv0", pads=[1] * 4), node("Relu", "c0", "y", "relu")],
        {"w": normal(4, 3, 3, 3, scale=0.2)},
    )
    reference = small_model(
        [
            node("Conv", "x w", "c0", "conv0", pads=[1] * 4),
            node("Identity", "c0", "i0", "gone"),
            node("Relu", "i0", "y", "relu"),
        ],
        {"w": normal(4, 3, 3, 3, scale=0.2)},
    )
    errors = layer_errors(reference, candidate, normal(1, 3, 9, 7))
    assert errors == {"conv0": pytest.approx(0, abs=1e-6), "relu": pytest.approx(0, abs=1e-6)}
