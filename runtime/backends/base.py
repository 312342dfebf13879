"""What every inference backend offers."""

from abc import ABC, abstractmethod
from typing import Optional, Tuple

import numpy as np

from runtime.errors import ReidEdgeError


class Backend(ABC):
    """A network ready to run.

    Attributes:
        name: Backend and device, for reports.
        input_shape: (3, height, width) of one input.
        input_kind: ``"float"``: ``run`` takes what runtime.preprocess.preprocess returns. ``"nv12"``:
            it takes what runtime.nv12.preprocess_nv12 returns, the network normalises inside.
        min_batch, max_batch: Batch sizes of one call to the engine; max_batch is None when it has no
            limit. ``run`` splits larger batches, and pads smaller ones with zeros that it cuts again.
    """

    name: str
    input_shape: Tuple[int, int, int]
    input_kind: str = "float"
    min_batch: int = 1
    max_batch: Optional[int] = None

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Run the network.

        Args:
            batch: N >= 1 inputs of this backend's ``input_kind``: (N, 3, height, width) float32, or
                (N, height * width * 3/2) uint8.

        Returns:
            (N, dim) float32 embeddings, not normalised.

        Raises:
            ReidEdgeError: Wrong shape or dtype.
        """
        shape, dtype = self._one_input()
        if batch.shape[1:] != shape or not len(batch):
            raise ReidEdgeError(
                "The network expects (N, %s) with N >= 1, got %s."
                % (", ".join(map(str, shape)), batch.shape)
            )
        if batch.dtype != dtype:
            raise ReidEdgeError("The network expects %s input, got %s." % (dtype, batch.dtype))
        step = self.max_batch or len(batch)
        pieces = [self._padded(batch[i : i + step]) for i in range(0, len(batch), step)]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def _one_input(self):
        if self.input_kind == "nv12":
            return (self.input_shape[1] * self.input_shape[2] * 3 // 2,), np.dtype(np.uint8)
        return tuple(self.input_shape), np.dtype(np.float32)

    def _padded(self, batch):
        missing = self.min_batch - len(batch)
        if missing <= 0:
            return self._run(np.ascontiguousarray(batch))
        padding = np.zeros((missing,) + batch.shape[1:], batch.dtype)
        return self._run(np.concatenate([batch, padding]))[: len(batch)]

    @abstractmethod
    def _run(self, batch: np.ndarray) -> np.ndarray:
        """Run one batch of ``min_batch`` to ``max_batch`` checked inputs, C-contiguous."""

    def close(self) -> None:  # noqa: B027 - not every backend holds something to release
        """Release what the backend holds; it cannot run afterwards."""

    def __enter__(self) -> "Backend":
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.close()
