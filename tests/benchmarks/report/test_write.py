"""The page and the Markdown of a run."""

import dataclasses
import math
import re
import sys

import cv2
import numpy as np
import pytest

from benchmarks.report import write_report
from benchmarks.report.headline import headline, in_short
from benchmarks.report.plots import open_plotter
from benchmarks.report.strips import LICENCE
from benchmarks.report.write import report_html, report_md
from benchmarks.results import Results
from runtime.errors import ReidEdgeError
from tests.benchmarks.report.page_reader import Page
from tests.benchmarks.report.sample_run import accuracy, row, run, worst
from tests.benchmarks.tiny_run import CONDITIONS, latency

HEADLINE = (
    "80.25", "91.50", "80.00", "91.25", "0.25", "0.10 to 0.42", "79.50", "90.75", "0.75", "0.60 to 0.92",
    "80.30", "−0.05", "−0.20 to 0.12", "6.15", "1.83", "7.77", "3.14", "2.11 to 5.23", "6.28", "5.25 to 8.37",
)  # fmt: skip


def changed(results, **changes):
    """The run with the first row changed."""
    rows = [dataclasses.replace(results.rows[0], **changes), *results.rows[1:]]
    return dataclasses.replace(results, rows=rows)


def check(text):
    """A page that a browser shows as meant, alone."""
    page = Page(text)
    assert page.problems == []
    assert page.outside() == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [a["href"][1:] for a in page.all("a")]
    assert links and set(links) <= set(ids)
    uses = re.findall(r'(?:href="#|url\(#)([^")]+)', text)
    assert set(uses) <= set(ids), "nothing points nowhere"
    assert all(image.get("alt") for image in page.all("img"))
    assert all(svg.get("aria-label") or svg.get("aria-hidden") for svg in page.all("svg"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert len(page.all("figcaption")) == len(page.all("figure"))
    assert "#0101" not in text and "#0102" not in text, "no stand-in colour is left"
    return page


def test_both_files_are_written_and_hold_the_headline(tmp_path):
    written = write_report(run(), tmp_path / "new")
    assert [path.name for path in written] == ["report.html", "report.md"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "report.html",
        "report.md",
    ]
    page = check(written[0].read_text(encoding="utf-8"))
    text = written[1].read_text(encoding="utf-8")
    for figure in HEADLINE:
        assert figure in page.text and figure in text, figure
    for both in (page.text, text):
        assert "predicted, not measured" in both.lower()
        assert "seen" in both and "a row's warning" in both and "int8 is the Q/DQ graph." in both
        assert "reid-bench --bundle a b" in both
    assert "61.5" in page.text and "97.2" in page.text  # the worst query's


def test_the_headline_table():
    (table,) = headline(run())
    cells = [[cell.text for cell in found] for found in table.parts[0].rows]
    assert table.parts[0].heading == "net"
    assert cells == [
        ["fp32", "80.25", "91.50", "–", "6.15", "7.77", "–"],
        ["int8 CPU", "80.00", "91.25", "0.25", "1.83", "–", "–"],
        ["int8 Xavier", "79.50", "90.75", "0.75", "–", "3.14", "–"],
        ["int8 X3", "80.30", "91.50", "−0.05", "–", "–", "6.28"],
    ]
    flagged = [
        cell.predicted for found in table.parts[0].rows for cell in found if cell.text != "–"
    ]
    assert sum(flagged) == 3, "all of the boards' figures and no other"
    assert [column.group for column in table.columns][-2:] == ["Predicted, not measured"] * 2


def test_sentences_say_what_the_data_can_tell():
    lines = in_short(run())
    assert lines[0] == (
        "net, int8 CPU: loses 0.25 points mAP (interval 0.10 to 0.42); 1.83 ms here where fp32 takes 6.15."
    )
    assert lines[1].endswith("predicted, not measured: 3.14 ms on the Xavier NX.")
    assert "no change of mAP that this data can show" in lines[2]


@pytest.fixture
def no_plots(monkeypatch):
    """As on a board; a page without pictures is also made faster."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def test_figures_in_the_page_are_those_of_the_file(tmp_path):
    path = tmp_path / "results.json"
    run().save(path)
    assert report_html(Results.load(path)) == report_html(run())


EVIL = "<script>alert('x')</script>\"><img src=x onerror=y>&|`_*"


def test_names_from_files_are_only_text(tmp_path):
    results = run()
    bad = dataclasses.replace(
        results.rows[0].bundle, name=EVIL, arch=EVIL, trained_on=EVIL, source_sha256=None
    )
    data = dataclasses.replace(
        accuracy().dataset, name=EVIL, folder=EVIL, protocol=EVIL, unreadable=[EVIL]
    )
    rows = [
        dataclasses.replace(
            r, bundle=bad, backend=EVIL, variant=r.variant + EVIL, notes=[EVIL], warnings=[EVIL],
            accuracy=[accuracy(80.0, 90.0, 0.3, data, [worst(EVIL)])],
            predicted=[dataclasses.replace(p, board=EVIL, power_mode=EVIL, terms={EVIL: 1.0}, note=EVIL) for p in r.predicted],
        )
        for r in results.rows
    ]  # fmt: skip
    machine = dataclasses.replace(results.machine, cpu=EVIL, versions={EVIL: EVIL})
    evil = dataclasses.replace(results, rows=rows, machine=machine, command=EVIL, warnings=[EVIL])
    text = report_html(evil, tmp_path)
    page = check(text)
    assert page.all("img") == [] and "<script" not in text
    assert EVIL.replace("_", "") in page.text.replace("_", "")
    assert "<script" not in report_md(evil).split("```sh")[0].replace("\\<", "")


NAN = float("nan")


@pytest.mark.parametrize(
    ("results", "said"),
    [
        (dataclasses.replace(run(), rows=[]), "no results yet"),
        (dataclasses.replace(run(), complete=False), "interrupted"),
        (
            dataclasses.replace(run(), rows=[dataclasses.replace(r, accuracy=[]) for r in run().rows]),
            "Accuracy was not measured",
        ),
        (
            dataclasses.replace(run(), rows=[dataclasses.replace(r, latency=[]) for r in run().rows]),
            "Latency was not measured",
        ),
        (
            dataclasses.replace(run(), rows=[dataclasses.replace(r, predicted=[]) for r in run().rows]),
            "80.25",
        ),
        (changed(run(), accuracy=[dataclasses.replace(accuracy(), open_set=None, mAP=NAN)]), "NaN"),
        (changed(run(), accuracy=[accuracy(drop=NAN)]), "NaN"),
        (changed(run(), latency=[latency(network_ms=math.inf)]), "∞"),
        (
            changed(run(), latency=[dataclasses.replace(latency(), peak_memory_mb=None, threads=None)]),
            "all cores",
        ),
        (
            changed(run(), bundle=dataclasses.replace(run().rows[0].bundle, trained=False)),
            "is not trained",
        ),
        (
            changed(run(), latency=[
                dataclasses.replace(latency(), before=dataclasses.replace(CONDITIONS, busy_cores=9.5))
            ]),
            "9.5, 0.1",
        ),
    ],
)  # fmt: skip
def test_what_is_missing_is_said(results, said):
    page = check(report_html(results))
    assert said in page.text
    assert report_md(results)


def test_no_column_or_section_without_content(no_plots):
    only_latency = dataclasses.replace(
        run(), rows=[row("cpu", "fp32", latency=[latency(network_ms=5.55)])]
    )
    page = check(report_html(only_latency))
    (table,) = headline(only_latency)
    assert [column.title for column in table.columns] == ["Variant", "Crops to embeddings"]
    assert "Following a person" not in page.text and "Queries that lost most" not in page.text


def test_two_data_sets_have_a_table_each_and_crossing_is_said():
    there = dataclasses.replace(accuracy().dataset, name="msmt17", sha256="e" * 64)
    across = dataclasses.replace(accuracy(33.5, 44.5, dataset=there), cross_domain=True)
    results = changed(run(), accuracy=[accuracy(), across])
    tables = headline(results)
    assert [table.caption.split(":")[0] for table in tables] == ["market1501", "msmt17"]
    assert [len(table.parts[0].rows) for table in tables] == [4, 1]
    page = check(report_html(results))
    assert "33.50" in page.text and "cross-domain: trained on market1501" in page.text


def test_without_matplotlib_the_page_says_so_and_has_the_tables(no_plots):
    text = report_html(run())
    page = check(text)
    assert page.all("figure") == [] and "they need matplotlib" in page.text
    for figure in HEADLINE:
        assert figure in page.text, figure


@pytest.mark.skipif(open_plotter() is None, reason="matplotlib is not installed")
def test_with_matplotlib_there_is_every_picture():
    page = check(report_html(run()))
    assert "need matplotlib" not in page.text
    for title in (
        "Measured on this machine", "Xavier NX: predicted, not measured", "X3: predicted, not measured",
        "Where the time goes", "How it spreads", "What mAP lost", "Embeddings against fp32",
        "Strangers accepted, target rejected",
    ):  # fmt: skip
        assert title in page.text, title
    described = " ".join(svg.get("aria-label") or "" for svg in page.all("svg"))
    assert "net int8 CPU: 80.00 % at 1.83 ms" in described


@pytest.fixture
def crops(tmp_path, no_plots):
    """The pictures of the sample's worst query, and one outside of the data set's folder."""
    root = tmp_path / "market"
    query = worst()
    for number, path in enumerate([query.path, *(r.path for r in query.ranking)]):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(root / path), np.full((200, 80, 3), 60 * number, np.uint8))
    assert cv2.imwrite(str(tmp_path / "secret.jpg"), np.zeros((9, 9, 3), np.uint8))
    return root


def test_pictures_are_small_marked_and_not_for_publishing(crops):
    page = check(report_html(run(), crops))
    images = page.all("img")
    assert [image["alt"] for image in images] == [
        "The query", "Rank 1, same person, cosine 0.91", "Rank 2, somebody else, cosine 0.87",
        "The query", "Rank 1, somebody else, cosine 0.87", "Rank 2, same person, cosine 0.91",
    ]  # fmt: skip
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in images)
    assert all(len(image["src"]) < 4000 for image in images)
    assert LICENCE in page.text
    assert "✓ 0.91" in page.text and "✗ 0.87" in page.text
    assert report_html(run(), [crops]) == report_html(run(), crops)


def test_pictures_can_be_left_out(no_plots):
    page = check(report_html(run()))
    assert page.all("img") == [] and LICENCE not in page.text
    assert "✓" in page.text and "✗" in page.text and worst().path in page.text


@pytest.mark.parametrize("path", ["../secret.jpg", "query/../../secret.jpg", "/etc/passwd", ""])
def test_nothing_outside_the_data_set_is_embedded(crops, path):
    results = changed(run(), accuracy=[accuracy(drop=0.3, queries=[worst(path)])])
    rows = [results.rows[0]]
    page = check(report_html(dataclasses.replace(results, rows=rows), crops))
    assert "The query" not in [image["alt"] for image in page.all("img")]
    assert len(page.all("img")) == 4, "the others are shown"


def test_another_folder_of_several_is_not_taken_for_the_data_set(crops, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    page = check(report_html(run(), [tmp_path / "one", tmp_path / "two"]))
    assert page.all("img") == [] and "could be read" in page.text


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ReidEdgeError, match="Cannot write"):
        write_report(run(), tmp_path / "file" / "folder")
