"""Taking the toolchain's result into a bundle."""

from __future__ import annotations

import json
import shutil

import onnx
import pytest
import yaml

from runtime.bundle import Bundle
from tests.export.cli_helpers import checkpoint, run  # noqa: F401  (fixtures)
from tests.export.x3.hb_logs import BOARD, CHECKER, FAILED, TRACEBACK, makertbin


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory):  # noqa: F811
    from export.cli import main

    path = tmp_path_factory.mktemp("fold") / "small_x3"
    arguments = [
        "--target", "x3", "--height", "64", "--width", "32", "--threads", "1",
        "--weights", checkpoint, "--calib", _drawn(tmp_path_factory), "--out", path,
    ]  # fmt: skip
    assert main([str(a) for a in arguments]) == 0
    return path


def _drawn(factory):
    from tests.export.cli_helpers import market_folder

    return market_folder(factory.mktemp("fold_data") / "market")


@pytest.fixture
def bundle(exported, tmp_path):
    """A copy behind a finished build.sh."""
    path = tmp_path / "small_x3"
    shutil.copytree(exported, path)
    logs = path / "x3" / "logs"
    logs.mkdir()
    (logs / "checker.txt").write_text(CHECKER)
    known = onnx.load(str(Bundle.open(path).find("model.fp32"))).graph.node[0].name
    (logs / "makertbin.txt").write_text(makertbin().replace("Conv_0 ", known + " "))
    results = path / "x3" / "model_output"
    results.mkdir()
    arch = Bundle.open(path).manifest.network["arch"]
    (results / f"{arch}.bin").write_bytes(b"compiled")
    return path


def fold(capsys, path):
    return run(capsys, "--target", "x3", "--fold", path)


def edit(bundle, **changes):
    """Change keys of the configuration, as ``section__key=value``."""
    path = bundle / "x3" / "config.yaml"
    data = yaml.safe_load(path.read_text())
    for name, value in changes.items():
        section, key = name.split("__")
        data[section][key] = value
    path.write_text(yaml.safe_dump(data))


def toolchain(bundle):
    return json.loads(Bundle.open(bundle).find("report").read_text())["x3"]["toolchain"]


def page(bundle):
    return Bundle.open(bundle).find("report.html").read_text()


def test_model_and_result_are_part_of_the_bundle_afterwards(bundle, capsys):
    assert fold(capsys, bundle).status == 0
    opened = Bundle.open(bundle)
    assert opened.find("model.bin").read_bytes() == b"compiled"
    assert opened.has("x3.log") and opened.has("model.fp32")
    result = toolchain(bundle)
    assert result["success"] and result["command"] == "makertbin"
    assert 0 < result["output_cosine"] <= 1
    assert result["warnings"] == [] and result["config_changes"] == {}
    assert "cosine of the output" in page(bundle) and "Not run yet" not in page(bundle)
    assert (bundle / "x3" / "model_output").is_dir()  # what the user's tools made stays


def test_folding_again_replaces_the_result(bundle, capsys):
    assert fold(capsys, bundle).status == 0
    (bundle / "x3" / "logs" / "board.txt").write_text(BOARD)
    assert fold(capsys, bundle).status == 0
    assert toolchain(bundle)["board"]["average_latency_ms"] > 0


def test_a_failed_build_is_reported_with_exit_3(bundle, capsys):
    (bundle / "x3" / "logs" / "makertbin.txt").write_text(FAILED)
    outcome = fold(capsys, bundle)
    assert outcome.status == 3 and not json.loads(outcome.out)["success"]
    assert not Bundle.open(bundle).has("model.bin")


def test_a_failed_checker_wins_over_an_older_makertbin_and_its_model(bundle, capsys):
    assert fold(capsys, bundle).status == 0
    failed = FAILED.replace("makertbin", "checker").replace("Model Convert", "hb_mapper checker")
    (bundle / "x3" / "logs" / "checker.txt").write_text(failed)
    outcome = fold(capsys, bundle)
    assert outcome.status == 3 and json.loads(outcome.out)["command"] == "checker"
    assert not Bundle.open(bundle).has("model.bin")


def test_a_crash_that_only_the_printed_log_has(bundle, capsys):
    logs = bundle / "x3" / "logs"
    (logs / "hb_mapper_makertbin.log").write_text(FAILED.splitlines()[0] + "\n")
    (logs / "makertbin.txt").write_text(TRACEBACK)
    outcome = fold(capsys, bundle)
    assert outcome.status == 3
    assert json.loads(outcome.out)["errors"] == ["ModuleNotFoundError: No module named 'hbdk'"]


@pytest.mark.parametrize("text", ["", TRACEBACK], ids=["empty", "traceback"])
@pytest.mark.parametrize(
    ("name", "key", "tool"),
    [("verifier", "verification", "hb_model_verifier"), ("board", "board", "hrt_model_exec")],
)
def test_verifier_or_board_that_say_nothing_are_warnings(
    bundle, capsys, caplog, text, name, key, tool
):
    (bundle / "x3" / "logs" / (name + ".txt")).write_text(text)
    assert fold(capsys, bundle).status == 0
    (said,) = toolchain(bundle)["warnings"]
    assert toolchain(bundle)[key] == {"error": said} and said.startswith(name + ".txt: Expected")
    assert caplog.messages == [said] and tool in page(bundle)
    assert Bundle.open(bundle).has("model.bin")


def test_a_log_of_another_network_is_warned_of(bundle, capsys, caplog):
    (bundle / "x3" / "logs" / "makertbin.txt").write_text(makertbin())
    assert fold(capsys, bundle).status == 0
    assert "without any of its node names" in caplog.messages[0]
    assert toolchain(bundle)["warnings"] == caplog.messages and "node names" in page(bundle)


def test_the_report_shows_speed_verification_and_prediction(bundle, capsys):
    logs = bundle / "x3" / "logs"
    (logs / "board.txt").write_text(BOARD)
    (logs / "verifier.txt").write_text("INFO mismatch rate: 0.0001190185546875\n")
    assert fold(capsys, bundle).status == 0
    for text in (
        "BPU subgraph 0, estimated by the compiler", "18.423", "54.3", "65.9 MiB",
        "measured on the board (threads: 1, frames: 200)", "4.003", "244.2",
        "differs in 0.0119 % of the values", "hb_mapper 1.15.5", "0.991500 (normal)",
        "BPU segments", "On the CPU without being predicted: /neck/Gemm_reshape_output",
    ):  # fmt: skip
        assert text in page(bundle), text
    nan = makertbin().replace("/neck/Gemm    0.991500", "/neck/Gemm    nan")
    (logs / "makertbin.txt").write_text(nan)
    (logs / "verifier.txt").write_text("Strict check PASSED\n")
    assert fold(capsys, bundle).status == 0
    assert "nan (clear loss)" in page(bundle) and "the same (hb_model_verifier)" in page(bundle)


def test_a_tuned_configuration_is_taken_in_and_its_changes_named(bundle, capsys):
    edit(bundle, compiler_parameters__core_num=2, calibration_parameters__run_on_cpu="a; b")
    for _ in range(2):  # folding again keeps them
        assert fold(capsys, bundle).status == 0
        assert toolchain(bundle)["config_changes"] == {
            "calibration_parameters.run_on_cpu": [None, "a; b"],
            "compiler_parameters.core_num": [1, 2],
        }
    assert "Changed in config.yaml" in page(bundle)
    edit(bundle, compiler_parameters__core_num=1, calibration_parameters__run_on_cpu=None)
    # Built again: other logs and another model than the manifest knows.
    next((bundle / "x3" / "model_output").glob("*.bin")).write_bytes(b"compiled again")
    (bundle / "x3" / "logs" / "makertbin.txt").unlink()
    (bundle / "x3" / "logs" / "hb_mapper_makertbin.log").write_text(makertbin())
    assert fold(capsys, bundle).status == 0
    assert toolchain(bundle)["config_changes"] == {}  # what the export writes, key by key
    assert Bundle.open(bundle).find("model.bin").read_bytes() == b"compiled again"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"input_parameters__mean_value": "1 2 3"}, "input_parameters.mean_value"),
        ({"input_parameters__input_shape": "1x3x32x32"}, "input_parameters.input_shape"),
        ({"input_parameters__input_space_and_range": "regular"}, "input_space_and_range"),
        ({"model_parameters__output_model_file_prefix": "x"}, "output_model_file_prefix"),
        ({"model_parameters__output_nodes": "x"}, "model_parameters.output_nodes"),
        ({"compiler_parameters__core_num": 3}, "compiler_parameters.core_num is 3"),
    ],
)
def test_a_configuration_of_another_network_or_input_is_refused(bundle, capsys, change, said):
    before = (bundle / "manifest.json").read_text()
    edit(bundle, **change)
    outcome = fold(capsys, bundle)
    assert outcome.status == 2 and said in outcome.sentence
    assert (bundle / "manifest.json").read_text() == before


def test_a_configuration_edited_behind_the_build_is_refused(bundle, capsys):
    config = bundle / "x3" / "config.yaml"
    kept = bundle / "x3" / "logs" / "config.yaml"
    kept.write_text("# as built\n" + config.read_text())
    assert fold(capsys, bundle).status == 0
    edit(bundle, compiler_parameters__core_num=2)
    outcome = fold(capsys, bundle)
    assert outcome.status == 2 and "run build.sh again" in outcome.sentence


def test_other_changed_files_are_still_refused(bundle, capsys):
    (bundle / "x3" / "operators.json").write_text("{}")
    outcome = fold(capsys, bundle)
    assert outcome.status == 3 and "SHA-256 differs" in outcome.sentence


def test_truncated_log_missing_model_and_other_bundles_change_nothing(bundle, capsys):
    before = (bundle / "manifest.json").read_text()
    log = bundle / "x3" / "logs" / "makertbin.txt"
    whole = log.read_text()
    log.write_text(whole[: len(whole) // 2])
    outcome = fold(capsys, bundle)
    assert outcome.status == 2 and "makertbin.txt" in outcome.sentence
    log.write_text(whole)
    next((bundle / "x3" / "model_output").glob("*.bin")).unlink()
    outcome = fold(capsys, bundle)
    assert outcome.status == 2 and "is not there" in outcome.sentence
    assert (bundle / "manifest.json").read_text() == before
    assert [p.name for p in bundle.parent.iterdir()] == ["small_x3"]
