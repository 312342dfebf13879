"""A stand-in for the board's hobot_dnn.pyeasy_dnn, and the .bin files it loads.

It offers the documented names and no others: load(), Model.inputs, .outputs and .forward(), tensors
with properties, buffer and name. What the board would misread (a wrong size, type or layout) it
refuses as the board refuses: it prints the reason and returns None. Its models compute: an NV12
buffer is decoded by OpenCV, normalised by the contract and sent through one linear map, or through a
detector of fake_model.py, whose outputs leave as the vendor's compiler may have arranged them.
"""

import base64
import json
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np

from runtime.bundle import Bundle, BundleWriter
from runtime.contract import EmbeddingContract, InputContract
from tests.runtime.fake_model import compute, describe, embed, make_model
from tests.runtime.test_manifest import make_manifest

HEIGHT, WIDTH, DIM = 24, 16, 12
CONTRACT = InputContract(HEIGHT, WIDTH, mean=(0.4, 0.5, 0.3), std=(0.2, 0.25, 0.3))


def make_bin(
    tensor_type="NV12_SEPARATE",
    layout="NCHW",
    shape=(1, 3, HEIGHT, WIDTH),
    output_type="float32",
    output_shape=(1, DIM, 1, 1),
    scale_data=None,
    inputs=1,
    outputs=1,
    models=1,
):
    """A compiled model, as bytes.

    Args:
        scale_data: Of the output; None where the interface has no such property.
        inputs, outputs, models: How many of each.
    """
    return json.dumps(
        {
            "input": {"tensor_type": tensor_type, "layout": layout, "shape": shape},
            "output": {
                "tensor_type": output_type,
                "layout": "NCHW",
                "shape": output_shape,
                "scale_data": scale_data,
            },
            "counts": [inputs, outputs, models],
        }
    ).encode()


def make_detector_bin(
    model,
    contract,
    tensor_type="NV12_SEPARATE",
    layout="NCHW",
    order=None,
    names=None,
    channels_last=False,
    integers=None,
    with_scales=True,
    shapes=None,
):
    """A compiled detector, as bytes.

    Args:
        model: A detector of fake_model.py, or ONNX bytes.
        contract: How the compiled model turns pixels into its input.
        tensor_type, layout: Of the image, ``"float32"`` for a featuremap.
        order: Which outputs of the model come first, second, ...; as in the model by default.
        names: Of the outputs, in that order; those of the model by default.
        channels_last: Outputs lie NHWC: maps with channels last, tables with rows and columns swapped.
        integers: Largest code where outputs leave as int32, their scales one per channel or, in a
            table, one for all.
        with_scales: Whether this version of the interface has scale_data.
        shapes: Of the outputs in memory; by default four dimensions, as the interface has them.
    """
    given, outputs = describe(model)["inputs"][0][1], []
    arrays = compute(model, np.zeros(given, np.float32), "fp32")
    for place, index in enumerate(order if order is not None else range(len(arrays))):
        name, array = list(arrays.items())[index]
        four = array.shape + (1,) * (4 - array.ndim)
        axes = [0, 1, 2, 3]
        if channels_last:
            axes = [0, 2, 3, 1] if array.ndim == 4 else [0, 2, 1, 3]
        scale = None
        if integers is not None:
            largest = (
                np.abs(array).max(axis=(0, 2, 3)) if array.ndim == 4 else np.abs([array]).max()
            )
            scale = (np.maximum(largest, 4.0) / integers).reshape(-1).tolist()
        outputs.append(
            {
                "tensor_type": "float32" if integers is None else "int32",
                "layout": "NHWC" if channels_last else "NCHW",
                "shape": shapes[place] if shapes else [four[axis] for axis in axes],
                "scale_data": scale if with_scales else None,
                "scale": scale,
                "name": names[place] if names else name,
                "source": name,
                "four": four,
                "axes": axes,
            }
        )
    shape = given if layout == "NCHW" else [given[axis] for axis in (0, 2, 3, 1)]
    return json.dumps(
        {
            "input": {"tensor_type": tensor_type, "layout": layout, "shape": shape},
            "outputs": outputs,
            "counts": [1, len(outputs), 1],
            "contract": contract.to_dict(),
            "model": base64.b64encode(model).decode(),
        }
    ).encode()


def network(inputs):
    """The float network behind every fake model: (N, 3, H, W) float32 to (N, DIM) float32."""
    return embed(make_model(height=HEIGHT, width=WIDTH, dim=DIM), inputs, "fp32")


def make_x3_bundle(
    path, model=None, contract=CONTRACT, dim=DIM, golden=None, simulated=None, **more
):
    """Write a bundle for the X3 whose compiled model is ``model``, and open it.

    Args:
        golden: Arrays of golden.npz.
        simulated: Contents of model.int8.onnx.
        more: Of the manifest.
    """
    with BundleWriter(path) as writer:
        writer.file("report.txt", "report").write_text("exported")
        if golden is not None:
            np.savez(str(writer.file("golden.npz", "golden")), **golden)
        if simulated is not None:
            writer.file("model.int8.onnx", "model.int8").write_bytes(simulated)
        if model is not None:
            writer.file("model.bin", "model.bin").write_bytes(model)
        writer.finish(
            make_manifest(
                **{
                    "target": "x3",
                    "input": contract,
                    "embedding": EmbeddingContract(dim),
                    "batch": {"min": 1, "opt": 1, "max": 1},
                    "files": writer.entries(),
                    **more,
                }
            )
        )
    return Bundle.open(path)


def make_hobot_dnn(only_bytes=False, broken=False):
    """The fake package, to be put into sys.modules as ``hobot_dnn``.

    Args:
        only_bytes: Like the newer interface, which takes uint8 arrays only and answers any other with
            a SystemError.
        broken: The BPU fails every run.

    Returns:
        The package; ``package.pyeasy_dnn.runs`` lists (array, core_id, priority) of each run and
        ``.refused`` the reasons of runs that were refused.
    """
    package, dnn = ModuleType("hobot_dnn"), ModuleType("hobot_dnn.pyeasy_dnn")
    package.pyeasy_dnn = dnn
    dnn.runs, dnn.refused = [], []

    class TensorProperties:
        def __init__(self, tensor):
            self._tensor = tensor

        tensor_type = property(lambda self: self._tensor["tensor_type"])
        layout = property(lambda self: self._tensor["layout"])
        shape = property(lambda self: tuple(self._tensor["shape"]))

        @property
        def dtype(self):
            kind = self.tensor_type
            return kind if kind[0].islower() else "uint8"  # every image type is bytes

        @property
        def scale_data(self):
            if self._tensor.get("scale_data") is None:
                raise AttributeError("TensorProperties has no attribute 'scale_data'")
            return np.array(self._tensor["scale_data"], np.float32)

    class pyDNNTensor:
        def __init__(self, tensor, name, buffer=None):
            self._properties, self._name, self._buffer = TensorProperties(tensor), name, buffer

        properties = property(lambda self: self._properties)
        name = property(lambda self: self._name)
        buffer = property(lambda self: self._buffer)

    class Model:
        def __init__(self, spec, name):
            self._spec, self._name = spec, name
            count = spec["counts"][1]
            self._tensors = spec.get("outputs", [dict(spec.get("output", {}))] * count)
            self._memory = [
                np.zeros(tensor["shape"], _numpy_type(tensor["tensor_type"]))
                for tensor in self._tensors
            ]

        name = property(lambda self: self._name)

        @property
        def inputs(self):
            count = self._spec["counts"][0]
            return tuple(pyDNNTensor(self._spec["input"], "image%d" % i) for i in range(count))

        @property
        def outputs(self):
            return tuple(
                pyDNNTensor(tensor, tensor.get("name", "embedding%d" % i), memory)
                for i, (tensor, memory) in enumerate(zip(self._tensors, self._memory))
            )

        def forward(self, arg, core_id=0, priority=0):
            if only_bytes and arg.dtype != np.uint8:
                raise SystemError("forward returned a result with an exception set")
            reason = _why_refused(self._spec["input"], arg, core_id, priority)
            if reason or broken:
                dnn.refused.append(reason or "hbDNNInfer failed")
                print(dnn.refused[-1])
                return None
            dnn.runs.append((arg.copy(), core_id, priority))
            results = _results(self._spec, arg)
            for tensor, memory in zip(self._tensors, self._memory):  # one memory for all runs
                memory[...] = _in_memory(tensor, results, memory)
            return self.outputs

    def load(model_file):
        if not isinstance(model_file, (str, list)):
            raise TypeError("model_file must be a string or a list")
        models = []
        for path in [model_file] if isinstance(model_file, str) else model_file:
            try:
                spec = json.loads(Path(path).read_bytes().decode())
            except (OSError, ValueError):
                raise RuntimeError("hbDNNInitializeFromFiles failed") from None
            models += [Model(spec, "reid%d" % i) for i in range(spec["counts"][2])]
        return models

    dnn.load, dnn.Model, dnn.pyDNNTensor = load, Model, pyDNNTensor
    dnn.TensorProperties = TensorProperties
    return package


def install(monkeypatch, **options):
    """Make ``import hobot_dnn`` find the fake, and return its pyeasy_dnn."""
    package = make_hobot_dnn(**options)
    monkeypatch.setitem(sys.modules, "hobot_dnn", package)
    monkeypatch.setitem(sys.modules, "hobot_dnn.pyeasy_dnn", package.pyeasy_dnn)
    return package.pyeasy_dnn


def _numpy_type(tensor_type):
    # The real interface hands out every other type as int8, whatever it is.
    return {"float32": np.float32, "int32": np.int32}.get(tensor_type, np.int8)


def _why_refused(tensor, array, core_id, priority):
    if not isinstance(array, np.ndarray):
        return "input is %s, not a numpy array" % type(array).__name__
    if type(core_id) is not int or core_id not in (0, 1, 2):
        return "core_id %r" % (core_id,)
    if type(priority) is not int or not 0 <= priority <= 255:
        return "priority %r" % (priority,)
    if tensor["tensor_type"] == "float32":
        expected, dtype = tuple(tensor["shape"]), np.float32
    else:
        expected, dtype = (int(np.prod(tensor["shape"])) // 2,), np.uint8
    if array.dtype != dtype or array.shape != expected or not array.flags.c_contiguous:
        return "input is %s %s contiguous=%s, model takes %s %s" % (
            array.dtype,
            array.shape,
            array.flags.c_contiguous,
            np.dtype(dtype),
            expected,
        )
    return None


def _results(spec, array):
    """Name -> float output of the network."""
    if "model" not in spec:
        return {None: network(_image(spec["input"], array, CONTRACT))[0]}
    contract = InputContract.from_dict(spec["contract"])
    model = base64.b64decode(spec["model"])
    return compute(model, _image(spec["input"], array, contract), "fp32")


def _in_memory(tensor, results, memory):
    """An output as it lies in the board's memory."""
    values = results[tensor.get("source")]
    if "four" in tensor:
        values = values.reshape(tensor["four"])
        scale = tensor["scale"]
        if scale is not None:
            channels = [1, -1, 1, 1] if len(scale) > 1 else [1]
            values = np.rint(values / np.array(scale, np.float32).reshape(channels))
        values = values.transpose(tensor["axes"])
    elif tensor["tensor_type"] != "float32":
        values = np.rint(values / np.array(tensor["scale_data"], np.float32))
    if tensor["tensor_type"] != "float32":
        limits = np.iinfo(memory.dtype)
        values = np.clip(values, limits.min, limits.max)
    return values.reshape(memory.shape)


def _image(tensor, array, contract):
    """What the network computes on, (1, 3, H, W) float32."""
    if tensor["tensor_type"] == "float32":
        return array.transpose(0, 3, 1, 2) if tensor["layout"] == "NHWC" else array
    bgr = cv2.cvtColor(array.reshape(contract.height * 3 // 2, -1), cv2.COLOR_YUV2BGR_NV12)
    pixels = (bgr[:, :, ::-1] if contract.color == "RGB" else bgr).astype(np.float32)
    normalised = (pixels * contract.scale - np.array(contract.mean)) / np.array(contract.std)
    return np.ascontiguousarray(normalised.transpose(2, 0, 1)[None], np.float32)
