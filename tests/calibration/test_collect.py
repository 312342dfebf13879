"""collect_ranges against running the network by hand."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibration.collect import collect_ranges
from calibration.histogram import TensorHistogram
from runtime.errors import ReidEdgeError

TENSORS = ["image", "conv", "relu", "half", "embedding"]


def small_net(batch="n", weight=None):
    """conv -> relu -> mul -> mean, with an integer tensor on the side."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(4, 3, 3, 3)).astype(np.float32) if weight is None else weight
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("Mul", ["relu", "factor"], ["half"]),
        helper.make_node("Shape", ["half"], ["shape"]),
        helper.make_node("GlobalAveragePool", ["half"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, 16, 8])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [batch, 4, 1, 1])],
        [
            numpy_helper.from_array(kernel, "kernel"),
            numpy_helper.from_array(np.float32([0.5]), "factor"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def images(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3, 16, 8)).astype(np.float32)


def run_by_hand(model, batch):
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    names = [n for n in TENSORS if n not in ("image", "embedding")]
    opened.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(opened.SerializeToString(), options)
    outputs = [o.name for o in session.get_outputs()]
    return {"image": batch, **dict(zip(outputs, session.run(None, {"image": batch})))}


@pytest.mark.parametrize("batch", ["n", 1])
@pytest.mark.parametrize("sizes", [[1], [20, 3], [8, 8]])
def test_ranges_are_those_of_running_the_network(batch, sizes):
    batches = [images(size, seed) for seed, size in enumerate(sizes)]
    done = []
    got = collect_ranges(small_net(batch), TENSORS, batches, threads=1, progress=done.append)
    assert list(got) == TENSORS
    assert sum(done) == sum(sizes) and max(done) <= 8
    real = run_by_hand(small_net(), np.concatenate(batches))
    for name in TENSORS:
        expected = TensorHistogram(name)
        expected.update(real[name])
        assert got[name].count == expected.count
        # Optimised and unoptimised graphs round differently; a value near an edge may change bins.
        assert got[name].low == pytest.approx(expected.low, rel=1e-5)
        assert got[name].high == pytest.approx(expected.high, rel=1e-5)
        moved = np.abs(got[name].counts - expected.counts).sum() / 2
        assert moved <= 1e-3 * expected.count


def test_the_same_data_in_other_batches_gives_the_same_ranges():
    whole = images(13)
    one = collect_ranges(small_net(), TENSORS, [whole], threads=1)
    many = collect_ranges(small_net(), TENSORS, [whole[i : i + 1] for i in range(13)], threads=1)
    for name in TENSORS:
        assert one[name].count == many[name].count
        assert one[name].high == pytest.approx(many[name].high, rel=1e-5)


def test_the_callers_model_is_left_alone_and_files_are_read(tmp_path):
    model = small_net()
    before = model.SerializeToString()
    from_memory = collect_ranges(model, ["relu"], [images(2)], threads=1)
    assert model.SerializeToString() == before
    onnx.save(model, str(tmp_path / "net.onnx"))
    from_file = collect_ranges(tmp_path / "net.onnx", ["relu"], [images(2)], threads=1)
    assert from_file["relu"].digest() == from_memory["relu"].digest()


def test_the_input_alone_can_be_collected():
    got = collect_ranges(small_net(), ["image"], [images(3)], threads=1)
    assert got["image"].count == images(3).size


def test_dead_activations_are_reported():
    dead = small_net(weight=np.zeros((4, 3, 3, 3), np.float32))
    assert collect_ranges(dead, ["relu"], [images(2)], threads=1)["relu"].dead


@pytest.mark.parametrize(
    ("tensors", "batches", "message"),
    [
        (["relu", "nowhere"], [images(1)], "nowhere"),
        (["kernel"], [images(1)], "kernel"),
        (["shape"], [images(1)], "int64"),
        (["relu"], [], "no images"),
        (["relu"], [images(1)[:0]], "no images"),
        (["relu"], [images(1).astype(np.float64)], "float64"),
        (["relu"], [images(1)[:, :, :8]], "8, 8"),
        (["relu"], [images(1)[0]], "3, 16, 8"),
    ],
)
def test_bad_requests_are_refused(tensors, batches, message):
    with pytest.raises(ReidEdgeError, match=message):
        collect_ranges(small_net(), tensors, batches, threads=1)


def test_nan_weights_name_the_first_tensor_they_reach():
    kernel = np.full((4, 3, 3, 3), np.nan, np.float32)
    with pytest.raises(ReidEdgeError, match=r"'conv'.*NaN"):
        collect_ranges(small_net(weight=kernel), ["conv"], [images(1)], threads=1)


def test_a_network_with_a_larger_fixed_batch_is_refused():
    with pytest.raises(ReidEdgeError, match="free or 1"):
        collect_ranges(small_net(batch=4), ["relu"], [images(4)], threads=1)


def test_unreadable_networks_are_refused(tmp_path):
    with pytest.raises(ReidEdgeError, match="No such file"):
        collect_ranges(tmp_path / "absent.onnx", ["relu"], [])
    (tmp_path / "junk.onnx").write_bytes(b"not a network at all")
    with pytest.raises(ReidEdgeError, match="not an ONNX file"):
        collect_ranges(tmp_path / "junk.onnx", ["relu"], [])
    broken = small_net()
    broken.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(ReidEdgeError, match="NoSuchOperator"):
        collect_ranges(broken, ["relu"], [images(1)])


RESNET_SCRIPT = """
import sys, threading
import numpy as np, onnx, psutil
from calibration.collect import collect_ranges
process, peak, done = psutil.Process(), [0], threading.Event()
def watch():
    while not done.wait(0.02):
        peak[0] = max(peak[0], process.memory_info().rss)
threading.Thread(target=watch, daemon=True).start()
model = onnx.load(sys.argv[1])
names = [o for node in model.graph.node if node.op_type in ("Conv", "Relu") for o in node.output]
rng = np.random.default_rng(0)
batches = (rng.standard_normal((32, 3, 256, 128), dtype=np.float32) for _ in range(3))
ranges = collect_ranges(model, names, batches, threads=2)
done.set()
assert len(ranges) > 90 and all(h.count % 96 == 0 for h in ranges.values())
print(peak[0])
"""


@pytest.mark.slow
def test_resnet50_with_every_convolution_stays_under_three_gigabytes(tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("psutil")

    class Bottleneck(torch.nn.Module):
        def __init__(self, inputs, width, stride):
            super().__init__()
            conv = torch.nn.Conv2d
            self.a, self.b = conv(inputs, width, 1), conv(width, width, 3, stride, 1)
            self.c, self.skip = conv(width, 4 * width, 1), conv(inputs, 4 * width, 1, stride)
            self.project = inputs != 4 * width or stride != 1

        def forward(self, x):
            skip = self.skip(x) if self.project else x
            return torch.relu(self.c(torch.relu(self.b(torch.relu(self.a(x))))) + skip)

    layers = [torch.nn.Conv2d(3, 64, 7, 2, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 1)):
        for block in range(blocks):
            layers.append(Bottleneck(inputs, width, stride if block == 0 else 1))
            inputs = 4 * width
    net = torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    path = tmp_path / "resnet50.onnx"
    torch.onnx.export(
        net,
        (torch.zeros(1, 3, 256, 128),),
        str(path),
        opset_version=13,
        dynamo=False,
        input_names=["image"],
        dynamic_axes={"image": {0: "n"}},
    )
    root = Path(__file__).resolve().parents[2]
    result = subprocess.run(
        [sys.executable, "-c", RESNET_SCRIPT, str(path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 3 << 30
