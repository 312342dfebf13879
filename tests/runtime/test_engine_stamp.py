"""The stamp beside a plan and the refusal of plans that do not fit."""

import json
import stat
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.bundle import Bundle, file_sha256
from runtime.engine_stamp import (
    Board,
    EngineStamp,
    board_name,
    check_plan,
    mismatch,
    parse_power_mode,
    power_mode,
    stamp_path,
)
from runtime.errors import ReidEdgeError
from tests.runtime.fake_bundle import make_bundle

BOARD = Board("8.5.2.2", "7.2", "Jetson-AGX", "MODE_15W")
STAMP = EngineStamp(
    tensorrt="8.5.2.2",
    sm="7.2",
    device_name="Jetson-AGX",
    power_mode="MODE_15W",
    precision="int8",
    device="gpu",
    batch={"min": 1, "opt": 4, "max": 16},
    onnx_file="model.int8.onnx",
    onnx_sha256="a" * 64,
    plan_sha256="b" * 64,
    created_utc="2026-01-02T03:04:05+00:00",
)
COMPARED = ["tensorrt", "sm", "device_name", "onnx_sha256", "plan_sha256"]


@given(
    st.builds(
        EngineStamp,
        batch=st.dictionaries(st.text(), st.integers()),
        power_mode=st.none() | st.text(),
    )
)
def test_json_round_trip(stamp):
    assert EngineStamp.from_json(stamp.to_json()) == stamp


def test_outputs_are_written_for_detectors_only():
    assert "outputs" not in json.loads(STAMP.to_json())
    detector = replace(STAMP, outputs=["boxes", "scores"])
    assert json.loads(detector.to_json())["outputs"] == ["boxes", "scores"]
    assert EngineStamp.from_json(detector.to_json()) == detector


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        STAMP.to_json().replace('"schema_version": 1', '"schema_version": 2'),
        json.dumps({**json.loads(STAMP.to_json()), "extra": 1}),
        json.dumps({k: v for k, v in json.loads(STAMP.to_json()).items() if k != "sm"}),
    ],
)
def test_rejects_what_is_not_a_stamp(text):
    with pytest.raises(ReidEdgeError, match="run reid-build again"):
        EngineStamp.from_json(text)


def test_equal_values_are_no_mismatch():
    assert mismatch(STAMP, {name: getattr(STAMP, name) for name in COMPARED}) == []


@given(st.sets(st.sampled_from(COMPARED)))
def test_every_difference_is_one_sentence(changed):
    current = {n: "other" if n in changed else getattr(STAMP, n) for n in COMPARED}
    sentences = mismatch(STAMP, current)
    assert len(sentences) == len(changed)
    assert all(s.endswith("here is other.") for s in sentences)


def test_only_given_values_are_compared():
    assert mismatch(STAMP, {"tensorrt": "8.6"}) == [
        "It was built with TensorRT 8.5.2.2; here is 8.6."
    ]


@pytest.fixture
def bundle(tmp_path):
    return Bundle.open(make_bundle(tmp_path / "bundle"))


@pytest.fixture
def plan(bundle):
    """A plan with a stamp that fits BOARD and the bundle."""
    path = bundle.path / "engines" / "int8-gpu.plan"
    path.parent.mkdir()
    path.write_bytes(b"plan")
    onnx = bundle.manifest.files["model.int8.onnx"]["sha256"]
    stamp = replace(STAMP, onnx_sha256=onnx, plan_sha256=file_sha256(path))
    stamp_path(path).write_text(stamp.to_json())
    return path


def test_a_fitting_plan_is_accepted(plan, bundle):
    assert check_plan(plan, BOARD, bundle).precision == "int8"


def test_power_mode_does_not_refuse(plan, bundle):
    check_plan(plan, replace(BOARD, power_mode=None), bundle)


@pytest.mark.parametrize(
    "field, value, said",
    [
        ("tensorrt", "8.6.1", r"TensorRT 8\.5\.2\.2; here is 8\.6\.1"),
        ("sm", "8.7", r"SM 7\.2; here is 8\.7"),
        ("device_name", "Jetson Xavier NX", "device Jetson-AGX; here is Jetson Xavier NX"),
    ],
)
def test_another_board_is_refused(plan, bundle, field, value, said):
    with pytest.raises(ReidEdgeError, match=said + r".*Run reid-build again"):
        check_plan(plan, replace(BOARD, **{field: value}), bundle)


def test_a_changed_plan_is_refused(plan, bundle):
    plan.write_bytes(b"another plan")
    with pytest.raises(ReidEdgeError, match="plan SHA-256"):
        check_plan(plan, BOARD, bundle)


def test_a_changed_bundle_is_refused(plan, bundle):
    entry = bundle.manifest.files["model.int8.onnx"]
    entry["sha256"] = "0" * 64
    with pytest.raises(ReidEdgeError, match="ONNX SHA-256"):
        check_plan(plan, BOARD, bundle)
    del bundle.manifest.files["model.int8.onnx"]
    with pytest.raises(ReidEdgeError, match=r"no file model\.int8\.onnx"):
        check_plan(plan, BOARD, bundle)


@pytest.mark.parametrize("suffix", [".plan", ".json"])
def test_plan_or_stamp_missing(plan, bundle, suffix):
    plan.with_suffix(suffix).unlink()
    with pytest.raises(ReidEdgeError, match="run reid-build again"):
        check_plan(plan, BOARD, bundle)


def test_board_name_prefers_the_device_tree(tmp_path):
    model = tmp_path / "model"
    assert board_name("Xavier", model) == "Xavier"
    model.write_bytes(b"NVIDIA Jetson Xavier NX Developer Kit\0")
    assert board_name("Xavier", model) == "NVIDIA Jetson Xavier NX Developer Kit"


@pytest.mark.parametrize(
    "text, mode",
    [
        ("NV Fan Mode:quiet\nNV Power Mode: MODE_15W_6CORE\n2\n", "MODE_15W_6CORE"),
        ("NV Power Mode: MAXN\n0\n", "MAXN"),
        ("NVPM ERROR: failed to read PARAM\n", None),
        ("", None),
    ],
)
def test_parse_power_mode(text, mode):
    assert parse_power_mode(text) == mode


def _nvpmodel(folder, script):
    program = folder / "nvpmodel"
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_power_mode_asks_nvpmodel(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert power_mode() is None
    _nvpmodel(tmp_path, 'test "$1" = -q && echo "NV Power Mode: MODE_10W"\n')
    assert power_mode() == "MODE_10W"


def test_power_mode_gives_up_on_a_hanging_nvpmodel(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    _nvpmodel(tmp_path, "exec /bin/sleep 20\n")
    assert power_mode(timeout_s=0.2) is None
