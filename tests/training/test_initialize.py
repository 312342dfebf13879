"""Starting from trained weights: what is taken over, and what is refused."""

from __future__ import annotations

import pytest
import torch

from models.checkpoint import load_network, save_network
from models.spec import NetworkSpec, build_network
from runtime.errors import ReidEdgeError
from tests.training.drawn_people import SPEC, write_teacher
from training.initialize import initialize

pytestmark = pytest.mark.usefixtures("one_thread")


def network_of(seed=1, **changes):
    torch.manual_seed(seed)
    values = {**SPEC.to_dict(), **changes}
    return build_network(NetworkSpec.from_dict(values))


def test_own_checkpoint_is_taken_over_whole(tmp_path):
    path = write_teacher(tmp_path / "own.pth")
    network = network_of()
    done = initialize(network, path)
    stored = load_network(path).network.state_dict()
    assert all(torch.equal(v, stored[k]) for k, v in network.state_dict().items())
    assert (done.taken, done.left) == (len(stored), ())
    assert str(done) == f"{len(stored)} tensors from reid-edge checkpoint own.pth"


def test_another_head_starts_at_random(tmp_path):
    path = write_teacher(tmp_path / "own.pth")
    network = network_of(head="linear", dim=12)
    before = network.neck.weight.detach().clone()
    done = initialize(network, path)
    assert done.left == ("neck.weight", "neck.bias")
    assert "2 start at random (neck.weight, neck.bias)" in str(done)
    assert torch.equal(network.neck.weight, before)
    stored = load_network(path).network.backbone.state_dict()
    assert all(torch.equal(v, stored[k]) for k, v in network.backbone.state_dict().items())


def test_attention_that_the_weights_lack_starts_at_random(tmp_path):
    done = initialize(network_of(rga="sc"), write_teacher(tmp_path / "own.pth"))
    assert done.left and all(".attention." in name for name in done.left)


def test_imagenet_classifier_fills_the_backbone(tmp_path):
    """Keys as torchvision names them; the ImageNet classifier itself is left behind."""
    source = network_of(seed=9)
    state = dict(source.backbone.state_dict())
    state.update({"fc.weight": torch.zeros(1000, 64), "fc.bias": torch.zeros(1000)})
    path = tmp_path / "resnet18-imagenet.pth"
    torch.save(state, path)
    network = network_of()
    done = initialize(network, path)
    assert done.source == "ImageNet weights resnet18-imagenet.pth"
    assert done.taken == len(state) - 2
    assert set(done.left) == {
        f"neck.{n}" for n in ("weight", "bias", "running_mean", "running_var")
    }
    for key, value in network.backbone.state_dict().items():
        assert torch.equal(value, state[key])
    assert torch.equal(network.neck.weight, torch.ones(64))


def test_trained_parameters_stay_trainable(tmp_path):
    network = network_of()
    trainable = {name for name, p in network.named_parameters() if p.requires_grad}
    initialize(network, write_teacher(tmp_path / "own.pth"))
    assert {name for name, p in network.named_parameters() if p.requires_grad} == trainable
    assert network.training


@pytest.mark.parametrize("changes", [{"width": 16}, {"backbone": "resnet50"}])
def test_weights_of_another_architecture_are_refused_and_change_nothing(tmp_path, changes):
    path = write_teacher(tmp_path / "own.pth")
    network = network_of(**changes)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with pytest.raises(ReidEdgeError, match=r"fits only \d+% of the backbone"):
        initialize(network, path)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "Cannot read checkpoint"), (b"", "is empty"), (b"abc", "not a PyTorch checkpoint")],
)
def test_unreadable_file_is_one_sentence(tmp_path, content, said):
    path = tmp_path / "x.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ReidEdgeError, match=said) as error:
        initialize(network_of(), path)
    assert "\n" not in str(error.value)


def test_weights_of_something_else_are_refused(tmp_path):
    torch.save({"layer.weight": torch.zeros(3)}, tmp_path / "x.pth")
    with pytest.raises(ReidEdgeError):
        initialize(network_of(), tmp_path / "x.pth")


def test_half_precision_weights_are_widened(tmp_path):
    network = network_of(seed=4)
    save_network(tmp_path / "half.pth", network, SPEC, {}, half=True)
    other = network_of()
    initialize(other, tmp_path / "half.pth")
    for (name, a), b in zip(network.state_dict().items(), other.state_dict().values()):
        assert b.dtype == a.dtype and torch.allclose(a, b, rtol=1e-3, atol=1e-6), name
