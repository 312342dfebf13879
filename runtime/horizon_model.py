"""A model compiled for a Horizon BPU, through the board's own Python interface.

That interface, hobot_dnn.pyeasy_dnn, copies whatever it is given without comparing sizes, and answers
a failed run with None after printing why (dnn_python.cpp in HorizonRDK/hobot-spdev). So sizes and types
are compared here. Tested on a stand-in for hobot_dnn only, not on a board.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from runtime.errors import ReidEdgeError

# tensor_type of an input -> Backend.input_kind. An X3 says NV12_SEPARATE, an X5 NV12.
INPUT_KINDS = {"NV12": "nv12", "NV12_SEPARATE": "nv12", "float32": "float"}
# Output types whose buffer arrives as that type; others arrive as int8, whatever they are.
OUTPUT_TYPES = ("float32", "int32", "int8")
# layout -> where channels, height and width are.
LAYOUTS = {"NCHW": (1, 2, 3), "NHWC": (3, 1, 2)}
NV12_STRIDE = 16  # pixels; the BPU reads NV12 rows that start at multiples of it

CORES = (0, 1, 2)  # 0 lets the board choose, 1 and 2 are the X3's two BPU cores
MAX_PRIORITY = 255


class Image(NamedTuple):
    """The input: ``kind`` as Backend.input_kind, ``layout`` and ``shape`` (3, height, width)."""

    kind: str
    layout: str
    shape: Tuple[int, int, int]


class Output(NamedTuple):
    """An output.

    Attributes:
        name: What the compiler calls it, mostly what the ONNX model does.
        tensor_type: hobot_dnn's name of its type.
        layout: ``"NCHW"``, ``"NHWC"`` or ``"NONE"``.
        shape: As it lies in memory.
        scales: (N,) float32 that turn its integers into floats; empty where the interface gives none.
    """

    name: str
    tensor_type: str
    layout: str
    shape: Tuple[int, ...]
    scales: np.ndarray


class HorizonModel:
    """A compiled model with one image input.

    One image per call. It may be called from any thread, but from one at a time: the model has one
    set of buffers.

    Attributes:
        path: The .bin file.
        image: What it takes.
        outputs: What it returns.
    """

    def __init__(
        self,
        path: Path,
        network: str,
        elsewhere: str,
        core_id: int = 0,
        priority: int = 0,
        returns: str = "one output",
    ):
        """Load a compiled model.

        Args:
            path: The .bin file.
            network: What it must be, such as ``"ReID model"``, for messages.
            elsewhere: What to do on another machine, for messages.
            core_id: BPU core: 0 lets the board choose, else 1 or 2.
            priority: Of this model's runs among all on the BPU, 0 to 255, the largest first.
            returns: What it must return, for messages.

        Raises:
            ReidEdgeError: Not on a Horizon board, no such file, or no model of one image.
        """
        if core_id not in CORES or type(priority) is not int or not 0 <= priority <= MAX_PRIORITY:
            raise ReidEdgeError(
                "BPU core_id must be 0, 1 or 2 and priority 0 to %d, got %r and %r."
                % (MAX_PRIORITY, core_id, priority)
            )
        self.path = path
        self._model: Any = _load(path, elsewhere)
        inputs = list(self._model.inputs)
        self.outputs = [_output(tensor) for tensor in self._model.outputs]
        if len(inputs) != 1 or not self.outputs:
            raise ReidEdgeError(
                "A %s has one input and %s, got %d and %d in %s; compile the right model."
                % (network, returns, len(inputs), len(self.outputs), path)
            )
        self.image = _image(inputs[0].properties, network, path)
        asked = {"core_id": core_id, "priority": priority}
        self._control: Dict[str, int] = {name: value for name, value in asked.items() if value}

    def run(self, batch: np.ndarray) -> List[np.ndarray]:
        """Run one image.

        Args:
            batch: One image of the input's kind: (1, height * width * 3/2) uint8 NV12, or
                (1, 3, height, width) float32, C-contiguous.

        Returns:
            The outputs' buffers, of type and size as ``outputs`` says. The next run may overwrite them.

        Raises:
            ReidEdgeError: Another input, a failed run, other outputs than announced, or a closed
                model.
        """
        if self._model is None:
            raise ReidEdgeError("The model %s was closed; open it again." % self.path)
        shape, dtype = self._takes()
        if batch.shape != shape or batch.dtype != dtype:
            raise ReidEdgeError(
                "%s takes %s of %s, got %s of %s."
                % (self.path, shape, dtype, batch.shape, batch.dtype)
            )
        if self.image.kind == "nv12":
            data = np.ascontiguousarray(batch[0])  # the documented input: one flat buffer
        elif self.image.layout == "NHWC":
            data = np.ascontiguousarray(batch.transpose(0, 2, 3, 1))
        else:
            data = np.ascontiguousarray(batch)
        try:
            outputs = self._model.forward(data, **self._control)
        except Exception as error:  # the interface raises a different class in every version
            raise self._failure(str(error).strip() or type(error).__name__) from None
        if outputs is None or len(outputs) != len(self.outputs):
            raise self._failure("the board has printed why")
        return [self._checked(output.buffer, want) for output, want in zip(outputs, self.outputs)]

    def _takes(self):
        height, width = self.image.shape[1:]
        if self.image.kind == "nv12":
            return (1, height * width * 3 // 2), np.dtype(np.uint8)
        return (1, *self.image.shape), np.dtype(np.float32)

    def _checked(self, buffer, want):
        buffer = np.asarray(buffer)
        size = int(np.prod(want.shape))
        if buffer.dtype != want.tensor_type or buffer.size != size:
            raise self._failure(
                "it said %d values of %s and returned %d of %s"
                % (size, want.tensor_type, buffer.size, buffer.dtype)
            )
        return buffer

    def close(self) -> None:
        """Forget the model; a second call does nothing."""
        self._model = None

    def _failure(self, reason):
        advice = (
            "run it with hrt_model_exec to see whether the board can"
            if self.image.kind == "nv12"
            else "hobot_dnn runs float inputs poorly, compile it with input_type_rt nv12"
        )
        return ReidEdgeError("hobot_dnn could not run %s (%s); %s." % (self.path, reason, advice))


def channel_axis(output: Output) -> Optional[int]:
    """Where an output's channels lie, None where its layout does not tell."""
    if output.layout not in LAYOUTS or len(output.shape) != 4:
        return None
    return LAYOUTS[output.layout][0]


def _load(path, elsewhere):
    if not path.is_file():
        raise ReidEdgeError(
            "There is no compiled model %s; compile it in the vendor's container with its build.sh and "
            "copy it here." % path
        )
    try:
        from hobot_dnn import pyeasy_dnn
    except ImportError as error:
        raise ReidEdgeError(
            "hobot_dnn cannot be imported (%s): it is part of an RDK X3's or X5's system image; "
            "on another machine %s." % (error, elsewhere)
        ) from None
    try:
        models = pyeasy_dnn.load(str(path))
    except Exception as error:  # see run
        raise ReidEdgeError(
            "hobot_dnn cannot load %s (%s); it must be compiled for this board's BPU, with march "
            "bernoulli2 for an X3." % (path, str(error).strip() or type(error).__name__)
        ) from None
    if not models or len(models) != 1:
        raise ReidEdgeError(
            "A compiled file here holds one model, got %d in %s; use the .bin before hb_pack."
            % (len(models or ()), path)
        )
    return models[0]


def _image(properties, network, path):
    tensor_type, layout = str(properties.tensor_type), str(properties.layout)
    shape = tuple(int(size) for size in properties.shape)
    if tensor_type not in INPUT_KINDS:
        raise ReidEdgeError(
            "%s takes inputs of type %s but reid-edge feeds %s; compile it with input_type_rt nv12."
            % (path, tensor_type, ", ".join(INPUT_KINDS))
        )
    places = LAYOUTS.get(layout)
    if places is None or len(shape) != 4 or shape[0] != 1 or shape[places[0]] != 3:
        raise ReidEdgeError(
            "A %s takes one image of three channels, NCHW or NHWC, but %s takes %s in layout %s; "
            "compile it with input_batch 1." % (network, path, shape, layout)
        )
    channels, height, width = (shape[place] for place in places)
    kind = INPUT_KINDS[tensor_type]
    if kind == "nv12" and (height % 2 or width % NV12_STRIDE):
        raise ReidEdgeError(
            "%s takes NV12 of %d x %d but its height must be even and its width a multiple of %d; "
            "export a network of such a size." % (path, height, width, NV12_STRIDE)
        )
    return Image(kind, layout, (channels, height, width))


def _output(tensor):
    properties = tensor.properties
    # Not every version of the interface has scale_data. The copy is of memory the model owns.
    scales = np.array(getattr(properties, "scale_data", ()), np.float32).reshape(-1)
    return Output(
        str(tensor.name),
        str(properties.tensor_type),
        str(properties.layout),
        tuple(int(size) for size in properties.shape),
        scales,
    )
