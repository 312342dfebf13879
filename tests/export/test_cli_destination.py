"""``reid-export`` and its destination: a bundle appears whole or not at all, and stays as it was."""

# ruff: noqa: F401, F811  (fixtures are imported, and then named as arguments)

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import export.pipeline
import export.quantize
import export.write
from export.cli import main
from export.rewrites import fold_batchnorm
from runtime.bundle import MANIFEST_NAME, Bundle, file_sha256
from runtime.errors import ReidEdgeError, VerificationError
from tests.export.cli_helpers import (
    FP16,
    INT8,
    checkpoint,
    data,
    place,
    refuse,
    run,
    save,
    small_state,
)


def no_space(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


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
        assert outcome.status == 2 and "so --force will not replace it" in outcome.sentence
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


# -- bundles that were changed -------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tmp_path_factory, checkpoint) -> Path:
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
