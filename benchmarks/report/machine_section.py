"""Where a run was measured, what must be known about it, and how to measure it again."""

from __future__ import annotations

from html import escape
from typing import Dict, List, Optional

from benchmarks.report.entries import entries
from benchmarks.report.figures import count, number
from benchmarks.report.page import paragraph
from benchmarks.report.table import Cell, Column, Part, Table, pairs
from benchmarks.results import Conditions, Machine, Results


def machines(results: Results) -> List[Machine]:
    """The machines of a run, each once; that of the first row first."""
    found: List[Machine] = []
    for machine in [row.machine for row in results.rows] + [results.machine]:
        if machine not in found:
            found.append(machine)
    return found


def machine_name(machine: Machine) -> str:
    """Board or CPU."""
    return machine.board or machine.cpu or machine.arch


def machine_table(machine: Machine) -> Table:
    """All that is known about a machine."""
    clocks = {True: "fixed at their maximum", False: "not fixed", None: None}
    rows = [
        ("Board", machine.board),
        ("CPU", machine.cpu),
        ("Cores", _cores(machine)),
        ("Instruction sets", ", ".join(machine.cpu_flags) or None),
        ("Memory", machine.memory_mb and "%s MiB" % count(round(machine.memory_mb))),
        ("CPU governor", machine.governor or "not stated by the system"),
        ("Highest CPU clock", machine.max_mhz and "%s MHz" % number(machine.max_mhz, 0)),
        ("System", "%s, %s" % (machine.os, machine.arch)),
        ("Jetson Linux", machine.l4t),
        ("Power mode", machine.power_mode),
        ("jetson_clocks", clocks[machine.jetson_clocks]),
        ("Versions", ", ".join("%s %s" % item for item in machine.versions.items())),
    ]
    return pairs(machine_name(machine), [(name, str(text)) for name, text in rows if text])


def conditions_table(results: Results) -> Optional[Table]:
    """Clocks, temperatures and load at the start and end of what was timed; None for nothing."""
    rows = []
    for network, kinds in entries(results).items():
        for entry in kinds:
            for latency in entry.latency:
                name = "%s, %s, batch %d" % (network, entry.label, latency.batch)
                before, after = _conditions(latency.before), _conditions(latency.after)
                rows.append([Cell(name), *(Cell(both) for both in _both(before, after))])
    table = Table(
        "Before and after each measurement",
        [
            Column("Measurement", number=False),
            Column("CPU clock", "MHz"),
            Column("GPU clock", "MHz"),
            Column("Hottest", "°C"),
            Column("Cores busy with other work"),
        ],
        [Part("", rows)],
    ).without_empty_columns()
    return None if table.empty or len(table.columns) < 2 else table


def _conditions(conditions: Conditions) -> Dict[str, str]:
    hottest = max(conditions.temperatures_c.values(), default=None)
    return {
        "cpu": number(conditions.cpu_mhz, 0),
        "gpu": number(conditions.gpu_mhz, 0),
        "hottest": number(hottest, 1),
        "load": number(conditions.busy_cores, 1),
    }


def _both(before: Dict[str, str], after: Dict[str, str]) -> List[str]:
    return [
        before[key] if before[key] == after[key] else "%s, %s" % (before[key], after[key])
        for key in before
    ]


def warnings(results: Results) -> List[str]:
    """What must be known before a figure is quoted; each sentence once."""
    found = []
    if not results.complete:
        found.append("The run was interrupted: what is missing here was not measured yet.")
    found += results.warnings
    for row in results.rows:
        if not row.bundle.trained:
            found.append(
                "%s is not trained: its accuracy says nothing, its latency is valid."
                % row.bundle.name
            )
        found += ["%s, %s: %s" % (row.bundle.name, row.variant, text) for text in row.warnings]
    return list(dict.fromkeys(found))


def notes(results: Results) -> List[str]:
    """Notes of the rows; what several say alike is said once, with their names."""
    said: Dict[str, List[str]] = {}
    for row in results.rows:
        for note in row.notes:
            names = said.setdefault(note, [])
            if row.bundle.name not in names:
                names.append(row.bundle.name)
    return ["%s: %s" % (", ".join(names), note) for note, names in said.items()]


def bundles_table(results: Results) -> Table:
    """The bundles of a run."""
    found = {row.bundle.sha256: row.bundle for row in results.rows}
    rows = [
        [
            Cell(b.name),
            Cell(b.target),
            Cell("%d×%d" % (b.height, b.width)),
            Cell(str(b.dim)),
            Cell((b.trained_on or "not stated") if b.trained else "nothing"),
            Cell(b.sha256[:12]),
        ]
        for b in found.values()
    ]
    columns = [
        Column("Bundle", number=False),
        Column("Target", number=False),
        Column("Input", "pixels, height × width"),
        Column("Embedding", "values"),
        Column("Trained on", number=False),
        Column("SHA-256", "of the manifest, first 12 digits", number=False),
    ]
    return Table("Bundles", columns, [Part("", rows)])


def machine_html(results: Results) -> str:
    """Machines and bundles, conditions, notes, and the command."""
    parts = [machine_table(machine).to_html() for machine in machines(results)]
    table = conditions_table(results)
    if table is not None:
        parts.append("<details><summary>Conditions</summary>%s</details>" % table.to_html())
    if results.rows:
        parts.append(bundles_table(results).to_html())
    said = notes(results)
    if said:
        items = "".join("<li>%s</li>" % escape(note) for note in said)
        parts.append('<h3>Notes</h3><ul class="short">%s</ul>' % items)
    parts.append("<h3>To measure again</h3><pre>%s</pre>" % escape(results.command))
    parts.append(
        paragraph(
            "Embeddings are cached by content, so a run that was stopped goes on where it was. The figures "
            "of this page with all digits are in results.json.",
            "quiet",
        )
    )
    return "".join(parts)


def _cores(machine: Machine) -> Optional[str]:
    if machine.cores is None:
        return None
    if machine.usable_cores in (None, machine.cores):
        return str(machine.cores)
    return "%d, of which %d usable" % (machine.cores, machine.usable_cores or 0)
