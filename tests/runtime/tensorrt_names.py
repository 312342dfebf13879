"""Which TensorRT Python names exist in which version: the table runtime/tensorrt_api.py is held to.

Sources, by version:
  8.0 to 11.0, all names that come and go: ``git grep`` over ``python/src`` at each tag of
      NVIDIA/TensorRT (the project's collected facts, table 1.4).
  8.6.1, 10.0.1, 10.13.3, 11.0.0 and 11.4.0, every name below: ``dir()`` of the real extension module
      from the published ``tensorrt*-bindings`` wheels, imported over empty stand-ins for libnvinfer.
      ``test_the_table_agrees_with_an_installed_tensorrt`` repeats this wherever TensorRT is present.
  8.0 to 8.5, the names marked ALWAYS: the archived API references at docs.nvidia.com, under
      deeplearning/tensorrt/archives: tensorrt-803, -821, -823, -825, -843 and -853, classes
      IBuilderConfig, ICudaEngine, IExecutionContext, IOptimizationProfile and EngineInspector.
"""

VERSIONS = ("8.0", "8.2", "8.4", "8.5", "8.6", "9", "10.0", "10.13", "11.0")

ALWAYS = ("8.0", "11.0")
FROM_8_2 = ("8.2", "11.0")
FROM_8_4 = ("8.4", "11.0")
FROM_8_5 = ("8.5", "11.0")
FROM_9 = ("9", "11.0")
BEFORE_10 = ("8.0", "9")
BEFORE_11 = ("8.0", "10.13")

NAMES = {
    "module": {
        "__version__": ALWAYS,
        "Builder": ALWAYS,
        "BuilderFlag": ALWAYS,
        "DataType": ALWAYS,
        "DeviceType": ALWAYS,
        "ILogger": ALWAYS,
        "Logger": ALWAYS,
        "NetworkDefinitionCreationFlag": ALWAYS,
        "OnnxParser": ALWAYS,
        "ProfilingVerbosity": ALWAYS,
        "Runtime": ALWAYS,
        "LayerInformationFormat": FROM_8_2,
        "MemoryPoolType": FROM_8_4,
        "TensorIOMode": FROM_8_5,
        "IInt8EntropyCalibrator2": BEFORE_11,
    },
    "Logger": {
        "INTERNAL_ERROR": ALWAYS,
        "ERROR": ALWAYS,
        "WARNING": ALWAYS,
        "INFO": ALWAYS,
        "VERBOSE": ALWAYS,
    },
    "ILogger": {"log": ALWAYS},
    "BuilderFlag": {"GPU_FALLBACK": ALWAYS, "INT8": BEFORE_11, "FP16": BEFORE_11},
    "NetworkDefinitionCreationFlag": {"EXPLICIT_BATCH": BEFORE_11, "STRONGLY_TYPED": FROM_9},
    "DataType": {"FLOAT": ALWAYS, "HALF": ALWAYS},
    "DeviceType": {"GPU": ALWAYS, "DLA": ALWAYS},
    "MemoryPoolType": {"WORKSPACE": FROM_8_4},
    "TensorIOMode": {"INPUT": FROM_8_5, "OUTPUT": FROM_8_5},
    "ProfilingVerbosity": {"NONE": ALWAYS, "DETAILED": FROM_8_2, "LAYER_NAMES_ONLY": FROM_8_2},
    "LayerInformationFormat": {"JSON": FROM_8_2},
    "Builder": {
        "create_network": ALWAYS,
        "create_builder_config": ALWAYS,
        "create_optimization_profile": ALWAYS,
        "build_serialized_network": ALWAYS,
        "num_DLA_cores": ALWAYS,
    },
    "INetworkDefinition": {
        "get_input": ALWAYS,
        "num_inputs": ALWAYS,
        "get_output": ALWAYS,
        "num_outputs": ALWAYS,
        "get_layer": ALWAYS,
        "num_layers": ALWAYS,
    },
    "ITensor": {"name": ALWAYS, "shape": ALWAYS},
    "OnnxParser": {"parse": ALWAYS, "num_errors": ALWAYS, "get_error": ALWAYS},
    "ParserError": {"desc": ALWAYS, "node": ALWAYS},
    "IOptimizationProfile": {"set_shape": ALWAYS},
    "IBuilderConfig": {
        "set_flag": ALWAYS,
        "add_optimization_profile": ALWAYS,
        "default_device_type": ALWAYS,
        "DLA_core": ALWAYS,
        "can_run_on_DLA": ALWAYS,
        "create_timing_cache": ALWAYS,
        "set_timing_cache": ALWAYS,
        "get_timing_cache": ALWAYS,
        "profiling_verbosity": ALWAYS,
        "set_memory_pool_limit": FROM_8_4,
        "max_workspace_size": BEFORE_10,
        "int8_calibrator": BEFORE_11,
        "set_calibration_profile": BEFORE_11,
    },
    "ITimingCache": {"serialize": ALWAYS},
    "IInt8EntropyCalibrator2": {
        "get_batch": BEFORE_11,
        "get_batch_size": BEFORE_11,
        "read_calibration_cache": BEFORE_11,
        "write_calibration_cache": BEFORE_11,
    },
    "Runtime": {"deserialize_cuda_engine": ALWAYS, "DLA_core": ALWAYS},
    "ICudaEngine": {
        "create_execution_context": ALWAYS,
        "create_engine_inspector": FROM_8_2,
        "num_io_tensors": FROM_8_5,
        "get_tensor_name": FROM_8_5,
        "get_tensor_mode": FROM_8_5,
        "get_tensor_dtype": FROM_8_5,
        "get_tensor_shape": FROM_8_5,
        "get_tensor_profile_shape": FROM_8_5,
        "num_bindings": BEFORE_10,
        "get_binding_name": BEFORE_10,
        "binding_is_input": BEFORE_10,
        "get_binding_dtype": BEFORE_10,
        "get_binding_shape": BEFORE_10,
        "get_profile_shape": BEFORE_10,
    },
    "EngineInspector": {"get_engine_information": FROM_8_2},
    "IExecutionContext": {
        "execute_v2": ALWAYS,
        "set_tensor_address": FROM_8_5,
        "set_input_shape": FROM_8_5,
        "execute_async_v3": FROM_8_5,
        "set_binding_shape": BEFORE_10,
    },
}


def column(version):
    """The column of VERSIONS that an exact version such as "8.5.2.2" belongs to."""
    numbers = [int(part) for part in version.split(".")[:2]]
    below = [v for v in VERSIONS if [int(part) for part in v.split(".")] <= numbers]
    return below[-1]


def exists(kind, name, version):
    """Whether class (or "module") ``kind`` has ``name`` in ``version``."""
    if name not in NAMES[kind]:
        return False
    first, last = (VERSIONS.index(v) for v in NAMES[kind][name])
    return first <= VERSIONS.index(column(version)) <= last


def version_dependent():
    """Names that are missing in some version, of whatever class."""
    return {n for names in NAMES.values() for n, span in names.items() if span != ALWAYS}
