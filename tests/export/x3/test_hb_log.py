"""Logs of hb_mapper in the formats of several versions, whole and cut off."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.x3.hb_log import LogNode, parse_hb_log
from runtime.errors import ReidEdgeError
from tests.export.x3 import hb_logs
from tests.export.x3.hb_logs import CHECKER, FAILED, STAMP, makertbin


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
@pytest.mark.parametrize("line", ["INFO ", "file: tool_utils.py func: tool_utils line No: 326 "])
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


def test_other_text():
    with pytest.raises(ReidEdgeError, match="is not one of checker or makertbin"):
        parse_hb_log("hello\nworld\n")
