"""Two runs side by side."""

import dataclasses

import pytest

from benchmarks.comparison import compare_results
from benchmarks.report import compare_html, compare_md
from benchmarks.report.compare_page import judged
from tests.benchmarks.report.page_reader import Page
from tests.benchmarks.report.sample_run import accuracy, run
from tests.benchmarks.tiny_run import latency


def slower():
    """int8 on the CPU takes five times as long and loses a point more."""
    rows = run().rows
    worse = dataclasses.replace(
        rows[1], latency=[latency(network_ms=6.15)], accuracy=[accuracy(79.0, 91.25, 1.25)]
    )
    return dataclasses.replace(run(), rows=[rows[0], worse, *rows[2:4]])


def page_of(*arguments):
    page = Page(compare_html(*arguments))
    assert page.problems == [] and page.outside() == []
    return page


def test_the_same_run_twice():
    page = page_of(run(), run())
    assert "No change is known to be beyond noise." in page.text
    assert "0 worse and 0 better beyond noise, 0 within noise" in page.text
    assert "▼" not in page.text and "▲" not in page.text


def test_what_got_worse_is_first_with_its_sign():
    text = page_of(run(), slower(), ("old.json", "new.json")).text
    first = text[: text.index("All figures that both runs have")]
    assert "mAP lost against fp32 0.25 1.25 +1.00 points ▼ worse" in first
    assert "network alone, median, batch 1, 1 thread 1.23 6.15 +4.92 ms ▼ worse" in first
    assert "old.json" in first and "new.json" in first
    assert "Only in old.json" in text
    back = page_of(slower(), run()).text
    assert "mAP lost against fp32 1.25 0.25 −1.00 points ▲ better" in back


def test_what_else_differs_is_told():
    machine = dataclasses.replace(run().machine, versions={"python": "3.11.2"})
    other = dataclasses.replace(run(), machine=machine)
    told = "python was 3.8.18 and is 3.11.2."
    assert told in page_of(run(), other).text and told in compare_md(run(), other)


def test_every_latency_is_listed_once():
    lines = compare_md(run(), slower()).splitlines()
    of_int8 = [line for line in lines if "net_cpu" in line and "| int8 | network alone" in line]
    assert len(of_int8) == 1, "under the name that says batch and threads"


def test_markdown_has_the_same_figures():
    text = compare_md(run(), slower())
    assert "| int8 | mAP lost against fp32 | 0.25 | 1.25 | +1.00 | points | ▼ worse |" in text
    assert "Only in before: " in text


def test_within_noise_and_unknown():
    rows = run().rows
    little = dataclasses.replace(
        rows[1], accuracy=[accuracy(79.9, 91.25, 0.35)], latency=rows[1].latency
    )
    found = compare_results(run(), dataclasses.replace(run(), rows=[rows[0], little, *rows[2:]]))
    verdicts = {
        change.path: judged(change) for change in found.changes if change.bundle == "net_cpu"
    }
    assert verdicts["int8.mAP_drop"] == "within noise", "0.1 points, and intervals of about 0.16"
    assert verdicts["int8.mAP"] == "noise not known"
    assert verdicts["fp32.mAP"] == "same"


@pytest.mark.parametrize("rows", [[], run().rows[2:3]])
def test_runs_with_little_in_common(rows):
    page = page_of(run(), dataclasses.replace(run(), rows=rows))
    assert page.text.startswith("Two runs compared")
    assert compare_md(run(), dataclasses.replace(run(), rows=rows))


def test_names_are_only_text():
    evil = "<script>x</script>"
    bad = [
        dataclasses.replace(r, bundle=dataclasses.replace(r.bundle, name=evil)) for r in run().rows
    ]
    page = page_of(dataclasses.replace(run(), rows=bad), run(), (evil, evil))
    assert page.all("script") == [] and evil in page.text
