"""``report.html`` and ``report.md`` of a run."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import List, Optional, Sequence, Union

from benchmarks.report.accuracy_section import (
    accuracy_html,
    accuracy_tables,
    following_html,
    following_tables,
)
from benchmarks.report.entries import entries
from benchmarks.report.figures import plural
from benchmarks.report.headline import headline, in_short
from benchmarks.report.latency_section import (
    latency_html,
    latency_table,
    predicted_table,
)
from benchmarks.report.machine_section import (
    machine_html,
    machine_name,
    machine_table,
    machines,
    notes,
    warnings,
)
from benchmarks.report.network_section import network_html
from benchmarks.report.page import NO_PLOTS, Section, page, paragraph, warning
from benchmarks.report.plots import Plotter, open_plotter
from benchmarks.report.strips import Pictures, strips_html, worst_lines
from benchmarks.report.table import Table, markdown
from benchmarks.report.tradeoff_section import pareto_html
from benchmarks.results import Results, write_text

TITLE = "Person re-identification: speed and accuracy"
HTML, MARKDOWN = "report.html", "report.md"


def write_report(
    results: Results,
    folder: Path,
    images: Union[Path, Sequence[Path], None] = None,
    bundles: Sequence[Path] = (),
) -> List[Path]:
    """Write ``report.html`` and ``report.md``, each whole or not at all.

    Args:
        results: The run.
        folder: Where to.
        images: Folder or folders of the data sets, for pictures of the queries that lost most; None
            leaves the pictures out, as is needed for publishing.
        bundles: Folders of the run's bundles, for their layers and ranges.

    Returns:
        The files.

    Raises:
        ReidEdgeError: A file cannot be written.
    """
    folder = Path(folder)
    files = {
        folder / HTML: report_html(results, images, bundles),
        folder / MARKDOWN: report_md(results),
    }
    for path, text in files.items():
        write_text(path, text)
    return list(files)


def report_html(
    results: Results,
    images: Union[Path, Sequence[Path], None] = None,
    bundles: Sequence[Path] = (),
) -> str:
    """The page; arguments as for :func:`write_report`."""
    plotter = open_plotter()
    folders = [images] if isinstance(images, (str, Path)) else list(images or ())
    pictures = Pictures([Path(folder) for folder in folders])
    sections = [
        Section("summary", "Summary", _summary(results, plotter)),
        Section("trade-off", "Accuracy against latency", pareto_html(results, plotter)),
        Section("latency", "Latency", latency_html(results, plotter)),
        Section("accuracy", "Accuracy", accuracy_html(results, plotter)),
        Section("following", "Following a person", following_html(results, plotter)),
        Section("worst", "Queries that lost most", strips_html(results, pictures)),
        Section("network", "Inside the INT8 networks", network_html(results, bundles, plotter)),
        Section("machine", "Machine and method", machine_html(results)),
    ]
    return page(TITLE, [_lead(results)], sections, "Written by reid-edge from results.json.")


def _lead(results: Results) -> str:
    found = entries(results)
    return "%s in %s, measured %s UTC on %s." % (
        plural(len(found), "network"),
        plural(sum(len(kinds) for kinds in found.values()), "variant"),
        results.created_utc[:16].replace("T", " "),
        "; ".join(dict.fromkeys(machine_name(machine) for machine in machines(results))),
    )


def _summary(results: Results, plotter: Optional[Plotter]) -> str:
    parts = [warning(text) for text in warnings(results)]
    tables = [table for table in headline(results) if not table.empty]
    if not tables:
        parts.append(paragraph("This run has no results yet."))
    short = in_short(results)
    if short:
        parts.append(
            '<ul class="short">%s</ul>' % "".join("<li>%s</li>" % escape(line) for line in short)
        )
    parts += [table.to_html() for table in tables]
    if plotter is None:
        parts.append(paragraph(NO_PLOTS, "quiet"))
    return "".join(parts)


def report_md(results: Results) -> str:
    """The tables of a run for a README."""
    parts = ["# %s\n" % TITLE, markdown(_lead(results)) + "\n"]
    parts += ["> %s\n" % markdown(text) for text in warnings(results)]
    shown = [table for table in headline(results) if not table.empty]
    parts += [table.to_markdown() for table in shown] or ["This run has no results yet.\n"]
    for title, tables in (
        ("Accuracy", accuracy_tables(results)),
        ("Following a person", following_tables(results)),
        ("Latency", [latency_table(results), predicted_table(results)]),
    ):
        parts += _section(title, tables)
    lost = worst_lines(results)
    if lost:
        parts.append("## Queries that lost most\n")
        parts.append("".join("- %s\n" % markdown(line) for line in lost))
    parts += _section("Machine", [machine_table(machine) for machine in machines(results)])
    parts += ["- %s" % markdown(note) for note in notes(results)]
    parts += ["\n## To measure again\n", "```sh\n%s\n```\n" % results.command.replace("```", "")]
    return "\n".join(parts)


def _section(title: str, tables: Sequence[Table]) -> List[str]:
    shown = [table.to_markdown() for table in tables if not table.empty]
    return ["## %s\n" % title, *shown] if shown else []
