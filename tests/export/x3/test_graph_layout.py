"""Layouts by Split and Concat are those of reshape and permute."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from export.x3.layout import CHANNEL, COLUMN, LAYOUTS, ROW, move
from tests.export.x3.small_networks import small_network  # noqa: F401  (one thread)

SIZE = st.integers(1, 13)


def numbered(*sizes: int) -> torch.Tensor:
    return torch.arange(torch.tensor(sizes).prod().item()).reshape(sizes)


@settings(max_examples=60, deadline=None)
@given(SIZE, SIZE, SIZE, st.permutations([CHANNEL, ROW, COLUMN]), st.integers(1, 12))
def test_move_makes_one_index_the_slow_part_of_another(c, h, w, axes, pieces):
    x = numbered(1, c, h, w)
    source, target, spare = axes
    moved = move(x, source, target, pieces)
    ordered = x.permute(0, spare, source, target)
    expected = ordered.reshape(1, x.shape[spare], 1, -1)
    got = moved.permute(0, spare, source, target)
    assert torch.equal(got, expected)


@pytest.mark.parametrize("kind", LAYOUTS)
@settings(max_examples=25, deadline=None)
@given(c=SIZE, h=SIZE, w=SIZE)
def test_layouts(kind, c, h, w):
    layout, x = LAYOUTS[kind], numbered(1, c, h, w)
    flat = x.reshape(1, c, 1, h * w)
    assert torch.equal(layout.flatten(x), flat)
    assert torch.equal(layout.unflatten(flat, h), x)
    assert torch.equal(layout.matrix(x), x.reshape(1, 1, c, h * w))
    assert torch.equal(layout.columns_to_channels(x[:, :1]), x[:, :1].permute(0, 3, 1, 2))
    assert torch.equal(layout.channels_to_columns(x[:, :, :1]), x[:, :, :1].permute(0, 2, 3, 1))


def test_large_sizes_move_in_few_pieces(monkeypatch):
    ways = []
    split = torch.Tensor.split

    def counted(self, *arguments):
        pieces = split(self, *arguments)
        ways.append(len(pieces))
        return pieces

    monkeypatch.setattr(torch.Tensor, "split", counted)
    x = numbered(1, 512, 1, 6)
    assert torch.equal(move(x, CHANNEL, ROW), x.reshape(1, 1, 512, 6))
    assert sorted(ways) == [16, 16, 32]
    ways.clear()
    move(numbered(1, 64, 1, 6), CHANNEL, ROW)
    assert ways == [64]
    ways.clear()
    prime = numbered(1, 67, 1, 6)  # which has no factors to move in
    assert torch.equal(move(prime, CHANNEL, ROW), prime.reshape(1, 1, 67, 6))
    assert ways == [67]
