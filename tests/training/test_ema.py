"""The running mean of the weights."""

from __future__ import annotations

import torch
from torch import nn

from training.ema import EmaNetwork


def test_mean_follows_the_recurrence_by_hand():
    network = nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(0.0)
    ema = EmaNetwork(network, decay=0.9)
    expected = 0.0
    for update in range(1, 201):
        network.weight.data.fill_(float(update % 3))
        decay = min(0.9, update / (update + 10))
        expected = decay * expected + (1 - decay) * (update % 3)
        ema.update(network)
    assert abs(ema.network.weight.item() - expected) < 1e-5


def test_integer_buffers_are_copied_and_nothing_is_trainable():
    network = nn.BatchNorm1d(2)
    ema = EmaNetwork(network, 0.99)
    network.num_batches_tracked.fill_(7)
    ema.update(network)
    assert ema.network.num_batches_tracked.item() == 7
    assert not any(p.requires_grad for p in ema.network.parameters())


def test_continues_from_its_state():
    network, other = nn.Linear(2, 2), nn.Linear(2, 2)
    ema = EmaNetwork(network, 0.5)
    ema.update(other)
    again = EmaNetwork(other, 0.5)
    again.load_state_dict(ema.state_dict())
    ema.update(network)
    again.update(network)
    assert all(
        torch.equal(a, b) for a, b in zip(ema.network.parameters(), again.network.parameters())
    )
