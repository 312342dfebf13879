"""ResNet: sizes, the stem's two max pools, non-local blocks, IBN."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from models.resnet import DEPTHS, IBN, NonLocal, ResidualBlock, ResNet, ResNetConfig


@given(height=st.integers(16, 100), width=st.integers(16, 70), last_stride=st.sampled_from([1, 2]))
@settings(max_examples=15, deadline=None)
def test_stage_sizes(height, width, last_stride):
    config = ResNetConfig("basic", (1, 1, 1, 1), width=4, last_stride=last_stride)
    network, sizes = ResNet(config).eval(), []
    for stage in range(1, 5):
        getattr(network, f"layer{stage}")[-1].register_forward_hook(
            lambda module, args, output: sizes.append(tuple(output.shape[2:]))
        )
    with torch.no_grad():
        out = network(torch.zeros(1, 3, height, width))
    assert tuple(sizes) == config.stage_sizes(height, width)
    assert out.shape[1] == network.out_channels == config.stage_channels[3]


@pytest.mark.parametrize("depth, parameters", [(18, 11_176_512), (50, 23_508_032)])
def test_parameter_counts_are_torchvision_s(depth, parameters):
    """Published counts less the 1000-class layer (11,689,512 and 25,557,032)."""
    network = ResNet(ResNetConfig.of_depth(depth))
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert network.config.depth == depth


@pytest.mark.parametrize(
    "depth, group_width, parameters", [(50, 4, 22_979_904), (101, 8, 86_742_336)]
)
def test_resnext_parameter_counts(depth, group_width, parameters):
    """Published counts less the 1000-class layer (25,028,904 and 88,791,336)."""
    with torch.device("meta"):
        network = ResNet(ResNetConfig.of_depth(depth, groups=32, group_width=group_width))
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert tuple(network.layer1[0].conv2.weight.shape) == (
        32 * group_width,
        group_width,
        3,
        3,
    )


def test_groups_do_not_see_each_other():
    block = ResidualBlock("bottleneck", 64, 64, 1, False, groups=32, group_width=4).eval()
    assert block.conv2.groups == 32 and block.conv1.out_channels == 128
    dense = torch.zeros(128, 128, 3, 3)
    for channel in range(128):
        start = channel // 4 * 4
        dense[channel, start : start + 4] = block.conv2.weight[channel]
    x = torch.randn(2, 128, 6, 5)
    assert torch.allclose(block.conv2(x), F.conv2d(x, dense, padding=1), atol=1e-5)


def test_depths_are_consistent():
    assert all(ResNetConfig.of_depth(depth).depth == depth for depth in DEPTHS)


def test_ceil_pool_is_padding_right_and_bottom():
    pool = ResNet(ResNetConfig("basic", (1, 1, 1, 1), width=4, ceil_pool=True)).maxpool
    x = torch.randn(2, 4, 32, 16)
    padded = F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=float("-inf")), 3, 2)
    assert torch.equal(pool(x), padded)
    assert not torch.equal(pool(x), F.max_pool2d(x, 3, 2, 1))


def test_non_local_is_the_affinity_product():
    torch.manual_seed(0)
    block = NonLocal(8).double().eval()
    x = torch.randn(2, 8, 5, 3, dtype=torch.float64)
    theta, phi, g = (conv(x).reshape(2, 1, 15) for conv in (block.theta, block.phi, block.g))
    affinity = theta.transpose(1, 2) @ phi / 15
    y = (affinity @ g.transpose(1, 2)).transpose(1, 2).reshape(2, 1, 5, 3)
    assert torch.allclose(block(x), block.W(y) + x, rtol=1e-12, atol=1e-12)


def test_non_local_sits_behind_the_last_blocks():
    network = ResNet(ResNetConfig("basic", (1, 3, 1, 1), width=4, non_local=(0, 2, 0, 0))).eval()
    order = []
    for name, module in network.named_modules():
        if name.startswith(("layer2.", "NL_2.")) and name.count(".") == 1:
            module.register_forward_hook(lambda m, a, o, name=name: order.append(name))
    with torch.no_grad():
        network(torch.zeros(1, 3, 32, 32))
    assert order == ["layer2.0", "layer2.1", "NL_2.0", "layer2.2", "NL_2.1"]


def test_ibn_normalises_first_half_per_instance():
    torch.manual_seed(0)
    norm = IBN(6).eval()
    out = norm(torch.randn(2, 6, 9, 9) * 5 + 3)
    assert torch.allclose(out[:, :3].mean((2, 3)), torch.zeros(2, 3), atol=1e-5)
    assert float(out[:, 3:].mean()) > 1.0  # running statistics, so the offset stays


def test_missing_stem_relu_changes_the_function():
    torch.manual_seed(0)
    plain = ResNet(ResNetConfig("basic", (1, 1, 1, 1), width=4)).eval()
    without = ResNet(ResNetConfig("basic", (1, 1, 1, 1), width=4, stem_relu=False)).eval()
    without.load_state_dict(plain.state_dict())
    x = -torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert not torch.allclose(plain(x), without(x))
