"""A TensorRT plan loaded on this board: its tensors, their device memory, and one run."""

import logging
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from runtime import tensorrt_api
from runtime.cuda_memory import Cuda, DeviceBuffer, open_cuda
from runtime.engine_stamp import Board, EngineStamp, board_name, power_mode
from runtime.errors import ReidEdgeError
from runtime.tensorrt_api import IOTensor

# TensorRT's type names -> NumPy's, of the inputs and outputs that are fed and read here.
DTYPES: Dict[str, "np.dtype[Any]"] = {"FLOAT": np.dtype(np.float32), "HALF": np.dtype(np.float16)}

_log = logging.getLogger(__name__)


def this_board(trt, cuda: Cuda) -> Board:
    """The board this process runs on."""
    return Board(trt.__version__, cuda.sm, board_name(cuda.device_name), power_mode())


class LoadedPlan:
    """A plan with its execution context and, once bound, its buffers.

    Used from any thread, but from one at a time: there is one set of buffers. Must be closed.

    Attributes:
        path: The plan.
        stamp: Its EngineStamp.
        tensors: Its inputs and outputs, in TensorRT's order.
    """

    def __init__(self, path: Path, check: Callable[[Path, Board], EngineStamp]):
        """Load a plan.

        Args:
            path: The plan; its stamp lies beside it.
            check: Reads the stamp and raises unless the plan fits this board, before TensorRT is
                asked, whose own refusal does not say why; see runtime.engine_stamp.check_plan.

        Raises:
            ReidEdgeError: TensorRT or CUDA is missing, or the plan does not fit or does not load.
        """
        self.path = path
        self._buffers: List[DeviceBuffer] = []
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._execution: Optional[tensorrt_api.Execution] = None
        trt = tensorrt_api.load_tensorrt()
        self._cuda: Any = open_cuda()  # None once closed
        try:
            board = this_board(trt, self._cuda)
            self.stamp = check(path, board)
            if self.stamp.power_mode != board.power_mode:
                _log.warning(
                    "Plan %s was built in power mode %s and runs in %s: it works, but reid-build --force "
                    "may find faster kernels.",
                    path,
                    self.stamp.power_mode,
                    board.power_mode,
                )
            self._logger = tensorrt_api.make_logger(trt)
            with self._cuda.active():
                self._load(trt)
                self.tensors = tensorrt_api.io_tensors(trt, self._engine)
        except BaseException:
            self.close()
            raise

    def _load(self, trt):
        self._runtime = trt.Runtime(self._logger)
        if self.stamp.device != "gpu":
            self._runtime.DLA_core = int(self.stamp.device[len("dla") :])
        self._engine = self._runtime.deserialize_cuda_engine(self.path.read_bytes())
        if self._engine is None:
            raise self._failure("cannot load %s" % self.path)
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise self._failure("cannot make room to run %s" % self.path)

    def batch_range(self, tensor: IOTensor) -> Tuple[int, int]:
        """Smallest and largest batch of an input."""
        with self._cuda.active():
            return tensorrt_api.batch_range(self._engine, tensor)

    def bind(self, max_batch: int) -> None:
        """Allocate device memory for batches up to ``max_batch``.

        The tensors' types must be among ``DTYPES`` and their sizes, but for the batch, fixed.

        Raises:
            ReidEdgeError: The device has too little free memory.
        """
        with self._cuda.active():
            for tensor in self.tensors:
                values = max_batch * int(np.prod(tensor.shape[1:]))
                size_bytes = values * DTYPES[tensor.dtype].itemsize
                self._buffers.append(self._cuda.allocate(size_bytes))
            self._execution = tensorrt_api.Execution(
                self._context,
                self.tensors,
                [buffer.address for buffer in self._buffers],
                self._cuda.stream,
            )

    def run(self, batch: np.ndarray, results: Sequence[Tuple[IOTensor, np.ndarray]]) -> None:
        """Run one batch.

        Args:
            batch: The input, C-contiguous and of its tensor's type.
            results: Outputs, each with the C-contiguous array of its tensor's type to be filled.

        Raises:
            ReidEdgeError: TensorRT refuses, or the plan was closed.
        """
        if self._execution is None:
            raise ReidEdgeError("The plan %s was closed; open it again." % self.path)
        given = next(tensor for tensor in self.tensors if tensor.is_input)
        with self._cuda.active():
            self._buffers[given.position].upload(batch)
            if not self._execution.run(batch.shape):
                raise self._failure("could not run a batch of %d" % len(batch))
            self._cuda.synchronize()
            for tensor, values in results:
                self._buffers[tensor.position].download(values)

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
