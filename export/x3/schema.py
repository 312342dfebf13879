"""Every section and key of the YAML file of ``hb_mapper makertbin``, with its allowed values.

From the manual's table of parameters (HorizonRDK/rdk_x3_doc, ptq_process.md). Values for several
inputs are written in one string with ``;`` between them, in the order of ``input_name``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Optional, Union

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, PositiveInt

# input_type_train -> what input_type_rt may be
RUNTIME_TYPES: dict[str, tuple[str, ...]] = {
    "yuv444": ("nv12", "yuv444"),
    "rgb": ("nv12", "yuv444", "rgb", "bgr"),
    "bgr": ("nv12", "yuv444", "rgb", "bgr"),
    "gray": ("gray",),
    "featuremap": ("featuremap",),
}
MEANS = ("data_mean", "data_mean_and_scale")
SCALES = ("data_scale", "data_mean_and_scale")
NONE = "None"  # an input without mean or scale among others that have one


def _split(value: Any) -> Any:
    """``"a; b"`` to ``["a", "b"]``."""
    if isinstance(value, str):
        return [part.strip() for part in value.strip().rstrip(";").split(";")]
    return [value] if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _join(values: tuple[str, ...]) -> str:
    return "; ".join(values)


def _numbers(value: Any) -> Any:
    """``"1 2 3"`` or a number to a tuple of numbers, ``"None"`` to None, of every input."""
    values = _split(value)
    if not isinstance(values, (list, tuple)):
        return values
    return [
        None if v == NONE else v.replace(",", " ").split() if isinstance(v, str) else _listed(v)
        for v in values
    ]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, (int, float)) else value


def _write_numbers(values: tuple[tuple[float, ...] | None, ...]) -> str:
    return "; ".join(NONE if v is None else " ".join(map(repr, v)) for v in values)


def _shapes(value: Any) -> Any:
    """``"1x3x256x128"`` to (1, 3, 256, 128) for every input."""
    values = _split(value)
    return [v.lower().split("x") if isinstance(v, str) else v for v in values]


def _write_shapes(values: tuple[tuple[int, ...], ...]) -> str:
    return "; ".join("x".join(map(str, v)) for v in values)


def _absent(value: Any) -> Any:
    """The vendor's templates leave optional keys in the file as empty strings."""
    return None if value == "" else value


NodeName = Annotated[str, Field(min_length=1, pattern=r"^[^;,]+$")]
Names = Annotated[tuple[NodeName, ...], BeforeValidator(_split), PlainSerializer(_join)]
TrainTypes = Annotated[
    tuple[Literal["rgb", "bgr", "yuv444", "gray", "featuremap"], ...],
    BeforeValidator(_split),
    PlainSerializer(_join),
]
RuntimeTypes = Annotated[
    tuple[Literal["rgb", "bgr", "yuv444", "nv12", "gray", "featuremap"], ...],
    BeforeValidator(_split),
    PlainSerializer(_join),
]
Layouts = Annotated[
    tuple[Literal["NCHW", "NHWC"], ...], BeforeValidator(_split), PlainSerializer(_join)
]
Ranges = Annotated[
    tuple[Literal["regular", "bt601_video"], ...], BeforeValidator(_split), PlainSerializer(_join)
]
NormTypes = Annotated[
    tuple[Literal["no_preprocess", "data_mean", "data_scale", "data_mean_and_scale"], ...],
    BeforeValidator(_split),
    PlainSerializer(_join),
]
Shapes = Annotated[
    tuple[tuple[PositiveInt, ...], ...], BeforeValidator(_shapes), PlainSerializer(_write_shapes)
]
Numbers = Annotated[
    tuple[Optional[tuple[float, ...]], ...],
    BeforeValidator(_numbers),
    PlainSerializer(_write_numbers),
]
DataTypes = Annotated[
    tuple[Literal["float32", "uint8"], ...], BeforeValidator(_split), PlainSerializer(_join)
]
RemovableTypes = Annotated[
    tuple[Literal["Quantize", "Transpose", "Dequantize", "Cast", "Reshape"], ...],
    BeforeValidator(_split),
    PlainSerializer(_join),
]
Empty = BeforeValidator(_absent)


class Section(BaseModel):
    """A group of keys: immutable, unknown keys refused, no NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelParameters(Section):
    """``model_parameters``. The keys node_info and set_node_data_type are of the RDK Ultra only."""

    onnx_model: Annotated[Optional[str], Empty] = None
    caffe_model: Annotated[Optional[str], Empty] = None
    prototxt: Annotated[Optional[str], Empty] = None
    march: Literal["bernoulli2"]  # the other value, bayes, is the RDK Ultra
    output_model_file_prefix: str = Field(min_length=1, pattern=r"^[A-Za-z0-9_.-]+$")
    working_dir: str = Field("model_output", min_length=1)
    layer_out_dump: bool = False
    output_nodes: Annotated[Optional[Names], Empty] = None
    remove_node_type: Annotated[Optional[RemovableTypes], Empty] = None
    remove_node_name: Annotated[Optional[Names], Empty] = None
    debug_mode: Annotated[Optional[Literal["dump_calibration_data"]], Empty] = None


class InputParameters(Section):
    """``input_parameters``."""

    input_name: Annotated[Optional[Names], Empty] = None
    input_type_train: TrainTypes
    input_layout_train: Layouts
    input_type_rt: RuntimeTypes
    input_layout_rt: Annotated[Optional[Layouts], Empty] = None
    input_space_and_range: Annotated[Optional[Ranges], Empty] = None
    input_shape: Annotated[Optional[Shapes], Empty] = None
    input_batch: Annotated[Optional[int], Empty] = Field(None, ge=1, le=128)
    norm_type: NormTypes
    mean_value: Annotated[Optional[Numbers], Empty] = None
    scale_value: Annotated[Optional[Numbers], Empty] = None


class CalibrationParameters(Section):
    """``calibration_parameters``."""

    cal_data_dir: Annotated[Optional[Names], Empty] = None
    cal_data_type: Annotated[Optional[DataTypes], Empty] = None
    preprocess_on: bool = False
    calibration_type: Literal["default", "mix", "kl", "max", "load", "skip"]
    max_percentile: Annotated[Optional[float], Empty] = Field(None, ge=0, le=1)
    per_channel: bool = False
    run_on_cpu: Annotated[Optional[Names], Empty] = None
    run_on_bpu: Annotated[Optional[Names], Empty] = None
    # set_model_output_int16 is the RDK Ultra
    optimization: Annotated[Optional[Literal["set_model_output_int8"]], Empty] = None


class CompilerParameters(Section):
    """``compiler_parameters``."""

    compile_mode: Literal["latency", "bandwidth"]
    debug: bool = False
    core_num: Literal[1, 2] = 1
    optimize_level: Literal["O0", "O1", "O2", "O3"]
    input_source: Optional[dict[str, Literal["ddr", "pyramid", "resizer"]]] = None
    max_time_per_fc: Optional[Union[Literal[0], Annotated[int, Field(ge=1000, le=4294967295)]]] = (
        Field(None, description="microseconds; 0: no limit")
    )
    jobs: Optional[PositiveInt] = None


class CustomOp(Section):
    """``custom_op``, for operators that the user brings."""

    custom_op_method: Literal["register"]
    op_register_files: Names
    custom_op_dir: str = Field(min_length=1, pattern=r"^[^/]")  # relative, says the manual


class Sections(Section):
    """The file: four sections that must be there, and one that may."""

    model_parameters: ModelParameters
    input_parameters: InputParameters
    calibration_parameters: CalibrationParameters
    compiler_parameters: CompilerParameters
    custom_op: Optional[CustomOp] = None
