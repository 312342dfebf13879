"""Tables as HTML and Markdown."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.report.table import Cell, Column, Part, Table, markdown
from tests.benchmarks.report.page_reader import Page

COLUMNS = [
    Column("Variant", number=False),
    Column("mAP", "%"),
    Column("Lost", "points", "Against fp32"),
]


def table(rows, heading="", notes=()):
    return Table("A caption", COLUMNS, [Part(heading, rows)], list(notes))


ROWS = [
    [Cell("fp32"), Cell("80.25"), Cell("–")],
    [Cell("int8"), Cell("80.00", predicted=True), Cell("0.25", "0.10 to 0.42")],
]


def test_html_has_caption_scopes_units_and_intervals():
    page = Page(table(ROWS, "net").to_html())
    assert page.problems == []
    scopes = [cell.get("scope") for cell in page.all("th")]
    assert scopes == ["colgroup", "col", "col", "col", "rowgroup", "row", "row"]
    assert "A caption" in page.text and "mAP %" in page.text and "Against fp32" in page.text
    assert "0.25 0.10 to 0.42" in page.text
    classes = [cell.get("class") for cell in page.all("td") if "class" in cell]
    assert classes == ["n", "n", "n predicted", "n"]
    assert page.all("div")[0]["tabindex"] == "0", "a box that scrolls is reached by keyboard"


def test_markdown():
    assert table(ROWS, "my_net", ["A note."]).to_markdown() == (
        "**A caption**\n\n"
        "| Network | Variant | mAP, % | Against fp32: Lost, points |\n"
        "| --- | --- | ---: | ---: |\n"
        "| my_net | fp32 | 80.25 | – |\n"
        "| my_net | int8 | *80.00* | 0.25 (0.10 to 0.42) |\n"
        "\nA note.  \n"
    )


def test_a_column_in_which_nothing_is_known_is_left_out():
    rows = [[Cell("fp32"), Cell("1.00"), Cell("–")], [Cell("int8"), Cell("–"), Cell("–")]]
    kept = table(rows).without_empty_columns()
    assert [column.title for column in kept.columns] == ["Variant", "mAP"]
    assert [[cell.text for cell in row] for row in kept.parts[0].rows] == [
        ["fp32", "1.00"],
        ["int8", "–"],
    ]


@settings(deadline=None, max_examples=50)
@given(st.text(min_size=1))
def test_any_text_stays_text(text):
    rows = [[Cell(text), Cell(text, text), Cell("1")]]
    made = Table(text, COLUMNS, [Part(text, rows)], [text])
    page = Page(made.to_html())
    assert page.problems == []
    assert len(page.all("tr")) == 4
    assert {tag for tag, _ in page.elements} <= {
        "div", "table", "caption", "span", "thead", "tbody", "tr", "td", "th", "p", "wbr"
    }  # fmt: skip
    lines = made.to_markdown().split("\n")
    body = [line for line in lines if line.startswith("| ")]
    assert len(body) == 3, "a row is one line"
    assert {len(re.findall(r"(?<!\\)\|", line.replace("\\\\", ""))) for line in body} == {5}


def test_markdown_is_escaped_but_names_stay_readable():
    assert markdown("a_b_c *x* _y_ [z](w) <b> a|b & `c`\nd") == (
        "a_b_c \\*x\\* \\_y\\_ \\[z\\](w) \\<b\\> a\\|b &amp; \\`c\\` d"
    )
