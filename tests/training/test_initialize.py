"""Starting from trained weights: what is taken over, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.checkpoint import load_network, save_network
from models.spec import NetworkSpec, build_network
from models.zoo.default import default_network
from runtime.errors import ReidEdgeError
from tests.training.drawn_people import SPEC, write_teacher
from training.initialize import Start, initialize, start_path

pytestmark = pytest.mark.usefixtures("one_thread")


def spec_of(**changes):
    return NetworkSpec.from_dict({**SPEC.to_dict(), **changes})


def network_of(seed=1, **changes):
    torch.manual_seed(seed)
    return build_network(spec_of(**changes))


def test_own_checkpoint_is_taken_over_whole(tmp_path):
    path = write_teacher(tmp_path / "own.pth")
    network = network_of()
    done = initialize(network, Start(path), spec_of())
    stored = load_network(path).network.state_dict()
    assert all(torch.equal(v, stored[k]) for k, v in network.state_dict().items())
    assert (done.taken, done.left) == (len(stored), ())
    assert str(done) == f"{len(stored)} tensors from reid-edge checkpoint own.pth"


def test_another_head_starts_at_random(tmp_path):
    path = write_teacher(tmp_path / "own.pth")
    network = network_of(head="linear", dim=12)
    before = network.neck.weight.detach().clone()
    done = initialize(network, Start(path), spec_of())
    assert done.left == ("neck.weight", "neck.bias")
    assert "2 start at random (neck.weight, neck.bias)" in str(done)
    assert torch.equal(network.neck.weight, before)
    stored = load_network(path).network.backbone.state_dict()
    assert all(torch.equal(v, stored[k]) for k, v in network.backbone.state_dict().items())


def test_attention_that_the_weights_lack_starts_at_random(tmp_path):
    done = initialize(
        network_of(rga="sc"), Start(write_teacher(tmp_path / "own.pth")), spec_of(rga="sc")
    )
    assert done.left and all(".attention." in name for name in done.left)


def test_imagenet_classifier_fills_the_backbone(tmp_path):
    """Keys as torchvision names them; the ImageNet classifier itself is left behind."""
    source = network_of(seed=9)
    state = dict(source.backbone.state_dict())
    state.update({"fc.weight": torch.zeros(1000, 64), "fc.bias": torch.zeros(1000)})
    path = tmp_path / "resnet18-imagenet.pth"
    torch.save(state, path)
    network = network_of()
    done = initialize(network, Start(path), spec_of())
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
    initialize(network, Start(write_teacher(tmp_path / "own.pth")), spec_of())
    assert {name for name, p in network.named_parameters() if p.requires_grad} == trainable
    assert network.training


@pytest.mark.parametrize("changes", [{"width": 16}, {"backbone": "resnet50"}])
def test_weights_of_another_architecture_are_refused_and_change_nothing(tmp_path, changes):
    path = write_teacher(tmp_path / "own.pth")
    network = network_of(**changes)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with pytest.raises(ReidEdgeError, match=r"fits only \d+% of the backbone"):
        initialize(network, Start(path), spec_of())
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
        initialize(network_of(), Start(path), spec_of())
    assert "\n" not in str(error.value)


def test_weights_of_something_else_are_refused(tmp_path):
    torch.save({"layer.weight": torch.zeros(3)}, tmp_path / "x.pth")
    with pytest.raises(ReidEdgeError):
        initialize(network_of(), Start(tmp_path / "x.pth"), spec_of())


def test_half_precision_weights_are_widened(tmp_path):
    network = network_of(seed=4)
    save_network(tmp_path / "half.pth", network, SPEC, {}, half=True)
    other = network_of()
    initialize(other, Start(tmp_path / "half.pth"), spec_of())
    for (name, a), b in zip(network.state_dict().items(), other.state_dict().values()):
        assert b.dtype == a.dtype and torch.allclose(a, b, rtol=1e-3, atol=1e-6), name


def test_what_keys_do_not_show_is_said_with_the_option_that_keeps_it(tmp_path):
    """Weights trained as another function load without a missing key; that must not go unsaid."""
    path = tmp_path / "own.pth"
    spec = spec_of(stem_relu=False, ceil_pool=True, last_stride=2, pool="max", height_px=96)
    save_network(path, build_network(spec), spec, {"training_data": "somebody's crops"})
    done = initialize(network_of(), Start(path), spec_of())
    assert done.left == () and done.terms == ("training data: somebody's crops",)
    options = {line.partition("--set ")[2].split()[0] for line in done.differences}
    assert options == {
        "network.stem_relu=false", "network.ceil_pool=true", "network.last_stride=2",
        "network.pool=max", "network.height_px=96",
    }  # fmt: skip
    assert all("\n" not in line for line in done.differences)
    assert initialize(build_network(spec), Start(path), spec).differences == ()


def test_pixels_that_a_recipe_cannot_have_are_said(tmp_path, monkeypatch):
    path = write_teacher(tmp_path / "own.pth")
    loaded = load_network(path)
    other = replace(loaded, input=replace(loaded.input, color="BGR", std=(1.0, 1.0, 1.0)))
    monkeypatch.setattr("training.initialize.load_network", lambda *given, **options: other)
    told = initialize(network_of(), Start(path), spec_of()).differences
    assert [line.split(" with ")[1].split()[0] for line in told] == ["color", "std"]
    assert "color BGR, every recipe trains with RGB" in told[0]


def test_default_is_the_network_that_comes_with_reid_edge(tmp_path):
    path = start_path("default")
    spec = Start(path).spec()
    assert spec == default_network().spec
    done = initialize(build_network(spec), Start(path), spec)
    assert done.left == () and "research use only" in done.terms[0]
    assert start_path("./default") == Path("default") and start_path(tmp_path) == tmp_path


def test_errors_name_the_options_of_reid_train(tmp_path):
    torch.save({"layer.weight": torch.zeros(3)}, tmp_path / "x.pth")
    with pytest.raises(ReidEdgeError, match="add --init-arch"):
        initialize(network_of(), Start(tmp_path / "x.pth"), spec_of())
    with pytest.raises(ReidEdgeError, match="--init-arch nonsense is unknown"):
        Start(tmp_path / "x.pth", arch="nonsense").spec()


def test_a_whole_pickled_network_needs_and_gets_its_flag(tmp_path):
    path = tmp_path / "whole.pth"
    torch.save(network_of(seed=4).backbone, path)
    with pytest.raises(ReidEdgeError, match="--allow-pickle"):
        initialize(network_of(), Start(path), spec_of())
    done = initialize(network_of(), Start(path, allow_pickle=True), spec_of())
    assert done.source == "ImageNet weights whole.pth"
