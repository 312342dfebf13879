"""TensorRT: runs a plan that reid-build made on this board."""

import logging
from pathlib import Path
from typing import Any, List, Optional, Union

import numpy as np

from runtime import tensorrt_api
from runtime.backends.base import Backend
from runtime.bundle import Bundle
from runtime.cuda_memory import Cuda, DeviceBuffer, open_cuda
from runtime.engine_stamp import Board, board_name, check_plan, power_mode
from runtime.errors import ReidEdgeError

_log = logging.getLogger(__name__)


def this_board(trt, cuda: Cuda) -> Board:
    """The board this process runs on."""
    return Board(trt.__version__, cuda.sm, board_name(cuda.device_name), power_mode())


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
        self._buffers: List[DeviceBuffer] = []
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._execution: Optional[tensorrt_api.Execution] = None
        trt = tensorrt_api.load_tensorrt()
        self._cuda: Any = open_cuda()  # None once closed
        try:
            board = this_board(trt, self._cuda)
            self.stamp = check_plan(Path(plan), board, bundle)
            if self.stamp.power_mode != board.power_mode:
                _log.warning(
                    "Plan %s was built in power mode %s and runs in %s: it works, but reid-build --force "
                    "may find faster kernels.",
                    plan,
                    self.stamp.power_mode,
                    board.power_mode,
                )
            self._logger = tensorrt_api.make_logger(trt)
            with self._cuda.active():
                self._load(trt, Path(plan))
                self._bind(trt, bundle, output)
        except BaseException:
            self.close()
            raise

    def _load(self, trt, plan):
        self._runtime = trt.Runtime(self._logger)
        if self.stamp.device != "gpu":
            self._runtime.DLA_core = int(self.stamp.device[len("dla") :])
        self._engine = self._runtime.deserialize_cuda_engine(plan.read_bytes())
        if self._engine is None:
            raise self._failure("cannot load %s" % plan)
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise self._failure("cannot make room to run %s" % plan)

    def _bind(self, trt, bundle, output):
        tensors = tensorrt_api.io_tensors(trt, self._engine)
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
        self._input, self._output = inputs[0], outputs[0]
        self.input_shape = self._input.shape[1:]  # type: ignore[assignment]
        dim = int(np.prod(self._output.shape[1:]))
        if bundle is not None:
            expected = (tuple(bundle.manifest.input.shape), bundle.manifest.embedding.dim)
            if (self.input_shape, dim) != expected:
                raise ReidEdgeError(
                    "The plan takes %s and returns %d values but the bundle says %s and %d; "
                    "run reid-build --force." % (self.input_shape, dim, *expected)
                )
        self.min_batch, self.max_batch = tensorrt_api.batch_range(self._engine, self._input)
        for tensor in tensors:
            values = self.max_batch * int(np.prod(tensor.shape[1:]))
            self._buffers.append(self._cuda.allocate(values * np.dtype(np.float32).itemsize))
        self._execution = tensorrt_api.Execution(
            self._context, tensors, [b.address for b in self._buffers], self._cuda.stream
        )
        self._host_output = np.empty((self.max_batch, dim), np.float32)
        self.name = "tensorrt-%s-%s" % (self.stamp.device, self.stamp.precision)

    def _run(self, batch: np.ndarray) -> np.ndarray:
        if self._execution is None:
            raise ReidEdgeError("This TensorRT backend was closed; open the bundle again.")
        count = len(batch)
        result = self._host_output[: len(batch)]
        with self._cuda.active():
            self._buffers[self._input.position].upload(batch)
            if not self._execution.run(batch.shape):
                raise self._failure("could not run a batch of %d" % len(batch))
            self._cuda.synchronize()
            self._buffers[self._output.position].download(result)
        return result[:count].copy()

    def layer_reformats(self) -> Optional[int]:
        """Layout and type conversions in the plan, or None where TensorRT cannot tell."""
        with self._cuda.active():
            return tensorrt_api.count_reformats(tensorrt_api.load_tensorrt(), self._engine)

    def close(self) -> None:
        """Free the buffers and the engine; a second call does nothing."""
        cuda, self._cuda = self._cuda, None
        if cuda is None:
            return
        with cuda.active():
            for buffer in self._buffers:
                buffer.free()
            self._buffers = []
            # A context must go before its engine, an engine before its runtime.
            self._execution = None
            self._context = None
            self._engine = None
            self._runtime = None
        cuda.close()

    def _failure(self, what):
        return ReidEdgeError("TensorRT %s: %s." % (what, tensorrt_api.last_error(self._logger)))
