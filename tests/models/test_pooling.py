"""Pooling layers at their known limits."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.pooling import AttentionPool, AvgPool, GeMPool, MaxPool


@given(seed=st.integers(0, 1000), p=st.floats(1.0, 8.0))
@settings(max_examples=20, deadline=None)
def test_gem_lies_between_mean_and_maximum(seed, p):
    x = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    gem = GeMPool(p).double()(x)
    assert (gem >= AvgPool()(x) - 1e-9).all() and (gem <= MaxPool()(x) + 1e-9).all()


def test_gem_limits_and_clamp():
    x = torch.rand(1, 2, 6, 6, dtype=torch.float64) + 0.1
    assert torch.allclose(GeMPool(1.0).double()(x), AvgPool()(x))
    assert torch.allclose(GeMPool(200.0).double()(x), MaxPool()(x), rtol=0.03)
    assert torch.allclose(GeMPool(3.0)(-x.float()), torch.full((1, 2), 1e-6), rtol=1e-3)


def test_attention_pool():
    torch.manual_seed(0)
    x = torch.randn(2, 4, 3, 5)
    pool = AttentionPool(4, 3, 5)
    pool.score.weight.data.zero_()
    assert torch.allclose(pool(x), AvgPool()(x), atol=1e-6)
    pool.score.weight.data[0, 0] = 1000.0  # all weight on the largest value of channel 0
    where = x[:, 0].flatten(1).argmax(1)
    expected = x.flatten(2)[torch.arange(2), :, where]
    assert torch.allclose(pool(x), expected, atol=1e-4)
