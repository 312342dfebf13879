"""TensorRT: runs a plan that reid-build made on this board."""

from pathlib import Path
from typing import Optional, Union

import numpy as np

from runtime.backends.base import Backend
from runtime.bundle import Bundle
from runtime.engine_stamp import check_plan
from runtime.errors import ReidEdgeError
from runtime.loaded_plan import LoadedPlan


class TensorRTBackend(Backend):
    """A TensorRT plan with one float32 image input.

    ``run`` may be called from any thread, but from one at a time: the plan has one set of buffers.

    Attributes:
        stamp: The plan's EngineStamp.
        min_batch: Smallest batch of the plan; smaller ones are padded with zeros and cut again.
    """

    def __init__(
        self,
        plan: Union[str, Path],
        bundle: Optional[Bundle] = None,
        output: Optional[str] = None,
    ):
        """Load a plan.

        Args:
            plan: Path of the plan; its stamp lies beside it.
            bundle: The bundle the plan belongs to; its ONNX hash and contracts are compared.
            output: Name of the output to return; by default the only one.

        Raises:
            ReidEdgeError: TensorRT or CUDA is missing, the stamp does not match this board or bundle,
                or the plan is not a ReID network of this shape.
        """
        self._plan = LoadedPlan(Path(plan), lambda path, board: check_plan(path, board, bundle))
        self.stamp = self._plan.stamp
        try:
            self._bind(bundle, output)
        except BaseException:
            self.close()
            raise

    def _bind(self, bundle, output):
        tensors = self._plan.tensors
        inputs = [tensor for tensor in tensors if tensor.is_input]
        outputs = [t for t in tensors if not t.is_input and output in (None, t.name)]
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or len(outputs) != 1:
            raise ReidEdgeError(
                "A ReID plan has one NCHW input and one output%s, got %s."
                % (
                    "" if output is None else " named %r" % output,
                    ", ".join(
                        "%s %s %s" % ("input" if t.is_input else "output", t.name, t.shape)
                        for t in tensors
                    ),
                )
            )
        for tensor in tensors:
            if tensor.dtype != "FLOAT" or -1 in tensor.shape[1:]:
                raise ReidEdgeError(
                    "A ReID plan has float32 inputs and outputs of fixed size, got %s of type %s and "
                    "shape %s; export the bundle again." % (tensor.name, tensor.dtype, tensor.shape)
                )
        self._output = outputs[0]
        self.input_shape = inputs[0].shape[1:]  # type: ignore[assignment]
        dim = int(np.prod(self._output.shape[1:]))
        if bundle is not None:
            expected = (tuple(bundle.manifest.input.shape), bundle.manifest.embedding.dim)
            if (self.input_shape, dim) != expected:
                raise ReidEdgeError(
                    "The plan takes %s and returns %d values but the bundle says %s and %d; "
                    "run reid-build --force." % (self.input_shape, dim, *expected)
                )
        self.min_batch, self.max_batch = self._plan.batch_range(inputs[0])
        self._plan.bind(self.max_batch)
        self._dim = dim
        self.name = "tensorrt-%s-%s" % (self.stamp.device, self.stamp.precision)

    def _run(self, batch: np.ndarray) -> np.ndarray:
        result = np.empty((len(batch), self._dim), np.float32)
        self._plan.run(batch, [(self._output, result)])
        return result

    def layer_reformats(self) -> Optional[int]:
        """Layout and type conversions in the plan, or None where TensorRT cannot tell."""
        return self._plan.layer_reformats()

    def close(self) -> None:
        """Free the buffers and the engine; a second call does nothing."""
        self._plan.close()
