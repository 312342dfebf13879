"""The toolchain's result as a part of the report."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from export.x3.hb_log import parse_hb_log
from export.x3.hb_result import BoardSpeed, parse_board_speed, parse_verification, toolchain_part
from runtime.errors import ReidEdgeError
from tests.export.small_models import node
from tests.export.x3.hb_logs import BOARD, CHECKER, FAILED, TRACEBACK, makertbin
from tests.export.x3.models import check, conv


def test_board_speed():
    assert parse_board_speed(BOARD) == BoardSpeed(4.003106, 244.204717, 1, 200)


@pytest.mark.parametrize(
    "text",
    [
        "",
        BOARD.replace("4.003106", "40.36.3396"),
        BOARD.replace("4.003106", "nan"),
        BOARD.replace("244.204717", "inf"),
        BOARD[:150],
    ],
)
def test_board_speed_that_is_not_whole(text):
    with pytest.raises(ReidEdgeError, match="output of hrt_model_exec perf"):
        parse_board_speed(text)


def test_verification():
    passed = "  Quanti onnx and Arm result Strict check PASSED\n"
    assert parse_verification(passed) == {"passed": True, "mismatch_rate": 0.0}
    failed = "INFO mismatch line num: 39\nINFO mismatch rate: 0.0001190185546875\n"
    assert parse_verification(failed) == {"passed": False, "mismatch_rate": 0.0001190185546875}
    assert not parse_verification(passed + failed)["passed"]


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("nothing of the kind", "1 lines without, the last 'nothing of the kind'"),
        ("", "got nothing"),
        (TRACEBACK, "No module named"),
        ("mismatch rate: e+.-", "mismatch rate"),
        ("mismatch rate: nan", "mismatch rate"),
    ],
)
def test_verification_that_says_nothing(text, got):
    with pytest.raises(ReidEdgeError, match="output of hb_model_verifier.*" + re.escape(got)):
        parse_verification(text)


def test_part_of_a_whole_run():
    part = toolchain_part(
        checker=parse_hb_log(CHECKER),
        makertbin=parse_hb_log(makertbin()),
        board=parse_board_speed(BOARD),
        verification={"passed": True, "mismatch_rate": 0.0},
    )
    part = json.loads(json.dumps(part, allow_nan=False))
    assert part["command"] == "makertbin" and part["success"] and part["subgraphs"] == 2
    assert part["nodes"] == {"BPU": 5, "CPU": 1}
    assert part["cpu_nodes"] == [{"name": "/neck/Gemm_reshape_output", "type": "Reshape"}]
    assert part["output_cosine"] == 0.9915 and part["output_judgement"] == "normal"
    assert part["worst_nodes"][0]["cosine"] == 0.742658
    assert part["board"]["average_latency_ms"] == 4.003106
    assert part["estimated"][1]["latency_us"] == 1111.0 and part["prediction"] is None


@pytest.mark.parametrize(
    ("cosine", "judgement"),
    [
        ("0.990000", "normal"),
        ("0.989999", "some loss"),
        ("0.799999", "clear loss"),
        ("nan     ", "clear loss"),
        ("inf     ", "clear loss"),
    ],
)
def test_judgement_of_the_output(cosine, judgement):
    log = parse_hb_log(makertbin().replace("/neck/Gemm    0.991500", "/neck/Gemm    " + cosine))
    assert toolchain_part(makertbin=log)["output_judgement"] == judgement


def test_a_node_whose_similarity_is_nan_is_the_worst_of_all():
    log = parse_hb_log(makertbin().replace("0.999869", "nan     "))
    part = json.loads(json.dumps(toolchain_part(makertbin=log), allow_nan=False))
    assert part["worst_nodes"][0] == {"name": "Conv_0", "type": "HzSQuantizedConv", "cosine": "nan"}
    assert part["worst_nodes"][1]["cosine"] == 0.742658


def test_a_failed_checker_wins_over_an_older_makertbin():
    failed = parse_hb_log(
        FAILED.replace("makertbin", "checker").replace(
            "Start Model Convert", "Begin model checking"
        )
    )
    part = toolchain_part(checker=failed, makertbin=parse_hb_log(makertbin()))
    assert (part["command"], part["success"]) == ("checker", False)
    assert part["output_cosine"] is None and part["output_judgement"] is None


def test_measurements_that_could_not_be_read_are_warned_of():
    part = toolchain_part(
        makertbin=parse_hb_log(makertbin()), board={"error": "b."}, verification={"error": "v."}
    )
    assert part["warnings"] == ["b.", "v."] and part["board"] == {"error": "b."}


@pytest.mark.parametrize(
    ("names", "strange"),
    [
        ({"other", "networks"}, True),
        ({"other", "Conv_0"}, False),
        ({"/stage3.13/nonlinearity/Relu_output"}, False),  # the log cuts it
        ({}, False),  # a network that names nothing
    ],
)
def test_a_log_of_another_network(names, strange):
    part = toolchain_part(makertbin=parse_hb_log(makertbin()), names=names)
    assert bool(part["warnings"]) == strange
    assert not strange or "without any of its node names" in part["warnings"][0]
    only_dots = parse_hb_log(
        makertbin().replace(
            "...e3.13/nonlinearity/Relu_output", "...                              "
        )
    )
    assert toolchain_part(makertbin=only_dots, names=["x"])["warnings"]


def test_checker_alone_has_no_similarities():
    part = toolchain_part(checker=parse_hb_log(CHECKER))
    assert part["output_cosine"] is None and part["output_judgement"] is None
    assert part["worst_nodes"] == []


def test_a_failed_run_keeps_its_errors():
    part = toolchain_part(makertbin=parse_hb_log(FAILED))
    assert not part["success"] and "wrong input name" in part["errors"][0]


def test_prediction_beside_reality():
    a, weights = conv("x", "a", (4, 3, 1, 1))
    nodes = [
        a,
        node("Reshape", "a s", "r", name="/neck/Gemm_reshape_output"),
        node("Transpose", "r", "y", name="expected", perm=[1, 0]),
    ]
    report = check(nodes, {**weights, "s": np.array([4, 63], np.int64)})
    part = toolchain_part(makertbin=parse_hb_log(makertbin()), predicted=report)
    assert part["prediction"] == {
        "subgraphs": 1,
        "cpu_nodes": 2,
        "only_predicted": ["expected"],
        "only_real": [],
    }
    rows = makertbin().replace("/neck/Gemm_reshape_output", "...s/is/a/long/prefix/expect")
    part = toolchain_part(makertbin=parse_hb_log(rows), predicted=report)
    assert part["prediction"]["only_real"] == ["...s/is/a/long/prefix/expect"]
    rows = makertbin().replace("/neck/Gemm_reshape_output", "...emm_reshape_output       ")
    part = toolchain_part(makertbin=parse_hb_log(rows), predicted=report)
    assert part["prediction"]["only_real"] == []


def test_a_log_is_needed():
    with pytest.raises(ReidEdgeError, match="needs a log"):
        toolchain_part()
