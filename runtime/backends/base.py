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
        max_batch: Largest batch of one call to the engine, or None when it has no limit; ``run``
            splits larger ones.
    """

    name: str
    input_shape: Tuple[int, int, int]
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
        pieces = [
            self._run(np.ascontiguousarray(batch[i : i + step])) for i in range(0, len(batch), step)
        ]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    @abstractmethod
    def _run(self, batch: np.ndarray) -> np.ndarray:
        """Run one batch of at most ``max_batch`` checked inputs."""

    def close(self) -> None:
        """Release what the backend holds; it cannot run afterwards."""

    def __enter__(self) -> "Backend":
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.close()
