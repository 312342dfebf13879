"""A table of a report, as data, and as HTML or Markdown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from html import escape
from itertools import groupby
from typing import List, Tuple

from benchmarks.report.figures import MISSING


@dataclass(frozen=True)
class Cell:
    """A value.

    Attributes:
        text: What is read first.
        detail: What goes with it, such as its interval; shown smaller.
        predicted: Whether nobody measured it; shown otherwise than what was measured.
    """

    text: str
    detail: str = ""
    predicted: bool = False


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        title, unit: Its heading.
        group: A heading over several columns.
        number: Whether it holds numbers, which stand below each other.
        short: Whether its text is so short that it need not be broken.
        long: Whether it holds sentences or lists, which need room on a narrow screen.
    """

    title: str
    unit: str = ""
    group: str = ""
    number: bool = True
    short: bool = False
    long: bool = False

    @property
    def heading(self) -> str:
        """Title and unit."""
        return "%s, %s" % (self.title, self.unit) if self.unit else self.title


@dataclass(frozen=True)
class Part:
    """Rows that belong together, under a heading; the empty heading is none."""

    heading: str
    rows: List[List[Cell]]


@dataclass(frozen=True)
class Table:
    """A table; the first cell of a row names it.

    Attributes:
        caption: What it shows; every table has one.
        columns: As many as each row has cells.
        parts: Rows in groups.
        notes: Sentences below it.
        parted_by: What the headings of the parts are.
    """

    caption: str
    columns: List[Column]
    parts: List[Part]
    notes: List[str] = field(default_factory=list)
    parted_by: str = "Network"

    @property
    def empty(self) -> bool:
        """Whether it has no rows."""
        return not any(part.rows for part in self.parts)

    def without_empty_columns(self) -> Table:
        """The table less the columns, but for the first, in which nothing is known."""
        rows = [row for part in self.parts for row in part.rows]
        kept = [
            i
            for i in range(len(self.columns))
            if i == 0 or any(row[i].text not in (MISSING, "") for row in rows)
        ]
        return replace(
            self,
            columns=[self.columns[i] for i in kept],
            parts=[
                Part(part.heading, [[row[i] for i in kept] for row in part.rows])
                for part in self.parts
            ],
        )

    def to_html(self) -> str:
        """The table in a box of its own that scrolls where the screen is narrow."""
        label = escape(self.caption, quote=True)
        notes = "".join("<p>%s</p>" % escape(note) for note in self.notes)
        return (
            '<div class="wide" role="region" tabindex="0" aria-label="%s"><table%s>'
            "<caption><span>%s</span></caption>%s%s</table></div>%s"
            % (
                label,
                ' class="slim"' if len(self.columns) < 3 else "",
                escape(self.caption),
                self._head() if any(column.title for column in self.columns) else "",
                "".join(self._body(part) for part in self.parts if part.rows),
                '<div class="notes">%s</div>' % notes if notes else "",
            )
        )

    def _head(self) -> str:
        cells = "".join(
            '<th scope="col"%s>%s%s</th>'
            % (
                ' class="n"' if column.number else "",
                breakable(column.title),
                ' <span class="unit">%s</span>' % escape(column.unit) if column.unit else "",
            )
            for column in self.columns
        )
        if not any(column.group for column in self.columns):
            return "<thead><tr>%s</tr></thead>" % cells
        groups = ""
        for group, members in groupby(self.columns, key=lambda column: column.group):
            width = len(list(members))
            scope = ' scope="colgroup" class="over"' if group else ""
            tag = "th" if group else "td"
            groups += '<%s colspan="%d"%s>%s</%s>' % (tag, width, scope, escape(group), tag)
        return '<thead><tr class="groups">%s</tr><tr>%s</tr></thead>' % (groups, cells)

    def _body(self, part: Part) -> str:
        rows = ""
        if part.heading:
            rows += (
                '<tr class="part"><th scope="rowgroup" colspan="%d"><span>%s</span></th></tr>'
                % (
                    len(self.columns),
                    breakable(part.heading),
                )
            )
        for row in part.rows:
            rows += "<tr>%s</tr>" % "".join(
                _cell(cell, column, first=i == 0)
                for i, (cell, column) in enumerate(zip(row, self.columns))
            )
        return "<tbody>%s</tbody>" % rows

    def to_markdown(self) -> str:
        """A table as GitHub shows it, caption above, notes below; headings become a first column."""
        headed = any(part.heading for part in self.parts)
        columns = ([Column(self.parted_by, number=False)] if headed else []) + list(self.columns)
        titles = [": ".join(filter(None, (column.group, column.heading))) for column in columns]
        lines = [
            "**%s**" % markdown(self.caption),
            "",
            _line([markdown(title) for title in titles]),
            _line(["---:" if column.number else "---" for column in columns]),
        ]
        for part in self.parts:
            for row in part.rows:
                cells = [_markdown_cell(cell) for cell in row]
                lines.append(_line(([markdown(part.heading)] if headed else []) + cells))
        lines += ["", *("%s  " % markdown(note) for note in self.notes)] if self.notes else []
        return "\n".join(lines) + "\n"


def breakable(text: str) -> str:
    """Escaped text that may be broken after the underscores and slashes of long names."""
    return re.sub(r"([_/])", r"\1<wbr>", escape(text))


def markdown(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    plain = " ".join(text.split())
    shown = re.sub(r"([\\`*\[\]<>|~]|(?<!\w)_|_(?!\w))", r"\\\1", plain)
    return shown.replace("&", "&amp;")


def _cell(cell: Cell, column: Column, first: bool) -> str:
    classes = [
        name
        for name, given in (
            ("n", column.number),
            ("s", column.short),
            ("l", column.long),
            ("predicted", cell.predicted),
        )
        if given
    ]
    kind = ' class="%s"' % " ".join(classes) if classes else ""
    text = escape(cell.text) if column.short else breakable(cell.text)
    if cell.text == MISSING:
        text = '<span aria-hidden="true">%s</span><span class="unseen">none</span>' % MISSING
    if cell.detail:
        text += ' <span class="detail">%s</span>' % breakable(cell.detail)
    return '<th scope="row"%s>%s</th>' % (kind, text) if first else "<td%s>%s</td>" % (kind, text)


def _markdown_cell(cell: Cell) -> str:
    text = markdown(cell.text)
    if cell.predicted and cell.text != MISSING:
        text = "*%s*" % text
    return "%s (%s)" % (text, markdown(cell.detail)) if cell.detail else text


def _line(cells: List[str]) -> str:
    return "| %s |" % " | ".join(cells)


def pairs(caption: str, rows: List[Tuple[str, str]], head: Tuple[str, str] = ("", "")) -> Table:
    """A table of names and values in text."""
    columns = [Column(head[0], number=False), Column(head[1], number=False, long=True)]
    return Table(caption, columns, [Part("", [[Cell(name), Cell(text)] for name, text in rows])])
