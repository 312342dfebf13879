"""The HTML report and the closing table, from reports as JSON."""

from __future__ import annotations

import re
from copy import deepcopy
from html.parser import HTMLParser

import pytest

from export.report import html_report, summary

PARITY = {
    "n": 64, "relative_l2_max": 1.5e-6, "cosine_min": 0.99, "cosine_p1": 0.991,
    "cosine_mean": 0.9953, "abs_max": 0.1, "rank_top1": 96.9, "rank_overlap": 97.5,
}  # fmt: skip
METRICS = {"mAP": 86.15, "rank1": 95.27, "rank5": 97.1, "rank10": 98.0, "mINP": 55.5}
LATENCY = {"p50_ms": 4.25, "p90_ms": 4.5, "p99_ms": 5.0, "n": 40}
REPORT = {
    "name": "osnet_xavier",
    "target": "xavier",
    "precision": "int8",
    "network": {
        "family": "torchreid", "arch": "osnet_x0_25", "trained": True, "source": "osnet.pth",
        "source_sha256": "0" * 64, "notes": ["The last stride is assumed."],
    },
    "dropped_keys": [["classifier.weight", "training identities' classifier"]],
    "parity": {"traced": PARITY, "rewritten": PARITY, "int8": PARITY},
    "accuracy": {
        "fp32": METRICS,
        "int8": {**METRICS, "mAP": 86.05, "mAP_drop": 0.1, "mAP_drop_interval": [0.02, 0.18],
                 "rank1_drop": 0.0, "rank1_drop_interval": [-0.1, 0.1]},
        "dataset": {"name": "market1501", "queries": 100, "unreadable": []},
        "bootstrap": {"level": 0.95, "resamples": 2000, "seed": 0, "n_queries": 100},
    },
    "latency_ms": {"fp32": LATENCY, "int8": LATENCY},
    "latency_conditions": {
        "backend": "onnxruntime, CPU, batch 1", "threads": 2,
        "machine": {"cpu": "Some CPU", "cores": 2},
    },
    "calibration": {
        "crops": {"chosen": 576, "held_out": 64, "layout": "market1501", "unreadable": 2},
        "method": "mse", "methods_tried": {"minmax": 0.98, "mse": 0.99},
        "improvements": [{"step": "bias", "held_out_cosine": 0.995, "kept": True},
                         {"step": "distill", "held_out_cosine": 0.994, "kept": False}],
        "held_out_cosine": 0.995,
    },
    "warnings": ["the CPU time of the INT8 file says nothing about the board."],
    "layers": {"int8": ["conv1", "conv2"], "float": {"fc": "neck or embedding layer"}},
    "layer_errors": {"conv%d" % i: i / 100 for i in range(40)},
    "ranges": {},
}  # fmt: skip
FILES = {
    "model.fp32.onnx": {"role": "model.fp32", "sha256": "0" * 64, "size_bytes": 2_800_000},
    "model.int8.onnx": {"role": "model.int8", "sha256": "0" * 64, "size_bytes": 900_000},
}


class Page(HTMLParser):
    """Collects the tags, their attributes and the text, and checks that tags are closed."""

    VOID = {"meta"}

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.tables: list[list[list[str]]] = []
        self._open: list[str] = []
        self._cell = False
        self.feed(html)
        assert self._open == [], "unclosed %s" % self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self._open and ("td" in self._open or "th" in self._open):
            self.tables[-1][-1][-1] += data


def changed(**changes) -> dict:
    return {**deepcopy(REPORT), **changes}


def test_page_is_self_contained():
    html = html_report(REPORT)
    page = Page(html)
    assert html.startswith("<!doctype html>")
    assert not re.search(r"https?:|//\w|@import|url\(", html)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    attributes = {name for _, attrs in page.tags for name in attrs}
    assert not attributes & {"src", "href", "srcset", "action"}
    assert not any(name.startswith("on") for name in attributes)


def test_figures_are_on_the_page():
    page = Page(html_report(REPORT))
    rows = [row for table in page.tables for row in table]
    assert ["fp32", "86.15", "95.27", "97.10", "98.00", "55.50", "reference"] in rows
    assert ["int8", "86.05", "95.27", "97.10", "98.00", "55.50", "0.10 (0.02 to 0.18)"] in rows
    assert ["minmax", "0.980000"] in rows and ["bias", "0.995000", "kept"] in rows
    assert ["distill", "0.994000", "not kept"] in rows
    assert ["classifier.weight", "training identities' classifier"] in rows
    assert "2 layers in INT8; in float: 1 neck or embedding layer" in page.text
    assert "Ranges by mse from 512 crops (market1501), judged on 64 others." in page.text
    assert "The last stride is assumed." in page.text and REPORT["warnings"][0] in page.text


def test_worst_layers_come_first_and_bars_fit():
    page = Page(html_report(REPORT))
    layers = [r[0] for t in page.tables for r in t if re.fullmatch(r"conv\d+", r[0])]
    assert layers == ["conv%d" % i for i in range(39, 24, -1)]
    widths = [
        float(a["style"][len("width:") : -len("rem")])
        for _, a in page.tags
        if a.get("class") == "bar"
    ]
    assert widths == sorted(widths, reverse=True) and widths[0] == 12.0


@pytest.mark.parametrize(
    "evil", ["<b>bold</b>", "<script>alert(1)</script>", '"><img src=x>', "a & b"]
)
def test_every_name_is_escaped(evil):
    network = {"family": evil, "arch": evil, "source": evil, "notes": [evil], "trained": True}
    report = changed(
        name=evil, target=evil, network=network, dropped_keys=[[evil, evil]], warnings=[evil],
        parity={evil: PARITY}, latency_ms={evil: LATENCY}, layer_errors={evil: 0.5},
        layers={"int8": [evil], "float": {"fc": evil}},
    )  # fmt: skip
    report["accuracy"]["dataset"]["name"] = evil
    report["calibration"].update(method=evil, methods_tried={evil: 0.5})
    report["calibration"]["crops"]["layout"] = evil
    report["latency_conditions"]["machine"]["cpu"] = evil
    html = html_report(report)
    assert evil not in html
    page = Page(html)
    assert {t for t, _ in page.tags} == {t for t, _ in Page(html_report(REPORT)).tags}
    assert page.text.count(evil) >= 14, "shown as the text it is"


def test_what_was_not_measured_is_said_or_left_out():
    page = Page(html_report(changed(accuracy=None, calibration=None, dropped_keys=[])))
    assert "Not measured: the export was given no --eval data." in page.text
    assert "Quantization" not in page.text and "left out" not in page.text
    assert (
        "built in" in Page(html_report(changed(network={**REPORT["network"], "source": None}))).text
    )


def test_summary_is_a_table_with_one_row_per_model():
    lines = summary(REPORT, FILES, "/data/out/osnet").splitlines()
    cells = [re.split(r"  +", line) for line in lines[:4]]
    assert cells[0] == [
        "file",
        "size",
        "precision",
        "parity (mean cos)",
        "mAP",
        "Rank-1",
        "CPU ms (b1)",
    ]
    assert set("".join(cells[1])) == {"-"}
    assert cells[2] == ["model.fp32.onnx", "2.8 MB", "fp32", "0.99530", "86.15", "95.27", "4.25"]
    assert cells[3] == ["model.int8.onnx", "0.9 MB", "int8", "0.99530", "86.05", "95.27", "4.25"]
    assert lines[4] == ("int8: mAP -0.10 points against fp32 (95 % interval -0.18 to -0.02).")
    assert "note: The last stride is assumed." in lines
    assert lines[-2] == "Bundle: /data/out/osnet"
    assert lines[-1] == "Next: copy it to the board and run there  reid-build osnet"


def test_summary_without_accuracy_and_for_the_laptop():
    lines = summary(changed(accuracy=None, target="cpu"), FILES, "out").splitlines()
    assert re.split(r"  +", lines[2])[4:6] == ["-", "-"]
    assert not any("points against fp32" in line for line in lines)
    assert lines[-1].startswith("Next: from runtime.bundle import Bundle")
    assert 'Bundle.open("out")' in lines[-1]


def test_summary_lists_what_was_left_out_of_the_checkpoint_by_reason():
    pairs = [["k%d" % i, "training only"] for i in range(5)] + [["epoch", "not a tensor"]]
    lines = summary(changed(dropped_keys=pairs), FILES, "out").splitlines()
    assert "left out of the checkpoint: k0, k1, k2 and 2 more (training only)" in lines
    assert "left out of the checkpoint: epoch (not a tensor)" in lines


def test_the_layers_left_in_float_are_listed():
    search = {"max_map_drop": 0.1, "kept_float": ["conv<1>", "b"], "trials": [[0, 0.18], [2, 0.05]]}
    report = changed(search=search)
    assert "layers left in float: conv<1>, b" in summary(report, FILES, "out").splitlines()
    page = html_report(report)
    assert "conv&lt;1&gt;, b" in page and "0.18" in page
    none = changed(search={**search, "kept_float": []})
    assert "layers left in float: none were needed" in summary(none, FILES, "out").splitlines()
