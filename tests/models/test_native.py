"""reid-edge's own checkpoints: what is written is what is read, and nothing else is."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.checkpoint import load_network, save_network
from models.rga import RelationAttention
from models.spec import NetworkSpec, build_network
from runtime.errors import ReidEdgeError

torch.set_num_threads(1)
SMALL = {"height_px": 64, "width_px": 32}
RGA = NetworkSpec("resnet18", width=16, rga="sc", **SMALL)
PROVENANCE = {
    "recipe": "rga_sc",
    "training_data": "drawn people, 3 identities",
    "seed": 7,
    "lr": 0.1,
}


def trained(spec, seed=0):
    """A network whose BatchNorm statistics and frozen biases are not the initial ones."""
    torch.manual_seed(seed)
    network = build_network(spec)
    with torch.no_grad():
        network(torch.randn(8, 3, spec.height_px, spec.width_px))
        for value in network.parameters():
            if value.dim() == 1:
                value.add_(torch.rand_like(value) * 0.2)
    return network.eval()


@pytest.fixture
def rga_file(tmp_path):
    path = tmp_path / "rga.pt"
    save_network(path, trained(RGA), RGA, PROVENANCE)
    return path


def rewrite(path, **changes):
    """Change entries of the header; ``None`` removes one."""
    content = torch.load(path, weights_only=True)
    header = {**content["reid_edge"], **changes}
    content["reid_edge"] = {k: v for k, v in header.items() if v is not None}
    torch.save(content, path)
    return path


def fails(match, call, *args, **options):
    with pytest.raises(ReidEdgeError, match=match) as caught:
        call(*args, **options)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    return message


@pytest.mark.parametrize(
    "spec",
    [
        RGA,
        NetworkSpec("resnet50", width=8, ibn=True, ceil_pool=True, last_stride=2, pool="gem"),
        NetworkSpec("resnet18", width=8, stem_relu=False, head="linear", dim=12, pool="max"),
        NetworkSpec("resnest50", width=16, rga="s", head="reduction", dim=16, **SMALL),
        NetworkSpec("resnext50_32x4d", width=16, non_local=(0, 1, 1, 0), **SMALL),
        NetworkSpec("osnet_ain_x0_25", pool="attention", **SMALL),
    ],
    ids=lambda spec: spec.arch,
)
def test_round_trip(tmp_path, spec):
    network, path = trained(spec), tmp_path / "net.pt"
    save_network(path, network, spec, PROVENANCE)
    loaded = load_network(path, arch=spec.arch)
    assert (loaded.family, loaded.arch, loaded.spec) == ("reid-edge", spec.arch, spec)
    assert loaded.input == spec.input_contract() and loaded.embedding.feature == "after_neck"
    assert loaded.dropped == () and loaded.trained and not loaded.network.training
    assert loaded.notes == (
        "recipe: rga_sc",
        "training data: drawn people, 3 identities",
        "seed: 7",
        "lr: 0.1",
    )
    for key, value in network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[key], value), key
    image = torch.randn(2, 3, spec.height_px, spec.width_px)
    with torch.no_grad():
        expected = network(image)
        # Not bit-equal: matrix products round by how their operands lie in memory.
        assert torch.allclose(loaded.network(image), expected, rtol=1e-4, atol=1e-5)
        assert expected.shape == (2, loaded.embedding.dim)
        assert float((expected[0] - expected[1]).abs().max()) > 1e-3  # the comparison can fail


def test_file_holds_plain_values_only(rga_file):
    content = torch.load(rga_file, weights_only=True)
    assert set(content) == {"reid_edge", "state_dict"}
    assert content["reid_edge"] == {
        "schema": 1,
        "spec": RGA.to_dict(),
        "provenance": PROVENANCE,
    }


def test_half_storage(tmp_path, rga_file):
    network, path = trained(RGA), tmp_path / "half.pt"
    save_network(path, network, RGA, PROVENANCE, half=True)
    assert path.stat().st_size < 0.65 * rga_file.stat().st_size
    stored = torch.load(path, weights_only=True)["state_dict"]
    for key, value in stored.items():
        if value.is_floating_point():
            assert value.dtype == (torch.float16 if value.dim() > 1 else torch.float32), key
    loaded = load_network(path).network
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    for key, value in network.state_dict().items():
        expected = value.half().float() if value.dim() > 1 else value
        assert torch.equal(loaded.state_dict()[key], expected), key


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions_are_stored_as_float32(tmp_path, dtype):
    network = trained(RGA).to(dtype)
    save_network(tmp_path / "net.pt", network, RGA, {})
    loaded = load_network(tmp_path / "net.pt")
    for key, value in network.float().state_dict().items():
        assert torch.equal(loaded.network.state_dict()[key], value), key


def test_same_content_same_bytes(tmp_path):
    for name in ("a.pt", "b.pt"):
        save_network(tmp_path / name, trained(RGA), RGA, PROVENANCE)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_rga_form(rga_file):
    image, outputs = torch.randn(2, 3, 64, 32), []
    for form in ("original", "reassociated"):
        network = load_network(rga_file, rga_form=form).network
        forms = {m.form for m in network.modules() if isinstance(m, RelationAttention)}
        assert forms == {form}
        outputs.append(network(image))
    assert torch.allclose(*outputs, rtol=1e-4, atol=1e-5 * float(outputs[0].abs().max()))


def test_before_neck_is_the_pooled_vector(tmp_path):
    spec = NetworkSpec("resnet18", width=8, head="reduction", dim=5, **SMALL)
    network = trained(spec)
    save_network(tmp_path / "net.pt", network, spec, {})
    loaded = load_network(tmp_path / "net.pt", feature="before_neck")
    assert loaded.embedding.feature == "before_neck" and loaded.embedding.dim == 64
    image = torch.randn(2, 3, 64, 32)
    assert torch.equal(loaded.network(image), network.pool(network.backbone(image)))


def test_size_is_free_only_without_baked_positions(tmp_path, rga_file):
    assert load_network(rga_file, height=64, width=32).spec == RGA
    message = fails("made for 64x32 input only, got 256x32", load_network, rga_file, height=256)
    assert "--height" in message
    spec = NetworkSpec("resnet18", width=8, pool="attention", **SMALL)
    save_network(tmp_path / "attention.pt", trained(spec), spec, {})
    fails("got 64x64", load_network, tmp_path / "attention.pt", width=64)
    spec = NetworkSpec("resnet18", width=8, **SMALL)
    save_network(tmp_path / "plain.pt", trained(spec), spec, {})
    loaded = load_network(tmp_path / "plain.pt", height=96)
    assert (loaded.input.height, loaded.input.width) == (96, 32)
    assert loaded.spec == replace(spec, height_px=96)


@pytest.mark.parametrize(
    "options, match",
    [
        ({"last_stride": 2}, "--last-stride 2 contradicts the checkpoint, which states 1"),
        ({"stem_relu": False}, "--stem-relu False contradicts"),
        ({"pool": "gem"}, "--pool gem contradicts the checkpoint, which states avg"),
        ({"gem_p": 3.0}, "--gem-p does not apply"),
        ({"arch": "rga_sc_resnet18"}, "states that it is rga_sc_resnet18_w16 .reid-edge."),
        ({"arch": "osnet_x0_25"}, "--arch osnet_x0_25 does not fit"),
    ],
)
def test_options_that_contradict(rga_file, options, match):
    fails(match, load_network, rga_file, **options)


def test_options_that_agree(rga_file):
    assert load_network(rga_file, last_stride=1, stem_relu=True, pool="avg").spec == RGA


def test_unknown_family_names_this_one(tmp_path):
    torch.save({"encoder.weight": torch.ones(1)}, tmp_path / "model.pth")
    fails("supported: .*reid-edge", load_network, tmp_path / "model.pth")


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"schema": 2}, "schema 2, but this reid-edge reads up to 1; update"),
        ({"schema": "1"}, "integer schema from 1, got '1'"),
        ({"schema": True}, "integer schema"),
        ({"schema": 0}, "integer schema"),
        ({"schema": None}, "integer schema from 1, got None"),
        ({"spec": None}, "must have provenance, schema, spec, got provenance, schema"),
        ({"extra": 1}, "got extra, provenance"),
        ({"spec": 3}, "must be a mapping, got int"),
        ({"spec": {"backbone": "resnet18"}}, "lacks fields"),
        ({"spec": {**RGA.to_dict(), "backbone": "vgg"}}, "backbone must be one of"),
        ({"spec": {**RGA.to_dict(), "depth": 3}}, "unknown fields .'depth'."),
        ({"spec": {**RGA.to_dict(), "width": 32}}, "keys of another shape"),
        ({"spec": {**RGA.to_dict(), "rga": "s"}}, "unexpected keys"),
        ({"provenance": "me"}, "provenance must be a mapping, got str"),
        ({"provenance": {"note": "a\nb"}}, "single lines and finite numbers"),
    ],
)
def test_broken_headers(rga_file, changes, match):
    fails(match, load_network, rewrite(rga_file, **changes))


def test_header_that_is_no_header(rga_file):
    content = torch.load(rga_file, weights_only=True)
    torch.save({**content, "reid_edge": [1]}, rga_file)
    fails("reid_edge entry", load_network, rga_file)


def test_incomplete_and_damaged_weights(rga_file):
    content = torch.load(rga_file, weights_only=True)
    weight = content["state_dict"].pop("backbone.conv1.weight")
    torch.save(content, rga_file)
    fails("1 missing keys .backbone.conv1.weight", load_network, rga_file)
    content["state_dict"]["backbone.conv1.weight"] = weight * float("nan")
    torch.save(content, rga_file)
    fails("NaN or infinite", load_network, rga_file)
    rga_file.write_bytes(rga_file.read_bytes()[:5000])
    fails("truncated or damaged", load_network, rga_file)


def test_weights_of_another_network_are_not_saved(tmp_path):
    path = tmp_path / "net.pt"
    message = fails("not the one of", save_network, path, trained(RGA), replace(RGA, width=32), {})
    assert "should be [" in message and "got [" in message
    fails("got nothing", save_network, path, trained(replace(RGA, rga="s")), RGA, {})
    fails("should be nothing", save_network, path, trained(RGA), replace(RGA, rga="c"), {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value, half", [(float("nan"), False), (float("inf"), True), (1e5, True)])
def test_weights_that_are_not_finite_are_not_saved(tmp_path, value, half):
    network = trained(RGA)
    with torch.no_grad():
        network.backbone.conv1.weight[0, 0, 0, 0] = value
    match = "backbone.conv1.weight has weights that are not finite" + (" as float16" * half)
    fails(match, save_network, tmp_path / "net.pt", network, RGA, {}, half=half)
    assert list(tmp_path.iterdir()) == []


def test_large_statistics_survive_half_storage(tmp_path):
    network = trained(RGA)
    network.backbone.bn1.running_var[0] = 1e6
    save_network(tmp_path / "net.pt", network, RGA, {}, half=True)
    loaded = load_network(tmp_path / "net.pt").network
    assert float(loaded.backbone.bn1.running_var[0]) == 1e6


@pytest.mark.parametrize(
    "provenance, match",
    [
        ({"note": "two\nlines"}, "single lines and finite numbers, got .* for note"),
        ({"note": "\x1b[31m"}, "single lines"),
        ({"lr": float("nan")}, "finite numbers"),
        ({"lr": float("inf")}, "finite numbers"),
        ({"data": ["a"]}, "single lines"),
        ({"training data": "x"}, "names such as training_data"),
        ({3: "x"}, "names such as"),
        ([("a", 1)], "must be a mapping, got list"),
    ],
)
def test_unsuitable_provenance(tmp_path, provenance, match):
    fails(match, save_network, tmp_path / "net.pt", trained(RGA), RGA, provenance)
    assert list(tmp_path.iterdir()) == []


def test_numpy_numbers_become_plain(tmp_path):
    numbers = {"epoch": np.int64(3), "map": np.float32(0.5), "loss": np.float64(0.25)}
    save_network(tmp_path / "net.pt", trained(RGA), RGA, numbers)
    header = torch.load(tmp_path / "net.pt", weights_only=True)["reid_edge"]
    assert header["provenance"] == {"epoch": 3, "map": 0.5, "loss": 0.25}
    assert load_network(tmp_path / "net.pt").notes == ("epoch: 3", "map: 0.5", "loss: 0.25")


def test_an_older_file_survives_a_failed_write(rga_file, monkeypatch):
    before = rga_file.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    match = "Cannot write checkpoint .*No space left"
    fails(match, save_network, rga_file, trained(RGA, 1), RGA, {})
    assert rga_file.read_bytes() == before and list(rga_file.parent.iterdir()) == [rga_file]
    monkeypatch.undo()
    save_network(rga_file, trained(RGA, 1), RGA, {"seed": 1})
    assert load_network(rga_file).notes == ("seed: 1",)


def test_no_folder(tmp_path):
    fails("No such file", save_network, tmp_path / "no" / "net.pt", trained(RGA), RGA, {})


def test_resnest_is_not_taken_for_fast_reid(tmp_path):
    """Its stem has the keys by which fast-reid's are refused; without the header it still is."""
    spec = NetworkSpec("resnest50", width=8, **SMALL)
    save_network(tmp_path / "net.pt", trained(spec), spec, {})
    assert load_network(tmp_path / "net.pt").arch == "resnest50_w8"
    torch.save(torch.load(tmp_path / "net.pt")["state_dict"], tmp_path / "bare.pt")
    fails("ResNeSt of fast-reid", load_network, tmp_path / "bare.pt")
