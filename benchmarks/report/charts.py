"""The pictures of a report, each from plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Mapping, Sequence, Tuple

import numpy as np

from benchmarks.report.figures import finite, number
from benchmarks.report.plots import DASHES, EDGE, INK, MARKERS, PAPER, QUIET, SERIES, Plotter


@dataclass(frozen=True)
class Point:
    """A network at a latency: ``low_ms`` and ``high_ms`` where it is predicted, else None."""

    x_ms: float
    low_ms: Any
    high_ms: Any
    mAP: float
    colour: int
    marker: int
    name: str


def pareto(plots: Plotter, points: Sequence[Point], xlabel: str, description: str) -> str:
    """Accuracy against latency, with the front that nothing is better than in both."""

    def paint(axes: Any) -> None:
        front: List[Tuple[float, float]] = []
        for point in sorted(points, key=lambda p: (p.x_ms, -p.mAP)):
            if not front or point.mAP > front[-1][1]:
                front.append((point.x_ms, point.mAP))
        if len(front) > 1:
            x, y = zip(*front)
            axes.plot(x, y, drawstyle="steps-post", color=QUIET, linewidth=1.0, linestyle=DASHES[1])
        for point in points:
            colour = SERIES[point.colour % len(SERIES)]
            predicted = point.low_ms is not None
            if predicted:
                axes.plot(
                    [point.low_ms, point.high_ms], [point.mAP] * 2, color=colour, linewidth=1.2
                )
            axes.plot(
                point.x_ms, point.mAP, MARKERS[point.marker % len(MARKERS)][0], markersize=7,
                markerfacecolor=PAPER if predicted else colour, markeredgecolor=colour,
                markeredgewidth=1.6, clip_on=False,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.margins(x=0.08, y=0.12)
        low, high = axes.get_ylim()
        if high - low < _LEAST_POINTS:  # less than that is not a trade-off
            middle = (low + high) / 2
            axes.set_ylim(middle - _LEAST_POINTS / 2, middle + _LEAST_POINTS / 2)
        _plain_log_ticks(axes)
        axes.set_xlabel(xlabel)
        axes.set_title("mAP, %", color=QUIET)

    return plots.draw(paint, description)


def stacked(
    plots: Plotter,
    names: Sequence[str],
    parts: Mapping[str, Sequence[float]],
    xlabel: str,
    description: str,
) -> str:
    """Horizontal bars made of parts; parts differ by colour and by hatching.

    Args:
        plots: What draws.
        names: One per bar.
        parts: Name of the part to its length in every bar.
        xlabel: Below.
        description: Alternative text.
    """

    def paint(axes: Any) -> None:
        left = np.zeros(len(names))
        for i, values in enumerate(parts.values()):
            lengths = np.asarray(values, float)
            axes.barh(
                range(len(names)), lengths, left=left, height=0.62, color=SERIES[i % len(SERIES)],
                hatch=HATCHES[i % len(HATCHES)], edgecolor=PAPER, linewidth=0.6,
            )  # fmt: skip
            left = left + lengths
        axes.set_yticks(range(len(names)), [_short(name) for name in names])
        for row, total in enumerate(left):
            axes.annotate(
                number(float(total)), (total, row), xytext=(4, 0), textcoords="offset points",
                va="center", fontsize=9, color=INK,
            )  # fmt: skip
        axes.set_xlim(0, max(float(left.max()) * 1.17, 1e-9))
        _listed(axes, xlabel)

    return plots.draw(paint, description, _height(len(names)))


_LEAST_POINTS = 1.0
_LONGEST_NAME = 26
HATCHES = ("", "//", "..", "xx", "\\\\", "++")


def spread(
    plots: Plotter,
    names: Sequence[str],
    times: Sequence[Tuple[float, float, float]],
    xlabel: str,
    description: str,
) -> str:
    """p50, p90 and p99 of each name on a line."""

    def paint(axes: Any) -> None:
        for row, (p50, p90, p99) in enumerate(times):
            axes.plot([p50, p99], [row, row], color=SERIES[0], linewidth=1.4)
            for value, (marker, _), filled in zip((p50, p90, p99), MARKERS, (True, False, False)):
                axes.plot(
                    value, row, marker, markersize=6.5, color=SERIES[0],
                    markerfacecolor=SERIES[0] if filled else PAPER, markeredgewidth=1.5,
                )  # fmt: skip
        axes.set_yticks(range(len(names)), [_short(name) for name in names])
        axes.set_ylim(-0.6, len(names) - 0.4)
        highest = max(p99 for _, _, p99 in times)
        axes.set_xlim(0, max(highest * 1.06, 1e-9))
        _listed(axes, xlabel)

    return plots.draw(paint, description, _height(len(names)))


def intervals(
    plots: Plotter,
    names: Sequence[str],
    drops: Sequence[Tuple[float, float, float]],
    xlabel: str,
    description: str,
) -> str:
    """(value, low, high) of each name, against zero."""

    def paint(axes: Any) -> None:
        axes.axvline(0, color=INK, linewidth=1.0)
        for row, (value, low, high) in enumerate(drops):
            axes.plot([low, high], [row, row], color=SERIES[0], linewidth=2.0)
            axes.plot(value, row, "o", color=SERIES[0], markersize=7)
        axes.set_yticks(range(len(names)), [_short(name) for name in names])
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.margins(x=0.1)
        _listed(axes, xlabel)

    return plots.draw(paint, description, _height(len(names)))


def cumulative(
    plots: Plotter,
    curves: Mapping[str, Tuple[Sequence[float], Sequence[int]]],
    xlabel: str,
    description: str,
) -> str:
    """Share of the whole that lies below x: name to histogram (edges, counts)."""

    def paint(axes: Any) -> None:
        from matplotlib.ticker import MaxNLocator

        for i, (edges, counts) in enumerate(curves.values()):
            share = 100.0 * np.cumsum(counts) / max(sum(counts), 1)
            axes.plot(
                edges[1:], share, color=SERIES[i % len(SERIES)], linestyle=DASHES[i % len(DASHES)]
            )
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(xlabel)
        axes.set_title("% of the crops that lie lower", color=QUIET)
        axes.set_ylim(0, 103)

    return plots.draw(paint, description, 2.8)


def error_curves(
    plots: Plotter,
    curves: Mapping[str, Tuple[Sequence[float], Sequence[float]]],
    marks: Mapping[str, Tuple[float, float]],
    rate: float,
    description: str,
) -> str:
    """False rejects against false accepts, both in percent on logarithmic axes.

    Args:
        plots: What draws.
        curves: Name to (false accepts, false rejects), 0..1.
        marks: Name to the operating point at its threshold.
        rate: The stated false-accept rate.
        description: Alternative text.
    """

    def paint(axes: Any) -> None:
        axes.axvline(100 * rate, color=QUIET, linewidth=1.0, linestyle=DASHES[2])
        for i, (name, (accepts, rejects)) in enumerate(curves.items()):
            x, y = 100 * np.asarray(accepts, float), 100 * np.asarray(rejects, float)
            kept = (x > 0) & (y > 0)
            colour = SERIES[i % len(SERIES)]
            axes.plot(x[kept], y[kept], color=colour, linestyle=DASHES[i % len(DASHES)])
            if name in marks and min(marks[name]) > 0:
                accept, reject = marks[name]
                axes.plot(
                    100 * accept, 100 * reject, MARKERS[i % len(MARKERS)][0], color=colour,
                    markersize=7.5, markeredgecolor=PAPER,
                )  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        _plain_log_ticks(axes)
        _plain_log_ticks(axes, vertical=True)
        axes.set_xlabel("strangers accepted, %")
        axes.set_title("looks at the learned person rejected, %", color=QUIET)

    return plots.draw(paint, description)


def profile(plots: Plotter, errors: Sequence[float], description: str) -> str:
    """A value of every layer, in the order of the network."""

    def paint(axes: Any) -> None:
        axes.fill_between(
            range(len(errors)), errors, step="mid", color=SERIES[0], alpha=0.35, linewidth=0
        )
        axes.step(range(len(errors)), errors, where="mid", color=SERIES[0], linewidth=1.2)
        axes.set_xlim(0, max(len(errors) - 1, 1))
        axes.set_ylim(bottom=0)
        axes.set_xlabel("node of the graph, first to last")
        axes.set_title("relative L2 error of its output", color=QUIET)

    return plots.draw(paint, description, 2.6)


def value_histogram(
    plots: Plotter,
    edges: Sequence[float],
    counts: Sequence[int],
    seen: Tuple[float, float],
    chosen: Tuple[float, float],
    others: Mapping[str, Tuple[float, float]],
    description: str,
) -> str:
    """A tensor's values with the range chosen for it, and the ends of other methods' ranges.

    Args:
        plots: What draws.
        edges, counts: The histogram.
        seen: Smallest and largest value known; ends of ranges beyond it are not drawn.
        chosen: The range; what it cuts off is grey.
        others: Method to its range.
        description: Alternative text.
    """
    left, right = min(edges[0], seen[0]), max(edges[-1], seen[1])

    def paint(axes: Any) -> None:
        axes.stairs(counts, edges, fill=True, color=SERIES[0], alpha=0.45, baseline=0.5)
        axes.set_yscale("log")
        low, high = chosen
        for start, end in ((left, low), (high, right)):
            if end > start:
                axes.axvspan(start, end, color=EDGE, alpha=0.55, linewidth=0)
        for end in sorted({low, high} - {0.0}):
            if left <= end <= right:
                axes.axvline(end, color=SERIES[1], linewidth=2.0)
        for i, ends in enumerate(others.values()):
            for end in sorted(set(ends) - {0.0}):
                if left <= end <= right:
                    axes.plot(
                        end, 0.97 - 0.06 * i, MARKERS[i % len(MARKERS)][0], color=INK, markersize=5,
                        transform=axes.get_xaxis_transform(), markerfacecolor=PAPER, clip_on=False,
                    )  # fmt: skip
        axes.set_xlim(left, right)
        axes.set_ylim(bottom=0.5)
        _plain_log_ticks(axes, vertical=True)
        axes.set_xlabel("value")
        axes.set_title("values per bin", color=QUIET)

    return plots.draw(paint, description, 2.5)


def _short(name: str) -> str:
    """A name that leaves room for what it names; tables have it whole."""
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _height(bars: int) -> float:
    return 0.75 + 0.3 * max(bars, 1)


def _listed(axes: Any, xlabel: str) -> None:
    """The look of charts that list names from top to bottom."""
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(xlabel)


def _plain_log_ticks(axes: Any, vertical: bool = False) -> None:
    """Few ticks at round values, written as plain numbers; call it when the limits stand."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis = axes.yaxis if vertical else axes.xaxis
    low, high = sorted(axis.get_view_interval())
    if not (finite(low, high) and low > 0):
        return
    decades = [
        10.0**k for k in range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ]
    ticks: List[float] = []
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), tuple(np.arange(1, 10, 0.5))):
        ticks = [d * step for d in decades for step in steps if low <= d * step <= high]
        if len(ticks) >= 3:
            break
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: "%g" % value))
