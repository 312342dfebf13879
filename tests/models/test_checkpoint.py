"""Reading checkpoint files: every user mistake ends in one sentence, none in a traceback."""

import argparse
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from models.checkpoint import load_network, read_state_dict, source_state_dict
from models.network import ReidNetwork, bn_neck, fc_neck
from models.osnet import OSNet, OSNetConfig
from models.pooling import AvgPool
from models.resnet import ResNet, ResNetConfig
from models.rga import RelationAttention, RelationShape
from runtime.errors import ReidEdgeError

TINY = ResNetConfig.of_depth(18, width=16)


def network_of(config=TINY, **attention):
    backbone = ResNet(config, **attention)
    return ReidNetwork(backbone, AvgPool(), bn_neck(backbone.out_channels), backbone.out_channels)


def rga_network(spatial=True, channel=True, size=(128, 64), form="reassociated"):
    sizes = TINY.stage_sizes(*size)
    return network_of(
        attention={
            i: RelationAttention(RelationShape(c, *hw, spatial, channel), form)
            for i, (c, hw) in enumerate(zip(TINY.stage_channels, sizes), start=1)
        }
    )


@pytest.fixture
def bot_file(tmp_path):
    path = tmp_path / "bot.pth"
    torch.save(source_state_dict(network_of(), "reid-strong-baseline"), path)
    return path


def fails(match, path, **options):
    with pytest.raises(ReidEdgeError, match=match) as caught:
        load_network(path, **options)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    return message


def test_missing_and_folder_and_empty(tmp_path):
    fails("Cannot read checkpoint", tmp_path / "no.pth")
    fails("is a folder", tmp_path)
    (tmp_path / "empty.pth").touch()
    fails("is empty", tmp_path / "empty.pth")


@pytest.mark.parametrize("keep", [10, 1000, 0.5, 0.999])
def test_truncated(bot_file, keep):
    data = bot_file.read_bytes()
    bot_file.write_bytes(data[: keep if keep > 1 else int(len(data) * keep)])
    fails("truncated or damaged", bot_file)


@pytest.mark.parametrize(
    "data",
    [
        b"hello world\n" * 100,
        b"\x80\x02}q\x00",
        bytes(range(256)) * 20,
        b"\x08\x07\x12\x07pytorch" * 50,
        b"PK\x03\x04" + b"\0" * 500,
    ],
)
def test_foreign_bytes(tmp_path, data):
    path = tmp_path / "model.pth"
    path.write_bytes(data)
    fails(r"not a PyTorch checkpoint|not a checkpoint|holds no weights", path)


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], {"epoch": 3}, {}, {"state_dict": {}}])
def test_no_weights(tmp_path, content):
    torch.save(content, tmp_path / "model.pth")
    fails("holds", tmp_path / "model.pth")


def test_torchscript(tmp_path):
    torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(str(tmp_path / "model.pt"))
    fails("TorchScript", tmp_path / "model.pt")


def test_unwraps_and_strips(tmp_path):
    weights = {
        "module._orig_mod.a.weight": torch.ones(2),
        "module.b": torch.zeros(1, dtype=torch.int64),
    }
    torch.save(
        {"epoch": 3, "best": np.float64(0.5), "model": {"net": {**weights, "note": "x"}}},
        tmp_path / "model.pth",
    )
    state, info = read_state_dict(tmp_path / "model.pth")
    assert set(state) == {"a.weight", "b"}
    assert info == {
        "wrapper": ("model", "net"),
        "prefix": ("_orig_mod.", "module."),
        "ignored": ("note",),
        "header": None,
    }


def test_same_entry_twice(tmp_path):
    torch.save({"a": torch.ones(1), "module.a": torch.ones(1)}, tmp_path / "model.pth")
    fails("a twice", tmp_path / "model.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_not_finite(bot_file, value):
    state = torch.load(bot_file)
    state["base.layer2.0.conv1.weight"].view(-1)[:7] = value
    torch.save(state, bot_file)
    assert "in 1 of" in fails(r"base\.layer2\.0\.conv1\.weight \(7 values\)", bot_file)


class _Trap:
    """Shows whether unpickling ran its code."""

    sprung = False

    @staticmethod
    def spring():
        _Trap.sprung = True
        return {}

    def __reduce__(self):
        return _Trap.spring, ()


def test_pickled_object_needs_consent(tmp_path, bot_file):
    _Trap.sprung = False
    state = torch.load(bot_file)
    torch.save({"state_dict": state, "config": _Trap()}, bot_file)
    assert "runs code" in fails("--allow-pickle", bot_file)
    assert not _Trap.sprung
    assert load_network(bot_file, allow_pickle=True).arch == "bot_resnet18_w16"
    assert _Trap.sprung


def test_whole_module_and_lost_code(tmp_path, monkeypatch):
    network = network_of()
    named = nn.Module()  # carries the source codebase's names
    named.base, named.bottleneck = network.backbone, network.neck
    path = tmp_path / "model.pth"
    torch.save(nn.DataParallel(named), path)
    fails("--allow-pickle", path)
    assert load_network(path, allow_pickle=True).family == "reid-strong-baseline"
    monkeypatch.setattr("models.resnet.ResNet.__module__", "models.resnet")
    monkeypatch.delattr("models.resnet.ResNet")
    fails("PYTHONPATH", path, allow_pickle=True)


def test_plain_pickle_of_settings(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(argparse.Namespace(a=1)))
    fails("not a PyTorch checkpoint|pickled object", path)


def test_unknown_family_names_the_supported(tmp_path):
    torch.save({"encoder.weight": torch.ones(1)}, tmp_path / "model.pth")
    message = fails("encoder.weight", tmp_path / "model.pth")
    assert "microsoft-rga" in message and "--arch" in message


@pytest.mark.parametrize(
    "key, name",
    [
        ("base.cls_token", "TransReID"),
        ("image_encoder.proj", "CLIP-ReID"),
        ("module.local_6_conv_list.0.0.weight", "RRID"),
        ("classifier0.add_block.0.weight", "PCB"),
        ("b1_head.weight", "MGN"),
        ("base.layer0.conv1.weight", "SE-ResNet"),
    ],
)
def test_known_but_unsupported(tmp_path, key, name):
    torch.save({key: torch.ones(1)}, tmp_path / "model.pth")
    fails(name, tmp_path / "model.pth")


def test_wrong_arch(bot_file):
    assert "bot_resnet18_w16 (reid-strong-baseline)" in fails(
        "osnet_x0_25 expects", bot_file, arch="osnet_x0_25"
    )
    fails("are those of bot_resnet18_w16", bot_file, arch="bot_resnet50")
    fails("unknown; choose one of .*rga_sc_resnet50", bot_file, arch="resnext")


def test_incomplete_and_foreign_entries(bot_file):
    state = torch.load(bot_file)
    del state["base.bn1.running_var"]
    state["extra.weight"] = torch.ones(1)
    state["base.layer1.0.bn2.bias"] = torch.ones(5)
    torch.save(state, bot_file)
    message = fails("1 missing keys", bot_file)
    assert "backbone.bn1.running_var" in message and "extra.weight" in message and "[5]" in message


def test_counter_of_old_pytorch_may_be_missing(bot_file):
    state = {k: v for k, v in torch.load(bot_file).items() if "num_batches" not in k}
    torch.save(state, bot_file)
    assert load_network(bot_file).arch == "bot_resnet18_w16"


@pytest.mark.parametrize(
    "options", [{"feature": "middle"}, {"last_stride": 3}, {"rga_form": "fast"}]
)
def test_bad_options(bot_file, options):
    fails("must be one of", bot_file, **options)


@pytest.mark.parametrize("branches", [(True, False), (False, True), (True, True)])
def test_rga_round_trip_and_size(tmp_path, branches):
    network = rga_network(*branches).eval()
    path = tmp_path / "rga.pth"
    torch.save({"state_dict": source_state_dict(network, "microsoft-rga")}, path)
    loaded = load_network(path)
    letters = "".join(letter for letter, on in zip("sc", branches) if on)
    assert loaded.arch == f"rga_{letters}_resnet18_w16"
    assert (loaded.input.height, loaded.input.width) == (128, 64)  # found from the shapes
    image = torch.randn(1, 3, 128, 64)
    with torch.no_grad():
        assert torch.allclose(loaded.network(image), network(image), rtol=1e-5, atol=1e-7)
    message = fails("2048|512, 128, 32, 32 positions", path, height=256, width=128)
    assert "fits 128x64" in message and "--height" in message
    fails("last stride 2", path, last_stride=2)


@pytest.mark.parametrize(
    "config",
    [OSNetConfig((16, 64, 96, 128), v) for v in ("plain", "ibn", "ain")]
    + [OSNetConfig((32, 128, 192, 256)), OSNetConfig((48, 192, 288, 384))],
)
def test_osnet_round_trip(tmp_path, config):
    network = ReidNetwork(OSNet(config), AvgPool(), fc_neck(config.channels[3], 512), 512).eval()
    state = source_state_dict(network, "torchreid")
    assert ("conv1.bn.running_mean" in state) == (config.variant == "plain")
    assert any(k.startswith("conv2.0.IN") for k in state) == (config.variant != "plain")
    torch.save(state, tmp_path / "osnet.pth")
    loaded = load_network(
        tmp_path / "osnet.pth",
        arch={"plain": "osnet", "ibn": "osnet_ibn", "ain": "osnet_ain"}[config.variant]
        + {16: "_x0_25", 32: "_x0_5", 48: "_x0_75"}[config.channels[0]],
    )
    image = torch.randn(1, 3, 64, 32)
    with torch.no_grad():
        assert torch.allclose(loaded.network(image), network(image), rtol=1e-5, atol=1e-7)


def test_families_that_are_only_read():
    with pytest.raises(ReidEdgeError, match="not for tao"):
        source_state_dict(network_of(), "tao")


def test_trained_osnet(shared):
    path = shared / "weights" / "osnet_x0_25_market1501.pth"
    if not path.is_file():
        pytest.skip("trained OSNet weights not in the shared folder")
    loaded = load_network(path)
    assert loaded.arch == "osnet_x0_25" and loaded.trained and loaded.source == path.name
    assert loaded.sha256.startswith("c0ff0917")
    assert {key for key, _ in loaded.dropped} == {"classifier.weight", "classifier.bias"}
    assert not loaded.network.training
