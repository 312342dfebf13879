"""Two runs side by side, as a page and as Markdown; benchmarks.comparison judges the changes."""

from __future__ import annotations

import re
from html import escape
from typing import Dict, List, Match, NamedTuple, Optional, Tuple

from benchmarks.comparison import Change, Comparison, compare_results
from benchmarks.metric_paths import Scope
from benchmarks.report.entries import BOARDS
from benchmarks.report.figures import number, plural
from benchmarks.report.machine_section import machine_name, machine_table, warnings
from benchmarks.report.page import Section, page, paragraph, warning
from benchmarks.report.table import Cell, Column, Part, Table, markdown
from benchmarks.results import Machine, Results

TITLE = "Two runs compared"
RULE = (
    "Beyond noise: a loss against fp32 changed by more than both bootstrap intervals together explain "
    "(root of the summed squares of their half-widths), or a median time by more than the wider of the "
    "distances from median to 90th percentile. Of other figures a run does not tell its noise; what "
    "was predicted has none."
)
WORSE, BETTER, WITHIN, UNKNOWN, SAME = "worse", "better", "within noise", "noise not known", "same"


_QUALIFIER = re.compile(r"b(\d+)(?:t(\d+))?")


class _Figure(NamedTuple):
    title: str
    unit: str
    decimals: int = 2


# By the last part of its path (benchmarks.metric_paths). Ends of intervals are not listed.
_FIGURES: Dict[str, _Figure] = {
    "mAP": _Figure("mAP", "%"),
    "rank1": _Figure("Rank-1", "%"),
    "rank5": _Figure("Rank-5", "%"),
    "rank10": _Figure("Rank-10", "%"),
    "mINP": _Figure("mINP", "%"),
    "mAP_drop": _Figure("mAP lost against fp32", "points"),
    "rank1_drop": _Figure("Rank-1 lost against fp32", "points"),
    "mINP_drop": _Figure("mINP lost against fp32", "points"),
    "cosine_mean": _Figure("mean cosine to fp32", "", 4),
    "cosine_min": _Figure("lowest cosine to fp32", "", 4),
    "threshold": _Figure("threshold of following", "", 4),
    "threshold_shift": _Figure("threshold against fp32", "", 4),
    "false_accept": _Figure("strangers accepted", "%"),
    "false_reject": _Figure("target rejected", "%"),
    "end_to_end_p50_ms": _Figure("crops to embeddings, median", "ms"),
    "end_to_end_p99_ms": _Figure("crops to embeddings, p99", "ms"),
    "network_p50_ms": _Figure("network alone, median", "ms"),
    "preprocess_p50_ms": _Figure("preprocessing, median", "ms"),
    "peak_memory_mb": _Figure("peak memory", "MiB", 0),
    "model_mb": _Figure("model file", "MiB"),
    "predicted_ms": _Figure("predicted, not measured", "ms"),
}


def compare_html(
    before: Results, after: Results, names: Tuple[str, str] = ("before", "after")
) -> str:
    """A self-contained page.

    Args:
        before: What is compared against, such as the release before.
        after: The new run.
        names: What to call them, such as their files.
    """
    found = compare_results(before, after)
    summary = [paragraph(_count(found))]
    summary += [warning(text) for text in _warnings(before, after, names)]
    if found.differences:
        told = "".join("<li>%s</li>" % escape(text) for text in found.differences)
        summary.append(
            '<p>What else differs, and may be the reason:</p><ul class="short">%s</ul>' % told
        )
    table = _table(found, "Changes beyond noise", names, beyond=True)
    nothing = "No change is known to be beyond noise."
    summary.append(paragraph(nothing) if table.empty else table.to_html())
    every = _table(found, "All figures that both runs have", names)
    whole = paragraph("The runs have no figure in common.") if every.empty else every.to_html()
    sections = [
        Section("summary", "What changed", "".join(summary)),
        Section("all", "All figures", whole + paragraph(RULE, "quiet")),
        Section("missing", "In one run only", _missing(found, names)),
        Section("machines", "Machines", _machines(before, after, names)),
    ]
    return page(TITLE, _lead(before, after, names), sections, "Written by reid-edge.")


def compare_md(
    before: Results, after: Results, names: Tuple[str, str] = ("before", "after")
) -> str:
    """The same in Markdown; arguments as for :func:`compare_html`."""
    found = compare_results(before, after)
    parts = ["# %s\n" % TITLE]
    parts += [markdown(line) + "\n" for line in _lead(before, after, names)]
    parts.append(_count(found) + "\n")
    parts += ["> %s\n" % markdown(text) for text in _warnings(before, after, names)]
    if found.differences:
        parts.append("What else differs, and may be the reason:\n")
        parts.append("".join("- %s\n" % markdown(text) for text in found.differences))
    every = _table(found, "All figures that both runs have", names)
    parts.append("The runs have no figure in common.\n" if every.empty else every.to_markdown())
    parts.append(RULE + "\n")
    for name, lines in zip(names, (found.only_before, found.only_after)):
        if lines:
            parts.append("Only in %s: %s.\n" % (markdown(name), markdown("; ".join(lines))))
    return "\n".join(parts)


def judged(change: Change) -> str:
    """SAME, WITHIN noise, WORSE or BETTER where it is beyond noise, else UNKNOWN."""
    if change.change == 0:
        return SAME
    if change.beyond_noise is None or change.worse is None:
        return UNKNOWN
    if not change.beyond_noise:
        return WITHIN
    return WORSE if change.worse else BETTER


def _figure(change: Change) -> Optional[_Figure]:
    return _FIGURES.get(change.path.rsplit(".", 1)[-1])


def _count(found: Comparison) -> str:
    verdicts = [judged(change) for change in _once(found.changes) if _figure(change)]
    return "%s in both runs: %d worse and %d better beyond noise, %d within noise, %d the same; of %d the noise is not known." % (
        plural(len(verdicts), "figure"),
        verdicts.count(WORSE),
        verdicts.count(BETTER),
        verdicts.count(WITHIN),
        verdicts.count(SAME),
        verdicts.count(UNKNOWN),
    )  # fmt: skip


def _table(found: Comparison, caption: str, names: Tuple[str, str], beyond: bool = False) -> Table:
    parts: Dict[str, List[List[Cell]]] = {}
    changes = [c for c in _once(found.changes) if not beyond or judged(c) in (WORSE, BETTER)]
    for change in sorted(changes, key=lambda c: judged(c) != WORSE) if beyond else changes:
        figure = _figure(change)
        if figure is not None:
            scope = str(Scope(change.bundle, change.target, change.dataset))
            parts.setdefault(scope, []).append(_row(change, figure))
    columns = [
        Column("Variant", number=False),
        Column("Figure", number=False),
        Column(names[0]),
        Column(names[1]),
        Column("Change"),
        Column("Unit", number=False, short=True),
        Column("Verdict", number=False, short=True),
    ]
    return Table(caption, columns, [Part(*item) for item in parts.items()], [], "Bundle")


def _once(changes: List[Change]) -> List[Change]:
    """Less the figures that are there again under a name that says their batch and threads."""
    named: Dict[Tuple[Scope, str, str], List[str]] = {}

    def split(change: Change) -> Tuple[Tuple[Scope, str, str], str]:
        variant, *where, name = change.path.split(".")
        key = (Scope(change.bundle, change.target, change.dataset), variant, name)
        return key, ".".join(where)

    for change in changes:
        key, where = split(change)
        named.setdefault(key, []).append(where)

    def again(change: Change) -> bool:
        key, where = split(change)
        others = [other for other in named[key] if _QUALIFIER.fullmatch(other)]
        return any((not where and other) or other.startswith(where + "t") for other in others)

    return [change for change in changes if not again(change)]


def _spelled(found: Match[str]) -> str:
    """ "b8t2" as "batch 8, 2 threads"."""
    batch, threads = found.groups()
    return "batch %s%s" % (batch, ", " + plural(int(threads), "thread") if threads else "")


def _row(change: Change, figure: _Figure) -> List[Cell]:
    variant, *where = change.path.split(".")[:-1]
    predicted = change.path.endswith("predicted_ms")
    told = [_QUALIFIER.sub(_spelled, BOARDS.get(name, name)) for name in where]
    values = [number(value, figure.decimals) for value in (change.before, change.after)]
    verdict = judged(change)
    return [
        Cell(variant),
        Cell(", ".join([figure.title, *told])),
        *(Cell(value, predicted=predicted) for value in values),
        Cell(number(change.change, figure.decimals, sign=True), predicted=predicted),
        Cell(figure.unit),
        # Said by sign and word, not by colour.
        Cell({WORSE: "▼ worse", BETTER: "▲ better"}.get(verdict, verdict)),
    ]


def _warnings(before: Results, after: Results, names: Tuple[str, str]) -> List[str]:
    return [
        "%s: %s" % (name, text)
        for name, results in zip(names, (before, after))
        for text in warnings(results)
    ]


def _missing(found: Comparison, names: Tuple[str, str]) -> str:
    parts = []
    for name, lines in zip(names, (found.only_before, found.only_after)):
        if lines:
            items = "".join("<li>%s</li>" % escape(line) for line in lines)
            parts.append('<h3>Only in %s</h3><ul class="short">%s</ul>' % (escape(name), items))
    return "".join(parts)


def _machine(results: Results) -> Machine:
    return results.rows[0].machine if results.rows else results.machine


def _machines(before: Results, after: Results, names: Tuple[str, str]) -> str:
    shown = []
    for name, results in zip(names, (before, after)):
        table = machine_table(_machine(results)).to_html()
        shown.append("<h3>%s</h3>%s" % (escape(name), table))
        shown.append("<pre>%s</pre>" % escape(results.command))
    return "".join(shown)


def _lead(before: Results, after: Results, names: Tuple[str, str]) -> List[str]:
    return [
        "%s: %s UTC on %s."
        % (name, results.created_utc[:16].replace("T", " "), machine_name(_machine(results)))
        for name, results in zip(names, (before, after))
    ]
