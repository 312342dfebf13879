"""Every TensorRT name that differs between versions, in one place.

From 8.0 (JetPack 4.6) over 8.5 (JetPack 5.1, Xavier) to 11 NVIDIA added, deprecated and removed names.
Each function here asks the installed module what it has (``hasattr``) and never compares version
numbers, so that this file is the only one a new TensorRT can break. ``trt.nptype`` is not used: before
8.5.3 it fails with NumPy 1.24. The sources of each name are in tests/runtime/tensorrt_names.py.
"""

import importlib
import json
import logging
import re
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

from runtime.errors import ReidEdgeError

_log = logging.getLogger(__name__)
_CACHE_HEADER = re.compile(rb"^TRT-\d+-EntropyCalibration2\r?\n")

# Q/DQ networks need FP16 beside INT8: what is not quantized would run in FP32 otherwise.
_PRECISION_FLAGS = {"fp32": (), "fp16": ("FP16",), "int8": ("INT8", "FP16")}


def load_tensorrt() -> Any:
    """The tensorrt module.

    Raises:
        ReidEdgeError: It cannot be imported in this Python.
    """
    try:
        return importlib.import_module("tensorrt")
    except ImportError as error:
        raise ReidEdgeError(
            "TensorRT cannot be imported in this Python (%s); run this on the board, with JetPack's "
            "own Python or a virtual environment made with --system-site-packages." % error
        ) from None


def make_logger(trt, verbose: bool = False) -> Any:
    """A TensorRT logger that keeps error messages.

    TensorRT reports failure as None or False and says why only to its logger; ``logger.errors`` is
    the list of those reasons, oldest first.
    """

    class Log(trt.ILogger):
        def __init__(self):
            trt.ILogger.__init__(self)  # without it the bindings crash on the first message
            self.errors = []

        def log(self, severity, message):
            if severity in (trt.Logger.INTERNAL_ERROR, trt.Logger.ERROR):
                self.errors.append(message.strip())
            _log.log(logging.INFO if verbose else logging.DEBUG, "%s", message)

    return Log()


def last_error(logger) -> str:
    """The logger's newest error as the end of a sentence."""
    return logger.errors[-1].rstrip(".") if logger.errors else "TensorRT gave no reason"


# ---- building -------------------------------------------------------------------------------------


def has_precision_flags(trt) -> bool:
    """Whether the builder picks precisions from flags; without, the ONNX file's types decide."""
    return hasattr(trt.BuilderFlag, "FP16")


def has_calibrators(trt) -> bool:
    """Whether INT8 without Q/DQ nodes, from a calibration cache, exists (gone in 11)."""
    return hasattr(trt, "IInt8EntropyCalibrator2")


def create_network(trt, builder) -> Any:
    """An empty network with explicit batch dimension."""
    flags = trt.NetworkDefinitionCreationFlag
    bits = 0
    if hasattr(flags, "EXPLICIT_BATCH"):
        bits |= 1 << int(flags.EXPLICIT_BATCH)
    if not has_precision_flags(trt):
        bits |= 1 << int(flags.STRONGLY_TYPED)
    return builder.create_network(bits)


def set_precision(trt, config, precision: str) -> None:
    """Allow the builder the kernels of ``"fp32"``, ``"fp16"`` or ``"int8"`` (with FP16)."""
    if has_precision_flags(trt):
        for flag in _PRECISION_FLAGS[precision]:
            config.set_flag(getattr(trt.BuilderFlag, flag))


def set_workspace(trt, config, size_bytes: int) -> None:
    """Limit the scratch memory of one layer's kernel."""
    if hasattr(config, "set_memory_pool_limit"):
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, size_bytes)
    else:
        config.max_workspace_size = size_bytes


def keep_layer_details(trt, config) -> None:
    """Have the plan keep its layers' types, for count_reformats."""
    if hasattr(trt.ProfilingVerbosity, "DETAILED"):
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED


def use_dla(trt, config, core: int) -> None:
    """Run on a DLA core what it supports, the rest on the GPU."""
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)


def count_dla_layers(network, config) -> Tuple[int, int]:
    """(layers the DLA can run, layers of the network); the difference falls back to the GPU."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    return sum(bool(config.can_run_on_DLA(layer)) for layer in layers), len(layers)


def cache_for_version(cache: bytes, version: str) -> bytes:
    """A calibration cache under the header of another TensorRT version.

    TensorRT skips a cache whose header names another version, yet the scales do not depend on it:
    EntropyCalibration2 calibrates before layers are fused. The number is NV_TENSORRT_VERSION:
    8.5.2 is 8502, and since 10 it has one more digit, 10.3.0 is 100300.

    Raises:
        ReidEdgeError: Not an EntropyCalibration2 cache.
    """
    if not _CACHE_HEADER.match(cache):
        raise ReidEdgeError(
            "The calibration cache must begin with TRT-<version>-EntropyCalibration2, got %r; "
            "export the bundle again." % cache.split(b"\n")[0][:60]
        )
    major, minor, patch = (int(part) for part in (version.split(".") + ["0", "0"])[:3])
    number = major * (1000 if major < 10 else 10000) + minor * 100 + patch
    header = b"TRT-%d-EntropyCalibration2\n" % number
    return _CACHE_HEADER.sub(header, cache, count=1)


def use_calibration_cache(trt, config, profile, cache: bytes) -> Any:
    """Give the builder INT8 scales from a cache instead of calibration data.

    Returns:
        The calibrator, to be kept alive during the build; its ``data_wanted`` becomes True when
        TensorRT rejects the cache and asks for images instead.
    """

    class CacheCalibrator(trt.IInt8EntropyCalibrator2):
        def __init__(self):
            trt.IInt8EntropyCalibrator2.__init__(self)
            self.data_wanted = False

        def get_batch_size(self):
            return 1

        def get_batch(self, names):
            self.data_wanted = True
            return None

        def read_calibration_cache(self):
            return cache

        def write_calibration_cache(self, cache):
            """The bundle's cache is the source; TensorRT's copy of it is not kept."""

    calibrator = CacheCalibrator()
    config.int8_calibrator = calibrator
    config.set_calibration_profile(profile)
    return calibrator


def load_timing_cache(config, data: bytes) -> bool:
    """Use a serialised timing cache (empty: a new one); False when it is from elsewhere."""
    cache = config.create_timing_cache(data)
    return cache is not None and bool(config.set_timing_cache(cache, False))


def dump_timing_cache(config) -> bytes:
    """The serialised timing cache after a build."""
    return bytes(config.get_timing_cache().serialize())


def count_reformats(trt, engine) -> Optional[int]:
    """Number of layers that only convert a layout or type, or None where TensorRT cannot tell.

    They are the usual reason for an INT8 plan that is slower than FP16.
    """
    if not hasattr(engine, "create_engine_inspector"):
        return None
    inspector = engine.create_engine_inspector()
    text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    try:
        layers = json.loads(text)["Layers"]
    except (ValueError, KeyError, TypeError):
        _log.warning("The engine inspector's answer is not the JSON it should be.")
        return None
    return sum(_is_reformat(layer) for layer in layers)


def _is_reformat(layer):
    if isinstance(layer, str):  # a plan that kept names only
        return layer.startswith("Reformatting CopyNode")
    kind, name = str(layer.get("LayerType", "")), str(layer.get("Name", ""))
    return kind == "Reformat" or name.startswith("Reformatting CopyNode")


# ---- running --------------------------------------------------------------------------------------


class IOTensor(NamedTuple):
    """An input or output of an engine; ``dtype`` is TensorRT's name, such as ``"FLOAT"``."""

    position: int
    name: str
    is_input: bool
    dtype: str
    shape: Tuple[int, ...]


def io_tensors(trt, engine) -> List[IOTensor]:
    """Inputs and outputs in the order execute_v2 takes them; an open dimension is -1."""
    tensors = []
    if hasattr(engine, "num_io_tensors"):
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            dtype, shape = engine.get_tensor_dtype(name), engine.get_tensor_shape(name)
            tensors.append(IOTensor(index, name, is_input, dtype.name, tuple(shape)))
    else:
        for index in range(engine.num_bindings):
            name = engine.get_binding_name(index)
            is_input = engine.binding_is_input(index)
            dtype, shape = engine.get_binding_dtype(index), engine.get_binding_shape(index)
            tensors.append(IOTensor(index, name, is_input, dtype.name, tuple(shape)))
    return tensors


def batch_range(engine, tensor: IOTensor) -> Tuple[int, int]:
    """Smallest and largest batch of an input by the engine's first optimisation profile."""
    if tensor.shape[0] != -1:
        return tensor.shape[0], tensor.shape[0]
    if hasattr(engine, "get_tensor_profile_shape"):
        smallest, _, largest = engine.get_tensor_profile_shape(tensor.name, 0)
    else:
        smallest, _, largest = engine.get_profile_shape(0, tensor.position)
    return smallest[0], largest[0]


class Execution:
    """Runs an execution context on fixed device addresses.

    Where tensors have names (8.5 on) it enqueues on a stream; where they have binding numbers it
    runs synchronously with execute_v2. The caller waits for the stream in both cases.
    """

    def __init__(self, context, tensors: Sequence[IOTensor], addresses: Sequence[int], stream: int):
        self._context = context
        self._input = next(tensor for tensor in tensors if tensor.is_input)
        self._addresses = list(addresses)
        self._stream = stream
        self._by_name = hasattr(context, "set_tensor_address")
        if self._by_name:
            for tensor, address in zip(tensors, addresses):
                context.set_tensor_address(tensor.name, address)

    def run(self, input_shape: Tuple[int, ...]) -> bool:
        """Run one batch of the given input shape; False when TensorRT refuses."""
        context, tensor = self._context, self._input
        if self._by_name:
            return bool(
                context.set_input_shape(tensor.name, input_shape)
                and context.execute_async_v3(self._stream)
            )
        if tensor.shape[0] == -1 and not context.set_binding_shape(tensor.position, input_shape):
            return False
        return bool(context.execute_v2(self._addresses))
