"""build.sh, run by bash with stand-ins for the vendor's tools and docker."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from export.x3.build_script import EXPORTED, IMAGE, build_script
from export.x3.calibration_data import folder_name, write_calibration_data
from export.x3.config import make_config, parse, to_dict, write_yaml
from runtime.contract import InputContract
from runtime.errors import ReidEdgeError

CONTRACT = InputContract(16, 8)
COMMANDS = "bash cat chown cp dirname env grep mkdir mv rm tee wc".split()

# Each stand-in writes down how it was called and behaves as the manual says.
HB_MAPPER = """
echo "hb_mapper $*" >>"$CALLS"
echo "2023-04-30 12:46:11,222 INFO Start hb_mapper...." | tee "hb_mapper_$1.log"
if [[ $1 == "${FAIL:-}" ]]; then
  echo "2023-04-30 12:46:11,222 ERROR it went wrong" | tee -a "hb_mapper_$1.log"
  exit 3
fi
if [[ $1 == makertbin && -z ${SILENT:-} ]]; then
  mkdir -p model_output
  echo bin >model_output/net.bin
  echo "2023-04-30 12:46:11,222 INFO Convert to runtime bin file $SPELLING!" | tee -a hb_mapper_makertbin.log
fi
"""
OTHER = """
echo "%s $*" >>"$CALLS"
[[ ${FAIL:-} != "${0##*/}" ]] || { echo "no hrt_tools" >&2; exit 4; }
"""
DOCKER = """
echo "docker $*" >>"$CALLS"
[[ $1 != image || -z ${NO_IMAGE:-} ]] || { echo "$NO_IMAGE" >&2; exit 1; }
"""


@pytest.fixture
def bundle(tmp_path):
    """A folder as the export writes it, and a PATH without the vendor's tools."""
    folder = tmp_path / "bundle with a blank"
    folder.mkdir()
    calibration = folder_name(CONTRACT, "nv12")
    crops = np.random.default_rng(0).integers(0, 256, (3, 16, 8, 3), np.uint8)
    write_calibration_data(folder / calibration, list(crops), CONTRACT)
    config = make_config(
        CONTRACT, onnx_model="net.onnx", prefix="net", input_name="images", cal_data_dir=calibration
    )
    write_yaml(config, folder / "x3.yaml")
    (folder / "net.onnx").write_bytes(b"onnx")
    (folder / "build.sh").write_text(build_script(config, "x3.yaml"))
    tools = tmp_path / "tools"
    tools.mkdir()
    for command in COMMANDS:
        (tools / command).symlink_to(shutil.which(command))
    return folder


def tool(bundle, name, body):
    path = bundle.parent / "tools" / name
    path.write_text("#!/usr/bin/env bash\n" + body)
    path.chmod(0o755)


def run(bundle, **environment):
    calls = bundle.parent / "calls"
    calls.write_text("")
    result = subprocess.run(
        ["bash", str(bundle / "build.sh")],
        cwd=bundle.parent,
        env={
            "PATH": str(bundle.parent / "tools"),
            "CALLS": str(calls),
            "SPELLING": "successfully",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    return result, calls.read_text().splitlines()


def host_tools(bundle):
    tool(bundle, "hb_mapper", HB_MAPPER)
    tool(bundle, "hb_perf", OTHER % "hb_perf")
    tool(bundle, "hb_model_verifier", OTHER % "hb_model_verifier")


@pytest.mark.parametrize("spelling", ["successfully", "sucessfully"])
def test_the_steps_in_order_on_a_host(bundle, spelling):
    host_tools(bundle)
    result, calls = run(bundle, SPELLING=spelling)
    assert result.returncode == 0, result.stderr
    assert calls == [
        "hb_mapper checker --model-type onnx --march bernoulli2 --model net.onnx "
        "--input-shape images 1x3x16x8",
        "hb_mapper makertbin --config x3.yaml --model-type onnx",
        "hb_perf model_output/net.bin",
        "hb_model_verifier -q model_output/net_quantized_model.onnx -b model_output/net.bin",
    ]
    assert "3 calibration files" in result.stdout and "made %s" % bundle in result.stdout
    logs = {p.name for p in (bundle / "logs").iterdir()}
    assert logs == {
        "checker.txt", "hb_mapper_checker.log", "makertbin.txt", "hb_mapper_makertbin.log",
        "perf.txt", "verifier.txt", "config.yaml",
    }  # fmt: skip
    assert "Convert to runtime" in (bundle / "logs" / "makertbin.txt").read_text()


def test_board_and_image_for_the_verifier(bundle):
    host_tools(bundle)
    (bundle / "a.jpg").write_bytes(b"jpg")
    _, calls = run(bundle, BOARD_IP="10.0.0.7", TEST_IMAGE="a.jpg")
    assert calls[-1].endswith("-b model_output/net.bin -a 10.0.0.7 -i a.jpg")
    result, calls = run(bundle, TEST_IMAGE="b.jpg")
    assert result.returncode == 1 and "no b.jpg (TEST_IMAGE)" in result.stderr and not calls


def test_absent_tools_are_skipped_aloud(bundle):
    tool(bundle, "hb_mapper", HB_MAPPER)
    result, calls = run(bundle)
    assert result.returncode == 0 and len(calls) == 2
    assert "skipped perf (hb_perf is not on PATH)" in result.stdout
    assert "skipped verifier (hb_model_verifier is not on PATH)" in result.stdout


@pytest.mark.parametrize(("name", "step"), [("hb_perf", "perf"), ("hb_model_verifier", "verifier")])
def test_a_model_that_was_made_is_kept_where_perf_or_verifier_fail(bundle, name, step):
    host_tools(bundle)
    result, calls = run(bundle, FAIL=name)
    assert result.returncode == 0 and len(calls) == 4
    said = result.stdout.splitlines()
    assert "made %s" % bundle in said[-2] and "no hrt_tools" in result.stdout
    assert said[-1] == "build.sh: warning: %s failed with exit code 4; see %s/logs/%s.txt" % (
        step, bundle, step,
    )  # fmt: skip
    assert (bundle / "model_output" / "net.bin").exists()


@pytest.mark.parametrize("step", ["checker", "makertbin"])
def test_a_failing_step_stops_and_keeps_its_log(bundle, step):
    host_tools(bundle)
    result, calls = run(bundle, FAIL=step)
    assert result.returncode == 1
    assert "%s failed with exit code 3" % step in result.stderr
    assert len(calls) == (1 if step == "checker" else 2)
    assert "it went wrong" in (bundle / "logs" / ("hb_mapper_%s.log" % step)).read_text()
    assert "it went wrong" in (bundle / "logs" / (step + ".txt")).read_text()


def test_an_older_success_does_not_count(bundle):
    host_tools(bundle)
    run(bundle)
    result, _ = run(bundle, SILENT="1")
    assert result.returncode == 1 and "did not say that it converted" in result.stderr
    assert not (bundle / "model_output" / "net.bin").exists()


@pytest.mark.parametrize("step", ["checker", "makertbin"])
def test_nothing_of_an_earlier_run_is_left_where_a_step_fails(bundle, step):
    host_tools(bundle)
    run(bundle)
    (bundle / "logs" / "board.txt").write_text("of the earlier model")
    (bundle / "hb_mapper_makertbin.log").write_text("of a run that was killed")
    result, _ = run(bundle, FAIL=step)
    assert result.returncode == 1 and not (bundle / "model_output" / "net.bin").exists()
    left = {p.name for p in (bundle / "logs").iterdir()}
    own = {"%s.txt" % step, "hb_mapper_%s.log" % step, "config.yaml", "board_before.txt"}
    assert left == own | (
        {"checker.txt", "hb_mapper_checker.log"} if step == "makertbin" else set()
    )


def test_a_speed_of_an_earlier_model_is_put_aside_aloud(bundle):
    host_tools(bundle)
    (bundle / "logs").mkdir()
    (bundle / "logs" / "board.txt").write_text("of the earlier model")
    result, _ = run(bundle)
    assert result.returncode == 0 and "moved logs/board.txt to" in result.stdout
    assert (bundle / "logs" / "board_before.txt").read_text() == "of the earlier model"


def test_without_tools_it_says_what_is_missing(bundle):
    result, _ = run(bundle)
    assert result.returncode == 1
    assert "neither hb_mapper nor docker" in result.stderr and IMAGE in result.stderr
    tool(bundle, "docker", DOCKER)
    for said in ("Error: No such image: x", "permission denied while\nconnecting to the daemon"):
        result, calls = run(bundle, NO_IMAGE=said)
        assert result.returncode == 1 and "cannot give the image " + IMAGE in result.stderr
        assert "it says: %s; if it" % said.replace("\n", " ") in result.stderr
        assert calls == ["docker image inspect " + IMAGE]
    result, _ = run(bundle, REID_EDGE_IN_CONTAINER="1")
    assert "has no hb_mapper" in result.stderr


def test_in_the_container_it_runs_itself_on_the_mounted_folder(bundle):
    tool(bundle, "docker", DOCKER)
    result, calls = run(bundle, BOARD_IP="10.0.0.7", HORIZON_IMAGE="mine:1")
    assert result.returncode == 0, result.stderr
    assert calls[1] == (
        "docker run --rm --volume %s:/data --workdir /data --env REID_EDGE_IN_CONTAINER=1 "
        "--env BOARD_IP=10.0.0.7 --env TEST_IMAGE= mine:1 bash /data/build.sh" % bundle
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: (b / "net.onnx").unlink(), "net.onnx is missing"),
        (lambda b: (b / "x3.yaml").unlink(), "x3.yaml is missing"),
        (lambda b: shutil.rmtree(b / "calibration_data_rgb_f32"), "folder .* is missing"),
        (
            lambda b: [f.unlink() for f in (b / "calibration_data_rgb_f32").iterdir()],
            "folder .* is empty",
        ),
        (
            lambda b: (b / "calibration_data_rgb_f32" / "00001.rgb").write_bytes(b"short"),
            "00001.rgb has 5 bytes, a sample of this network has 1536",
        ),
    ],
)
def test_missing_files_stop_it_before_any_tool(bundle, damage, message):
    host_tools(bundle)
    damage(bundle)
    result, calls = run(bundle)
    assert result.returncode == 1 and not calls
    assert re.search(message, result.stderr)


def config_with(**changes):
    data = to_dict(
        make_config(CONTRACT, onnx_model="n.onnx", prefix="n", input_name="i", cal_data_dir="c_f32")
    )
    for name, value in changes.items():
        section, key = name.split("__")
        data[section][key] = value
    return parse(data, "here")


def test_it_holds_the_exported_configuration():
    config = config_with(model_parameters__onnx_model="a\nb.onnx")
    (line,) = (
        line for line in build_script(config, "c.yaml").splitlines() if line.startswith(EXPORTED)
    )
    assert parse(json.loads(line[len(EXPORTED) :]), "line") == config


def test_values_are_quoted():
    script = build_script(config_with(model_parameters__onnx_model="a b$(x).onnx"), "c.yaml")
    assert "model='a b$(x).onnx'\n" in script
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0
    assert "@" not in script.replace("${notes[@]", "").replace("[@]}", "").replace('"$@"', "")


@pytest.mark.parametrize(
    "changes",
    [
        {"model_parameters__onnx_model": "/root/n.onnx"},
        {"model_parameters__working_dir": "../out"},
        {"calibration_parameters__cal_data_dir": "/data/c_f32"},
    ],
)
def test_paths_outside_the_folder_are_refused(changes):
    with pytest.raises(ReidEdgeError, match="must be a path below it"):
        build_script(config_with(**changes), "c.yaml")


def test_uint8_and_pictures_have_other_sizes():
    assert "sample_bytes=1536\n" in build_script(config_with(), "c.yaml")
    uint8 = config_with(calibration_parameters__cal_data_type="uint8")
    assert "sample_bytes=384\n" in build_script(uint8, "c.yaml")
    pictures = config_with(calibration_parameters__preprocess_on=True)
    assert "sample_bytes=0\n" in build_script(pictures, "c.yaml")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing(tmp_path):
    path = tmp_path / "build.sh"
    path.write_text(build_script(config_with(), "c.yaml"))
    result = subprocess.run(["shellcheck", str(path)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
