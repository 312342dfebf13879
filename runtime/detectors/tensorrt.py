"""Detection networks on TensorRT. Tested on a stand-in for TensorRT only, not on a board."""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional, Tuple, Union

import numpy as np

from runtime.bundle import file_sha256
from runtime.engine_stamp import Board, EngineStamp, check_plan, mismatch
from runtime.errors import ReidEdgeError
from runtime.loaded_plan import DTYPES, LoadedPlan


def check_detector_plan(plan: Path, board: Board, onnx: Optional[Path] = None) -> EngineStamp:
    """Read the stamp of a detector's plan and refuse the plan unless it fits.

    Args:
        plan: The plan; its stamp lies beside it.
        board: Where it shall run.
        onnx: The file it must have been built from; by default the one its stamp names, which need
            not be there any more.

    Raises:
        ReidEdgeError: Plan or stamp missing, or the plan is of another board, TensorRT or model.
    """
    stamp = check_plan(plan, board)
    model = onnx or plan.parent / stamp.onnx_file
    if onnx is not None or model.is_file():
        differences = mismatch(stamp, {"onnx_sha256": file_sha256(model)})
        if differences:
            raise ReidEdgeError(
                "Plan %s is not of the present %s: %s Run reid-build --detector %s again."
                % (plan, model.name, " ".join(differences), model)
            )
    return stamp


class TensorRTRunner:
    """A Runner of a plan that ``reid-build --detector`` made on this board.

    It may be called from any thread, but from one at a time.

    Attributes:
        stamp: The plan's EngineStamp.
    """

    input_kind = "float"

    def __init__(
        self,
        plan: Union[str, Path],
        input_size: Optional[Tuple[int, int]] = None,
        onnx: Optional[Path] = None,
    ):
        """Load a plan.

        Args:
            plan: Path of the plan; its stamp lies beside it.
            input_size: (height, width) it must have; by default whatever it has.
            onnx: As in check_detector_plan.

        Raises:
            ReidEdgeError: TensorRT or CUDA is missing, the stamp does not match this board or the
                model, or the plan does not take one image of this size.
        """
        path = Path(plan)
        if not path.is_file():
            raise ReidEdgeError("Detector %s is not a file; check the path." % path)
        self._plan = LoadedPlan(path, lambda file, board: check_detector_plan(file, board, onnx))
        self.stamp = self._plan.stamp
        try:
            self._bind(path.name, input_size)
        except BaseException:
            self.close()
            raise
        self.name = "%s tensorrt-%s-%s" % (path.name, self.stamp.device, self.stamp.precision)

    def _bind(self, file, wanted):
        inputs = [tensor for tensor in self._plan.tensors if tensor.is_input]
        shape = inputs[0].shape if len(inputs) == 1 else ()
        batches = range(0)
        if len(shape) == 4:
            smallest, largest = self._plan.batch_range(inputs[0])
            batches = range(smallest, largest + 1)
        if len(shape) != 4 or shape[1] != 3 or -1 in shape[2:] or 1 not in batches:
            raise ReidEdgeError(
                "A detector's plan takes one image (1, 3, height, width), but %s takes %s; build it "
                "with reid-build --detector."
                % (file, ", ".join("%s %s" % (i.name, i.shape) for i in inputs) or "nothing")
            )
        for tensor in self._plan.tensors:
            if (
                tensor.dtype not in DTYPES
                or tensor.shape[:1] not in ((1,), (-1,))
                or -1 in tensor.shape[1:]
            ):
                raise ReidEdgeError(
                    "A detector takes and returns floats of fixed size for one image, but %s has %s of "
                    "type %s and shape %s; export it with batch 1 and without built-in NMS."
                    % (file, tensor.name, tensor.dtype, tensor.shape)
                )
        self.input_size = (shape[2], shape[3])
        if wanted is not None and tuple(wanted) != self.input_size:
            raise ReidEdgeError(
                "%s takes images of %d x %d only, not of %d x %d; leave the input size out."
                % (file, *self.input_size, *wanted)
            )
        self._input = inputs[0]
        by_name = {tensor.name: tensor for tensor in self._plan.tensors if not tensor.is_input}
        if sorted(by_name) != sorted(self.stamp.outputs):
            raise ReidEdgeError(
                "A detector's stamp names the plan's outputs (%s), but that of %s names %s; build the "
                "detector with reid-build --detector."
                % (", ".join(by_name), file, ", ".join(self.stamp.outputs) or "none")
            )
        self._outputs = [by_name[name] for name in self.stamp.outputs]
        self._plan.bind(1)

    def __call__(self, batch: np.ndarray) -> List[np.ndarray]:
        if batch.shape != (1, 3, *self.input_size):
            raise ReidEdgeError(
                "%s cannot run an input of %s: it takes (1, 3, %d, %d)."
                % (self.name, batch.shape, *self.input_size)
            )
        results = [
            (tensor, np.empty((1,) + tensor.shape[1:], DTYPES[tensor.dtype]))
            for tensor in self._outputs
        ]
        self._plan.run(np.ascontiguousarray(batch, DTYPES[self._input.dtype]), results)
        return [values.astype(np.float32, copy=False) for _, values in results]

    def layer_reformats(self) -> Optional[int]:
        """Layout and type conversions in the plan, or None where TensorRT cannot tell."""
        return self._plan.layer_reformats()

    def close(self) -> None:
        """Free the plan; a second call does nothing."""
        self._plan.close()
