"""A folder as reid-export --target x3 --detector writes it, without the toolchain's files."""

import json

from runtime.bundle import file_sha256
from runtime.detectors.kinds import KINDS
from runtime.detectors.record import RESULTS


def make_record(
    folder, kind="yolox", size=(128, 192), board_input="nv12", model=b"onnx", changes=None
):
    """Write ``net.onnx`` and ``detector.json``; ``changes`` replace keys, None removes one."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx = folder / "net.onnx"
    onnx.write_bytes(model)
    how = KINDS[kind].preparation
    record = {
        "schema": 1,
        "detector": "net.onnx",
        "sha256": file_sha256(onnx),
        "kind": kind,
        "input": how.contract(size).to_dict(),
        "board_input": board_input,
        "letterbox": {"fit": how.fit, "rounding": how.rounding, "pad_value": how.pad_value},
        "calibration_data": {"folder": "calibration", "files": 3},
        "operators": {"counts": {}, "segments": []},
        **(changes or {}),
    }
    record = {key: value for key, value in record.items() if value is not None}
    (folder / "detector.json").write_text(json.dumps(record))
    return folder


def add_compiled(folder, compiled, name="net.bin", results=True):
    """Put a compiled model where build.sh leaves it, or beside the record."""
    place = folder / RESULTS if results else folder
    place.mkdir(exist_ok=True)
    (place / name).write_bytes(compiled)
    return place / name
