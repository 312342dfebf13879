"""A detector's graph made for the X3: what moves channels about becomes convolutions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from export.graph import Graph
from export.onnx_file import read_onnx
from export.rewrites import name_nodes
from export.x3.channel_moves import convolve_channel_moves
from export.x3.check_report import CPU, UNSUPPORTED, CheckReport
from export.x3.checker import check_model
from export.x3.graph import MAX_ROUNDING, Rewrite
from export.x3.joined import join_outputs, separate_outputs
from runtime.backends.onnxruntime import make_session
from runtime.errors import ReidEdgeError, VerificationError

OPSETS, LARGEST_IR = (10, 11), 7
SEED = 20200613


@dataclass(frozen=True)
class DetectorGraph:
    """What hb_mapper is given of a detector.

    Attributes:
        model: Opset 10 or 11, IR at most 7, nodes named.
        input_name: Of its one input.
        size: (height, width) of it.
        outputs: (name, shape) of each output.
        check: Where its nodes run.
        plain: Where those of the file that was given would.
        rewrites: What was changed, measured.
    """

    model: onnx.ModelProto
    input_name: str
    size: tuple[int, int]
    outputs: list[tuple[str, tuple[int, ...]]]
    check: CheckReport
    plain: CheckReport
    rewrites: list[Rewrite]

    def run(self, image: np.ndarray) -> list[np.ndarray]:
        """The outputs for a (1, 3, H, W) float32 input."""
        return _run(self.model, image)


def detector_graph(path: Path) -> DetectorGraph:
    """Read a detector and rewrite it for the BPU; every rewrite is exact and is measured.

    Raises:
        ReidEdgeError: No ONNX file, one the toolchain cannot take, or an operator that no kernel of
            the board has.
        VerificationError: A rewrite changed an output by more than rounding.
    """
    given = _usable(path)
    plain = check_model(given)
    missing = plain.on(UNSUPPORTED)
    if missing or plain.problems:
        reason = plain.problems[0] if plain.problems else "%s %s: %s" % (
            missing[0].op, missing[0].name, missing[0].reason,
        )  # fmt: skip
        raise ReidEdgeError(
            f"hb_mapper would refuse {path.name}: {reason}; change the network, or choose another."
        )
    (image,) = (i for i in given.graph.input)
    size = tuple(d.dim_value for d in image.type.tensor_type.shape.dim[2:])
    model, count = _rewritten(given)
    probe = np.random.default_rng(SEED).random((1, 3, *size), np.float32)
    before, after = _run(given, probe), _run(model, probe)
    error = max(map(_relative_l2, before, after))
    if not error <= MAX_ROUNDING:
        raise VerificationError(
            f"The rewritten detector differs from {path.name}: relative L2 {error:.1e}, allowed "
            f"{MAX_ROUNDING:g}; please report this with the file."
        )
    text = "channels moved by convolutions instead of Reshape, Transpose and Gather"
    rewrites = [Rewrite("channel moves", text, count, error, MAX_ROUNDING)] if count else []
    names = [output.name for output in model.graph.output]
    shapes = [tuple(output.shape) for output in after]
    return DetectorGraph(
        model, image.name, (size[0], size[1]), list(zip(names, shapes, strict=True)),
        check_model(model), plain, rewrites,
    )  # fmt: skip


def _rewritten(given: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    graph = Graph(join_outputs(given))
    name_nodes(graph)
    on_cpu = {n.name for n in check_model(graph.to_model()).nodes if n.on == CPU}
    count = convolve_channel_moves(graph, on_cpu)
    return separate_outputs(graph.to_model(), given.graph.output), count


def _run(model: onnx.ModelProto, image: np.ndarray) -> list[np.ndarray]:
    session = make_session(model.SerializeToString())
    return session.run(None, {session.get_inputs()[0].name: image})


def _relative_l2(before: np.ndarray, after: np.ndarray) -> float:
    return float(np.linalg.norm(after - before) / max(float(np.linalg.norm(before)), 1e-30))


def _usable(path: Path) -> onnx.ModelProto:
    """The model with a header that hb_mapper reads, and its weights no inputs."""
    model = read_onnx(path)
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset not in OPSETS:
        raise ReidEdgeError(
            f"{path.name} has opset {opset}, and hb_mapper reads 10 and 11; export the detector with "
            "opset 11."
        )
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in constants]
    shapes = [[d.dim_value for d in i.type.tensor_type.shape.dim] for i in inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][:2] != [1, 3] or 0 in shapes[0]:
        raise ReidEdgeError(
            f"{path.name} must have one fixed input (1, 3, height, width), got {shapes}; export the "
            "detector with batch 1 and a fixed size."
        )
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = min(model.ir_version, LARGEST_IR)
    return model
