"""Detection networks on an inference backend: one prepared image in, raw outputs out."""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional, Protocol, Tuple, Union

import numpy as np

from runtime.errors import ReidEdgeError

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class Runner(Protocol):
    """What runs a detection network; a TensorRT plan or a Horizon .bin needs no more than this.

    Attributes:
        name: File and backend, for reports.
        input_size: (height, width) of the input in pixels.
        input_kind: ``"float"``: it is called with (1, 3, height, width) float32, prepared for the
            kind of network. ``"nv12"``: with (1, height * width * 3/2) uint8, as
            runtime.nv12.bgr_to_nv12 gives them; the compiled network normalises inside.
    """

    name: str
    input_size: Tuple[int, int]
    input_kind: str

    def __call__(self, batch: np.ndarray) -> List[np.ndarray]:
        """Run one image: every output as float32, in the order and layout of the ONNX model."""

    def close(self) -> None:
        """Release the network."""


class OnnxRunner:
    """A Runner of an ONNX file by ONNX Runtime on the CPU."""

    input_kind = "float"

    def __init__(
        self,
        model: Union[str, Path, bytes],
        threads: Optional[int] = None,
        input_size: Optional[Tuple[int, int]] = None,
    ):
        """Load a model.

        Args:
            model: Path of an ONNX file, or its serialised bytes.
            threads: CPU threads; by default all cores.
            input_size: (height, width), needed only where the model leaves them open.

        Raises:
            ReidEdgeError: ONNX Runtime or the file is missing, or the model does not take one
                image of this size.
        """
        try:
            from runtime.backends.onnxruntime import make_session  # a board may not have it
        except ImportError as error:
            raise ReidEdgeError(
                "ONNX Runtime cannot be imported (%s); install onnxruntime to run an ONNX detector."
                % error
            ) from None
        file = "the model" if isinstance(model, bytes) else Path(model).name
        if not isinstance(model, bytes) and not Path(model).is_file():
            raise ReidEdgeError("Detector %s is not a file; check the path." % model)
        self._session = make_session(model, threads)
        inputs = self._session.get_inputs()
        shape = inputs[0].shape if len(inputs) == 1 else []
        if len(shape) != 4 or shape[1] != 3 or inputs[0].type not in _TYPES:
            raise ReidEdgeError(
                "A detector takes one image (1, 3, height, width) of floats, but %s takes %s."
                % (file, ", ".join("%s %s %s" % (i.name, i.type, i.shape) for i in inputs))
            )
        if isinstance(shape[0], int) and shape[0] != 1:
            raise ReidEdgeError(
                "A detector takes one image at a time, but %s was exported for batches of %d; "
                "export it with batch 1." % (file, shape[0])
            )
        self.input_size = _input_size(file, shape[2:], input_size)
        self._input, self._dtype = inputs[0].name, _TYPES[inputs[0].type]
        self.name = "%s onnxruntime-cpu" % file

    def __call__(self, batch: np.ndarray) -> List[np.ndarray]:
        try:
            outputs = self._session.run(None, {self._input: batch.astype(self._dtype, copy=False)})
        except Exception as error:  # onnxruntime raises a different class for every kind of failure
            raise ReidEdgeError(
                "%s cannot run an input of %s: %s"
                % (self.name, batch.shape, str(error).strip().splitlines()[0])
            ) from None
        return [np.asarray(output, np.float32) for output in outputs]

    def close(self) -> None:
        del self._session


def _input_size(file, fixed, wanted):
    if all(isinstance(side, int) for side in fixed):
        if wanted is not None and tuple(wanted) != tuple(fixed):
            raise ReidEdgeError(
                "%s takes images of %d x %d only, not of %d x %d; leave the input size out."
                % (file, *fixed, *wanted)
            )
        return tuple(fixed)
    if wanted is None:
        raise ReidEdgeError(
            "%s leaves height and width open; give the input size, such as 640 x 640." % file
        )
    return tuple(wanted)
