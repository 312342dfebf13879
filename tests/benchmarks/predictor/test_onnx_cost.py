"""ONNX graphs to fused kernels."""

import sys
from collections import Counter

import numpy as np
import pytest

from benchmarks.predictor.cost import Gemm, Shape
from benchmarks.predictor.networks.resnet import resnet
from benchmarks.predictor.onnx_cost import cost_of_onnx
from runtime.errors import ReidEdgeError

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


@pytest.fixture
def save(tmp_path):
    """Write a one-input, one-output graph; constants are given by shape."""

    def make(nodes, constants=None, shape=("n", 3, 8, 6), name="net.onnx", opset=13):
        tensors = [
            numpy_helper.from_array(
                value if isinstance(value, np.ndarray) else np.ones(value, np.float32), key
            )
            for key, value in (constants or {}).items()
        ]
        graph = helper.make_graph(
            [
                helper.make_node(op, [t if t != "-" else "" for t in i.split()], o.split(), **a)
                for op, i, o, a in nodes
            ],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            tensors,
        )
        path = tmp_path / name
        imports = [helper.make_opsetid("", opset)]
        onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=7), path)
        return path

    return make


def conv(data, weights, output, **attributes):
    return ("Conv", "%s %s" % (data, weights), output, {"pads": [1] * 4, **attributes})


BN = {key: (4,) for key in ("g", "b", "m", "v")}


def test_a_residual_block_is_two_kernels(save):
    path = save(
        [
            conv("x", "w0", "a"),
            ("BatchNormalization", "a g b m v", "n", {}),
            ("Relu", "n", "r", {}),
            conv("r", "w1", "c"),
            ("Add", "c r", "s", {}),
            ("Relu", "s", "y", {}),
        ],
        {"w0": (4, 3, 3, 3), "w1": (4, 4, 3, 3), **BN},
    )
    cost = cost_of_onnx(path)
    first, second = cost.kernels
    assert first.gemm == Gemm(48, 4, 27, 1) and second.gemm == Gemm(48, 4, 36, 1)
    assert (first.reads, second.reads) == (3 * 48, 2 * 4 * 48)  # the second reads the shortcut
    assert cost.macs == 48 * 4 * (27 + 36)
    assert cost.input == Shape(3, 8, 6) and cost.outputs == 4 * 48
    assert not cost.quantized and all(kernel.int8 for kernel in cost.kernels)


def test_what_somebody_else_reads_is_not_absorbed(save):
    """The ReLU's input is read twice, so the convolution must write it as it is."""
    path = save(
        [
            conv("x", "w", "c"),
            ("Sigmoid", "c", "s", {}),
            ("Mul", "c s", "y", {}),
        ],
        {"w": (4, 3, 3, 3)},
    )
    kernels = cost_of_onnx(path).kernels
    assert [kernel.op for kernel in kernels] == ["conv", "pointwise"]
    assert kernels[1].functions == ("sigmoid", "mul")  # one kernel, as TensorRT fuses them
    assert kernels[1].reads == 4 * 48


def test_a_gate_of_another_size_is_a_kernel_of_its_own(save):
    path = save(
        [
            conv("x", "w", "c"),
            ("GlobalAveragePool", "c", "p", {}),
            ("Sigmoid", "p", "s", {}),
            ("Mul", "c s", "y", {}),
        ],
        {"w": (4, 3, 3, 3)},
    )
    assert [kernel.op for kernel in cost_of_onnx(path).kernels] == [
        "conv",
        "reduce",
        "pointwise",
        "pointwise",
    ]


def test_depthwise_transposed_and_pooling(save):
    path = save(
        [
            ("Conv", "x w0", "a", {"pads": [1] * 4, "group": 4}),
            ("ConvTranspose", "a w1", "b", {"strides": [2, 2]}),
            ("MaxPool", "b", "c", {"kernel_shape": [2, 2], "strides": [2, 2]}),
            ("GlobalAveragePool", "c", "y", {}),
        ],
        {"w0": (4, 1, 3, 3), "w1": (4, 6, 2, 2)},
        shape=("n", 4, 8, 6),
    )
    depthwise, transposed, pool, mean = cost_of_onnx(path).kernels
    assert depthwise.op == "depthwise" and depthwise.macs == 48 * 4 * 9
    assert transposed.gemm == Gemm(48, 6 * 4, 4, 1) and "convtranspose" in transposed.functions
    assert (pool.op, pool.window, pool.output) == ("pool", (2, 2), Shape(6, 8, 6))
    assert mean.functions == ("globalaveragepool",)


def test_products(save):
    path = save(
        [
            ("Reshape", "x s", "f", {}),  # (n, 4, 12)
            ("MatMul", "f k", "a", {}),  # constant right: (n, 4, 5)
            ("MatMul", "left a", "b", {}),  # constant left: (n, 7, 5)
            ("Transpose", "a", "t", {"perm": [0, 2, 1]}),  # (n, 5, 4)
            ("MatMul", "t a", "c", {}),  # two maps: (n, 5, 5)
            ("MatMul", "b c", "y", {}),
        ],
        {"s": np.array([-1, 4, 12], np.int64), "k": (12, 5), "left": (7, 4)},
        shape=("n", 3, 4, 4),
    )
    kernels = cost_of_onnx(path).kernels
    products = [kernel for kernel in kernels if kernel.gemm]
    assert [kernel.op for kernel in products] == ["gemm", "gemm", "matmul", "matmul"]
    # rows are those of the activations, columns those of the weights
    assert products[0].gemm == Gemm(4, 5, 12) and products[0].weights == 60
    assert products[1].gemm == Gemm(5, 7, 4) and products[1].weights == 28
    assert products[2].gemm == Gemm(5, 5, 4) and products[2].weights == 0
    assert products[2].functions == ("batchmatmul",)  # three dimensions: the X3 has no kernel
    assert not products[2].int8
    assert Counter(kernel.op for kernel in kernels)["copy"] == 2  # the reshape and the transpose


def test_gemm_with_transposed_weights(save):
    path = save(
        [
            ("Flatten", "x", "f", {}),
            ("Gemm", "f w c", "y", {"transB": 1}),
        ],
        {"w": (10, 144), "c": (10,)},
    )
    gemm = cost_of_onnx(path).kernels[-1]
    assert gemm.gemm == Gemm(1, 10, 144) and gemm.weights == 1450


def test_concatenation_is_free_until_an_operand_lives_on(save):
    dense = [
        conv("x", "w0", "a"),
        ("Concat", "x a", "ab", {"axis": 1}),
        conv("ab", "w1", "c"),
        ("Concat", "ab c", "abc", {"axis": 1}),
        conv("abc", "w2", "y"),
    ]
    weights = {"w0": (4, 3, 3, 3), "w1": (4, 7, 3, 3), "w2": (4, 11, 3, 3)}
    kernels = cost_of_onnx(save(dense, weights)).kernels
    assert [kernel.op for kernel in kernels] == ["conv", "conv", "copy", "conv"]
    assert kernels[2].functions == ("concat",) and kernels[2].writes == 11 * 48


def test_q_and_dq_say_which_kernels_are_int8(save):
    scale = {"s": np.array(0.1, np.float32), "z": np.array(0, np.int8)}
    path = save(
        [
            ("QuantizeLinear", "x s z", "q0", {}),
            ("DequantizeLinear", "q0 s z", "d0", {}),
            ("QuantizeLinear", "w0 s z", "qw", {}),
            ("DequantizeLinear", "qw s z", "dw", {}),
            conv("d0", "dw", "a"),
            ("Relu", "a", "r", {}),
            ("Sigmoid", "r", "g", {}),
            conv("g", "w1", "y"),
        ],
        {"w0": (4, 3, 3, 3), "w1": (4, 4, 3, 3), **scale},
    )
    cost = cost_of_onnx(path)
    assert cost.quantized
    assert [(kernel.op, kernel.int8) for kernel in cost.kernels] == [
        ("copy", True),  # the input's rounding
        ("conv", True),
        ("pointwise", False),
        ("conv", False),
    ]
    assert cost.weights == 4 * 27 + 4 + 4 * 36 + 4


def test_the_batch_does_not_count(save):
    one = save([conv("x", "w", "y")], {"w": (4, 3, 3, 3)}, (1, 3, 8, 6), "a.onnx")
    free = save([conv("x", "w", "y")], {"w": (4, 3, 3, 3)}, ("n", 3, 8, 6), "b.onnx")
    assert cost_of_onnx(one).kernels == cost_of_onnx(free).kernels


@pytest.mark.parametrize(
    "shape, expected",
    [
        (("n", 3, "h", 6), "static dimensions"),
        ((8, 3, 8, 6), "batch 1 or a dynamic batch"),
    ],
)
def test_shapes_that_are_not_static_are_refused(save, shape, expected):
    with pytest.raises(ReidEdgeError, match=expected):
        cost_of_onnx(save([conv("x", "w", "y")], {"w": (4, 3, 3, 3)}, shape))


def test_unknown_operators_are_named(save):
    path = save([("NonZero", "x", "y", {})])
    with pytest.raises(ReidEdgeError, match="NonZero"):
        cost_of_onnx(path)


def test_files_that_are_no_model(tmp_path):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"\xff" * 40)
    with pytest.raises(ReidEdgeError, match=r"bad\.onnx"):
        cost_of_onnx(bad)
    with pytest.raises(ReidEdgeError, match=r"missing\.onnx"):
        cost_of_onnx(tmp_path / "missing.onnx")


def test_without_onnx_the_user_is_told_where_to_predict(save, monkeypatch):
    path = save([conv("x", "w", "y")], {"w": (4, 3, 3, 3)})
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ReidEdgeError, match="workstation"):
        cost_of_onnx(path)


def test_a_traced_network_is_the_described_one(tmp_path):
    """Bag of tricks ResNet-18 through the exporter: kernel for kernel what the description says."""
    torch = pytest.importorskip("torch")
    from export.trace import trace
    from models.spec import NetworkSpec, build_network
    from runtime.contract import InputContract

    torch.set_num_threads(1)
    network = build_network(NetworkSpec("resnet18", height_px=64, width_px=32))
    contract = InputContract(64, 32)
    path = tmp_path / "net.onnx"
    onnx.save(trace(network, contract), path)
    traced, described = cost_of_onnx(path), resnet(18, (64, 32), 1, 0)

    def convolutions(cost):
        return sorted((k.gemm, k.reads, k.writes) for k in cost.kernels if k.op == "conv")

    assert convolutions(traced) == convolutions(described)
    assert traced.input == described.input


@pytest.mark.parametrize(
    "name, gmacs",
    # 1.08 GFLOP of YOLOX's, 1.2 GFLOP of NanoDet's model table, halved
    [("yolox_nano_416x416", 0.54), ("nanodet_m_416", 0.6)],
)
def test_real_detectors(shared, name, gmacs):
    cost = cost_of_onnx(shared / "detectors" / (name + ".onnx"))
    assert cost.macs / 1e9 == pytest.approx(gmacs, rel=0.05)
    assert cost.input == Shape(3, 416, 416)
