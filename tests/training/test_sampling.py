"""The sampler of a recipe: what does not fit is refused with the option that would."""

from __future__ import annotations

import re

import pytest
import torch

from runtime.errors import ReidEdgeError
from tests.training.drawn_people import recipe
from training.data import open_training_set
from training.distributed import Processes
from training.sampler import PKSampler, UniformSampler
from training.sampling import build_sampler, smaller_batch

UNIFORM = {"losses": {}, "sampler": {"kind": "uniform", "batch": 20}}


def built(people, changes, world_size=1, views_given=False):
    processes = Processes(0, world_size, torch.device("cpu"))
    return build_sampler(recipe(changes), open_training_set(people), processes, views_given)


@pytest.mark.parametrize(
    ("changes", "world_size", "kind"),
    [
        ({"sampler.persons": 30}, 1, PKSampler),
        ({"sampler.persons": 5}, 2, PKSampler),
        ({**UNIFORM, "sampler.batch": 33}, 1, UniformSampler),
        (UNIFORM, 2, UniformSampler),
    ],
)
def test_a_batch_too_large_names_the_option_that_fits(people, changes, world_size, kind):
    """Eight people with four images each."""
    with pytest.raises(ReidEdgeError, match="or give a larger set") as error:
        built(people, changes, world_size)
    field, value = re.search(r"--set (\S+)=(\d+) ", str(error.value)).groups()
    assert isinstance(built(people, {**changes, field: int(value)}, world_size), kind)
    with pytest.raises(ReidEdgeError):
        built(people, {**changes, field: int(value) + 1}, world_size)


def test_more_processes_than_images_is_said(people):
    with pytest.raises(ReidEdgeError, match="use fewer processes"):
        built(people, UNIFORM, world_size=40)
    with pytest.raises(ReidEdgeError, match="use fewer processes"):
        built(people, {}, world_size=5)


def test_view_labels_that_nothing_reads_are_refused(people):
    with pytest.raises(ReidEdgeError, match=r"--set sampler\.rear_weight=2, or leave --views out"):
        built(people, {}, views_given=True)


def test_half_a_batch():
    assert smaller_batch(recipe(UNIFORM).sampler) == "--set sampler.batch=10"
    assert smaller_batch(recipe().sampler) == "--set sampler.persons=2"
