"""A stand-in for one version of the tensorrt module.

make_tensorrt("8.5.2", device) offers exactly the names that version has (tensorrt_names.py) and
answers any other with AttributeError, as the real bindings do. Its engines compute: a network is
one of fake_model.py and device memory that of fake_cuda.FakeDevice. An output that a network does not
compute stays unwritten.
"""

import json
from types import ModuleType, SimpleNamespace

import numpy as np

from tests.runtime.fake_model import compute, describe
from tests.runtime.tensorrt_names import NAMES, exists


class _Gated:
    """An object that has the public names of its TensorRT class in this version and no others."""

    _trt = None

    def _allowed(self, name):
        return name.startswith("_") or exists(type(self).__name__, name, self._trt._version)

    def __getattribute__(self, name):
        if not name.startswith("_") and not object.__getattribute__(self, "_allowed")(name):
            raise AttributeError(
                "%s of TensorRT %s has no %s" % (type(self).__name__, self._trt._version, name)
            )
        return object.__getattribute__(self, name)

    def __setattr__(self, name, value):
        if not self._allowed(name):
            raise AttributeError(
                "%s of TensorRT %s has no %s" % (type(self).__name__, self._trt._version, name)
            )
        object.__setattr__(self, name, value)


class _Member(int):
    """An enumeration's member: an int with a name."""

    def __new__(cls, value, name):
        member = super().__new__(cls, value)
        member.name = name
        return member


_BITS = {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1, "FP16": 0, "INT8": 1, "GPU_FALLBACK": 3}


_DTYPES = {"FLOAT": np.float32, "HALF": np.float16}


def make_tensorrt(
    version, device, dla_cores=2, broken=(), inspector_text=None, reorder_outputs=False
):
    """The fake module.

    Args:
        version: Such as "8.0.1", "8.5.2.2", "10.13", "11.0".
        device: A fake_cuda.FakeDevice.
        dla_cores: DLA cores of the board.
        broken: Precisions whose kernels compute something else, as INT8's on some boards
            (NVIDIA/TensorRT#2036).
        inspector_text: What the engine inspector answers instead of its JSON.
        reorder_outputs: Engines have their outputs in another order than the model
            (NVIDIA/TensorRT#1042).

    Returns:
        The module; ``module._calls`` lists what was called, and ``module._last_config`` is the
        latest builder configuration.
    """
    trt = ModuleType("tensorrt")
    trt._version, trt._calls, trt._last_config = version, [], None

    def enumeration(kind):
        names = [name for name in NAMES[kind] if exists(kind, name, version)]
        members = {n: _Member(_BITS.get(n, i), n) for i, n in enumerate(names)}
        return SimpleNamespace(**members)

    class ILogger:
        def __init__(self):
            self._initialised = True

    def complain(logger, message):
        logger.log(trt.Logger.ERROR, message)

    def check_initialised(thing):
        if not getattr(thing, "_initialised", False):
            raise SystemError("segmentation fault: %s.__init__ was not called" % type(thing))

    class IInt8EntropyCalibrator2:
        def __init__(self):
            self._initialised = True

    class ITensor(_Gated):
        def __init__(self, name, shape, dtype):
            self.name, self.shape = name, tuple(shape)

    class INetworkDefinition(_Gated):
        def __init__(self, strongly_typed):
            self._strongly_typed, self._model, self._spec = strongly_typed, None, None

        num_inputs = property(lambda self: len(self._spec["inputs"]))
        num_outputs = property(lambda self: len(self._spec["outputs"]))
        num_layers = property(lambda self: 5)

        def get_input(self, index):
            return ITensor(*self._spec["inputs"][index])

        def get_output(self, index):
            return ITensor(*self._spec["outputs"][index])

        def get_layer(self, index):
            return index

    class ParserError(_Gated):
        def __init__(self, text):
            self._text = text

        def desc(self):
            return self._text

        def node(self):
            return 7

    class OnnxParser(_Gated):
        def __init__(self, network, logger):
            self._network, self._errors = network, []

        num_errors = property(lambda self: len(self._errors))

        def get_error(self, index):
            return ParserError(self._errors[index])

        def parse(self, model):
            try:
                self._network._spec = describe(model)
            except ValueError:
                self._errors.append("No importer registered for op: Nonsense.")
                return False
            self._network._model = bytes(model)
            return True

    class IOptimizationProfile(_Gated):
        def __init__(self):
            self._shapes = {}

        def set_shape(self, name, smallest, best, largest):
            self._shapes[name] = [tuple(smallest), tuple(best), tuple(largest)]

    class ITimingCache(_Gated):
        def __init__(self, data):
            self._data = data

        def serialize(self):
            return memoryview(b"timings %s %s\n" % (version.encode(), device.name.encode()))

    class IBuilderConfig(_Gated):
        def __init__(self):
            self._flags, self._profiles, self._cache, self._pools = set(), [], None, {}
            self.default_device_type, self.DLA_core = trt.DeviceType.GPU, -1
            self.profiling_verbosity = None
            if exists("IBuilderConfig", "int8_calibrator", version):
                self.int8_calibrator = self._calibration_profile = None

        def set_flag(self, flag):
            self._flags.add(flag.name)

        def add_optimization_profile(self, profile):
            self._profiles.append(profile)
            return len(self._profiles) - 1

        def set_calibration_profile(self, profile):
            self._calibration_profile = profile
            return True

        def can_run_on_DLA(self, layer):
            return layer < 3

        def create_timing_cache(self, data):
            return ITimingCache(bytes(data))

        def set_timing_cache(self, cache, ignore_mismatch):
            own = bytes(ITimingCache(b"").serialize())
            if cache._data not in (b"", own) and not ignore_mismatch:
                return False
            self._cache = cache
            return True

        def get_timing_cache(self):
            return self._cache

        def set_memory_pool_limit(self, pool, size):
            self._pools[pool.name] = size

    class Builder(_Gated):
        def __init__(self, logger):
            check_initialised(logger)
            device.check_context()
            self._logger = logger

        num_DLA_cores = property(lambda self: dla_cores)

        def create_network(self, flags=0):
            explicit = exists("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH", version)
            before_10 = exists("ICudaEngine", "num_bindings", version)
            assert not before_10 or flags & 1, "the ONNX parser needs EXPLICIT_BATCH before 10"
            return INetworkDefinition(strongly_typed=not explicit or bool(flags & 2))

        def create_builder_config(self):
            trt._last_config = IBuilderConfig()
            return trt._last_config

        def create_optimization_profile(self):
            return IOptimizationProfile()

        def build_serialized_network(self, network, config):
            device.check_context()
            trt._calls.append("build_serialized_network")
            try:
                header = _plan_header(network, config)
            except ValueError as error:
                complain(self._logger, str(error))
                return None
            # The real thing is an IHostMemory; what is used of it is the buffer protocol.
            return memoryview(json.dumps(header).encode() + b"\n" + network._model)

    def _plan_header(network, config):
        spec, on_dla = network._spec, config.default_device_type == trt.DeviceType.DLA
        name, given, _ = spec["inputs"][0]
        if not config._profiles and -1 in given:
            raise ValueError("Network has dynamic inputs, but no optimization profile.")
        shapes = config._profiles[0]._shapes[name] if config._profiles else None
        for shape in shapes or ():
            if min(shape) < 1 or any(g not in (-1, s) for g, s in zip(given, shape)):
                raise ValueError("Profile %s does not fit the input %s." % (shape, given))
        if on_dla:
            if spec["kind"] == "qdq":
                raise ValueError("DLA does not support explicit quantization.")
            if shapes[0] != shapes[2]:
                raise ValueError("DLA does not support dynamic dimensions.")
            if "GPU_FALLBACK" not in config._flags:
                raise ValueError("Layer is not supported on DLA and GPU fallback is not enabled.")
            if not config._flags & {"FP16", "INT8"}:
                raise ValueError("DLA needs FP16 or INT8.")
        return {
            "version": version,
            "sm": list(device.sm),
            "dla": config.DLA_core if on_dla else -1,
            "precision": _precision(network, config),
            "profile": shapes or [given] * 3,
        }

    def _precision(network, config):
        kind = network._spec["kind"]
        if network._strongly_typed:
            return {"float": "fp32", "fp16": "fp16", "qdq": "int8"}[kind]
        if "INT8" not in config._flags:
            if kind == "qdq":
                raise ValueError("Q/DQ layers need the INT8 flag.")
            return "fp16" if "FP16" in config._flags else "fp32"
        if kind != "qdq":
            calibrator = config.int8_calibrator
            if calibrator is None:
                raise ValueError("INT8 needs a calibrator or explicit quantization.")
            check_initialised(calibrator)
            if config._calibration_profile is None:
                raise ValueError("Calibration profile is not defined.")
            calibrator.get_batch_size()
            header = calibrator.read_calibration_cache().split(b"\n")[0].decode()
            # The version inside the header, as 8.5.2 -> 8502.
            major, minor, patch = (version.split(".") + ["0"])[:3]
            want = "TRT-%s%s%s-EntropyCalibration2" % (
                major,
                minor if int(major) < 10 else minor.zfill(2),
                patch.zfill(2),
            )
            if header != want:
                calibrator.get_batch(["images"])
                raise ValueError("Calibration failure: no data.")
        return "int8"

    class Runtime(_Gated):
        def __init__(self, logger):
            check_initialised(logger)
            device.check_context()
            self._logger, self.DLA_core = logger, -1

        def deserialize_cuda_engine(self, plan):
            device.check_context()
            head, _, model = bytes(plan).partition(b"\n")
            try:
                header = json.loads(head.decode())
            except ValueError:
                complain(self._logger, "Magic tag does not match.")
                return None
            if (header["version"], header["sm"]) != (version, list(device.sm)):
                complain(self._logger, "Version tag does not match.")
                return None
            if header["dla"] != self.DLA_core:
                complain(self._logger, "The engine was built for another DLA core.")
                return None
            return ICudaEngine(header, model, self._logger)

    class ICudaEngine(_Gated):
        def __init__(self, header, model, logger):
            self._header, self._model, self._logger = header, model, logger
            spec = describe(model)
            outputs = spec["outputs"][::-1] if reorder_outputs else spec["outputs"]
            self._tensors = [(name, True, shape, dtype) for name, shape, dtype in spec["inputs"]]
            self._tensors += [(name, False, shape, dtype) for name, shape, dtype in outputs]
            self._no_memory = spec.get("no_memory", False)

        def create_execution_context(self):
            device.check_context()
            if self._no_memory:
                complain(self._logger, "Out of memory.")
                return None
            return IExecutionContext(self)

        def create_engine_inspector(self):
            return EngineInspector(self)

        def _dtype(self, index):
            return getattr(trt.DataType, self._tensors[index][3])

        def _index(self, name):
            return [tensor[0] for tensor in self._tensors].index(name)

        num_io_tensors = property(lambda self: len(self._tensors))
        num_bindings = property(lambda self: len(self._tensors))

        def get_tensor_name(self, index):
            return self._tensors[index][0]

        def get_tensor_mode(self, name):
            mode = trt.TensorIOMode
            return mode.INPUT if self._tensors[self._index(name)][1] else mode.OUTPUT

        def get_tensor_dtype(self, name):
            return self._dtype(self._index(name))

        def get_tensor_shape(self, name):
            return self._tensors[self._index(name)][2]

        def get_tensor_profile_shape(self, name, profile):
            assert (name, profile) == (self._tensors[0][0], 0)
            return self._header["profile"]

        def get_binding_name(self, index):
            return self._tensors[index][0]

        def binding_is_input(self, index):
            return self._tensors[index][1]

        def get_binding_dtype(self, index):
            return self._dtype(index)

        def get_binding_shape(self, index):
            return self._tensors[index][2]

        def get_profile_shape(self, profile, binding):
            assert (profile, binding) == (0, 0)
            return self._header["profile"]

    class EngineInspector(_Gated):
        def __init__(self, engine):
            self._engine = engine

        def get_engine_information(self, layout):
            assert layout is trt.LayerInformationFormat.JSON
            if inspector_text is not None:
                return inspector_text
            copy = "Reformatting CopyNode for Input Tensor 0 to conv1"
            return json.dumps(
                {
                    "Layers": [
                        {"Name": copy, "LayerType": "Reformat"},
                        {"Name": "conv1 + relu1", "LayerType": "CaskConvolution"},
                        {"Name": "__mye12", "LayerType": "Reformat"},
                    ]
                }
            )

    class IExecutionContext(_Gated):
        def __init__(self, engine):
            self._engine, self._addresses = engine, {}
            shape = engine._tensors[0][2]
            self._shape = None if shape[0] == -1 else shape

        def set_tensor_address(self, name, address):
            self._addresses[self._engine._index(name)] = address
            return True

        def set_input_shape(self, name, shape):
            assert name == self._engine._tensors[0][0]
            return self._set_shape(shape)

        def set_binding_shape(self, index, shape):
            return self._set_shape(shape)

        def _set_shape(self, shape):
            smallest, _, largest = self._engine._header["profile"]
            if not smallest[0] <= shape[0] <= largest[0] or list(shape[1:]) != list(smallest[1:]):
                complain(self._engine._logger, "Shape %s is outside the profile." % (shape,))
                return False
            self._shape = tuple(shape)
            return True

        def execute_async_v3(self, stream):
            trt._calls.append("execute_async_v3")
            if self._shape is None or len(self._addresses) != len(self._engine._tensors):
                complain(self._engine._logger, "Shapes or addresses are not all set.")
                return False
            addresses = [self._addresses[index] for index in range(len(self._addresses))]
            device.enqueue(stream, lambda: self._compute(addresses))
            return True

        def execute_v2(self, bindings):
            trt._calls.append("execute_v2")
            if self._shape is None:
                complain(self._engine._logger, "Shapes are not all set.")
                return False
            self._compute(bindings)
            return True

        def _compute(self, addresses):
            device.check_context()
            tensors = self._engine._tensors
            dtype = np.dtype(_DTYPES[tensors[0][3]])
            size = int(np.prod(self._shape)) * dtype.itemsize
            inputs = np.frombuffer(device.read(addresses[0], size), dtype).reshape(self._shape)
            model, precision = self._engine._model, self._engine._header["precision"]
            results = compute(model, inputs, precision)
            for (name, is_input, _, kind), address in zip(tensors, addresses):
                if is_input or name not in results:
                    continue
                result = results[name]
                if precision in broken:
                    result = np.roll(result, 1, axis=1)
                device.write(address, np.ascontiguousarray(result, _DTYPES[kind]).tobytes())

    for kind in (ITensor, INetworkDefinition, ParserError, OnnxParser, IOptimizationProfile):
        kind._trt = trt
    for kind in (ITimingCache, IBuilderConfig, Builder, Runtime, ICudaEngine, EngineInspector):
        kind._trt = trt
    IExecutionContext._trt = trt

    available = {
        "__version__": version,
        "Builder": Builder,
        "ILogger": ILogger,
        "IInt8EntropyCalibrator2": IInt8EntropyCalibrator2,
        "OnnxParser": OnnxParser,
        "Runtime": Runtime,
    }
    for name in NAMES["module"]:
        if exists("module", name, version):
            setattr(trt, name, available[name] if name in available else enumeration(name))
    return trt
