"""Fixtures of the training tests: data sets of drawn people, made once."""

from __future__ import annotations

import pytest
import torch

from tests.training.drawn_people import write_market, write_people, write_teacher


@pytest.fixture(scope="session")
def people(tmp_path_factory):
    """Eight people with four images each, one folder per person."""
    return write_people(tmp_path_factory.mktemp("people"), 8, 4)


@pytest.fixture(scope="session")
def market(tmp_path_factory):
    """Four other people to test on, and eight to train on, in the layout of Market-1501."""
    return write_market(tmp_path_factory.mktemp("market"), 8, 4)


@pytest.fixture(scope="session")
def teacher_file(tmp_path_factory):
    """A small untrained network as a checkpoint; 64 dimensions, 64x32 pixels."""
    return write_teacher(tmp_path_factory.mktemp("teacher") / "teacher.pth")


@pytest.fixture
def one_thread():
    """Tiny networks are faster without a pool of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
