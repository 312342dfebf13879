"""ResNeSt against the paper's formulas, written a second time over a plain state dict."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from models.resnest import RESNESTS, ResNeSt, ResNeStConfig, SplitAttention

TINY = {"layers": (2, 1, 2, 1), "width": 8, "stem_width": 4}


def seeded(module, seed=0):
    torch.manual_seed(seed)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            if tensor.dim() > 1:
                tensor.copy_(torch.randn_like(tensor) * (2 / tensor[0].numel()) ** 0.5)
            else:
                tensor.copy_(torch.rand_like(tensor) + 0.5)
    return module.double().eval()


def norm(state, name, x):
    return F.batch_norm(
        x, *(state[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
    )


def split_attention(state, name, x):
    """Radix 2 with the softmax of the paper, each half of the input convolved on its own."""
    weight = state[f"{name}.conv.weight"]
    channels = len(weight) // 2
    halves = [
        F.conv2d(part, w, padding=1)
        for part, w in zip(x.chunk(2, 1), (weight[:channels], weight[channels:]))
    ]
    u = F.relu(norm(state, f"{name}.bn0", torch.cat(halves, 1)))
    u = u.reshape(len(x), 2, channels, *x.shape[2:])
    s = u.sum(1).mean((2, 3), keepdim=True)
    s = F.conv2d(s, state[f"{name}.fc1.weight"], state[f"{name}.fc1.bias"])
    s = F.relu(norm(state, f"{name}.bn1", s))
    s = F.conv2d(s, state[f"{name}.fc2.weight"], state[f"{name}.fc2.bias"])
    a = s.reshape(len(x), 2, channels, 1, 1).softmax(1)
    return (a * u).sum(1)


def block(state, name, x, stride, pooled):
    y = F.relu(norm(state, f"{name}.bn1", F.conv2d(x, state[f"{name}.conv1.weight"])))
    y = split_attention(state, f"{name}.conv2", y)
    if pooled:
        y = F.avg_pool2d(y, 3, stride, padding=1)
    y = norm(state, f"{name}.bn3", F.conv2d(y, state[f"{name}.conv3.weight"]))
    if f"{name}.downsample.1.weight" in state:
        x = F.avg_pool2d(x, stride, ceil_mode=True, count_include_pad=False)
        x = norm(state, f"{name}.downsample.2", F.conv2d(x, state[f"{name}.downsample.1.weight"]))
    return F.relu(x + y)


def reference(config, state, x):
    x = F.relu(norm(state, "conv1.1", F.conv2d(x, state["conv1.0.weight"], None, 2, 1)))
    x = F.relu(norm(state, "conv1.4", F.conv2d(x, state["conv1.3.weight"], padding=1)))
    x = F.relu(norm(state, "bn1", F.conv2d(x, state["conv1.6.weight"], padding=1)))
    x = F.max_pool2d(x, 3, 2, 1)
    for stage, stride in enumerate((1, 2, 2, config.last_stride), start=1):
        for index in range(config.layers[stage - 1]):
            begins = index == 0
            x = block(
                state, f"layer{stage}.{index}", x, stride if begins else 1, begins and stage > 1
            )
    return x


@pytest.mark.parametrize("last_stride", [1, 2])
@pytest.mark.parametrize("size", [(64, 32), (72, 40)], ids=["even", "odd"])
def test_whole_network(last_stride, size):
    config = ResNeStConfig(**TINY, last_stride=last_stride)
    network = seeded(ResNeSt(config))
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        expected = reference(config, network.state_dict(), x)
        got = network(x)
    assert got.shape == expected.shape
    assert torch.allclose(got, expected, rtol=1e-10, atol=1e-10 * float(expected.abs().max()))


def test_split_attention_sees_both_splits():
    layer = seeded(SplitAttention(8))
    x = torch.randn(2, 8, 5, 4, dtype=torch.float64)
    with torch.no_grad():
        expected = split_attention({f"l.{k}": v for k, v in layer.state_dict().items()}, "l", x)
        assert torch.allclose(layer(x), expected, rtol=1e-12, atol=1e-12)
        swapped = layer.fc2.weight.roll(8, 0)
        assert not torch.allclose(layer.fc2.weight, swapped)
        layer.fc2.weight.copy_(swapped)
        assert not torch.allclose(layer(x), expected, rtol=1e-3)


@given(height=st.integers(16, 100), width=st.integers(16, 70), last_stride=st.sampled_from([1, 2]))
@settings(max_examples=15, deadline=None)
def test_stage_sizes(height, width, last_stride):
    config = ResNeStConfig((1, 1, 1, 1), width=4, stem_width=4, last_stride=last_stride)
    network, sizes = ResNeSt(config).eval(), []
    for stage in range(1, 5):
        getattr(network, f"layer{stage}").register_forward_hook(
            lambda module, args, output: sizes.append(tuple(output.shape[2:]))
        )
    with torch.no_grad():
        out = network(torch.zeros(1, 3, height, width))
    assert tuple(sizes) == config.stage_sizes(height, width)
    assert out.shape[1] == network.out_channels == config.stage_channels[3]


@pytest.mark.parametrize(
    "name, parameters", [("resnest50", 27_483_240), ("resnest101", 48_275_016)]
)
def test_parameter_counts_are_the_published(name, parameters):
    """Of the official ImageNet networks, less their 1000-class layer."""
    with torch.device("meta"):
        network = ResNeSt(RESNESTS[name])
    assert sum(p.numel() for p in network.parameters()) == parameters - 2049 * 1000


def test_keys_are_the_official_ones():
    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in ResNeSt(RESNESTS["resnest50"]).state_dict().items()}
    weights = {k: s for k, s in shapes.items() if k.endswith("weight")}
    assert {k: s for k, s in weights.items() if not k.startswith("layer")} == {
        "conv1.0.weight": (32, 3, 3, 3),
        "conv1.1.weight": (32,),
        "conv1.3.weight": (32, 32, 3, 3),
        "conv1.4.weight": (32,),
        "conv1.6.weight": (64, 32, 3, 3),
        "bn1.weight": (64,),
    }
    assert {k[9:]: s for k, s in weights.items() if k.startswith("layer2.0.")} == {
        "conv1.weight": (128, 256, 1, 1),
        "bn1.weight": (128,),
        "conv2.conv.weight": (256, 64, 3, 3),
        "conv2.bn0.weight": (256,),
        "conv2.fc1.weight": (64, 128, 1, 1),
        "conv2.bn1.weight": (64,),
        "conv2.fc2.weight": (256, 64, 1, 1),
        "conv3.weight": (512, 128, 1, 1),
        "bn3.weight": (512,),
        "downsample.1.weight": (512, 256, 1, 1),
        "downsample.2.weight": (512,),
    }
    biased = {k for k in shapes if k.endswith("bias") and shapes[k[:-4] + "weight"][1:]}
    assert {k.split(".", 2)[2] for k in biased} == {"conv2.fc1.bias", "conv2.fc2.bias"}
    assert not any(k.startswith("layer2.1.downsample") for k in shapes)


def test_attention_follows_its_stage():
    class Double(torch.nn.Module):
        def forward(self, x):
            return 2 * x

    config = ResNeStConfig((1, 1, 1, 1), width=4, stem_width=4)
    plain, doubled = ResNeSt(config).eval(), ResNeSt(config, {4: Double()}).eval()
    doubled.load_state_dict(plain.state_dict())
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(doubled(x), 2 * plain(x)) and float(plain(x).abs().max()) > 0
