"""Accuracy against latency, measured and predicted."""

from __future__ import annotations

from typing import List, Optional, Tuple

from benchmarks.report import charts
from benchmarks.report.entries import (
    BOARDS,
    datasets,
    entries,
    first_latency,
    headline_cases,
    predicted_at,
)
from benchmarks.report.figures import finite, number
from benchmarks.report.page import figure, marker_key, plots
from benchmarks.report.plots import Plotter
from benchmarks.results import Results


def pareto_html(results: Results, plotter: Optional[Plotter]) -> str:
    """mAP against measured and predicted latency: one picture per data set and place."""
    if plotter is None:
        return ""
    figures = []
    found = entries(results)
    networks = list(found)
    labels = list(dict.fromkeys(e.label for kinds in found.values() for e in kinds))
    for key, any_of in datasets(results).items():
        on = " (%s)" % any_of.dataset.name if len(datasets(results)) > 1 else ""
        places: List[Tuple[str, List[charts.Point]]] = [("Measured on this machine", [])]
        places += [
            ("%s: predicted, not measured" % BOARDS.get(c[0], c[0]), [])
            for c in headline_cases(results)
        ]
        for colour, (network, kinds) in enumerate(found.items()):
            for entry in kinds:
                accuracy, latency = entry.accuracy(key), first_latency(entry)
                if accuracy is None or not finite(accuracy.mAP):
                    continue
                look = (colour, labels.index(entry.label), "%s %s" % (network, entry.label))
                if latency is not None and finite(latency.end_to_end.p50_ms):
                    p50_ms = latency.end_to_end.p50_ms
                    places[0][1].append(charts.Point(p50_ms, None, None, accuracy.mAP, *look))
                for place, case in zip(places[1:], headline_cases(results)):
                    p = predicted_at(entry, case)
                    if p is not None and finite(p.latency_ms, p.low_ms, p.high_ms):
                        point = charts.Point(p.latency_ms, p.low_ms, p.high_ms, accuracy.mAP, *look)
                        place[1].append(point)
        for title, points in places:
            if not points:
                continue
            used = sorted({p.marker for p in points})
            predicted = points[0].low_ms is not None
            xlabel = "ms, predicted" if predicted else "ms, crops to embeddings, median"
            said = "; ".join(
                "%s: %s %% at %s ms" % (p.name, number(p.mAP), number(p.x_ms)) for p in points
            )
            keys: List[Tuple[Optional[int], Optional[int], str]]
            keys = [(p, None, networks[p]) for p in sorted({p.colour for p in points})]
            keys += [(None, marker, labels[marker]) for marker in used]
            figures.append(
                figure(
                    title + on,
                    charts.pareto(plotter, points, xlabel, "mAP against latency. %s." % said),
                    "Up and left is better; nothing beats the dashed line in both. Hollow with a bar: "
                    "predicted, with its interval." if predicted else
                    "Up and left is better; nothing beats the dashed line in both.",
                    marker_key(keys),
                )
            )  # fmt: skip
    return plots(figures)
