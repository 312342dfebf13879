"""The checker of TensorRT's rules accepts a legal graph and notices each breach."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.export.small_models import node, normal, small_model
from tests.export.tensorrt_rules import RULES, Violation, violations


class Builder:
    """A small legal network: stem, a block with a downsample, a plain block, a gate, a neck."""

    def __init__(self):
        self.nodes, self.constants = [], {}
        stem = self.relu("r1", self.conv("c1", self.pair("x"), (16, 3, 3, 3), pads=[1] * 4))
        shared = self.pair(stem)
        inner = self.relu("r2", self.conv("c2", shared, (16, 16, 1, 1)))
        main = self.conv("c3", self.pair(inner), (16, 16, 3, 3), pads=[1] * 4)
        side = self.conv("cd", shared, (16, 16, 1, 1))
        block1 = self.relu("r3", self.add("a1", main, self.pair(side)))
        shared = self.pair(block1)
        block2 = self.relu("r4", self.add("a2", self.conv("c4", shared, (16, 16, 1, 1)), shared))
        self.nodes.append(node("GlobalAveragePool", block2, "p", "pool"))
        self.conv("cg", "p", (16, 16, 1, 1), int8=False)
        self.nodes += [
            node("Sigmoid", "cg", "g", "sigmoid"),
            node("Mul", block2 + " g", "m", "mul"),
        ]
        self.conv("c5", self.pair("m"), (16, 1, 3, 3), group=16)
        self.conv("c6", "c5", (8, 16, 1, 1), int8=False)
        self.constants.update(wf=normal(8, 4), wm=normal(1, 8))
        self.nodes += [
            node("GlobalAveragePool", "c6", "q", "pool2"),
            node("Flatten", "q", "f", "flatten"),
            node("Mul", "f wm", "fm", "neck"),
            node("Gemm", "fm wf", "y", "fc"),
        ]

    def pair(self, tensor, axis=None, size=None):
        shape = () if size is None else (size,)
        self.constants[tensor + "_s"] = np.full(shape, 0.03, np.float32)
        self.constants[tensor + "_z"] = np.zeros(shape, np.int8)
        names, extra = "%s %s_s %s_z", {} if axis is None else {"axis": axis}
        self.nodes += [
            node("QuantizeLinear", names % ((tensor,) * 3), tensor + "_q", tensor + "_Q", **extra),
            node(
                "DequantizeLinear",
                names % (tensor + "_q", tensor, tensor),
                tensor + "_d",
                tensor + "_DQ",
                **extra,
            ),
        ]
        return tensor + "_d"

    def conv(self, name, tensor, shape, int8=True, **attributes):
        self.constants["w" + name], self.constants["b" + name] = normal(*shape), normal(shape[0])
        weight = self.pair("w" + name, axis=0, size=shape[0]) if int8 else "w" + name
        self.nodes.append(
            node("Conv", " ".join([tensor, weight, "b" + name]), name, name, **attributes)
        )
        return name

    def relu(self, name, tensor):
        self.nodes.append(node("Relu", tensor, name, name))
        return name

    def add(self, name, a, b):
        self.nodes.append(node("Add", a + " " + b, name, name))
        return name

    def model(self):
        return small_model(self.nodes, self.constants, ("batch", 3, 12, 8))


class Mutant:
    """A legal model to be broken; nodes are addressed by name."""

    def __init__(self):
        self.model = Builder().model()

    def node(self, name):
        return next(n for n in self.model.graph.node if n.name == name)

    def set(self, name, value):
        self.unset(name)
        self.model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))

    def unset(self, name):
        for tensor in [t for t in self.model.graph.initializer if t.name == name]:
            self.model.graph.initializer.remove(tensor)

    def wrap(self, reader, position, scale=0.03, size=None, zero=0):
        """Put a Q/DQ pair of its own before one input of a node."""
        target = self.node(reader)
        tensor, shape = target.input[position], () if size is None else (size,)
        stem = "extra_%s_%d" % (reader, position)
        self.set(stem + "_s", np.full(shape, scale, np.float32))
        self.set(stem + "_z", np.full(shape, zero, np.int8))
        extra = {} if size is None else {"axis": 0}
        q = helper.make_node(
            "QuantizeLinear",
            [tensor, stem + "_s", stem + "_z"],
            [stem + "_q"],
            stem + "_Q",
            **extra,
        )
        dq = helper.make_node(
            "DequantizeLinear",
            [stem + "_q", stem + "_s", stem + "_z"],
            [stem],
            stem + "_DQ",
            **extra,
        )
        at = list(self.model.graph.node).index(target)
        self.model.graph.node.insert(at, dq)
        self.model.graph.node.insert(at, q)
        self.node(reader).input[position] = stem

    def unwrap(self, reader, position):
        """Let a node read the float tensor behind a pair."""
        target = self.node(reader)
        assert target.input[position].endswith("_d")
        target.input[position] = target.input[position][:-2]

    def scales(self, tensor, value):
        self.set(tensor + "_s", value)

    def zeros(self, tensor, value):
        self.set(tensor + "_z", value)


def swap_shortcut(m):
    """Quantize the long branch of the downsample block instead of the short one."""
    m.unwrap("a1", 1)
    m.wrap("a1", 0)


def drop_zero_point(m):
    for name in ("r1_Q", "r1_DQ"):
        del m.node(name).input[2]
    m.unset("r1_z")


def per_tensor_weight(m):
    m.scales("wc4", np.float32(0.03))
    m.zeros("wc4", np.int8(0))


def weight_axis(m):
    for name in ("wc4_Q", "wc4_DQ"):
        m.node(name).attribute[0].i = 1


def other_dequantization_scale(m):
    m.set("other", np.float32(0.031))
    m.node("r1_DQ").input[1] = "other"


def two_dequantizers(m):
    copy = m.model.graph.node.add()
    copy.CopyFrom(m.node("r1_DQ"))
    copy.name, copy.output[0] = "second_DQ", "second"
    at = next(i for i, n in enumerate(m.model.graph.node) if n.name == "cd")
    m.model.graph.node.remove(copy)
    m.model.graph.node.insert(at, copy)
    m.node("cd").input[0] = "second"


def stored_codes(m):
    m.set("wc4_q", np.ones((16, 16, 1, 1), np.int8))
    m.model.graph.node.remove(m.node("wc4_Q"))


def quantize_gate(m):
    m.wrap("cg", 0)
    m.wrap("cg", 1, size=16)


def quantize_narrow(m):
    m.set("wc6", normal(8, 16, 1, 3))
    m.wrap("c6", 0)
    m.wrap("c6", 1, size=8)


def quantize_neck(m):
    m.wrap("fc", 0)
    m.wrap("fc", 1)


def move_axes_to_input(m):
    pool = m.node("pool2")
    m.set("axes", np.array([2, 3]))
    pool.op_type = "ReduceMean"
    pool.input.append("axes")


def rename(name, op_type):
    return lambda m: setattr(m.node(name), "op_type", op_type)


def opset(version):
    return lambda m: setattr(m.model.opset_import[0], "version", version)


# what is done -> the rules that must speak, and no others
MUTATIONS = {
    "Q on a bias": (lambda m: m.wrap("c4", 2), {"bias"}),
    "Q between convolution and addition": (lambda m: m.wrap("a2", 0), {"residual"}),
    "Q on the longer of two convolution branches": (swap_shortcut, {"residual"}),
    "no Q on the identity": (lambda m: m.unwrap("a2", 1), {"residual"}),
    "Q on both sides of a gate's product": (
        lambda m: (m.wrap("mul", 0), m.wrap("mul", 1)),
        {"reader", "source"},
    ),
    "activation per channel": (
        lambda m: (
            m.scales("r1", np.full(16, 0.03, np.float32)),
            m.zeros("r1", np.zeros(16, np.int8)),
        ),
        {"activation scale"},
    ),
    "weight per tensor": (per_tensor_weight, {"weight scale"}),
    "weight along the input channels": (weight_axis, {"weight scale"}),
    "zero scale": (lambda m: m.scales("r2", np.float32(0)), {"scale"}),
    "one zero scale of a weight": (
        lambda m: m.scales("wc4", np.eye(16, dtype=np.float32)[0]),
        {"scale"},
    ),
    "negative scale": (lambda m: m.scales("r2", np.float32(-0.1)), {"scale"}),
    "infinite scale": (lambda m: m.scales("r2", np.float32(np.inf)), {"scale"}),
    "NaN scale": (lambda m: m.scales("r2", np.float32(np.nan)), {"scale", "pair"}),
    "double scale": (lambda m: m.scales("r2", np.float64(0.1)), {"scale", "operator"}),
    "zero-point": (lambda m: m.zeros("r2", np.int8(3)), {"zero point"}),
    "zero-point of a weight": (
        lambda m: m.zeros("wc4", np.eye(16, dtype=np.int8)[1]),
        {"zero point"},
    ),
    "uint8 activations": (lambda m: m.zeros("r2", np.uint8(0)), {"zero point", "operator"}),
    "implicit zero-point": (drop_zero_point, {"zero point"}),
    "float weight": (lambda m: m.unwrap("c4", 1), {"operands"}),
    "float activation": (lambda m: m.unwrap("c2", 0), {"operands"}),
    "float activation of the shortcut": (lambda m: m.unwrap("cd", 0), {"operands"}),
    "second pair with another scale": (
        lambda m: (m.unwrap("cd", 0), m.wrap("cd", 0, scale=0.05)),
        {"shared pair"},
    ),
    "second pair with the same scale": (
        lambda m: (m.unwrap("cd", 0), m.wrap("cd", 0)),
        {"shared pair"},
    ),
    "DQ with another scale than Q": (other_dequantization_scale, {"pair"}),
    "two DQ behind one Q": (two_dequantizers, {"pair"}),
    "weights stored as codes": (stored_codes, {"pair", "operator"}),
    "Q before a sigmoid": (lambda m: m.wrap("sigmoid", 0), {"reader"}),
    "Q behind a sigmoid": (lambda m: m.wrap("mul", 1), {"reader", "source"}),
    "Q before global pooling": (lambda m: m.wrap("pool2", 0), {"reader"}),
    "Q before the neck": (lambda m: m.wrap("neck", 0), {"reader", "source"}),
    "quantized fully connected layer": (quantize_neck, {"reader"}),
    "Q at the network's end": (
        lambda m: m.model.graph.output.append(onnx.ValueInfoProto(name="m_d")),
        {"reader"},
    ),
    "quantized gate": (quantize_gate, {"gate", "1x1 map", "source"}),
    "few channels, oblong kernel": (quantize_narrow, {"channels"}),
    "grouped, 1x1 kernel": (lambda m: m.set("wc5", normal(16, 1, 1, 1)), {"channels"}),
    "Einsum": (rename("pool2", "Einsum"), {"operator"}),
    "Gelu": (rename("r4", "Gelu"), {"operator"}),
    "LayerNormalization": (rename("r4", "LayerNormalization"), {"operator"}),
    "reduction with axes as an input": (move_axes_to_input, {"operator"}),
    "opset 17": (opset(17), {"version"}),
    "opset 12": (opset(12), {"version"}),
    "IR version 10": (lambda m: setattr(m.model, "ir_version", 10), {"version"}),
}


def test_the_legal_model_has_no_violation():
    assert violations(Builder().model()) == []


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_is_noticed(name):
    change, rules = MUTATIONS[name]
    mutant = Mutant()
    change(mutant)
    found = violations(mutant.model)
    assert {v.rule for v in found} == rules, found
    assert all(isinstance(v, Violation) and v.where for v in found)


def test_every_rule_has_a_mutation():
    assert set().union(*(rules for _, rules in MUTATIONS.values())) == set(RULES)
