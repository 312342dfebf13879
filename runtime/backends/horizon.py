"""Horizon BPU: runs the .bin that the vendor's compiler made of a bundle's model, on an RDK X3 or X5.

The board's Python interface, hobot_dnn.pyeasy_dnn, copies whatever it is given without comparing
sizes, and answers a failed run with None after printing why (dnn_python.cpp in
HorizonRDK/hobot-spdev). So sizes and types are compared here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, NamedTuple, Optional, Tuple, Union

import numpy as np

from runtime.backends.base import Backend
from runtime.bundle import Bundle
from runtime.errors import ReidEdgeError

# tensor_type of an input -> Backend.input_kind. An X3 says NV12_SEPARATE, an X5 NV12.
_INPUT_KINDS = {"NV12": "nv12", "NV12_SEPARATE": "nv12", "float32": "float"}
# Output types whose buffer arrives as that type; others arrive as int8, whatever they are.
_OUTPUT_TYPES = ("float32", "int32", "int8")
# layout -> where channels, height and width are.
_LAYOUTS = {"NCHW": (1, 2, 3), "NHWC": (3, 1, 2)}
_NV12_STRIDE = 16  # pixels; the BPU reads NV12 rows that start at multiples of it

CORES = (0, 1, 2)  # 0 lets the board choose, 1 and 2 are the X3's two BPU cores
MAX_PRIORITY = 255


class _Input(NamedTuple):
    kind: str
    layout: str
    shape: Tuple[int, int, int]  # (3, height, width)


class _Output(NamedTuple):
    dtype: np.dtype
    dim: int
    scale: Optional[np.ndarray]  # (1,) or (dim,) float32, where the buffer holds integers


def load_hobot_dnn() -> Any:
    """The board's ``hobot_dnn.pyeasy_dnn``.

    Raises:
        ReidEdgeError: It cannot be imported: this is no Horizon board.
    """
    try:
        from hobot_dnn import pyeasy_dnn
    except ImportError as error:
        raise ReidEdgeError(
            "hobot_dnn cannot be imported (%s): it is part of an RDK X3's or X5's system image; "
            'on another machine open the bundle with backend="onnxruntime".' % error
        ) from None
    return pyeasy_dnn


class HorizonBackend(Backend):
    """A compiled model with one NV12 or float32 image input and one embedding output.

    One crop per call to the BPU; ``run`` splits larger batches. ``run`` may be called from any
    thread, but from one at a time: the model has one set of buffers.
    """

    min_batch = max_batch = 1

    def __init__(
        self,
        model: Union[str, Path],
        bundle: Optional[Bundle] = None,
        core_id: int = 0,
        priority: int = 0,
    ):
        """Load a compiled model.

        Args:
            model: Path of the .bin file.
            bundle: The bundle it was compiled from; its contracts are compared.
            core_id: BPU core: 0 lets the board choose, else 1 or 2.
            priority: Of this model's runs among all on the BPU, 0 to 255, the largest first.

        Raises:
            ReidEdgeError: Not on a Horizon board, no such file, or not a ReID model of this bundle.
        """
        if core_id not in CORES or type(priority) is not int or not 0 <= priority <= MAX_PRIORITY:
            raise ReidEdgeError(
                "BPU core_id must be 0, 1 or 2 and priority 0 to %d, got %r and %r."
                % (MAX_PRIORITY, core_id, priority)
            )
        self._path = Path(model)
        self._model: Any = _load(self._path)
        inputs, outputs = list(self._model.inputs), list(self._model.outputs)
        if len(inputs) != 1 or len(outputs) != 1:
            raise ReidEdgeError(
                "A ReID model has one input and one output, got %d and %d in %s; "
                "compile the model of the bundle." % (len(inputs), len(outputs), self._path)
            )
        self._input = _input_of(inputs[0].properties, self._path)
        self._output = _output_of(outputs[0].properties, self._path)
        self.input_kind, self.input_shape = self._input.kind, self._input.shape
        if bundle is not None:
            expected = (tuple(bundle.manifest.input.shape), bundle.manifest.embedding.dim)
            if (self.input_shape, self._output.dim) != expected:
                raise ReidEdgeError(
                    "%s takes %s and returns %d values but the bundle says %s and %d; "
                    "compile the model of this bundle."
                    % (self._path, self.input_shape, self._output.dim, *expected)
                )
        asked = {"core_id": core_id, "priority": priority}
        self._control: Dict[str, int] = {name: value for name, value in asked.items() if value}
        self.name = "horizon-bpu"

    def _run(self, batch: np.ndarray) -> np.ndarray:
        if self._model is None:
            raise ReidEdgeError("This Horizon backend was closed; open the bundle again.")
        if self.input_kind == "nv12":
            data = batch[0]  # the documented input: one flat buffer
        elif self._input.layout == "NHWC":
            data = np.ascontiguousarray(batch.transpose(0, 2, 3, 1))
        else:
            data = batch
        try:
            outputs = self._model.forward(data, **self._control)
        except Exception as error:  # the interface raises a different class in every version
            raise self._failure(str(error).strip() or type(error).__name__) from None
        if outputs is None or len(outputs) != 1:
            raise self._failure("the board has printed why")
        return self._embedding(np.asarray(outputs[0].buffer))[None]

    def _embedding(self, buffer):
        """The output as (dim,) float32, in memory of its own: the next run overwrites the buffer."""
        dtype, dim, scale = self._output
        if buffer.dtype != dtype or buffer.size != dim:
            raise self._failure(
                "it said %d values of %s and returned %d of %s"
                % (dim, dtype, buffer.size, buffer.dtype)
            )
        values = buffer.reshape(-1).astype(np.float32)
        return values if scale is None else values * scale

    def close(self) -> None:
        """Forget the model; a second call does nothing."""
        self._model = None

    def _failure(self, reason):
        advice = (
            "run it with hrt_model_exec to see whether the board can"
            if self.input_kind == "nv12"
            else "hobot_dnn runs float inputs poorly, compile it with input_type_rt nv12"
        )
        return ReidEdgeError("hobot_dnn could not run %s (%s); %s." % (self._path, reason, advice))


def _load(path):
    if not path.is_file():
        raise ReidEdgeError(
            "There is no compiled model %s; compile it in the vendor's container with the bundle's "
            "build.sh and copy it here." % path
        )
    dnn = load_hobot_dnn()
    try:
        models = dnn.load(str(path))
    except Exception as error:  # see _run
        raise ReidEdgeError(
            "hobot_dnn cannot load %s (%s); it must be compiled for this board's BPU, with march "
            "bernoulli2 for an X3." % (path, str(error).strip() or type(error).__name__)
        ) from None
    if not models or len(models) != 1:
        raise ReidEdgeError(
            "A bundle's compiled file holds one model, got %d in %s; use the .bin before hb_pack."
            % (len(models or ()), path)
        )
    return models[0]


def _input_of(properties, path):
    tensor_type, layout = str(properties.tensor_type), str(properties.layout)
    shape = tuple(int(size) for size in properties.shape)
    if tensor_type not in _INPUT_KINDS:
        raise ReidEdgeError(
            "%s takes inputs of type %s but reid-edge feeds %s; compile it with input_type_rt nv12."
            % (path, tensor_type, ", ".join(_INPUT_KINDS))
        )
    places = _LAYOUTS.get(layout)
    if places is None or len(shape) != 4 or shape[0] != 1 or shape[places[0]] != 3:
        raise ReidEdgeError(
            "A ReID model takes one image of three channels, NCHW or NHWC, but %s takes %s in layout "
            "%s; compile it with input_batch 1." % (path, shape, layout)
        )
    channels, height, width = (shape[place] for place in places)
    kind = _INPUT_KINDS[tensor_type]
    if kind == "nv12" and (height % 2 or width % _NV12_STRIDE):
        raise ReidEdgeError(
            "%s takes NV12 of %d x %d but its height must be even and its width a multiple of %d; "
            "export a network of such a size." % (path, height, width, _NV12_STRIDE)
        )
    return _Input(kind, layout, (channels, height, width))


def _output_of(properties, path):
    tensor_type = str(properties.tensor_type)
    shape = tuple(int(size) for size in properties.shape)
    dim = int(np.prod(shape))
    if tensor_type not in _OUTPUT_TYPES or not shape or max(shape) != dim:
        raise ReidEdgeError(
            "A ReID model returns one embedding in %s, but %s returns %s of type %s; compile it "
            "again." % (" or ".join(_OUTPUT_TYPES), path, shape, tensor_type)
        )
    dtype = np.dtype(tensor_type)
    if dtype == np.float32:
        return _Output(dtype, dim, None)
    # Not every version of the interface has scale_data. The copy is of memory the model owns.
    scale = np.array(getattr(properties, "scale_data", ()), np.float32).reshape(-1)
    if len(scale) not in (1, dim):
        raise ReidEdgeError(
            "%s returns %d values in %s with %d scales, so they cannot be turned into floats; compile "
            "it without removing its Dequantize node." % (path, dim, tensor_type, len(scale))
        )
    return _Output(dtype, dim, scale)
