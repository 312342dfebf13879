"""``--precision auto``: the fewest layers to leave in float so that the mAP drop stays in bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from export.quantize import Quantized, Quantizer

SENSITIVITY_CROPS = 16  # one network is built and run per layer, so few crops must do


@dataclass
class Search:
    """Outcome of the search.

    Attributes:
        quantized: The network that holds the bound, or the best found.
        drop: Its mAP drop in points.
        kept_float: Layers left in float, most sensitive first.
        sensitivity: layer -> loss of mean cosine on held-out crops that goes away when this layer
            alone stays in float.
        trials: (layers in float, mAP drop) of every network measured.
    """

    quantized: Quantized
    drop: float
    kept_float: list[str]
    sensitivity: dict[str, float]
    trials: list[tuple[int, float]]


def sensitivity(
    quantizer: Quantizer, base: Quantized, progress: Callable[[str, int], Any]
) -> dict[str, float]:
    """Measure how much each quantized layer costs.

    The network is quantized but for one layer at a time: what its embeddings gain in mean cosine is
    what that layer's rounding (of weight and input) had cost, in the presence of all others.

    Returns:
        layer name -> cosine gained, sorted from the most to the least sensitive.
    """
    judge = replace(quantizer, held_out=quantizer.held_out[:SENSITIVITY_CROPS])
    everything = judge.without(frozenset(), base).record["held_out_cosine"]
    bar = progress("layer sensitivity", len(base.placement.weights))
    gains = {}
    for name in base.placement.weights:
        gains[name] = judge.without(frozenset([name]), base).record["held_out_cosine"] - everything
        bar.update(1)
    bar.close()
    return dict(sorted(gains.items(), key=lambda item: -item[1]))


def search(
    quantizer: Quantizer,
    base: Quantized,
    map_drop: Callable[[Quantized], float],
    max_map_drop: float,
    progress: Callable[[str, int], Any],
) -> Search:
    """Find the shortest prefix of the most sensitive layers whose exclusion holds the bound.

    Args:
        quantizer, base: The quantizer and its fully quantized network.
        map_drop: Measures the mAP drop of a network, in points.
        max_map_drop: The bound in points.

    The number of layers is doubled until the bound holds, then halved in between; mAP is not
    strictly monotonic in it, so the result is the smallest number *measured* to hold.
    """
    trials: list[tuple[int, float]] = []
    drop = map_drop(base)
    trials.append((0, drop))
    all_layers = len(base.placement.weights)
    if drop <= max_map_drop or all_layers < 2:  # the last layer must stay quantized
        return Search(base, drop, [], {}, trials)
    gains = sensitivity(quantizer, base, progress)
    order = list(gains)

    def trial(count: int) -> tuple[Quantized, float]:
        network = quantizer.without(frozenset(order[:count]), base)
        measured = map_drop(network)
        trials.append((count, measured))
        return network, measured

    best, low, count = (base, drop, 0), 0, 1
    while True:
        network, drop = trial(count)
        if drop <= max_map_drop:
            best, high = (network, drop, count), count
            break
        if drop < best[1]:
            best = (network, drop, count)
        if count >= all_layers - 1:  # one layer at least must stay quantized
            return Search(best[0], best[1], order[: best[2]], gains, trials)
        low, count = count, min(count * 2, all_layers - 1)
    while high - low > 1:
        middle = (low + high) // 2
        network, drop = trial(middle)
        if drop <= max_map_drop:
            best, high = (network, drop, middle), middle
        else:
            low = middle
    return Search(best[0], best[1], order[: best[2]], gains, trials)
