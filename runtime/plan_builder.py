"""From an ONNX file, of a bundle or a detector's, to a serialised TensorRT plan."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from runtime import tensorrt_api
from runtime.bundle import Bundle
from runtime.errors import ReidEdgeError

DEVICES = ("gpu", "dla0", "dla1")


@dataclass(frozen=True)
class BuildOptions:
    """What to build.

    Attributes:
        precision: ``"fp32"``, ``"fp16"`` or ``"int8"``.
        device: ``"gpu"``, ``"dla0"`` or ``"dla1"``.
        batch: ``min``, ``opt``, ``max`` of the optimisation profile; all equal on the DLA.
        workspace_mib: Limit of one kernel's scratch memory.
        timing_cache: File of kernel timings to read and update; None for the bundle's own.
        force: Replace a plan that already fits this board.
        verbose: Show TensorRT's own messages.
    """

    precision: str
    device: str
    batch: Dict[str, int]
    workspace_mib: int = 1024
    timing_cache: Optional[Path] = None
    force: bool = False
    verbose: bool = False


def choose_role(precision: str, device: str, precision_flags: bool) -> str:
    """The role of the ONNX file to build from.

    The GPU takes the explicit Q/DQ model. The DLA does not support explicit quantization in
    TensorRT 8, so it takes the fp32 model with the calibration cache. Without precision flags
    (TensorRT 11) the model's own types decide, so each precision needs its own file.
    """
    if device != "gpu":
        return "model.fp32"
    if precision == "int8" or not precision_flags:
        return "model." + precision
    return "model.fp32"


@dataclass(frozen=True)
class BuiltPlan:
    """A serialised plan and what is known about its making.

    Attributes:
        plan: The serialised engine.
        onnx: The file it was built from.
        batch: Its optimisation profile.
        timing_cache: Kernel timings after the build, serialised.
        notes: Sentences the user must see.
        outputs: Names of the ONNX file's outputs in their order.
    """

    plan: bytes
    onnx: Path
    batch: Dict[str, int]
    timing_cache: bytes
    notes: List[str]
    outputs: List[str]


def build_plan(trt, bundle: Bundle, options: BuildOptions, timing_cache: Path) -> BuiltPlan:
    """Build a serialised plan of a bundle; CUDA must be active in this thread.

    Args:
        trt: The tensorrt module.
        bundle: Where the ONNX files and the calibration cache come from.
        options: What to build.
        timing_cache: File of kernel timings to read; need not exist.

    Raises:
        ReidEdgeError: The bundle, this board or this TensorRT cannot serve the options.
    """
    onnx = _choose_onnx(trt, bundle, options)
    calibration = None
    if options.device != "gpu" and options.precision == "int8":
        calibration = bundle.find("calibration.cache").read_bytes()
    return build_from_onnx(
        trt,
        onnx,
        options,
        timing_cache,
        lambda network: _check_batch(network, options.batch, onnx),
        calibration,
    )


def build_from_onnx(
    trt,
    onnx: Path,
    options: BuildOptions,
    timing_cache: Path,
    check: Callable[[Any], None],
    calibration: Optional[bytes] = None,
) -> BuiltPlan:
    """Build a serialised plan of one ONNX file; CUDA must be active in this thread.

    Args:
        trt: The tensorrt module.
        onnx: The file; its first input is the image.
        options: What to build.
        timing_cache: File of kernel timings to read; need not exist.
        check: Called with the parsed INetworkDefinition; raises where the plan would be of no use.
        calibration: Contents of a calibration cache, for INT8 without Q/DQ.

    Raises:
        ReidEdgeError: The file, this board or this TensorRT cannot serve the options.
    """
    logger = tensorrt_api.make_logger(trt, options.verbose)
    builder = trt.Builder(logger)
    network = tensorrt_api.create_network(trt, builder)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx.read_bytes()):
        raise ReidEdgeError("TensorRT cannot parse %s: %s" % (onnx, _parser_errors(parser)))
    check(network)
    config = builder.create_builder_config()
    profile = _add_profile(builder, network, config, options.batch)
    tensorrt_api.set_precision(trt, config, options.precision)
    tensorrt_api.set_workspace(trt, config, options.workspace_mib << 20)
    tensorrt_api.keep_layer_details(trt, config)
    notes, calibrator = [], None
    if options.device != "gpu":
        core = DEVICES.index(options.device) - 1
        if not core < builder.num_DLA_cores:
            raise ReidEdgeError(
                "Device %s was asked for but this board has %d DLA cores; pass --device gpu."
                % (options.device, builder.num_DLA_cores)
            )
        tensorrt_api.use_dla(trt, config, core)
        if calibration is not None:
            cache = tensorrt_api.cache_for_version(calibration, trt.__version__)
            calibrator = tensorrt_api.use_calibration_cache(trt, config, profile, cache)
        on_dla, layers = tensorrt_api.count_dla_layers(network, config)
        notes.append("%d of %d layers run on the DLA, the rest on the GPU." % (on_dla, layers))
    elif not tensorrt_api.has_precision_flags(trt) and options.precision == "int8":
        notes.append("This TensorRT runs what the model leaves unquantized in fp32, not fp16.")
    if not tensorrt_api.load_timing_cache(config, _read_if_there(timing_cache)):
        raise ReidEdgeError(
            "Timing cache %s is from another device or TensorRT version; delete it or name another "
            "with --timing-cache." % timing_cache
        )
    serialized = builder.build_serialized_network(network, config)
    if calibrator is not None and calibrator.data_wanted:
        raise ReidEdgeError(
            "TensorRT did not accept the calibration cache of %s; export the bundle again, or build "
            "for the GPU." % onnx.parent
        )
    if serialized is None:
        raise ReidEdgeError(
            "TensorRT %s could not build %s for %s: %s."
            % (trt.__version__, onnx.name, options.device, tensorrt_api.last_error(logger))
        )
    return BuiltPlan(
        bytes(serialized),
        onnx,
        options.batch,
        tensorrt_api.dump_timing_cache(config),
        notes,
        [network.get_output(index).name for index in range(network.num_outputs)],
    )


def _choose_onnx(trt, bundle, options):
    if (
        options.device != "gpu"
        and options.precision == "int8"
        and not tensorrt_api.has_calibrators(trt)
    ):
        raise ReidEdgeError(
            "TensorRT %s has no calibration cache, so no INT8 on the DLA; pass --device gpu."
            % trt.__version__
        )
    flags = tensorrt_api.has_precision_flags(trt)
    role = choose_role(options.precision, options.device, flags)
    if role == "model.fp16" and not bundle.has(role):
        raise ReidEdgeError(
            "TensorRT %s takes precisions from the model and bundle %s has no fp16 model; pass "
            "--precision fp32, or export one with --precision fp16."
            % (trt.__version__, bundle.path)
        )
    return bundle.find(role)


def _parser_errors(parser):
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    shown = ["node %d: %s" % (error.node(), error.desc().rstrip(".")) for error in errors[:3]]
    more = " (and %d more)" % (len(errors) - 3) if len(errors) > 3 else ""
    return "; ".join(shown) + more + "." if shown else "the parser gave no reason."


def _check_batch(network, batch, onnx):
    fixed = network.get_input(0).shape[0]
    if fixed != -1 and set(batch.values()) != {fixed}:
        raise ReidEdgeError(
            "%s has the fixed batch size %d, got min %d, opt %d, max %d; pass --batch %d,%d,%d."
            % (onnx.name, fixed, batch["min"], batch["opt"], batch["max"], fixed, fixed, fixed)
        )


def _add_profile(builder, network, config, batch):
    tensor = network.get_input(0)
    image = tuple(tensor.shape)[1:]
    profile = builder.create_optimization_profile()
    profile.set_shape(tensor.name, *((batch[key],) + image for key in ("min", "opt", "max")))
    config.add_optimization_profile(profile)
    return profile


def _read_if_there(path):
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as failure:
        raise ReidEdgeError("Cannot read %s: %s." % (path, failure.strerror or failure)) from None
