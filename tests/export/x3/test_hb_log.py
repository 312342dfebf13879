"""Logs of hb_mapper in the formats of several versions, whole and cut off."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.x3.hb_log import parse_hb_log
from export.x3.hb_table import LogNode
from runtime.errors import ReidEdgeError
from tests.export.x3 import hb_logs
from tests.export.x3.hb_logs import CHECKER, FAILED, NEWER, STAMP, TRACEBACK, makertbin


def test_checker():
    log = parse_hb_log(CHECKER)
    assert (log.command, log.success, log.errors) == ("checker", True, ())
    assert log.nodes == (
        LogNode("Conv_0", "BPU", 0, "HzSQuantizedConv"),
        LogNode("Sigmoid_1", "BPU", 0, "HzLut"),
        LogNode("fc_reshape_0", "CPU", None, "Reshape"),
        LogNode("UNIT_CONV_FOR_Add", "BPU", 1, "HzSQuantizedConv"),
    )
    assert log.subgraphs == 2 and [n.name for n in log.cpu_nodes] == ["fc_reshape_0"]
    (speed,) = log.speeds
    assert (speed.fps, speed.latency_us, speed.ddr_bytes) == (30.93, 32328.6, None)
    assert speed.report == "./.hb_check/main_graph_subgraph_0.html"
    assert log.versions == {"hb_mapper": "1.15.5", "horizon_nn": "0.16.3", "hbdk": "3.44.1"}
    assert log.worst_output_cosine is None


@pytest.mark.parametrize(
    "success",
    ["Convert to runtime bin file successfully!", "Convert to runtime bin file sucessfully!"],
)
@pytest.mark.parametrize("line", ["INFO ", NEWER])
def test_makertbin_in_both_spellings_and_both_line_formats(success, line):
    log = parse_hb_log(makertbin(success, line=line))
    assert (log.command, log.success) == ("makertbin", True)
    assert log.nodes[1] == LogNode(
        "Conv_0", "BPU", 0, "HzSQuantizedConv", 0.999869, 1.502627, "int8/int8"
    )
    # Empty cells and dashes are nothing, whatever stands behind them.
    assert log.nodes[2] == LogNode("Split_6", "BPU", 0, "Split", None, None, "int8/int8")
    assert log.nodes[5] == LogNode(
        "/neck/Gemm_reshape_output", "CPU", None, "Reshape", 0.9915, None, "float/float"
    )
    assert log.output_cosine == {"/neck/Gemm": 0.9915} and log.worst_output_cosine == 0.9915
    assert log.method == "max-percentile:percentile=0.99995"
    assert [s.ddr_bytes for s in log.speeds] == [69137136, 1024]
    assert log.versions["hbdk_runtime"] == "3.15.17.0" and log.versions["hbdk"] == "3.44.1"
    assert json.loads(json.dumps(log.to_dict()))["subgraphs"] == 2


def test_a_table_without_data_types_as_older_versions_print_it():
    rows = [row[:6] + ("",) for row in hb_logs._ROWS]
    log = parse_hb_log(makertbin(rows=rows))
    assert log.nodes[1].threshold == 1.502627 and log.nodes[1].data_type is None
    assert log.nodes[2].cosine is None and log.nodes[2].threshold is None


def test_indented_as_in_the_manual():
    text = "\n".join("  " + line for line in makertbin().splitlines())
    assert parse_hb_log(text).nodes == parse_hb_log(makertbin()).nodes


def test_the_last_of_several_runs_counts():
    log = parse_hb_log(FAILED + CHECKER + makertbin())
    assert log.command == "makertbin" and log.success and not log.errors
    assert parse_hb_log(makertbin() + CHECKER).command == "checker"


def test_a_failed_run_is_a_result():
    log = parse_hb_log(FAILED)
    assert (log.command, log.success, log.nodes) == ("makertbin", False, ())
    assert log.errors[0] == "wrong input name: 'data', available: ['images']"


def test_errors_before_the_command_names_itself():
    text = f"{STAMP} ERROR yaml file parse failed.\n{STAMP} ERROR exception in command: makertbin\n"
    assert parse_hb_log(text).command == "makertbin"


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**9), st.booleans())
def test_no_cut_off_log_passes_for_a_whole_one(position, checker):
    """Cut anywhere before the line that says success: refused, never a shorter result."""
    whole = CHECKER if checker else makertbin()
    mark = "End model checking" if checker else "successfully!"
    end = whole.index(mark) + len(mark)
    with pytest.raises(ReidEdgeError, match=r"whole log|as the tool wrote it"):
        parse_hb_log(whole[: position % end])


def test_success_without_a_table_and_broken_rows():
    lines = makertbin().splitlines()
    without = [line for line in lines if "BPU" not in line and "CPU" not in line]
    with pytest.raises(ReidEdgeError, match="no table of nodes"):
        parse_hb_log("\n".join(line for line in without if not line.startswith("Node   ")))
    broken = makertbin().replace("Split_6 ", "Split_6 GPU ").replace("BPU  id(0)     Split ", "")
    with pytest.raises(ReidEdgeError, match="cannot be read, 'Split_6 GPU"):
        parse_hb_log(broken)


@pytest.mark.parametrize("value", ["nan", "-nan", "NaN", "inf", "-inf"])
def test_a_similarity_that_is_not_finite_is_the_worst(value):
    log = parse_hb_log(makertbin().replace("/neck/Gemm    0.991500", "/neck/Gemm    " + value))
    assert log.worst_output_cosine is not None and not math.isfinite(log.worst_output_cosine)
    # Without a table of outputs the last node speaks, not the one before it.
    rows = [
        row[:4] + (value, *row[5:]) if row[0] == "/neck/Gemm_reshape_output" else row
        for row in hb_logs._ROWS
    ]
    text = makertbin(rows=rows).replace("L1 Distance", "L1")
    log = parse_hb_log(text)
    assert not log.output_cosine and not math.isfinite(log.nodes[-1].cosine or 0)
    assert not math.isfinite(log.worst_output_cosine or 0)
    assert json.loads(json.dumps(log.to_dict(), allow_nan=False))["nodes"][-1]["cosine"] in (
        "nan", "inf", "-inf",
    )  # fmt: skip


@pytest.mark.parametrize(
    "message",
    [
        f"{STAMP} WARNING the threshold of Split_6 is small",
        f"{STAMP} WARNING Split_6 runs on CPU -- which is slow",  # read as a row, this would be one
        f"{STAMP} {NEWER}the threshold is small:\n  see the manual",
        "WARNING: something",
    ],
)
@pytest.mark.parametrize("place", [1, 3, 6])
def test_messages_between_the_rows(message, place):
    lines = makertbin().splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("Node  "))
    lines.insert(head + 1 + place, message)
    assert parse_hb_log("\n".join(lines)).nodes == parse_hb_log(makertbin()).nodes


def test_a_message_between_the_outputs():
    row = "/neck/Gemm    0.991500           1.503200     0.060809     8.068202"
    text = makertbin().replace(
        row, f"{STAMP} INFO so far\n{row}\n{STAMP} INFO next\n" + row.replace("Gemm ", "Out2 ")
    )
    assert parse_hb_log(text).output_cosine == {"/neck/Gemm": 0.9915, "/neck/Out2": 0.9915}


def test_a_broken_row_behind_a_message_is_not_passed_over():
    text = (
        makertbin()
        .replace("Split_6 ", f"{STAMP} INFO so far\nSplit_6 ")
        .replace("BPU  id(0)     Split ", "GPU  id(0)     Split ")
    )
    with pytest.raises(ReidEdgeError, match="cannot be read, 'Split_6"):
        parse_hb_log(text)


def test_a_failed_run_without_the_word_error():
    text = FAILED.replace("INFO ", NEWER).replace("ERROR ", NEWER)
    log = parse_hb_log(text)
    assert (log.command, log.success) == ("makertbin", False)
    assert log.errors == ("exception in command: makertbin",)


def test_the_last_line_of_a_traceback_is_an_error():
    log = parse_hb_log(TRACEBACK, "checker")
    assert (log.command, log.success) == ("checker", False)
    assert log.errors == ("ModuleNotFoundError: No module named 'hbdk'",)
    chained = (
        TRACEBACK
        + "\nDuring handling of the above, another one:\n\n"
        + TRACEBACK.replace("hbdk", "nn")
    )
    started = FAILED[: FAILED.index("ERROR")].rsplit("\n", 1)[0] + "\n"
    assert len(parse_hb_log(started + chained).errors) == 2
    indented = "\n".join("  " + line for line in (started + TRACEBACK).splitlines())
    assert parse_hb_log(indented).errors == ("ModuleNotFoundError: No module named 'hbdk'",)
    # Behind the table, where nothing says that it is over.
    table = makertbin()[: makertbin().index(f"{STAMP} INFO The quantify")]
    log = parse_hb_log(table + TRACEBACK)
    assert not log.success and len(log.nodes) == 6 and len(log.errors) == 1
    with pytest.raises(ReidEdgeError, match="ends before the run did"):
        parse_hb_log(started + TRACEBACK.rsplit("\n", 2)[0])


_PIECES = st.sampled_from(
    [
        *CHECKER.splitlines(), *makertbin().splitlines(), *FAILED.splitlines(),
        *TRACEBACK.splitlines(), "Conv BPU id(٣) x", "x BPU id(9999999999999999999) y nan -inf 1e999",
        "x CPU -- y", "FPS=1.2.3, latency = . us", "FPS=9.9, latency = 9. us, DDR = 99999 bytes",
    ]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(_PIECES, st.text(max_size=60)), max_size=40), st.randoms())
def test_any_text_is_read_or_refused_in_a_sentence(lines, random):
    text = list("\n".join(lines))
    for _ in range(random.randint(0, 4) if text else 0):
        text[random.randrange(len(text))] = random.choice("0.-ne( \n")
    try:
        log = parse_hb_log("".join(text))
    except ReidEdgeError:
        return
    json.dumps(log.to_dict(), allow_nan=False)


def test_other_text():
    with pytest.raises(ReidEdgeError, match="is not one of checker or makertbin"):
        parse_hb_log("hello\nworld\n")
