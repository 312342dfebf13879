"""The hb_mapper configuration, read back by plain YAML and string arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from export.x3.config import INPUT_KINDS, make_config, normalization, parse, read_yaml, write_yaml
from runtime.contract import InputContract
from runtime.errors import ReidEdgeError
from runtime.preprocess import preprocess

IMAGENET = InputContract(256, 128)


def config_for(contract=IMAGENET, kind="nv12", **options):
    defaults = {
        "onnx_model": "net.onnx",
        "prefix": "net",
        "input_name": "images",
        "cal_data_dir": "calibration_data_rgb_f32",
    }
    return make_config(contract, kind, **{**defaults, **options})


def written(config, tmp_path):
    """The file as any YAML reader sees it."""
    path = tmp_path / "config.yaml"
    write_yaml(config, path)
    assert read_yaml(path) == config
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def content(**changes):
    """Sections as a user could have written them, with changes given as section__key."""
    sections = {
        "model_parameters": {
            "onnx_model": "net.onnx", "march": "bernoulli2", "output_model_file_prefix": "net",
        },
        "input_parameters": {
            "input_name": "data", "input_type_train": "rgb", "input_layout_train": "NCHW",
            "input_type_rt": "nv12", "input_shape": "1x3x256x128", "norm_type": "data_scale",
            "scale_value": 0.003921568627451,
        },
        "calibration_parameters": {"cal_data_dir": "data_f32", "calibration_type": "default"},
        "compiler_parameters": {"compile_mode": "latency", "optimize_level": "O3"},
    }  # fmt: skip
    for name, value in changes.items():
        section, key = name.split("__")
        if value is ...:
            del sections[section][key]
        else:
            sections.setdefault(section, {})[key] = value
    return sections


def test_nv12_with_imagenet_numbers_as_the_vendor_prints_them(tmp_path):
    data = written(config_for(), tmp_path)
    assert list(data) == [
        "model_parameters", "input_parameters", "calibration_parameters", "compiler_parameters",
    ]  # fmt: skip
    assert data["model_parameters"]["march"] == "bernoulli2"
    inputs = data["input_parameters"]
    assert inputs["input_type_train"] == "rgb" and inputs["input_type_rt"] == "nv12"
    assert inputs["input_layout_train"] == "NCHW" and "input_layout_rt" not in inputs
    assert inputs["input_shape"] == "1x3x256x128" and inputs["input_name"] == "images"
    assert inputs["norm_type"] == "data_mean_and_scale"
    assert inputs["mean_value"] == "123.675 116.28 103.53"
    scales = [float(v) for v in inputs["scale_value"].split()]
    assert scales == pytest.approx([0.01712475, 0.017507, 0.01742919], rel=1e-6)
    calibration = data["calibration_parameters"]
    assert calibration["cal_data_type"] == "float32" and calibration["preprocess_on"] is False
    assert data["compiler_parameters"]["optimize_level"] == "O3"


@pytest.mark.parametrize(
    ("kind", "color", "train", "layout", "norm"),
    [
        ("nv12", "RGB", "rgb", None, "data_mean_and_scale"),
        ("nv12", "BGR", "bgr", None, "data_mean_and_scale"),
        ("rgb", "RGB", "rgb", "NHWC", "data_mean_and_scale"),
        ("bgr", "RGB", "rgb", "NHWC", "data_mean_and_scale"),
        ("rgb", "BGR", "bgr", "NHWC", "data_mean_and_scale"),
        ("featuremap", "BGR", "featuremap", "NCHW", "no_preprocess"),
    ],
)
def test_types_and_layouts_of_every_kind(kind, color, train, layout, norm, tmp_path):
    inputs = written(config_for(IMAGENET.with_(color=color), kind), tmp_path)["input_parameters"]
    assert inputs["input_type_train"] == train and inputs["input_type_rt"] == kind
    assert inputs.get("input_layout_rt") == layout and inputs["norm_type"] == norm
    # The runtime makes NV12 with OpenCV, whose luma has the video range.
    assert inputs.get("input_space_and_range") == ("bt601_video" if kind == "nv12" else None)
    assert ("mean_value" in inputs) == ("scale_value" in inputs) == (norm != "no_preprocess")


@pytest.mark.parametrize(
    ("scale", "mean", "std", "expected"),
    [
        (1.0, (0, 0, 0), (1, 1, 1), {"norm_type": "no_preprocess"}),
        (1 / 255, (0, 0, 0), (1, 1, 1), {"norm_type": "data_scale", "scale": 1 / 255}),
        (1.0, (104.0, 117.0, 124.0), (1, 1, 1), {"norm_type": "data_mean", "mean": 104.0}),
        (1.0, (103.53, 116.28, 123.675), (57.375, 57.12, 58.395),
         {"norm_type": "data_mean_and_scale", "mean": 103.53, "scale": 1 / 57.375}),
    ],
)  # fmt: skip
def test_the_norm_type_is_the_least_that_does_it(scale, mean, std, expected):
    contract = IMAGENET.with_(scale=scale, mean=tuple(map(float, mean)), std=tuple(map(float, std)))
    found = normalization(contract)
    assert found["norm_type"] == expected["norm_type"]
    assert ("mean_value" in found) == ("mean" in expected)
    assert ("scale_value" in found) == ("scale" in expected)
    for key in ("mean", "scale"):
        if key in expected:
            first = float(found[key + "_value"].split()[0])
            assert first == pytest.approx(expected[key], rel=1e-9)


numbers = st.floats(-3, 3, allow_nan=False)
positive = st.floats(0.01, 100)


@settings(max_examples=50, deadline=None)
@given(
    mean=st.tuples(numbers, numbers, numbers),
    std=st.tuples(positive, positive, positive),
    scale=st.sampled_from([1.0, 1 / 255, 1 / 127.5]),
    color=st.sampled_from(["RGB", "BGR"]),
)
def test_mean_and_scale_do_what_preprocess_does(mean, std, scale, color):
    contract = InputContract(8, 8, color, scale, mean, std)
    crop = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    found = normalization(contract)
    pixels = (crop[:, :, ::-1] if color == "RGB" else crop).transpose(2, 0, 1).astype(np.float64)
    for c in range(3):
        if "mean_value" in found:
            pixels[c] -= float(found["mean_value"].split()[c])
        if "scale_value" in found:
            pixels[c] *= float(found["scale_value"].split()[c])
    expected = preprocess([crop], contract)[0]
    np.testing.assert_allclose(pixels, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("kind", INPUT_KINDS)
def test_odd_sizes(kind):
    contract = InputContract(256, 127)
    if kind == "nv12":
        with pytest.raises(ReidEdgeError, match="nv12 needs an even height and width, got 256x127"):
            config_for(contract, kind)
    else:
        assert config_for(contract, kind)


def test_unknown_kind():
    with pytest.raises(ReidEdgeError, match="must be one of nv12, rgb, bgr, featuremap, got 'yuv'"):
        config_for(kind="yuv")


BAD = {
    "unknown section": ({"other_parameters__x": 1}, "other_parameters is not a key"),
    "unknown key": ({"model_parameters__modle": "x"}, "model_parameters.modle is not a key"),
    "ultra key": ({"model_parameters__node_info": {}}, "node_info is not a key of hb_mapper for the X3"),
    "missing key": ({"model_parameters__march": ...}, "model_parameters.march is missing"),
    "march": ({"model_parameters__march": "bayes"}, "march is 'bayes': Input should be 'bernoulli2'"),
    "no model": ({"model_parameters__onnx_model": ...}, "either onnx_model or caffe_model"),
    "both models": (
        {"model_parameters__caffe_model": "a", "model_parameters__prototxt": "b"},
        "either onnx_model or caffe_model",
    ),
    "half a caffe model": (
        {"model_parameters__onnx_model": ..., "model_parameters__prototxt": "b"},
        "either onnx_model or caffe_model",
    ),
    "removable": ({"model_parameters__remove_node_type": "Cast; Conv"}, "remove_node_type.1 is 'Conv'"),
    "train type": ({"input_parameters__input_type_train": "nv12"}, "input_type_train.0 is 'nv12'"),
    "pair": ({"input_parameters__input_type_train": "gray"}, "nv12 cannot feed input_type_train gray"),
    "yuv444 layout": (
        {"input_parameters__input_type_rt": "yuv444", "input_parameters__input_layout_rt": "NCHW"},
        "yuv444 needs input_layout_rt NHWC",
    ),
    "range": (
        {"input_parameters__input_type_rt": "rgb", "input_parameters__input_space_and_range": "bt601_video"},
        "is for input_type_rt nv12",
    ),
    "odd height": ({"input_parameters__input_shape": "1x3x255x128"}, "even height and width, got 255x128"),
    "odd height nhwc": (
        {"input_parameters__input_shape": "1x255x128x3", "input_parameters__input_layout_train": "NHWC"},
        "even height and width, got 255x128",
    ),
    "layout": ({"input_parameters__input_shape": "1x256x128x3"}, "needs 3 channels, got 256"),
    "batch in shape": ({"input_parameters__input_shape": "2x3x256x128"}, "must be 1x"),
    "three dimensions": ({"input_parameters__input_shape": "3x256x128"}, "must be 1x"),
    "zero": ({"input_parameters__input_shape": "1x3x0x128"}, "greater than 0"),
    "input batch": ({"input_parameters__input_batch": 129}, "input_batch is 129"),
    "scale missing": ({"input_parameters__scale_value": ...}, "norm_type data_scale needs scale_value"),
    "mean too many": ({"input_parameters__mean_value": "1 2 3"}, "norm_type data_scale excludes mean_value"),
    "not a number": ({"input_parameters__scale_value": "a b c"}, "unable to parse"),
    "two inputs": ({"input_parameters__norm_type": "data_scale; data_scale"}, "norm_type has 2 values for 1"),
    "no folder": ({"calibration_parameters__cal_data_dir": ...}, "calibration_type default needs cal_data_dir"),
    "percentile": ({"calibration_parameters__max_percentile": 0.9999}, "is for calibration_type max"),
    "percentile range": (
        {"calibration_parameters__max_percentile": 1.5, "calibration_parameters__calibration_type": "max"},
        "less than or equal to 1",
    ),
    "per channel": ({"calibration_parameters__per_channel": True}, "other than default"),
    "int16": (
        {"calibration_parameters__optimization": "set_model_output_int16"},
        "Input should be 'set_model_output_int8'",
    ),
    "calibration type": ({"calibration_parameters__calibration_type": "entropy"}, "calibration_type is 'entropy'"),
    "level": ({"compiler_parameters__optimize_level": "O4"}, "optimize_level is 'O4'"),
    "cores": ({"compiler_parameters__core_num": 3}, "core_num is 3"),
    "function call": ({"compiler_parameters__max_time_per_fc": 999}, "max_time_per_fc"),
    "source": ({"compiler_parameters__input_source": {"data": "camera"}}, "input_source.data is 'camera'"),
    "source name": ({"compiler_parameters__input_source": {"image": "ddr"}}, "names no input: image"),
    "resizer": ({"compiler_parameters__input_source": {"data": "resizer"}}, "below 18432, got 32768"),
    "custom": ({"custom_op__custom_op_method": "load"}, "custom_op.custom_op_method is 'load'"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD.keys())
def test_refused(changes, message):
    assert parse(content(), "here")
    with pytest.raises(ReidEdgeError) as error:
        parse(content(**changes), "here")
    text = str(error.value)
    assert text.startswith("here: ") and message in text and "\n" not in text


GOOD = {
    "several inputs": {
        "input_parameters__input_name": "a; b",
        "input_parameters__input_type_train": "rgb;featuremap",
        "input_parameters__input_layout_train": "NCHW; NCHW",
        "input_parameters__input_type_rt": "nv12; featuremap",
        "input_parameters__input_shape": "1x3x64x32; 1x8x5x7",
        "input_parameters__norm_type": "data_scale; no_preprocess",
        "input_parameters__scale_value": "0.017; None",
        "calibration_parameters__cal_data_dir": "a_f32; b_f32",
    },
    "template blanks": {
        "input_parameters__input_name": "",
        "input_parameters__input_shape": "",
        "input_parameters__input_layout_rt": "",
    },
    "yuv444": {
        "input_parameters__input_type_rt": "yuv444",
        "input_parameters__input_layout_rt": "NHWC",
    },
    "skip": {
        "calibration_parameters__cal_data_dir": ...,
        "calibration_parameters__calibration_type": "skip",
    },
    "max": {
        "calibration_parameters__calibration_type": "max",
        "calibration_parameters__max_percentile": 0.99995,
        "calibration_parameters__per_channel": True,
    },
    "small resizer": {
        "input_parameters__input_shape": "1x3x128x128",
        "compiler_parameters__input_source": {"data": "resizer"},
    },
    "everything else": {
        "model_parameters__working_dir": "out",
        "model_parameters__layer_out_dump": True,
        "model_parameters__output_nodes": "a; b",
        "model_parameters__remove_node_type": "Quantize; Dequantize",
        "model_parameters__remove_node_name": "n",
        "model_parameters__debug_mode": "dump_calibration_data",
        "input_parameters__input_batch": 8,
        "input_parameters__input_space_and_range": "bt601_video",
        "calibration_parameters__cal_data_type": "float32",
        "calibration_parameters__preprocess_on": False,
        "calibration_parameters__run_on_cpu": "conv_0; conv_1",
        "calibration_parameters__run_on_bpu": "softmax",
        "calibration_parameters__optimization": "set_model_output_int8",
        "compiler_parameters__debug": True,
        "compiler_parameters__core_num": 2,
        "compiler_parameters__max_time_per_fc": 1000,
        "compiler_parameters__jobs": 8,
        "custom_op__custom_op_method": "register",
        "custom_op__op_register_files": "a.py; b.py",
        "custom_op__custom_op_dir": "./custom",
    },
}


@pytest.mark.parametrize("changes", GOOD.values(), ids=GOOD.keys())
def test_accepted_and_unchanged_by_writing(changes, tmp_path):
    config = parse(content(**changes), "here")
    data = written(config, tmp_path)
    assert parse(data, "again") == config


def test_files_that_are_no_configuration(tmp_path):
    path = tmp_path / "config.yaml"
    with pytest.raises(ReidEdgeError, match="Cannot read"):
        read_yaml(path)
    for text, message in [
        ("a: [", "not valid YAML"),
        ("- 1", "must be a YAML mapping"),
        ("", "must be a YAML mapping"),
        ("model_parameters:\n  march: a\n  march: b\n", "key 'march' is there twice"),
    ]:
        path.write_text(text)
        with pytest.raises(ReidEdgeError, match=message):
            read_yaml(path)
