"""Serialised ONNX models without the package onnx, which a board does not have.

Field numbers are those of ``onnx.proto`` (onnx/onnx, version 1.15); only what a chain of nodes needs.
"""

import struct

FLOAT = 1


def linear_model(weights, height, width, nodes=()):
    """A network that multiplies the pixels of an image with a matrix.

    Args:
        weights: (3 * height * width, D) float array.
        nodes: Operators behind the product, such as ("Relu",).
    """
    names = ["product", *("after%d" % i for i in range(len(nodes)))]
    names[-1] = "embedding"
    body = [_node("Flatten", ["images"], ["pixels"])]
    body.append(_node("MatMul", ["pixels", "weights"], [names[0]]))
    for i, operator in enumerate(nodes):
        body.append(_node(operator, [names[i]], [names[i + 1]]))
    graph = b"".join(_field(1, node) for node in body)
    graph += _field(2, b"tiny")
    graph += _field(5, _tensor("weights", weights))
    graph += _field(11, _value("images", ["b", 3, height, width]))
    graph += _field(12, _value("embedding", ["b", weights.shape[1]]))
    opset = _field(1, b"") + _number(2, 13)
    return _number(1, 7) + _field(7, graph) + _field(8, opset)


def _node(operator, inputs, outputs):
    parts = [_field(1, name.encode()) for name in inputs]
    parts += [_field(2, name.encode()) for name in outputs]
    return b"".join(parts) + _field(3, outputs[0].encode()) + _field(4, operator.encode())


def _tensor(name, values):
    dims = b"".join(_number(1, size) for size in values.shape)
    raw = b"".join(struct.pack("<f", value) for value in values.ravel())
    return dims + _number(2, FLOAT) + _field(8, name.encode()) + _field(9, raw)


def _value(name, shape):
    dims = b"".join(
        _field(1, _field(2, size.encode()) if isinstance(size, str) else _number(1, size))
        for size in shape
    )
    tensor = _number(1, FLOAT) + _field(2, dims)
    return _field(1, name.encode()) + _field(2, _field(1, tensor))


def _field(number, payload):
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _number(number, value):
    return _varint(number << 3) + _varint(value)


def _varint(value):
    digits = bytearray()
    while True:
        value, digit = value >> 7, value & 0x7F
        digits.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(digits)
