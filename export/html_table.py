"""A table of an HTML report."""

from __future__ import annotations

from html import escape


def html_table(head: list[str], rows: list[list[str]], numbers: bool = False) -> str:
    """A table that scrolls by itself on a narrow screen; cells are escaped.

    Args:
        head: Column titles.
        rows: Cells as text.
        numbers: All columns but the first are aligned as numbers.
    """

    def cells(tag: str, row: list[str]) -> str:
        kind = ["" if i == 0 or not numbers else ' class="n"' for i in range(len(row))]
        return "".join("<%s%s>%s</%s>" % (tag, k, escape(str(c)), tag) for k, c in zip(kind, row))

    body = "".join("<tr>%s</tr>" % cells("td", row) for row in rows)
    return '<div class="wide"><table><tr>%s</tr>%s</table></div>' % (cells("th", head), body)
