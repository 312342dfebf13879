"""A plan from its making to its place: built, tested where nobody uses it, then moved with its stamp."""

import os
import re
import shutil
import tempfile
import time
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Dict

from runtime import tensorrt_api
from runtime.bundle import file_sha256
from runtime.cuda_memory import open_cuda
from runtime.engine_stamp import Board, EngineStamp, stamp_path
from runtime.errors import ReidEdgeError
from runtime.loaded_plan import this_board
from runtime.plan_builder import BuildOptions, BuiltPlan


def make_plan(
    plan: Path,
    options: BuildOptions,
    onnx_folder: Path,
    with_outputs: bool,
    build: Callable[[Any, Path], BuiltPlan],
    fits: Callable[[Path, Board], Any],
    test: Callable[[Path], Dict[str, Any]],
) -> Dict[str, Any]:
    """Build a plan, test it, and put it with its stamp into its place.

    Args:
        plan: Where it shall lie; its folder is made.
        options: What is built.
        onnx_folder: What the stamp's ``onnx_file`` is relative to.
        with_outputs: Whether the stamp names the model's outputs.
        build: Builds from (the tensorrt module, the file of kernel timings); CUDA is active.
        fits: Raises ReidEdgeError unless a plan that is there already fits this board and its ONNX.
        test: Opens the new plan, wherever it lies, and says what it found, JSON-serialisable;
            raises where the plan is not to be kept.

    Returns:
        A JSON-serialisable report: ``plan``, ``stamp``, ``size_bytes``, ``build_s``, ``notes``, and
        what ``test`` returned.

    Raises:
        ReidEdgeError: TensorRT is missing or cannot build this; nothing is left behind.
        VerificationError: ``test`` refused the plan; it was deleted.
    """
    trt = tensorrt_api.load_tensorrt()
    cuda = open_cuda()
    try:
        board = this_board(trt, cuda)
        if plan.exists() and not options.force and _is_fitting(plan, board, fits):
            raise ReidEdgeError(
                "%s already fits this board and its model; pass --force to build it again." % plan
            )
        cache = options.timing_cache or plan.parent / _timing_cache_name(board)
        started = time.monotonic()
        with cuda.active():
            built = build(trt, cache)
        build_s = time.monotonic() - started
    finally:
        cuda.close()
    try:
        report = _test_and_keep(plan, options, onnx_folder, with_outputs, board, built, test)
    except OSError as error:
        raise ReidEdgeError(
            "Cannot write to %s: %s; no plan was kept." % (plan.parent, error.strerror or error)
        ) from None
    report["build_s"] = round(build_s, 1)
    try:
        _replace_file(cache, built.timing_cache)
    except OSError as error:  # the plan stands; only the next build starts without timings
        report["notes"].append(
            "The timing cache %s was not saved: %s." % (cache, error.strerror or error)
        )
    return report


def _test_and_keep(plan, options, onnx_folder, with_outputs, board, built, test):
    """Write the plan beside its place, test it there, and move it only when it passed."""
    folder = plan.parent
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".build-", dir=str(folder)))
    try:
        candidate = scratch / plan.name
        candidate.write_bytes(built.plan)
        stamp = EngineStamp(
            precision=options.precision,
            device=options.device,
            batch=built.batch,
            onnx_file=Path(os.path.relpath(str(built.onnx), str(onnx_folder))).as_posix(),
            onnx_sha256=file_sha256(built.onnx),
            plan_sha256=file_sha256(candidate),
            created_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            outputs=built.outputs if with_outputs else [],
            **asdict(board),
        )
        stamp_path(candidate).write_text(stamp.to_json(), encoding="utf-8")
        found = test(candidate)
        # Stamp first: a plan beside a stamp that is not its own is refused, never run.
        os.replace(str(stamp_path(candidate)), str(stamp_path(plan)))
        os.replace(str(candidate), str(plan))
    finally:
        shutil.rmtree(str(scratch), ignore_errors=True)
        if made and not any(folder.iterdir()):
            folder.rmdir()
    return {
        "plan": str(plan),
        "size_bytes": len(built.plan),
        "stamp": asdict(stamp),
        "notes": list(built.notes),
        **found,
    }


def _is_fitting(plan, board, fits):
    try:
        fits(plan, board)
    except ReidEdgeError:
        return False
    return True


def _timing_cache_name(board):
    device = re.sub(r"[^A-Za-z0-9.]+", "-", "%s-sm%s" % (board.device_name, board.sm))
    return "timing-%s-trt%s.cache" % (device, board.tensorrt)


def _replace_file(path, data):
    scratch = path.with_name(path.name + ".tmp")
    try:
        scratch.write_bytes(data)
        os.replace(str(scratch), str(path))
    finally:
        if scratch.exists():
            scratch.unlink()
