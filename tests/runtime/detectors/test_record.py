"""Finding and reading a detector.json."""

import json

import pytest

from runtime.detectors.kinds import KINDS
from runtime.detectors.record import OutputRecord, find_model, read_record
from runtime.errors import ReidEdgeError
from tests.runtime.detectors.export_folder import add_compiled, make_record


def refused(path):
    with pytest.raises(ReidEdgeError) as caught:
        find_model(path)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    return message


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_record_says(tmp_path, kind):
    outputs = [{"name": "out", "shape": [1, 504, 85]}]
    make_record(tmp_path, kind, (128, 192), changes={"outputs": outputs})
    record = read_record(tmp_path / "detector.json")
    assert record.kind is KINDS[kind] and record.size == (128, 192)
    assert (record.model, record.input_kind) == ("net", "nv12")
    assert record.outputs == [OutputRecord("out", (1, 504, 85))]
    make_record(tmp_path, kind, board_input="featuremap")
    record = read_record(tmp_path / "detector.json")
    assert (record.input_kind, record.outputs) == ("float", None)


@pytest.mark.parametrize("results", [True, False])
def test_a_folder_or_its_model(tmp_path, results):
    folder = make_record(tmp_path / "x")
    model = add_compiled(folder, b"bin", results=results)
    for given in (folder, model):
        assert find_model(given)[0] == model


def test_a_folder_without_or_with_two_models(tmp_path):
    folder = make_record(tmp_path / "x")
    assert "one compiled model net.bin" in refused(folder) and "got none" in refused(folder)
    add_compiled(folder, b"bin")
    add_compiled(folder, b"bin", results=False)
    assert "got two" in refused(folder)


def test_models_without_their_record(tmp_path):
    assert "none.bin is not a file; check the path" in refused(tmp_path / "none.bin")
    (tmp_path / "net.bin").write_bytes(b"bin")
    assert "Expected detector.json beside" in refused(tmp_path / "net.bin")
    assert "holds no detector.json, so it is no detector" in refused(tmp_path)
    # One folder above counts only where build.sh leaves its results.
    make_record(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "net.bin").write_bytes(b"bin")
    assert "Expected detector.json beside" in refused(tmp_path / "other" / "net.bin")


def test_a_record_of_another_model(tmp_path):
    folder = make_record(tmp_path)
    model = add_compiled(folder, b"bin", "yolov8n.bin")
    assert "is of a model net, got yolov8n.bin" in refused(model)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"schema": 2}, "its schema must be 1, got 2"),
        ({"schema": None}, "its schema must be 1, got None"),
        ({"surprise": 1}, "unknown keys ['surprise']"),
        ({"kind": None}, "lacks keys ['kind']"),
        ({"kind": "yolov99"}, "kind must be one of yolov5"),
        ({"kind": ["yolox"]}, "kind must be one of yolov5"),
        ({"kind": "nanodet"}, "its input is not prepared as that of a nanodet detector"),
        ({"input": 3}, "must be a JSON object"),
        ({"input": {"height": 128}}, "lacks keys"),
        ({"letterbox": {"fit": "centred"}}, "not prepared as that of a yolox"),
        ({"sha256": "0" * 64}, "its sha256 is not that of net.onnx beside it"),
        ({"outputs": {}}, "outputs must be a list"),
        ({"outputs": [{"name": "a"}]}, "outputs must be a list of names with shapes"),
        ({"outputs": [{"name": "a", "shape": [1, 0]}]}, "a shape of whole numbers"),
        ({"outputs": [{"name": "a", "shape": [1, True]}]}, "a shape of whole numbers"),
        ({"outputs": [{"name": 1, "shape": [1]}]}, "a shape of whole numbers"),
    ],
)
def test_changed_records_are_refused(tmp_path, changes, said):
    folder = make_record(tmp_path, changes=changes)
    add_compiled(folder, b"bin")
    message = refused(folder)
    assert said in message
    assert "was changed or is of another version" in message
    assert "export the detector again" in message


@pytest.mark.parametrize("text", ["", "[]", "{", "\udcff"])
def test_what_is_no_record(tmp_path, text):
    path = tmp_path / "detector.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert "was changed or is of another version" in refused(tmp_path)
    path.unlink()
    path.mkdir()
    assert "Cannot read" in refused(tmp_path)


@pytest.mark.parametrize("board_input", ["rgb", ["nv12"]])
def test_inputs_that_are_not_fed(tmp_path, board_input):
    message = refused(make_record(tmp_path, board_input=board_input))
    assert "fed with %s, but reid-edge feeds nv12 or featuremap" % board_input in message


def test_a_changed_pixel_of_padding_is_seen(tmp_path):
    make_record(tmp_path)
    path = tmp_path / "detector.json"
    record = json.loads(path.read_text())
    record["letterbox"]["pad_value"] = 0
    path.write_text(json.dumps(record))
    assert "not prepared as that of a yolox" in refused(tmp_path)


def test_the_onnx_file_need_not_be_there(tmp_path):
    folder = make_record(tmp_path)
    model = add_compiled(folder, b"bin")
    (folder / "net.onnx").unlink()
    assert find_model(folder)[0] == model
