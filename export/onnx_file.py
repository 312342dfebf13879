"""ONNX files that users give."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from runtime.errors import ReidEdgeError


def read_onnx(path: Path) -> onnx.ModelProto:
    """Read an ONNX file.

    Raises:
        ReidEdgeError: It is missing or is no ONNX model.
    """
    try:
        model = onnx.load(str(path), format="protobuf")
    except OSError as error:
        raise ReidEdgeError(f"Cannot read {path}: {error.strerror or error}.") from None
    except DecodeError:
        raise ReidEdgeError(
            f"{path} is not an ONNX file, or is damaged; export it again."
        ) from None
    if not model.graph.node:
        raise ReidEdgeError(f"{path} has no nodes; give an exported ONNX model.")
    return model
