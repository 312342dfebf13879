"""Fixtures of the losses' tests."""

import pytest
import torch


@pytest.fixture(autouse=True)
def seed():
    """The same random numbers in every run, whatever ran before."""
    torch.manual_seed(0)
