"""Every figure of a run under a name, so that conditions and comparisons can speak of it.

A scope is one bundle on one data set; in it a figure is ``<variant>.<figure>``:

    int8.mAP, .rank1, .rank5, .rank10, .mINP                 percent
    int8.mAP_drop, .rank1_drop, .mINP_drop                   points below fp32, positive is worse
    int8.mAP_drop_low, .mAP_drop_high, ... (each drop)       ends of its bootstrap interval
    int8.cosine_mean, .cosine_min                            to the fp32 embeddings
    int8.threshold, .threshold_shift                         at the stated false-accept rate
    int8.false_accept, .false_reject                         there, in percent
    int8.network_p50_ms, .preprocess_p50_ms, .end_to_end_p50_ms, ... _p90_ms, _p99_ms
    int8.peak_memory_mb, .model_mb
    int8.xavier-nx.predicted_ms                              in the first power mode predicted

Latencies are those of the first batch size and thread count; ``int8.b8.network_p50_ms`` and
``int8.b8t2.network_p50_ms`` name others. Variants are those of the run: fp32, fp16, int8, int8_nv12,
ort_static, ...
"""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional

from benchmarks.accuracy_record import Accuracy
from benchmarks.results import Latency, Results, Row


class Scope(NamedTuple):
    """One bundle on one data set; ``dataset`` is None where no accuracy was measured."""

    bundle: str
    target: str
    dataset: Optional[str]

    def __str__(self) -> str:
        on = " on %s" % self.dataset if self.dataset else ""
        return "%s (%s)%s" % (self.bundle, self.target, on)


def figures_of(results: Results) -> Dict[Scope, Dict[str, float]]:
    """All figures of a run: scope to path to value. Figures that were not measured are not there."""
    found: Dict[Scope, Dict[str, float]] = {}
    for row in results.rows:
        sets: List[Optional[Accuracy]] = list(row.accuracy) or [None]
        for accuracy in sets:
            name = None
            if accuracy is not None:
                name = accuracy.dataset.name
                if accuracy.dataset.folder != name:
                    name = "%s/%s" % (name, accuracy.dataset.folder)
            scope = Scope(row.bundle.name, row.bundle.target, name)
            own = {**_row_figures(row), **(_accuracy_figures(accuracy) if accuracy else {})}
            known = found.setdefault(scope, {})
            for key, value in own.items():
                known.setdefault("%s.%s" % (row.variant, key), value)
    return found


def _accuracy_figures(accuracy: Accuracy) -> Dict[str, float]:
    found: Dict[str, float] = {
        name: getattr(accuracy, name) for name in ("mAP", "rank1", "rank5", "rank10", "mINP")
    }
    if accuracy.drop is not None:
        for name in ("mAP", "rank1", "mINP"):
            part = getattr(accuracy.drop, name)
            found[name + "_drop"] = part.points
            found[name + "_drop_low"], found[name + "_drop_high"] = part.low, part.high
    if accuracy.cosine is not None:
        found.update(cosine_mean=accuracy.cosine.mean, cosine_min=accuracy.cosine.minimum)
    if accuracy.open_set is not None:
        at = accuracy.open_set.at_rate
        found["threshold"] = at.similarity
        found["false_accept"], found["false_reject"] = 100 * at.false_accept, 100 * at.false_reject
        if accuracy.open_set.threshold_shift is not None:
            found["threshold_shift"] = accuracy.open_set.threshold_shift
    return found


def _row_figures(row: Row) -> Dict[str, float]:
    found: Dict[str, float] = {"model_mb": row.model_mb}
    for number, latency in enumerate(row.latency):
        own = _latency_figures(latency)
        first_of_batch = all(other.batch != latency.batch for other in row.latency[:number])
        prefixes = ["b%dt%s." % (latency.batch, latency.threads or "")]
        prefixes += ["b%d." % latency.batch] * first_of_batch + [""] * (number == 0)
        for prefix in prefixes:
            found.update({prefix + key: value for key, value in own.items()})
    for predicted in row.predicted:
        if predicted.precision == row.precision:
            found.setdefault("%s.predicted_ms" % predicted.board, predicted.latency_ms)
    return found


def _latency_figures(latency: Latency) -> Dict[str, float]:
    found: Dict[str, float] = {}
    for part in ("network", "preprocess", "end_to_end"):
        for percentile in ("p50_ms", "p90_ms", "p99_ms"):
            found["%s_%s" % (part, percentile)] = getattr(getattr(latency, part), percentile)
    if latency.peak_memory_mb is not None:
        found["peak_memory_mb"] = latency.peak_memory_mb
    return found
