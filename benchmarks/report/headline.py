"""The table people quote, and what it says in sentences."""

from __future__ import annotations

from typing import List, Optional

from benchmarks.accuracy_record import Accuracy
from benchmarks.report.entries import (
    BOARDS,
    DatasetKey,
    Entry,
    dataset_title,
    datasets,
    entries,
    first_latency,
    headline_cases,
    predicted_at,
)
from benchmarks.report.figures import MISSING, finite, number, percent, plural, span
from benchmarks.report.table import Cell, Column, Part, Table
from benchmarks.results import MEASURED, Results

PREDICTED = "Predicted, not measured"


def headline(results: Results) -> List[Table]:
    """One table per data set, or one without accuracy; networks as parts, their kinds as rows.

    Entries without any accuracy are in the first table.
    """
    found = datasets(results)
    if not found:
        return [_table(results, None, "Latency; accuracy was not measured")]
    return [
        _table(results, key, dataset_title(accuracy), with_unmeasured=number_of == 0)
        for number_of, (key, accuracy) in enumerate(found.items())
    ]


def _table(
    results: Results, dataset: Optional[DatasetKey], caption: str, with_unmeasured: bool = True
) -> Table:
    cases = headline_cases(results)
    level = _level(results, dataset)
    shown = []
    parts = []
    for network, kinds in entries(results).items():
        kept = [
            entry
            for entry in kinds
            if (dataset is not None and entry.accuracy(dataset) is not None)
            or (with_unmeasured and not any(row.accuracy for row in entry.rows))
        ]
        shown += kept
        parts.append(Part(network, [_row(entry, dataset, cases) for entry in kept]))
    columns = [
        Column("Variant", number=False),
        Column("mAP", "%"),
        Column("Rank-1", "%"),
        Column("mAP lost", "points"),
        Column("Crops to embeddings", "ms", "Measured here"),
        *(
            Column(
                BOARDS.get(board, board),
                "ms, %s, %s, batch %d" % (unit.upper(), mode, batch),
                PREDICTED,
            )
            for board, unit, mode, batch in cases
        ),
    ]
    notes = _timed(shown)
    if level is not None:
        notes.append(
            "mAP lost is against fp32 of the same bundle, with its %s %% interval (paired bootstrap "
            "over queries); positive is worse." % percent(level, 0)
        )
    if cases:
        held = {p.level for entry in shown for p in entry.predicted}
        notes.append(
            "Board latencies are %s: a model fitted on published figures of other networks; the "
            "interval holds %s %% of those when they are left out of the fit."
            % (PREDICTED.lower(), " or ".join(percent(share, 0) for share in sorted(held)))
        )
    simulated = sorted({row.how for entry in shown for row in entry.rows if row.how != MEASURED})
    if simulated:
        notes.append(
            "Accuracy of %s comes from a simulation of that arithmetic on this machine; its time there "
            "would mean nothing and is not given."
            % ", ".join(dict.fromkeys(e.label for e in shown if e.row.how != MEASURED))
        )
    return Table(caption, columns, parts, notes).without_empty_columns()


def _row(entry: Entry, dataset: Optional[DatasetKey], cases) -> List[Cell]:
    accuracy = entry.accuracy(dataset) if dataset is not None else None
    latency = first_latency(entry)
    cells = [Cell(entry.label), *accuracy_cells(accuracy)]
    cells.append(Cell(number(latency.end_to_end.p50_ms)) if latency else Cell(MISSING))
    for case in cases:
        p = predicted_at(entry, case)
        cells.append(
            Cell(number(p.latency_ms), span(p.low_ms, p.high_ms), predicted=True)
            if p
            else Cell(MISSING)
        )
    return cells


def accuracy_cells(accuracy: Optional[Accuracy]) -> List[Cell]:
    """mAP, Rank-1, and what mAP lost with its interval."""
    if accuracy is None:
        return [Cell(MISSING), Cell(MISSING), Cell(MISSING)]
    drop = accuracy.drop
    lost = (
        Cell(number(drop.mAP.points), span(drop.mAP.low, drop.mAP.high)) if drop else Cell(MISSING)
    )
    return [Cell(number(accuracy.mAP)), Cell(number(accuracy.rank1)), lost]


def _timed(shown: List[Entry]) -> List[str]:
    """What the latency column is."""
    found = [latency for latency in map(first_latency, shown) if latency is not None]
    if not found:
        return []
    batches = sorted({latency.batch for latency in found})
    threads = sorted({latency.threads or 0 for latency in found})
    return [
        "Measured: median from crops to embeddings of unit length, batch %s, %s."
        % (
            " or ".join(map(str, batches)),
            " or ".join(plural(n, "thread") if n else "all cores" for n in threads),
        )
    ]


def _level(results: Results, dataset: Optional[DatasetKey]) -> Optional[float]:
    for row in results.rows:
        for accuracy in row.accuracy:
            if accuracy.drop is not None and dataset is not None:
                return accuracy.drop.level
    return None


def in_short(results: Results) -> List[str]:
    """What INT8 and FP16 cost and bring, in a sentence for each entry that lost or gained anything."""
    found = datasets(results)
    cases = headline_cases(results)
    lines = []
    for network, kinds in entries(results).items():
        for entry in kinds:
            for key, any_of in found.items():
                accuracy = entry.accuracy(key)
                if accuracy is None or accuracy.drop is None or entry.row.alternative is not None:
                    continue
                drop = accuracy.drop.mAP
                if not finite(drop.points, drop.low, drop.high):
                    continue
                text = "%s, %s%s: %s" % (
                    network,
                    entry.label,
                    " on " + any_of.dataset.name if len(found) > 1 else "",
                    _verdict(drop.points, drop.low, drop.high),
                )
                lines.append(text + _faster(entry, kinds, cases) + ".")
    return lines


def _verdict(points: float, low: float, high: float) -> str:
    inside = "%s points mAP (interval %s)" % (number(abs(points)), span(low, high))
    if low > 0:
        return "loses " + inside
    if high < 0:
        return "gains %s points mAP (interval %s)" % (number(-points), span(-high, -low))
    return "no change of mAP that this data can show (loss of %s points, interval %s)" % (
        number(points),
        span(low, high),
    )


def _faster(entry: Entry, kinds: List[Entry], cases) -> str:
    latency, base = first_latency(entry), first_latency(kinds[0])
    text = ""
    if latency and base and latency is not base and latency.batch == base.batch:
        ms, fp32_ms = latency.end_to_end.p50_ms, base.end_to_end.p50_ms
        if finite(ms, fp32_ms) and kinds[0].row.precision == "fp32":
            text = "; %s ms here where fp32 takes %s" % (number(ms), number(fp32_ms))
    told = [(case, predicted_at(entry, case)) for case in cases]
    predicted = [
        "%s ms on the %s" % (number(p.latency_ms), BOARDS.get(case[0], case[0]))
        for case, p in told
        if p is not None
    ]
    return text + ("; predicted, not measured: " + ", ".join(predicted) if predicted else "")
