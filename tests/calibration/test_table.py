"""CalibrationTable: round trips, and refusal of everything else."""

import errno
import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.histogram import TensorHistogram
from calibration.methods import METHODS, choose
from calibration.table import CalibrationTable
from calibration.trt_cache import from_trt_cache, to_trt_cache
from runtime.errors import ReidEdgeError

SHA = "ab" * 32


def histograms():
    rng = np.random.default_rng(3)
    arrays = {
        "image": rng.normal(size=5000),
        "/layer1/Relu: 0": np.maximum(rng.normal(size=5000), 0),
        "dead": np.zeros(7),
    }
    result = []
    for name, values in arrays.items():
        histogram = TensorHistogram(name)
        histogram.update(values)
        result.append(histogram)
    return result


HISTOGRAMS = histograms()
TABLE = CalibrationTable.from_histograms(
    HISTOGRAMS, "mse", SHA, {"seed": 0, "files": ["a.jpg"]}, percentile=99.9
)


@pytest.mark.parametrize("method", METHODS)
def test_round_trip_through_a_file(tmp_path, method):
    table = TABLE.with_method(method)
    table.save(tmp_path / "calibration.json")
    assert CalibrationTable.load(tmp_path / "calibration.json") == table
    assert os.listdir(tmp_path) == ["calibration.json"]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20),
    st.text(min_size=1),
    st.sampled_from(METHODS),
)
def test_any_tensor_survives_the_round_trip(values, name, method):
    histogram = TensorHistogram(name)
    histogram.update(np.float32(values))
    table = CalibrationTable.from_histograms([histogram], method, SHA)
    assert CalibrationTable.from_json(table.to_json()) == table


def test_ranges_are_those_of_choose_and_reach_the_tensorrt_cache():
    for histogram in HISTOGRAMS:
        assert TABLE.tensors[histogram.name] == choose(histogram, "mse", percentile=99.9)
    assert TABLE.dead == ["dead"]
    cache = from_trt_cache(to_trt_cache(TABLE.scales))
    for name, tensor in TABLE.tensors.items():
        assert cache.scales[name] * 127 == pytest.approx(tensor.amax, rel=1e-6)


def changed(*path, value):
    data = json.loads(TABLE.to_json())
    target = data
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return json.dumps(data)


def without(*path):
    data = json.loads(TABLE.to_json())
    target = data
    for key in path[:-1]:
        target = target[key]
    del target[path[-1]]
    return json.dumps(data)


IMAGE = ("tensors", "image")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "schema version None"),
        (changed("schema_version", value=2), "schema version 2"),
        (changed("schema_version", value=True), "schema version True"),
        (changed("comment", value="x"), "unknown keys .'comment'"),
        (without("created"), "lacks keys .'created'"),
        (changed("network_sha256", value="AB" * 32), "network_sha256"),
        (changed("network_sha256", value=None), "network_sha256"),
        (changed("method", value="magic"), "method"),
        (changed("settings", "percentile", value=-1), "settings.percentile"),
        (without("settings", "min_amax"), "min_amax"),
        (changed("selection", value=3), "selection"),
        (changed("created", value="yesterday"), "created"),
        (changed("created", value=5), "created"),
        (changed("tool_versions", value={"numpy": 2}), "tool_versions"),
        (changed("tensors", value={}), "tensors"),
        (changed(*IMAGE, value=1), "tensor 'image'"),
        (changed(*IMAGE, "extra", value=1), "extra"),
        (changed(*IMAGE, "amax", value=0), "amax"),
        (changed(*IMAGE, "amax", value="1.0"), "amax"),
        (changed(*IMAGE, "amax", value=True), "amax"),
        (changed(*IMAGE, "amax", value=float("nan")), "NaN"),
        (changed(*IMAGE, "amax", value=10**400), "amax"),
        (changed(*IMAGE, "low", value=0.5), "around zero"),
        (changed(*IMAGE, "high", value=-0.5), "around zero"),
        (changed(*IMAGE, "dead", value=0), "dead"),
        (changed(*IMAGE, "count", value=0), "count"),
        (changed(*IMAGE, "count", value=1.5), "count"),
        (changed(*IMAGE, "method", value="kl"), "method"),
        (changed(*IMAGE, "histogram_sha256", value="00"), "histogram_sha256"),
        (without(*IMAGE, "losses", "mse"), "losses"),
        (changed(*IMAGE, "losses", "mse", "mse", value=None), "mse"),
    ],
)
def test_anything_else_is_refused_in_one_sentence(text, message):
    with pytest.raises(ReidEdgeError, match=message) as caught:
        CalibrationTable.from_json(text)
    assert "\n" not in str(caught.value)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "calibration.json"
    TABLE.save(path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("calibration.table.os.replace", full)
    with pytest.raises(ReidEdgeError, match="No space left"):
        TABLE.with_method("minmax").save(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["calibration.json"]


def test_missing_folders_and_files_are_reported(tmp_path):
    with pytest.raises(ReidEdgeError, match="No such file"):
        TABLE.save(tmp_path / "absent" / "calibration.json")
    with pytest.raises(ReidEdgeError, match="No such file"):
        CalibrationTable.load(tmp_path / "absent.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ReidEdgeError, match="UTF-8"):
        CalibrationTable.load(tmp_path / "binary.json")
