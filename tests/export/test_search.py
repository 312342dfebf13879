"""The search for layers to leave in float: pure logic, driven by made-up sensitivities and drops."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.placement.base import Placement
from export.search import SENSITIVITY_CROPS, search, sensitivity


@dataclass
class FakeQuantized:
    placement: Placement
    record: dict
    kept: frozenset[str] = frozenset()


@dataclass
class FakeQuantizer:
    """Gives back the cosine each layer costs, as if layers did not influence one another."""

    costs: dict[str, float]
    held_out: range = range(64)
    made: list[tuple[frozenset[str], int]] = field(default_factory=list)

    def quantized(self, kept: frozenset[str] = frozenset()) -> FakeQuantized:
        weights = [name for name in self.costs if name not in kept]
        cosine = 1.0 - sum(self.costs[name] for name in weights)
        return FakeQuantized(Placement(weights=weights), {"held_out_cosine": cosine}, kept)

    def without(self, keep_float: frozenset[str], like: FakeQuantized) -> FakeQuantized:
        assert like.kept == frozenset()
        self.made.append((keep_float, len(self.held_out)))
        return self.quantized(keep_float)


class Bar:
    def __init__(self, total):
        self.total, self.done, self.closed = total, 0, False

    def update(self, n):
        self.done += n

    def close(self):
        self.closed = True


def progress(label, total):
    return Bar(total)


def layers(costs):
    return FakeQuantizer({"conv%d" % i: cost for i, cost in enumerate(costs)})


@given(costs=st.lists(st.floats(0, 0.01), min_size=1, max_size=20))
def test_sensitivity_is_what_each_layer_costs_most_sensitive_first(costs):
    quantizer, bars = layers(costs), []
    gains = sensitivity(
        quantizer, quantizer.quantized(), lambda *a: bars.append(progress(*a)) or bars[-1]
    )
    assert gains.keys() == quantizer.costs.keys()
    assert all(gains[n] == pytest.approx(c, abs=1e-9) for n, c in quantizer.costs.items())
    assert list(gains.values()) == sorted(gains.values(), reverse=True)
    assert (bars[0].total, bars[0].done, bars[0].closed) == (len(costs), len(costs), True)
    assert {crops for _, crops in quantizer.made} == {SENSITIVITY_CROPS}


@given(
    drops=st.lists(st.floats(-1, 3), min_size=1, max_size=40),
    limit=st.floats(0, 2),
    costs=st.randoms(use_true_random=False),
)
def test_any_drop_function_ends_with_the_smallest_count_measured_to_hold(drops, limit, costs):
    """``drops[k]`` is the drop with k layers in float: any function, monotonic or not."""
    quantizer = layers([costs.random() for _ in drops])
    base = quantizer.quantized()
    found = search(quantizer, base, lambda q: drops[len(q.kept)], limit, progress)

    assert found.trials[0] == (0, drops[0])
    assert all(drop == drops[count] for count, drop in found.trials)
    counts = [count for count, _ in found.trials]
    assert len(set(counts)) == len(counts) <= 2 * len(drops).bit_length() + 2
    assert max(counts) < len(drops), "one layer at least stays quantized"
    assert (len(found.kept_float), found.drop) in found.trials
    assert found.quantized.kept == frozenset(found.kept_float)
    holding = [count for count, drop in found.trials if drop <= limit]
    if holding:
        assert len(found.kept_float) == min(holding)
    else:
        assert found.drop == min(drop for _, drop in found.trials)
    most = sorted(quantizer.costs.values(), reverse=True)[: len(found.kept_float)]
    assert [quantizer.costs[name] for name in found.kept_float] == pytest.approx(most)


@given(size=st.integers(2, 60), data=st.data())
def test_a_falling_drop_gives_the_optimum(size, data):
    enough = data.draw(st.integers(0, size - 1))
    quantizer = layers([1.0 / (i + 1) for i in range(size)])
    found = search(
        quantizer,
        quantizer.quantized(),
        lambda q: 0.1 if len(q.kept) >= enough else 1.0,
        0.3,
        progress,
    )
    assert len(found.kept_float) == enough
    assert found.kept_float == ["conv%d" % i for i in range(enough)]


def test_nothing_is_measured_twice_where_the_bound_holds_at_once():
    quantizer = layers([0.1, 0.2])
    found = search(quantizer, quantizer.quantized(), lambda q: 0.0, 0.0, progress)
    assert (found.kept_float, found.sensitivity, found.trials) == ([], {}, [(0, 0.0)])
    assert quantizer.made == []


def test_a_single_layer_stays_quantized():
    quantizer = layers([0.1])
    found = search(quantizer, quantizer.quantized(), lambda q: 5.0, 0.3, progress)
    assert (found.kept_float, found.drop, found.trials) == ([], 5.0, [(0, 5.0)])
