"""A run's result for the terminal."""

from __future__ import annotations

from typing import List, Optional, Tuple

from benchmarks.results import MEASURED, Results, Row

_HEAD = (
    "bundle",
    "variant",
    "numerics",
    "data",
    "mAP",
    "Rank-1",
    "mAP drop [95 %]",
    "ms",
    "predicted",
)


def summary(results: Results) -> str:
    """A table with a line for each row and data set, and what a reader must know below it.

    ``ms`` is the median from crops to embeddings at the first batch size and thread count.
    """
    lines: List[Tuple[str, ...]] = [_HEAD]
    for row in results.rows:
        for accuracy in list(row.accuracy) or [None]:  # type: ignore[list-item]
            name = drop = mean = rank1 = "-"
            if accuracy is not None:
                name = accuracy.dataset.name + ("*" if accuracy.cross_domain else "")
                mean, rank1 = "%.2f" % accuracy.mAP, "%.2f" % accuracy.rank1
                if accuracy.drop is not None:
                    part = accuracy.drop.mAP
                    drop = "%+.2f [%+.2f, %+.2f]" % (part.points, part.low, part.high)
            lines.append(
                (
                    row.bundle.name,
                    row.variant,
                    row.how,
                    name,
                    mean,
                    rank1,
                    drop,
                    _ms(row),
                    _predicted(row),
                )
            )
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines
    ]
    text.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(text + [""] + _notes(results))


def _ms(row: Row) -> str:
    if not row.latency:
        return "-"
    first = row.latency[0]
    return "%.2f (b%d)" % (first.end_to_end.p50_ms, first.batch)


def _predicted(row: Row) -> str:
    """The first prediction for each board, with its interval."""
    shown: List[str] = []
    boards: List[str] = []
    for p in row.predicted:
        if p.board not in boards:
            boards.append(p.board)
            shown.append(
                "%s %s %.2f [%.2f, %.2f] ms"
                % (p.board, p.power_mode, p.latency_ms, p.low_ms, p.high_ms)
            )
    return "; ".join(shown) or "-"


def _notes(results: Results) -> List[str]:
    found = ["warning: " + warning for warning in results.warnings]
    found += ["note: " + note for row in results.rows for note in [*row.warnings, *row.notes]]
    if any(row.predicted for row in results.rows):
        found.append("note: predicted latencies are predicted, not measured; 90 % intervals, batch 1 "
                     "where it was asked for.")  # fmt: skip
    if any(row.how != MEASURED for row in results.rows):
        found.append("note: simulated variants are not timed: their time here says nothing.")
    if any(part.cross_domain for row in results.rows for part in row.accuracy):
        found.append("note: * another data set than the network was trained on.")
    machine = _machine(results)
    return list(dict.fromkeys(found)) + ([machine] if machine else [])


def _machine(results: Results) -> Optional[str]:
    first = next((latency for row in results.rows for latency in row.latency), None)
    if first is None:
        return None
    machine = results.machine
    return "%s, %s cores, %s, onnxruntime %s%s%s" % (
        machine.board or machine.cpu or "unknown CPU",
        machine.usable_cores,
        "threads of the network: %d" % first.threads if first.threads else "accelerator",
        machine.versions.get("onnxruntime", "-"),
        ", power mode %s" % machine.power_mode if machine.power_mode else "",
        ", governor %s" % machine.governor if machine.governor else "",
    )
