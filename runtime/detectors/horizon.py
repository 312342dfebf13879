"""Detection networks on a Horizon BPU. Tested on a stand-in for hobot_dnn only, not on a board."""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional, Tuple, Union

import numpy as np

from runtime.detectors.arrangement import arrange
from runtime.detectors.record import find_model
from runtime.errors import ReidEdgeError
from runtime.horizon_model import HorizonModel


class HorizonRunner:
    """A Runner of a detector compiled from what ``reid-export --target x3 --detector`` wrote.

    It may be called from any thread, but from one at a time. Integer outputs are believed to be
    packed: the BPU pads their channels, and the board's Python interface does not say whether it cuts
    that off. The compiler puts floats out unless it is told otherwise.

    Attributes:
        kind: Name of the network's kind, which the compiled model's normalisation belongs to.
    """

    def __init__(
        self,
        model: Union[str, Path],
        input_size: Optional[Tuple[int, int]] = None,
        core_id: int = 0,
        priority: int = 0,
    ):
        """Load a compiled model.

        Args:
            model: The .bin file or the folder of its export; see runtime.detectors.record.
            input_size: (height, width) it must have; by default whatever it has.
            core_id, priority: As in runtime.horizon_model.HorizonModel.

        Raises:
            ReidEdgeError: Not on a Horizon board, no such file, no ``detector.json`` or one that is
                not of this model.
        """
        path, record = find_model(Path(model))
        if input_size is not None and tuple(input_size) != record.size:
            raise ReidEdgeError(
                "%s takes images of %d x %d only, not of %d x %d; leave the input size out."
                % (path.name, *record.size, *input_size)
            )
        elsewhere = "open the detector's ONNX file"
        self._model = HorizonModel(
            path, "detector", elsewhere, core_id, priority, returns="at least one output"
        )
        taken = (self._model.image.kind, self._model.image.shape[1:])
        if taken != (record.input_kind, record.size):
            raise ReidEdgeError(
                "%s takes %s of %d x %d but %s says %s of %d x %d; compile the model of this export."
                % (path, taken[0], *taken[1], record.path.name, record.input_kind, *record.size)
            )
        self._outputs = arrange(
            self._model.outputs, record.outputs, record.kind, record.size, path.name
        )
        self.kind, self.input_size, self.input_kind = record.kind.name, record.size, taken[0]
        self.name = "%s horizon-bpu" % path.name

    def __call__(self, batch: np.ndarray) -> List[np.ndarray]:
        buffers = self._model.run(batch)
        return [output.apply(buffers) for output in self._outputs]

    def close(self) -> None:
        """Forget the model; a second call does nothing."""
        self._model.close()
