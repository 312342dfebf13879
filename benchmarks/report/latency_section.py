"""Latency: what was measured here, what it is made of, and what is predicted for boards."""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

from benchmarks.report import charts
from benchmarks.report.entries import (
    BOARDS,
    Entry,
    entries,
    first_latency,
    headline_cases,
    predicted_at,
)
from benchmarks.report.figures import MISSING, finite, number, percent, span
from benchmarks.report.page import bar_key, figure, marker_key, paragraph, plots
from benchmarks.report.plots import Plotter
from benchmarks.report.table import Cell, Column, Part, Table
from benchmarks.results import Latency, Percentiles, Results

PARTS = ("preprocessing", "network", "the rest: copies and L2 normalisation")


def latency_table(results: Results) -> Table:
    """Median, p90 and p99 of everything that was timed."""
    parts = []
    for network, kinds in entries(results).items():
        rows = [_row(entry, latency) for entry in kinds for latency in entry.latency]
        parts.append(Part(network, rows))
    whole, alone = "Crops to embeddings", "Network alone"
    columns = [
        Column("Variant", number=False),
        Column("Backend", number=False, short=True),
        Column("Batch", "crops"),
        Column("Threads"),
        *(Column(title, "ms", whole) for title in ("p50", "p90", "p99")),
        *(Column(title, "ms", alone) for title in ("p50", "p90", "p99")),
        Column("p50", "ms", "Preprocessing"),
        Column("Peak memory", "MiB"),
        Column("Calls"),
    ]
    backends = sorted(
        {e.row.backend for kinds in entries(results).values() for e in kinds if e.latency}
    )
    notes = [
        "All variants take turns, so that whatever slows the machine meets all alike. Peak memory is the "
        "resident memory of a process that does nothing else."
    ]
    if len(backends) == 1:  # then the column says nothing
        columns.pop(1)
        parts = [Part(p.heading, [[row[0], *row[2:]] for row in p.rows]) for p in parts]
        notes.insert(0, "Backend: %s." % backends[0])
    overheads = [
        latency.overhead_percent
        for kinds in entries(results).values()
        for entry in kinds
        for latency in entry.latency
        if latency.overhead_percent is not None and finite(latency.overhead_percent)
    ]
    if overheads:
        notes.append(
            "The benchmark's own share: the network's median is %s %% (at most %s %%) above that of a bare "
            "loop around the session in the same process."
            % (
                number(sorted(overheads)[len(overheads) // 2], 1, sign=True),
                number(max(overheads), 1, sign=True),
            )
        )
    return Table("Measured on this machine", columns, parts, notes).without_empty_columns()


def _row(entry: Entry, latency: Latency) -> List[Cell]:
    def times(p: Percentiles) -> List[Cell]:
        return [Cell(number(ms)) for ms in (p.p50_ms, p.p90_ms, p.p99_ms)]

    threads = "all" if latency.threads is None and "cpu" in entry.row.backend else MISSING
    return [
        Cell(entry.label),
        Cell(entry.row.backend),
        Cell(str(latency.batch)),
        Cell(threads if latency.threads is None else str(latency.threads)),
        *times(latency.end_to_end),
        *times(latency.network),
        Cell(number(latency.preprocess.p50_ms)),
        Cell(number(latency.peak_memory_mb, 0)),
        Cell(str(latency.repeats)),
    ]


def predicted_table(results: Results) -> Table:
    """Every prediction with its interval and what it is made of."""
    parts = []
    for network, kinds in entries(results).items():
        rows = []
        for entry in kinds:
            for p in entry.predicted:
                made_of = sorted(p.terms.items(), key=lambda term: -term[1])
                made_of = [(name, ms) for name, ms in made_of if not abs(ms) < 0.005]
                other = "" if p.precision == entry.row.precision else " in " + p.precision
                rows.append(
                    [
                        Cell(entry.label + other),
                        Cell("%s, %s" % (BOARDS.get(p.board, p.board), p.unit.upper())),
                        Cell(p.power_mode),
                        Cell(str(p.batch)),
                        Cell(number(p.latency_ms), predicted=True),
                        Cell(span(p.low_ms, p.high_ms), predicted=True),
                        Cell(", ".join("%s %s" % (n, number(ms)) for n, ms in made_of)),
                    ]
                )
        parts.append(Part(network, rows))
    columns = [
        Column("Variant", number=False),
        Column("Board", number=False, short=True),
        Column("Power mode", number=False, short=True),
        Column("Batch", "crops"),
        Column("Latency", "ms"),
        Column("Interval", "ms"),
        Column("Made of", "ms", number=False, long=True),
    ]
    found = _predictions(results)
    notes = list(dict.fromkeys(p.note[:1].upper() + p.note[1:] for p in found))
    levels = sorted({percent(p.level, 0) for p in found})
    return Table(
        "Predicted, not measured%s"
        % (", with %s %% intervals" % "/".join(levels) if levels else ""),
        columns,
        parts,
        notes,
    )


def _predictions(results: Results):
    return [p for kinds in entries(results).values() for entry in kinds for p in entry.predicted]


def latency_html(results: Results, plotter: Optional[Plotter]) -> str:
    """The tables, and how the time is spent and spread, per network."""
    table = latency_table(results)
    parts = []
    if table.empty:
        parts.append(paragraph("Latency was not measured in this run."))
    else:
        parts.append(table.to_html())
        if plotter is not None:
            parts.append(_pictures(results, plotter))
    predicted = predicted_table(results)
    if not predicted.empty:
        parts.append("<h3>On boards: predicted, not measured</h3>" + predicted.to_html())
        if plotter is not None:
            parts.append(plots(_terms(results, plotter)))
    return "".join(parts)


def _pictures(results: Results, plotter: Plotter) -> str:
    """How the time is spent and spread; a row per network."""
    rows_of_figures = []
    for network, kinds in entries(results).items():
        timed = [(e, first_latency(e)) for e in kinds]
        rows = [(e.label, lat) for e, lat in timed if lat is not None and _all_finite(lat)]
        if not rows:
            continue
        names = [name for name, _ in rows]
        batch = rows[0][1].batch
        split = [_split(latency) for _, latency in rows]
        said = "; ".join(
            "%s %s, %s and %s ms" % (n, *(number(ms) for ms in part))
            for n, part in zip(names, split)
        )
        figures = [
            figure(
                "Where the time goes, batch %d: %s" % (batch, network),
                charts.stacked(
                    plotter, names,
                    {part: [s[i] for s in split] for i, part in enumerate(PARTS)},
                    "ms, medians",
                    "Preprocessing, network and rest: %s." % said,
                ),
                "Medians; the whole less its parts is the rest. On a busy machine interruptions end up there.",
                bar_key(PARTS),
            )
        ]  # fmt: skip
        times = [(p.p50_ms, p.p90_ms, p.p99_ms) for p in (lat.end_to_end for _, lat in rows)]
        figures.append(
            figure(
                "How it spreads, batch %d: %s" % (batch, network),
                charts.spread(
                    plotter, names, times, "ms, crops to embeddings",
                    "p50, p90 and p99: %s."
                    % "; ".join(
                        "%s %s ms" % (n, ", ".join(number(ms) for ms in t))
                        for n, t in zip(names, times)
                    ),
                ),
                "A long line is a busy machine or a network that shares its cores.",
                marker_key([(0, 0, "p50"), (0, 1, "p90"), (0, 2, "p99")]),
            )
        )  # fmt: skip
        rows_of_figures.append(plots(figures))
    return "".join(rows_of_figures)


def _terms(results: Results, plotter: Plotter) -> List[str]:
    """What each predicted latency of the headline is made of, per network."""
    figures = []
    for network, kinds in entries(results).items():
        bars: Dict[str, Dict[str, float]] = {}
        for entry in kinds:
            for case in headline_cases(results):
                p = predicted_at(entry, case)
                if p is not None and finite(p.latency_ms, *p.terms.values()):
                    bars["%s, %s" % (entry.label, BOARDS.get(p.board, p.board))] = p.terms
        terms = _main_terms(bars)
        if bars and terms:
            figures.append(
                figure(
                    "Predicted, not measured: %s" % network,
                    charts.stacked(
                        plotter, list(bars),
                        terms,
                        "ms, predicted, batch %d" % headline_cases(results)[0][3],
                        "Terms of the predicted latency. %s."
                        % "; ".join(
                            "%s %s ms" % (n, number(sum(m.values()))) for n, m in bars.items()
                        ),
                    ),
                    "Terms of the analytical model; their intervals are in the table.",
                    bar_key(list(terms)),
                )
            )  # fmt: skip
    return figures


def _main_terms(bars: Dict[str, Dict[str, float]]) -> Dict[str, List[float]]:
    """The largest terms over all bars, as many as differ in look, and the others together."""
    sums: Dict[str, float] = {}
    for made_of in bars.values():
        for name, ms in made_of.items():
            sums[name] = sums.get(name, 0.0) + ms
    order = sorted(sums, key=lambda name: -sums[name])
    shown, rest = (order, []) if len(order) <= 6 else (order[:5], order[5:])
    terms = {name: [made_of.get(name, 0.0) for made_of in bars.values()] for name in shown}
    if rest:
        others = [sum(made_of.get(name, 0.0) for name in rest) for made_of in bars.values()]
        terms["other: " + ", ".join(rest)] = others
    return terms


def _split(latency: Latency) -> Tuple[float, float, float]:
    """Medians of preprocessing, network, and what is left of the whole."""
    parts = (latency.preprocess.p50_ms, latency.network.p50_ms)
    return (*parts, max(latency.end_to_end.p50_ms - sum(parts), 0.0))


def _all_finite(latency: Latency) -> bool:
    whole = latency.end_to_end
    return finite(
        latency.preprocess.p50_ms, latency.network.p50_ms, whole.p50_ms, whole.p90_ms, whole.p99_ms
    )
