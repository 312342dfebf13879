"""``reid-export`` on input it cannot use: one sentence, a status, and nothing left behind."""

from __future__ import annotations

import errno
import json
import logging
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import export.pipeline
import export.quantize
import export.write
from export.rewrites import fold_batchnorm
from models.checkpoint import source_state_dict
from models.zoo.default import untrained_network
from runtime.bundle import MANIFEST_NAME, Bundle, file_sha256
from runtime.errors import ReidEdgeError, VerificationError
from tests.export.cli_helpers import QUICK, SIZE, market_folder, run, save, small_state

FP16 = ["--target", "xavier", "--precision", "fp16", *SIZE]
INT8 = ["--target", "xavier", *SIZE, *QUICK]


class Pickled(torch.nn.Linear):
    """A module saved whole, as old training scripts do; unpickling it needs this class."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("checkpoint") / "small.pth", small_state())


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return market_folder(tmp_path_factory.mktemp("data") / "market")


@pytest.fixture
def place(tmp_path) -> Path:
    """An empty folder for the bundle; the input lies elsewhere."""
    folder = tmp_path / "bundles"
    folder.mkdir()
    return folder


@pytest.fixture
def refuse(capsys, place):
    """Run the command; it must fail with one sentence and leave ``place`` empty."""

    def refuse_(*arguments, status=2) -> str:
        outcome = run(capsys, *arguments, "--out", place / "bundle")
        sentence = outcome.sentence
        assert outcome.status == status, sentence
        assert list(place.iterdir()) == []
        return sentence

    return refuse_


@pytest.fixture
def usage_error(capsys, place):
    """Run the command; argparse or the options must refuse it."""

    def usage_error_(*arguments) -> str:
        outcome = run(capsys, *arguments, "--out", place / "bundle")
        assert outcome.status == 2 and outcome.out == ""
        assert "Traceback" not in outcome.err
        assert outcome.err.splitlines()[-1].startswith("reid-export: ")
        assert list(place.iterdir()) == []
        return outcome.err

    return usage_error_


# -- checkpoints ---------------------------------------------------------------------------------


def test_missing_checkpoint(refuse, tmp_path):
    assert "no.pth: No such file" in refuse(*FP16, "--weights", tmp_path / "no.pth")


def test_folder_as_checkpoint(refuse, tmp_path):
    assert "is a folder, but a checkpoint file was expected" in refuse(*FP16, "--weights", tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint\n" * 50, bytes(range(256)) * 20])
def test_corrupt_checkpoint(refuse, tmp_path, content):
    path = tmp_path / "bad.pth"
    path.write_bytes(content)
    assert "download" in refuse(*FP16, "--weights", path)


@pytest.mark.parametrize(
    "share",
    [
        pytest.param(
            0.01,  # shorter than what a zip reader looks through for the directory
            marks=pytest.mark.xfail(strict=True, reason="says only: Invalid argument"),
        ),
        0.5,
        0.999,
    ],
)
def test_truncated_checkpoint(refuse, tmp_path, checkpoint, share):
    whole = checkpoint.read_bytes()
    path = tmp_path / "cut.pth"
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "truncated or damaged" in refuse(*FP16, "--weights", path)


def test_unknown_family(refuse, tmp_path):
    path = save(tmp_path / "other.pth", {"encoder.weight": torch.ones(3, 3)})
    assert "No supported ReID codebase has these checkpoint keys" in refuse(
        *FP16, "--weights", path
    )


def test_checkpoint_with_a_key_missing(refuse, tmp_path):
    state = small_state()
    del state["base.layer3.1.conv2.weight"]
    sentence = refuse(*FP16, "--weights", save(tmp_path / "gap.pth", state))
    assert "1 missing keys (backbone.layer3.1.conv2.weight)" in sentence


def test_wrong_arch(refuse, checkpoint):
    weights = ["--weights", checkpoint]
    assert "--arch resnet7 is unknown" in refuse(*FP16, *weights, "--arch", "resnet7")
    assert "expects a torchreid checkpoint" in refuse(*FP16, *weights, "--arch", "osnet_x0_25")
    assert "--arch bot_resnet50 does not fit" in refuse(*FP16, *weights, "--arch", "bot_resnet50")
    assert "pass it with --weights" in refuse("--target", "xavier", "--arch", "bot_resnet50")


def test_rga_of_another_input_size(refuse, tmp_path):
    state = source_state_dict(untrained_network().network, "microsoft-rga")
    path = save(tmp_path / "rga.pth", {"state_dict": state})
    sentence = refuse(
        *["--target", "xavier", "--precision", "fp16", "--weights", path],
        *["--height", "384", "--width", "128"],
    )
    assert "(it fits 256x128), which is not a 384x128 input" in sentence


def test_pickled_object_needs_consent(refuse, tmp_path):
    path = save(tmp_path / "whole.pth", {"state_dict": small_state(), "head": Pickled(2, 2)})
    sentence = refuse(*FP16, "--weights", path)
    assert "runs code from the file; pass --allow-pickle only for a file you trust" in sentence


def test_pickled_object_with_consent(capsys, tmp_path, place):
    path = save(tmp_path / "whole.pth", {"state_dict": small_state(), "head": Pickled(2, 2)})
    outcome = run(
        capsys, "--target", "xavier", "--precision", "fp32", *SIZE, "--weights", path,
        "--allow-pickle", "--out", place / "bundle",
    )  # fmt: skip
    assert (outcome.status, outcome.err) == (0, "")
    assert Bundle.open(place / "bundle").manifest.network["source"] == "whole.pth"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(refuse, tmp_path, value):
    state = small_state()
    state["base.layer2.0.conv1.weight"][3, 1] = value
    sentence = refuse(*FP16, "--weights", save(tmp_path / "nan.pth", state))
    assert "first in base.layer2.0.conv1.weight (9 values)" in sentence


def test_weights_that_make_nan(refuse, tmp_path):
    """Finite, but a variance below zero has no root."""
    state = small_state()
    state["base.layer2.0.bn1.running_var"][:] = -1.0
    assert "gives NaN or infinity" in refuse(*FP16, "--weights", save(tmp_path / "v.pth", state))


def test_dead_layer(refuse, tmp_path, data):
    state = small_state()
    state["base.layer2.1.conv2.weight"][:] = 0
    path = save(tmp_path / "dead.pth", state)
    sentence = refuse(*INT8, "--weights", path, "--calib", data)
    assert sentence.startswith("All weights of /backbone/layer2.1/conv2/Conv are zero")


def test_dead_channel_is_noted(capsys, tmp_path, data, place):
    state = small_state()
    state["base.layer2.1.conv2.weight"][[0, 7]] = 0
    outcome = run(
        capsys, *INT8, "--weights", save(tmp_path / "pruned.pth", state), "--calib", data,
        "--out", place / "bundle",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    note = "2 output channels in 1 layers have no weights left (most in /backbone/layer2.1/conv2"
    assert "note: " + note in outcome.out
    report = json.loads(Bundle.open(place / "bundle").find("report").read_text())
    assert any(text.startswith(note) for text in report["warnings"])


# -- calibration and evaluation data -------------------------------------------------------------


def test_no_calibration_data(refuse, checkpoint, tmp_path):
    weights = ["--weights", checkpoint]
    assert "pass --calib DIR" in refuse(*INT8, *weights)
    assert "nowhere is no folder" in refuse(*INT8, *weights, "--calib", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "No images found" in refuse(*INT8, *weights, "--calib", tmp_path / "empty")
    (tmp_path / "empty" / "notes.txt").write_text("no image\n")
    assert "No images found" in refuse(*INT8, *weights, "--calib", tmp_path / "empty")


@pytest.mark.parametrize("name", ["query", "bounding_box_test"])
def test_test_crops_are_refused_for_calibration(refuse, checkpoint, data, name):
    sentence = refuse(*INT8, "--weights", checkpoint, "--calib", data / name)
    assert f"holds test crops ({name})" in sentence


def test_too_few_crops(refuse, checkpoint, data, tmp_path):
    folder = tmp_path / "few"
    folder.mkdir()
    for path in sorted((data / "bounding_box_train").iterdir())[:3]:
        shutil.copy(path, folder)
    assert "calibration needs at least 4" in refuse(
        *INT8, "--weights", checkpoint, "--calib", folder
    )


def test_unreadable_images_are_skipped_and_counted(
    capsys, caplog, checkpoint, data, tmp_path, place
):
    folder = tmp_path / "mixed"
    shutil.copytree(data / "bounding_box_train", folder)
    paths = sorted(folder.iterdir())
    paths[0].write_bytes(b"")
    paths[1].write_bytes(paths[1].read_bytes()[:40])
    paths[2].write_text("an error page instead of an image\n")
    with caplog.at_level(logging.WARNING):
        outcome = run(
            capsys, *INT8, "--weights", checkpoint, "--calib", folder, "--out", place / "bundle"
        )
    assert outcome.status == 0, outcome.err
    assert "3 unreadable images were skipped" in caplog.text
    bundle = Bundle.open(place / "bundle")
    report = json.loads(bundle.find("report").read_text())
    assert report["calibration"]["crops"]["unreadable"] == 3
    assert bundle.manifest.calibration["crops"]["unreadable"] == 3


def test_only_unreadable_images(refuse, checkpoint, tmp_path):
    folder = tmp_path / "broken"
    folder.mkdir()
    for number in range(6):
        (folder / ("%04d_c1s1_000001_00.jpg" % number)).write_bytes(b"\xff\xd8 cut")
    assert "None of the 6 calibration crops" in refuse(
        *INT8, "--weights", checkpoint, "--calib", folder
    )


def test_too_few_identities_to_evaluate(refuse, checkpoint, tmp_path):
    for part, names in (
        ("query", ["0001_c1s1_000001_00.png"]),
        ("bounding_box_test", ["0001_c2s1_000002_00.png", "0002_c1s1_000003_00.png"]),
    ):
        (tmp_path / "set" / part).mkdir(parents=True)
        for name in names:
            cv2.imwrite(str(tmp_path / "set" / part / name), np.full((64, 32, 3), 90, np.uint8))
    evaluated = [*FP16, "--weights", checkpoint, "--eval"]
    assert "expected at least 2 identities" in refuse(*evaluated, tmp_path / "set")
    (tmp_path / "set" / "bounding_box_test" / "0001_c2s1_000002_00.png").unlink()
    assert "No query in" in refuse(*evaluated, tmp_path / "set")
    assert "No evaluation folder" in refuse(*evaluated, tmp_path / "nowhere")


# -- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["--precision", "auto"], "it needs --eval DIR"),
        (["--precision", "int4"], "--precision must be one of fp32, fp16, int8, auto"),
        (["--target", "toaster"], "--target must be one of xavier, cpu"),
        (["--target", "cpu", "--precision", "fp16"], "gain nothing from fp16"),
        (["--batch", "0,1,2"], "1 <= min <= opt <= max"),
        (["--batch", "8,4,16"], "1 <= min <= opt <= max"),
        (["--batch", "4"], "expected MIN,OPT,MAX like 1,4,16, got '4'"),
        (["--batch", "a,b,c"], "expected MIN,OPT,MAX"),
        (["--mean", "0.5"], "expected three numbers"),
        (["--mean", "nan,0,0"], "Input mean must be three numbers"),
        (["--std", "0,1,1"], "std must be positive"),
        (["--height", "tall"], "invalid int value"),
        (["--height", "2"], "Input height must be an integer from 8 to 4096"),
        (["--calib-count", "2"], "--calib-count must be from 8"),
        (["--calib-method", "magic"], "--calib-method must be one of auto, "),
        (["--calib-select", "best"], "--calib-select must be one of random"),
        (["--improve", "a lot"], "--improve must be one of auto"),
        (["--max-map-drop", "-1"], "--max-map-drop must be 0 or more"),
        (["--max-map-drop", "nan"], "--max-map-drop must be 0 or more"),
        (["--threads", "0"], "--threads must be at least 1"),
        (["--color", "CMYK"], "invalid choice: 'CMYK'"),
        (["--no-such-option"], "unrecognized arguments"),
    ],
)
def test_options_that_make_no_sense(usage_error, checkpoint, arguments, expected):
    assert expected in usage_error(*FP16, "--weights", checkpoint, *arguments)


def test_target_is_asked_for(usage_error):
    assert "--target" in usage_error()


# -- the destination -----------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): file_sha256(p) for p in folder.rglob("*") if p.is_file()}


def test_existing_bundle_is_replaced_only_by_force(capsys, checkpoint, place):
    command = [*FP16, "--weights", checkpoint, "--out", place / "bundle"]
    assert run(capsys, *command).status == 0
    before = contents(place)
    again = run(capsys, *command)
    assert again.status == 2 and "already exists; pass --force" in again.sentence
    assert contents(place) == before

    (place / "bundle" / "engines").mkdir()
    (place / "bundle" / "engines" / "old.plan").write_bytes(b"of the older network")
    assert run(capsys, *command, "--seed", "1", "--force").status == 0
    after = contents(place)
    assert set(after) == set(before) and after["bundle/golden.npz"] != before["bundle/golden.npz"]
    assert [p.name for p in place.iterdir()] == ["bundle"]


def test_what_is_no_bundle_is_never_replaced(capsys, checkpoint, place):
    (place / "thesis").mkdir()
    (place / "thesis" / "chapter1.tex").write_text("years of work\n")
    (place / "file").write_text("also work\n")
    before = contents(place)
    for name in ("thesis", "file"):
        outcome = run(capsys, *FP16, "--weights", checkpoint, "--out", place / name, "--force")
        assert outcome.status == 2 and "is not a bundle, so --force will not" in outcome.sentence
    assert contents(place) == before


def test_failure_leaves_the_older_bundle_alone(capsys, checkpoint, place, monkeypatch):
    command = [*FP16, "--weights", checkpoint, "--out", place / "bundle"]
    assert run(capsys, *command).status == 0
    before = contents(place)
    monkeypatch.setattr(export.write, "golden", no_space)
    outcome = run(capsys, *command, "--force")
    assert outcome.status == 2 and "No space left on device" in outcome.sentence
    assert contents(place) == before and [p.name for p in place.iterdir()] == ["bundle"]


def test_parent_that_is_a_file(capsys, checkpoint, place):
    (place / "file").write_text("not a folder\n")
    outcome = run(capsys, *FP16, "--weights", checkpoint, "--out", place / "file" / "bundle")
    assert outcome.status == 2 and "Cannot write to" in outcome.sentence
    assert contents(place).keys() == {"file"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_parent_without_permission(refuse, checkpoint, place):
    place.chmod(0o555)
    assert "Permission denied" in refuse(*FP16, "--weights", checkpoint)


def test_parent_that_refuses(refuse, checkpoint, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(tempfile, "mkdtemp", denied)
    assert "Permission denied" in refuse(*FP16, "--weights", checkpoint)


def test_new_parents_go_with_the_failed_bundle(capsys, checkpoint, place, monkeypatch):
    monkeypatch.setattr(export.write, "golden", no_space)
    outcome = run(capsys, *FP16, "--weights", checkpoint, "--out", place / "new" / "er" / "bundle")
    assert outcome.status == 2 and "No space left" in outcome.sentence
    assert list(place.iterdir()) == []


# -- a full disk ---------------------------------------------------------------------------------


def no_space(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    "owner, name", [(Path, "write_bytes"), (np, "savez_compressed"), (Path, "write_text")]
)
def test_disk_full(refuse, checkpoint, monkeypatch, owner, name):
    monkeypatch.setattr(owner, name, no_space)
    sentence = refuse(*FP16, "--weights", checkpoint)
    assert "No space left on device; nothing was left behind" in sentence


def test_disk_full_at_the_calibration_table(refuse, checkpoint, data, monkeypatch):
    monkeypatch.setattr("calibration.table.os.replace", no_space)
    sentence = refuse(*INT8, "--weights", checkpoint, "--calib", data)
    assert "No space left on device" in sentence


def test_file_size_limit(refuse, checkpoint):
    """Not imitated: the system itself refuses to write the model."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        sentence = refuse(*FP16, "--weights", checkpoint)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "Cannot write the bundle" in sentence and "File too large" in sentence


# -- checks that fail, and interrupts ------------------------------------------------------------


def test_corrupted_rewrite_names_the_layer(refuse, checkpoint, monkeypatch):
    def corrupting(graph):
        folded = fold_batchnorm(graph)
        node = next(n for n in graph.nodes if n.name == "/backbone/layer2.0/conv2/Conv")
        graph.initializers[node.input[1]] = graph.initializers[node.input[1]] * np.float32(1.2)
        return folded

    monkeypatch.setattr(export.pipeline, "fold_batchnorm", corrupting)
    sentence = refuse(*FP16, "--weights", checkpoint, status=3)
    assert sentence.startswith("The rewritten ONNX graph does not reproduce the network")
    assert "the first layer that diverges is /backbone/layer2.0/conv2/Conv" in sentence


def test_int8_that_lost_its_way_names_a_layer(refuse, checkpoint, data, monkeypatch):
    honest = export.quantize.symmetric
    monkeypatch.setattr(
        export.quantize, "symmetric", lambda amax: replace(honest(amax), scale=amax / 10_000)
    )
    sentence = refuse(*INT8, "--weights", checkpoint, "--calib", data, status=3)
    assert sentence.startswith("The INT8 network does not reproduce")
    assert "the first layer that diverges is /backbone/" in sentence


def test_fp16_overflow_names_the_layer(refuse, tmp_path):
    """Every weight fits, but what the stem makes does not; ONNX Runtime's embedding hides it."""
    state = small_state()
    state["base.bn1.weight"] *= 3e4
    state["base.bn1.bias"] *= 0
    sentence = refuse(*FP16, "--weights", save(tmp_path / "hot.pth", state), status=3)
    assert sentence.startswith("The FP16 network overflows: /backbone/conv1/Conv goes beyond 65504")


@pytest.mark.parametrize(
    "module, name", [(export.pipeline, "collect_ranges"), (export.write, "golden")]
)
def test_interrupt(refuse, checkpoint, data, monkeypatch, module, name):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, name, interrupt)
    sentence = refuse(*INT8, "--weights", checkpoint, "--calib", data, status=130)
    assert sentence == "interrupted; nothing was written."


def test_out_of_memory(refuse, checkpoint, data, monkeypatch):
    def exhausted(*_, **__):
        raise MemoryError

    monkeypatch.setattr(export.pipeline, "collect_ranges", exhausted)
    assert "use fewer --calib-count" in refuse(*INT8, "--weights", checkpoint, "--calib", data)


def test_the_command_itself(tmp_path):
    """As a process: nothing but the sentence on stderr, also from libraries."""
    done = subprocess.run(
        [
            sys.executable, "-m", "export.cli", "--target", "xavier", "--precision", "fp16",
            "--weights", str(tmp_path / "no.pth"), "--out", str(tmp_path / "bundle"),
        ],
        capture_output=True, text=True, cwd=Path(export.write.__file__).parents[1], timeout=120,
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.splitlines() == [
        "reid-export: Cannot read checkpoint %s: No such file or directory." % (tmp_path / "no.pth")
    ]
    assert list(tmp_path.iterdir()) == []


# -- bundles that were changed -------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tmp_path_factory, checkpoint) -> Path:
    from export.cli import main

    out = tmp_path_factory.mktemp("exported") / "bundle"
    assert main([*map(str, FP16), "--weights", str(checkpoint), "--out", str(out)]) == 0
    return out


@pytest.fixture
def bundle(exported, tmp_path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "copy"))


def test_untouched_bundle_opens(bundle):
    assert Bundle.open(bundle).manifest.precision == "fp16"


@pytest.mark.parametrize(
    "name", ["model.fp32.onnx", "model.fp16.onnx", "golden.npz", "report.json", "report.html"]
)
def test_tampered_bundle_is_refused(bundle, name):
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    with pytest.raises(VerificationError, match=name + r" in bundle .* is not the file"):
        Bundle.open(bundle)
    (bundle / name).unlink()
    with pytest.raises(VerificationError, match="lacks " + name):
        Bundle.open(bundle)


def test_bundle_of_a_newer_schema_is_refused(bundle):
    manifest = json.loads((bundle / MANIFEST_NAME).read_text())
    manifest["schema_version"] += 1
    (bundle / MANIFEST_NAME).write_text(json.dumps(manifest))
    with pytest.raises(ReidEdgeError, match="update reid-edge on this machine"):
        Bundle.open(bundle)
