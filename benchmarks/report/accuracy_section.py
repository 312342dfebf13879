"""Accuracy in detail: the metrics, what was lost, cosines, and following people (open set)."""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

from benchmarks.accuracy_record import Accuracy, OpenSet
from benchmarks.report import charts
from benchmarks.report.entries import DatasetKey, Entry, dataset_title, datasets, entries
from benchmarks.report.figures import MISSING, count, finite, number, percent, span
from benchmarks.report.page import figure, line_key, paragraph, plots
from benchmarks.report.plots import Plotter
from benchmarks.report.table import Cell, Column, Part, Table
from benchmarks.results import Results

Measured = List[Tuple[Entry, Accuracy]]


def measured(results: Results, dataset: DatasetKey) -> Dict[str, Measured]:
    """Network to its entries with their accuracy on a data set."""
    found: Dict[str, Measured] = {}
    for network, kinds in entries(results).items():
        pairs = [(entry, entry.accuracy(dataset)) for entry in kinds]
        kept = [(entry, accuracy) for entry, accuracy in pairs if accuracy is not None]
        if kept:
            found[network] = kept
    return found


def accuracy_tables(results: Results) -> List[Table]:
    """All retrieval metrics, one table per data set."""
    return [_metrics(measured(results, key), any_of) for key, any_of in datasets(results).items()]


def _metrics(found: Dict[str, Measured], any_of: Accuracy) -> Table:
    columns = [
        Column("Variant", number=False),
        *(Column(title, "%") for title in ("mAP", "Rank-1", "Rank-5", "Rank-10", "mINP")),
        *(Column(t, "points", "Lost against fp32") for t in ("mAP", "Rank-1", "mINP")),
        *(Column(t, "", "Cosine to fp32") for t in ("mean", "lowest 1 %", "lowest")),
    ]
    parts = []
    for network, pairs in found.items():
        rows = []
        for entry, a in pairs:
            lost = [Cell(MISSING)] * 3
            if a.drop is not None:
                lost = [
                    Cell(number(part.points), span(part.low, part.high))
                    for part in (a.drop.mAP, a.drop.rank1, a.drop.mINP)
                ]
            cosine = [Cell(MISSING)] * 3
            if a.cosine is not None:
                cosine = [
                    Cell(number(v, 4)) for v in (a.cosine.mean, a.cosine.p01, a.cosine.minimum)
                ]
            values = (a.mAP, a.rank1, a.rank5, a.rank10, a.mINP)
            rows.append([Cell(entry.label), *(Cell(number(v)) for v in values), *lost, *cosine])
        parts.append(Part("%s (%s)" % (network, _domain(pairs[0])), rows))
    notes = []
    drops = [a.drop for pairs in found.values() for _, a in pairs if a.drop is not None]
    if drops:
        notes.append(
            "Lost: percentage points below fp32 of the same bundle, positive is worse, with the %s %% "
            "interval of a paired bootstrap over queries (%s resamples, seed %d)."
            % (percent(drops[0].level, 0), count(drops[0].resamples), drops[0].seed)
        )
    if any_of.dataset.unreadable:
        notes.append(
            "%d images could not be read and are left out: %s."
            % (len(any_of.dataset.unreadable), _some(any_of.dataset.unreadable))
        )
    return Table(dataset_title(any_of), columns, parts, notes).without_empty_columns()


def _domain(pair: Tuple[Entry, Accuracy]) -> str:
    entry, accuracy = pair
    trained = entry.row.bundle.trained_on
    if not entry.row.bundle.trained:
        return "not trained: these figures say nothing about people"
    if trained is None:
        return "training data not stated"
    if accuracy.cross_domain is None:
        return "trained on %s" % trained
    return (
        "cross-domain: trained on %s" if accuracy.cross_domain else "trained on other people of %s"
    ) % trained


def accuracy_html(results: Results, plotter: Optional[Plotter]) -> str:
    """Tables, then the losses as intervals and the cosines as histograms, per network."""
    if not datasets(results):
        return paragraph("Accuracy was not measured in this run.")
    parts = []
    for key, any_of in datasets(results).items():
        found = measured(results, key)
        parts.append(_metrics(found, any_of).to_html())
        if plotter is not None:
            parts += [plots(_pictures(network, p, plotter)) for network, p in found.items()]
    return "".join(parts)


def _pictures(network: str, pairs: Measured, plotter: Plotter) -> List[str]:
    figures = []
    drops = {
        entry.label: (a.drop.mAP.points, a.drop.mAP.low, a.drop.mAP.high)
        for entry, a in pairs
        if a.drop is not None and finite(a.drop.mAP.points, a.drop.mAP.low, a.drop.mAP.high)
    }
    if drops:
        said = "; ".join("%s %s" % (n, number(v[0])) for n, v in drops.items())
        figures.append(
            figure(
                "What mAP lost: %s" % network,
                charts.intervals(
                    plotter, list(drops), list(drops.values()), "points lost; right is worse",
                    "Points of mAP lost against fp32, with intervals. %s." % said,
                ),
                "An interval that crosses the line at zero shows no loss that this data can tell.",
            )
        )  # fmt: skip
    cosines = {
        entry.label: (a.cosine.edges, a.cosine.counts)
        for entry, a in pairs
        if a.cosine is not None and len(a.cosine.edges) > 1 and sum(a.cosine.counts) > 0
    }
    if cosines:
        figures.append(
            figure(
                "Embeddings against fp32: %s" % network,
                charts.cumulative(
                    plotter, cosines, "cosine to the fp32 embedding",
                    "Distribution of cosines to fp32 for %s." % ", ".join(cosines),
                ),
                "A curve that rises late is close to fp32.",
                line_key(list(cosines)),
            )
        )  # fmt: skip
    return figures


def following_tables(results: Results) -> List[Table]:
    """Open-set figures, one table per data set that has some."""
    tables = []
    for key, any_of in datasets(results).items():
        found = _with_open_set(measured(results, key))
        if found:
            tables.append(_open_set_table(found, any_of))
    return tables


def _with_open_set(found: Dict[str, Measured]) -> Dict[str, List[Tuple[Entry, OpenSet]]]:
    kept = {
        network: [(entry, a.open_set) for entry, a in pairs if a.open_set is not None]
        for network, pairs in found.items()
    }
    return {network: pairs for network, pairs in kept.items() if pairs}


def _open_set_table(found: Dict[str, List[Tuple[Entry, OpenSet]]], any_of: Accuracy) -> Table:
    first = next(iter(found.values()))[0][1]
    kept_group = "Keeping the threshold of fp32"
    own_group = "Own threshold for %s %% strangers" % percent(first.rate, 1)
    columns = [
        Column("Variant", number=False),
        Column("similarity", "", own_group),
        Column("against fp32", "", own_group),
        Column("strangers accepted", "%", own_group),
        Column("target rejected", "%", own_group),
        Column("strangers accepted", "%", kept_group),
        Column("target rejected", "%", kept_group),
    ]
    parts = []
    for network, pairs in found.items():
        rows = []
        for entry, o in pairs:
            kept = o.at_fp32_threshold
            rows.append(
                [
                    Cell(entry.label),
                    Cell(number(o.at_rate.similarity, 4)),
                    Cell(number(o.threshold_shift, 4, sign=True)),
                    Cell(percent(o.at_rate.false_accept)),
                    Cell(percent(o.at_rate.false_reject)),
                    Cell(percent(kept.false_accept if kept else None)),
                    Cell(percent(kept.false_reject if kept else None)),
                ]
            )
        parts.append(Part(network, rows))
    notes = [
        "Learned from one camera, met again in another; %s people, %s looks at the learned person, %s at "
        "strangers. The similarity is the target lock's, not a plain cosine."
        % (count(first.people), count(first.genuine), count(first.impostor))
    ]
    return Table(
        "Following on %s: is this the learned person?" % any_of.dataset.name, columns, parts, notes
    ).without_empty_columns()


def following_html(results: Results, plotter: Optional[Plotter]) -> str:
    """The tables, and false rejects against false accepts."""
    parts = []
    for key, any_of in datasets(results).items():
        found = _with_open_set(measured(results, key))
        if not found:
            continue
        parts.append(_open_set_table(found, any_of).to_html())
        if plotter is not None:
            parts.append(plots([_curves(network, p, plotter) for network, p in found.items()]))
    return "".join(parts)


def _curves(network: str, pairs: List[Tuple[Entry, OpenSet]], plotter: Plotter) -> str:
    names = [entry.label for entry, _ in pairs]
    rate = pairs[0][1].rate
    svg = charts.error_curves(
        plotter,
        {
            entry.label: ([p.false_accept for p in o.curve], [p.false_reject for p in o.curve])
            for entry, o in pairs
        },
        {e.label: (o.at_rate.false_accept, o.at_rate.false_reject) for e, o in pairs},
        rate,
        "Share of looks at the learned person that are rejected, against the share of strangers that "
        "are accepted. At the threshold for %s %% strangers: %s."
        % (
            percent(rate, 1),
            "; ".join(
                "%s rejects %s %%" % (e.label, percent(o.at_rate.false_reject)) for e, o in pairs
            ),
        ),
    )
    return figure(
        "Strangers accepted, target rejected: %s" % network,
        svg,
        "Lower and further left is better. The dotted line is the stated rate of %s %% strangers, the marks "
        "on it are each variant's threshold for it." % percent(rate, 1),
        line_key(names, marked=True),
    )


def _some(names: List[str], shown: int = 5) -> str:
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")
