"""ReidNetwork.features: what metric losses and classifiers read, for every kind of neck."""

import pytest
import torch
from torch import nn

from models.network import PixelNormalize, ReidNetwork, bn_neck, fc_neck
from models.pooling import AvgPool

N, C, D = 4, 6, 3


class Backbone(nn.Module):
    out_channels = C

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, C, 3)

    def forward(self, x):
        return self.conv(x)


def network_of(neck, **options):
    torch.manual_seed(0)
    network = ReidNetwork(Backbone(), AvgPool(), neck, D, **options)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):  # at 0 and 1 a forgotten BatchNorm would not show
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -1, 1)
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval(), torch.randn(N, 3, 8, 8)


def batch_norm(x, layer):
    scale = layer.weight / (layer.running_var + layer.eps).sqrt()
    return (x - layer.running_mean) * scale + layer.bias


def test_bn_neck():
    network, x = network_of(bn_neck(C))
    before, after = network.features(x)
    pooled = network.backbone(x).mean((2, 3))
    assert torch.allclose(before, pooled, atol=1e-6)
    assert torch.allclose(after, batch_norm(pooled, network.neck), atol=1e-6)
    assert torch.equal(after, network(x))


def test_linear():
    network, x = network_of(nn.Linear(C, D))
    before, after = network.features(x)
    expected = network.backbone(x).mean((2, 3)) @ network.neck.weight.T + network.neck.bias
    assert before is after and torch.allclose(after, expected, atol=1e-6)
    assert torch.equal(after, network(x))


@pytest.mark.parametrize("relu", [False, True])
def test_reduction(relu):
    network, x = network_of(fc_neck(C, D, relu=relu))
    before, after = network.features(x)
    linear, norm = network.neck[0], network.neck[1]
    assert torch.allclose(before, linear(network.backbone(x).mean((2, 3))), atol=1e-6)
    expected = batch_norm(before, norm)
    assert torch.allclose(after, expected.clamp(min=0) if relu else expected, atol=1e-6)
    assert torch.equal(after, network(x))


def test_no_neck():
    network, x = network_of(None)
    before, after = network.features(x)
    assert before is after and torch.equal(after, network(x))


def test_before_neck_only_changes_forward():
    network, x = network_of(fc_neck(C, D, relu=False), feature="before_neck")
    same, _ = network_of(fc_neck(C, D, relu=False))
    same.load_state_dict(network.state_dict())
    assert network.dim == C and torch.equal(network(x), network.pool(network.backbone(x)))
    for got, expected in zip(network.features(x), same.features(x)):
        assert torch.equal(got, expected) and got.shape == (N, D)


def test_features_normalise_pixels():
    norm = PixelNormalize((10.0, 20.0, 30.0), (2.0, 3.0, 4.0))
    network, x = network_of(bn_neck(C), normalize=norm)
    pooled = network.backbone(norm(x)).mean((2, 3))
    assert torch.allclose(network.features(x)[0], pooled, atol=1e-6)
