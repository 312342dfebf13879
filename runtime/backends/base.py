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
        min_batch, max_batch: Batch sizes of one call to the engine; max_batch is None when it has no
            limit. ``run`` splits larger batches, and pads smaller ones with zeros that it cuts again.
    """

    name: str
    input_shape: Tuple[int, int, int]
    min_batch: int = 1
    max_batch: Optional[int] = None

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Run the network.

        Args:
            batch: (N, 3, height, width) float32, N >= 1, as runtime.preprocess.preprocess returns.

        Returns:
            (N, dim) float32 embeddings, not normalised.

        Raises:
            ReidEdgeError: Wrong shape or dtype.
        """
        if batch.ndim != 4 or batch.shape[1:] != tuple(self.input_shape) or not len(batch):
            raise ReidEdgeError(
                "The network expects (N, %d, %d, %d) with N >= 1, got %s."
                % (*self.input_shape, batch.shape)
            )
        if batch.dtype != np.float32:
            raise ReidEdgeError("The network expects float32 input, got %s." % batch.dtype)
        step = self.max_batch or len(batch)
        pieces = [self._padded(batch[i : i + step]) for i in range(0, len(batch), step)]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def _padded(self, batch):
        missing = self.min_batch - len(batch)
        if missing <= 0:
            return self._run(np.ascontiguousarray(batch))
        padding = np.zeros((missing,) + batch.shape[1:], np.float32)
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
