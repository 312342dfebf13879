"""RGA: the reassociated and the fused form compute the original function."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from models.rga import RelationAttention, RelationShape
from models.rga_inference import FusedRelationAttention


def pair(shape, seed):
    """The same weights, with lively BatchNorm statistics, in both forms, float64."""
    torch.manual_seed(seed)
    original = RelationAttention(shape, "original").double()
    for module in original.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.5)
            module.running_mean.normal_(0, 0.5)
            module.running_var.uniform_(0.5, 1.5)
    reassociated = RelationAttention(shape, "reassociated").double()
    reassociated.load_state_dict(original.state_dict())
    return original, reassociated


@given(
    channels=st.sampled_from([8, 16, 24]),
    height=st.integers(2, 6),
    width=st.integers(2, 5),
    branches=st.sampled_from([(True, True), (True, False), (False, True)]),
    seed=st.integers(0, 10**6),
    training=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_forms_agree(channels, height, width, branches, seed, training):
    original, reassociated = pair(RelationShape(channels, height, width, *branches, 4, 2, 3), seed)
    x = torch.randn(3, channels, height, width, dtype=torch.float64)
    expected = original.train(training)(x)
    assert expected.shape == x.shape
    assert torch.allclose(reassociated.train(training)(x), expected, rtol=1e-9, atol=1e-11)
    fused = reassociated.eval().for_inference()
    assert isinstance(fused, FusedRelationAttention)
    assert torch.allclose(fused(x), original.eval()(x), rtol=1e-9, atol=1e-11)


def test_original_form_stays_original():
    original, _ = pair(RelationShape(8, 4, 4), 0)
    assert original.for_inference() is original


@pytest.mark.parametrize("branch", ["spatial", "channel"])
def test_swapped_halves_are_another_function(branch):
    original, reassociated = pair(RelationShape(16, 6, 4), 3)
    weight = getattr(reassociated, f"gg_{branch}")[0].weight.data
    weight.copy_(torch.cat(weight.chunk(2, 1)[::-1], 1))
    x = torch.randn(2, 16, 6, 4, dtype=torch.float64)
    assert not torch.allclose(reassociated.eval()(x), original.eval()(x), rtol=1e-6)


class Largest(TorchDispatchMode):
    """Remembers the number of elements of the largest tensor any operator returned."""

    elements = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        result = operator(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def test_reassociated_form_has_no_affinity():
    original, reassociated = pair(RelationShape(8, 8, 8), 0)  # 64 positions
    fused = reassociated.eval().for_inference()
    x = torch.randn(1, 8, 8, 8, dtype=torch.float64)

    def largest(module):
        with torch.no_grad(), Largest() as seen:
            module(x)
        return seen.elements

    assert largest(original.eval()) >= 2 * 64 * 64
    assert largest(reassociated) < 64 * 64 and largest(fused) < 64 * 64


def test_parameter_count_of_the_official_module():
    """6.31 M parameters in the four modules of RGA-SC on ResNet-50 at 256x128."""
    shapes = ((256, 64, 32), (512, 32, 16), (1024, 16, 8), (2048, 16, 8))
    total = sum(
        p.numel() for s in shapes for p in RelationAttention(RelationShape(*s)).parameters()
    )
    assert abs(total / 1e6 - 6.31) < 0.01
