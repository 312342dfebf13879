"""Keys of the hb_mapper configuration that contradict each other."""

from __future__ import annotations

from export.x3.schema import MEANS, RUNTIME_TYPES, SCALES, InputParameters, Sections

_RESIZER_PIXELS = 18432  # height * width of a model fed by the resizer stays below


def contradictions(config: Sections) -> list[str]:
    """What is wrong although every key by itself is allowed, each without a full stop."""
    return [
        *_model_contradictions(config),
        *_input_contradictions(config),
        *_calibration_contradictions(config),
    ]


def _model_contradictions(config: Sections) -> list[str]:
    model = config.model_parameters
    caffe = (model.caffe_model, model.prototxt)
    if (model.onnx_model is None) == (caffe == (None, None)) or (caffe[0] is None) != (
        caffe[1] is None
    ):
        return ["model_parameters needs either onnx_model or caffe_model with prototxt"]
    return []


def _input_contradictions(config: Sections) -> list[str]:
    inputs, problems = config.input_parameters, []
    count = len(inputs.input_name or inputs.input_type_train)
    for name in type(inputs).model_fields:
        value = getattr(inputs, name)
        if isinstance(value, tuple) and len(value) != count:
            problems.append(
                "input_parameters.%s has %d values for %d inputs" % (name, len(value), count)
            )
    if problems:
        return problems
    if count > 1 and inputs.input_name is None:
        problems.append("input_parameters.input_name is needed where there are several inputs")
    for i in range(count):
        problems += _one_input(config, i)
    if inputs.input_batch not in (None, 1) and count > 1:
        problems.append("input_parameters.input_batch is for networks with one input")
    sources = config.compiler_parameters.input_source or {}
    unknown = sorted(set(sources) - set(inputs.input_name or sources))
    if unknown:
        problems.append("compiler_parameters.input_source names no input: %s" % ", ".join(unknown))
    return problems


def _one_input(config: Sections, i: int) -> list[str]:
    inputs, problems = config.input_parameters, []
    train, runtime, norm = (
        inputs.input_type_train[i],
        inputs.input_type_rt[i],
        inputs.norm_type[i],
    )
    if runtime not in RUNTIME_TYPES[train]:
        problems.append(
            "input_type_rt %s cannot feed input_type_train %s, which takes %s"
            % (runtime, train, ", ".join(RUNTIME_TYPES[train]))
        )
    layout = inputs.input_layout_rt[i] if inputs.input_layout_rt else None
    if runtime == "yuv444" and layout == "NCHW":
        problems.append("input_type_rt yuv444 needs input_layout_rt NHWC on the X3, got NCHW")
    if inputs.input_space_and_range and inputs.input_space_and_range[i] != "regular":
        if runtime != "nv12":
            problems.append("input_space_and_range is for input_type_rt nv12, got %s" % runtime)
    problems += _normalization_problems(inputs, i, norm)
    if inputs.input_shape is None:
        return problems
    shape = inputs.input_shape[i]
    if len(shape) != 4 or shape[0] != 1:
        problems.append("input_shape must be 1x... with four dimensions, got %s" % (shape,))
        return problems
    nhwc = inputs.input_layout_train[i] == "NHWC"
    channels, height, width = (shape[3], shape[1], shape[2]) if nhwc else shape[1:]
    if train in ("rgb", "bgr", "yuv444") and channels != 3:
        problems.append("input_type_train %s needs 3 channels, got %d" % (train, channels))
    if runtime in ("nv12", "yuv444") and (height % 2 or width % 2):
        problems.append(
            "input_type_rt %s needs an even height and width, got %dx%d; choose another input "
            "size or another input kind" % (runtime, height, width)
        )
    source = (config.compiler_parameters.input_source or {}).get((inputs.input_name or ("",))[i])
    if source == "resizer" and height * width >= _RESIZER_PIXELS:
        problems.append(
            "input_source resizer needs height x width below %d, got %d"
            % (_RESIZER_PIXELS, height * width)
        )
    return problems


def _normalization_problems(inputs: InputParameters, i: int, norm: str) -> list[str]:
    problems = []
    for key, values, norms in (
        ("mean_value", inputs.mean_value, MEANS),
        ("scale_value", inputs.scale_value, SCALES),
    ):
        given = values is not None and values[i] is not None
        if given != (norm in norms):
            problems.append("norm_type %s %s %s" % (norm, "excludes" if given else "needs", key))
    return problems


def _calibration_contradictions(config: Sections) -> list[str]:
    calibration, problems = config.calibration_parameters, []
    kind = calibration.calibration_type
    count = len(config.input_parameters.input_type_train)
    if kind not in ("load", "skip") and calibration.cal_data_dir is None:
        problems.append("calibration_type %s needs cal_data_dir" % kind)
    for key in ("cal_data_dir", "cal_data_type"):
        values = getattr(calibration, key)
        if values is not None and len(values) != count:
            problems.append(
                "calibration_parameters.%s has %d values for %d inputs" % (key, len(values), count)
            )
    if calibration.max_percentile is not None and kind != "max":
        problems.append("max_percentile is for calibration_type max, got %s" % kind)
    if calibration.per_channel and kind == "default":
        problems.append("per_channel is for calibration types other than default")
    return problems
