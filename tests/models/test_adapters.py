"""What adapters read beyond the golden vectors: variants, defaults, settings beside the file."""

import pytest
import torch
from torch import nn

from models.adapters import ADAPTERS
from models.adapters.adapter import KeyMap
from models.checkpoint import load_network
from models.network import ReidNetwork, bn_neck, fc_neck
from models.pooling import AvgPool, GeMPool
from models.resnet import ResNet, ResNetConfig
from runtime.errors import ReidEdgeError

TINY = {"block": "basic", "layers": (2, 2, 2, 2), "width": 16}
IMAGE = (torch.arange(2 * 3 * 64 * 32).reshape(2, 3, 64, 32) * 7919 % 255).float()


def seeded(module, seed=0):
    torch.manual_seed(seed)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            if tensor.dim() > 1:
                tensor.copy_(torch.randn_like(tensor) * (2 / tensor[0].numel()) ** 0.5)
            else:
                tensor.copy_(torch.rand_like(tensor) + 0.5)
    return module.eval()


def written(path, *parts, **extra):
    """Save modules under prefixes, and extra tensors."""
    state = {
        prefix + key: value
        for prefix, module in parts
        for key, value in module.state_dict().items()
    }
    torch.save({**state, **{k.replace("__", "."): v for k, v in extra.items()}}, path)
    return path


def close(a, b):
    return torch.allclose(a, b, rtol=1e-5, atol=1e-6 * float(b.abs().max()))


def test_arch_names_are_unique():
    names = [arch for adapter in ADAPTERS for arch in adapter.archs]
    assert len(names) == len(set(names))


def test_key_map_gives_reasons_and_reverses():
    keys = KeyMap(rename=(("base.", "backbone."),), drop=((r"fc\.\w+", "unused"),))
    kept, dropped = keys.apply(
        {"base.a": torch.ones(1), "fc.bias": torch.ones(1), "other": torch.ones(1)}
    )
    assert set(kept) == {"backbone.a", "other"} and dropped == (("fc.bias", "unused"),)
    assert set(keys.reverse(kept)) == {"base.a", "other"}


@pytest.mark.parametrize("wrapper", ["", "model."])
def test_tao(tmp_path, wrapper):
    config = ResNetConfig(block="bottleneck", layers=(3, 4, 6, 3), width=8, stem_relu=False)
    backbone = seeded(ResNet(config, projection=24))
    neck = seeded(bn_neck(24), 1)
    path = written(
        tmp_path / "tao.pth",
        (f"{wrapper}base.", backbone),
        (f"{wrapper}bottleneck.", neck),
        **{f"{wrapper}classifier.weight": torch.ones(751, 24)},
    )
    loaded = load_network(path)
    assert loaded.family == "tao" and loaded.arch == "tao_resnet50_w8"
    assert loaded.input.std == (0.226,) * 3 and loaded.input.scale == pytest.approx(1 / 255)
    assert loaded.embedding.dim == 24
    assert [key for key, _ in loaded.dropped] == [f"{wrapper}classifier.weight"]
    with torch.no_grad():
        expected = neck(backbone(IMAGE).mean((2, 3)))
        assert close(loaded.network(IMAGE), expected)
        wrong = load_network(path, stem_relu=True).network(IMAGE - 100)
        assert not close(wrong, load_network(path).network(IMAGE - 100))


def test_bot_without_neck(tmp_path):
    backbone = seeded(ResNet(ResNetConfig(**TINY, stem_relu=False)))
    path = written(
        tmp_path / "bot.pth",
        ("base.", backbone),
        classifier__weight=torch.ones(9, 128),
        classifier__bias=torch.ones(9),
    )
    loaded = load_network(path)
    assert loaded.embedding.feature == "before_neck" and loaded.embedding.dim == 128
    assert len(loaded.dropped) == 2 and any("stride" in note for note in loaded.notes)
    with pytest.raises(ReidEdgeError, match="no neck"):
        load_network(path, feature="after_neck")


def test_arch_overrules_recognition(tmp_path):
    """A TAO file with a 2048-D embedding has no projection and looks like reid-strong-baseline."""
    backbone = seeded(ResNet(ResNetConfig.of_depth(50, stem_relu=False)))
    path = written(
        tmp_path / "tao.pth", ("base.", backbone), ("bottleneck.", seeded(bn_neck(2048)))
    )
    assert load_network(path).family == "reid-strong-baseline"
    loaded = load_network(path, arch="tao_resnet50")
    assert loaded.family == "tao" and loaded.input.std == (0.226,) * 3


@pytest.mark.parametrize("key", ["layer1.0.conv2.weight"])
def test_grouped_convolutions_are_refused(tmp_path, key):
    backbone = ResNet(ResNetConfig(**TINY))
    state = {f"base.{k}": v for k, v in backbone.state_dict().items()}
    state[f"base.{key}"] = torch.ones(16, 4, 3, 3)
    torch.save(state, tmp_path / "model.pth")
    with pytest.raises(ReidEdgeError, match="ResNeXt"):
        load_network(tmp_path / "model.pth")


def fast_reid(path, neck, non_local=(0, 0, 0, 0), **extra):
    backbone = seeded(ResNet(ResNetConfig(**TINY, ceil_pool=True, non_local=non_local)))
    return backbone, written(
        path, ("backbone.", backbone), neck, heads__weight=torch.ones(9, 128), **extra
    )


@pytest.mark.parametrize("prefix", ["heads.bnneck.", "heads.bottleneck.0."])
def test_fast_reid_neck_names(tmp_path, prefix):
    neck = seeded(nn.BatchNorm2d(128), 1)
    backbone, path = fast_reid(tmp_path / "f.pth", (prefix, neck))
    loaded = load_network(path)
    assert loaded.arch == "fastreid_bot_resnet18_w16" and loaded.input.scale == 1.0
    assert loaded.input.mean == (0.0,) * 3 and loaded.input.resize == "bicubic"
    mean = torch.tensor([123.675, 116.28, 103.53]).reshape(1, 3, 1, 1)
    std = torch.tensor([58.395, 57.12, 57.375]).reshape(1, 3, 1, 1)
    with torch.no_grad():
        pooled = backbone((IMAGE - mean) / std).mean((2, 3), keepdim=True)
        assert close(loaded.network(IMAGE), neck(pooled).flatten(1))


def test_fast_reid_embedding_head(tmp_path):
    head = seeded(nn.Sequential(nn.Conv2d(128, 32, 1, bias=False), nn.BatchNorm2d(32)), 1)
    backbone, path = fast_reid(tmp_path / "f.pth", ("heads.bottleneck.", head))
    loaded = load_network(path)
    assert loaded.embedding.dim == 32
    with torch.no_grad():
        pooled = backbone(loaded.network.normalize(IMAGE)).mean((2, 3), keepdim=True)
        assert close(loaded.network(IMAGE), head(pooled).flatten(1))


def test_fast_reid_agw_has_fixed_exponent(tmp_path):
    _, path = fast_reid(
        tmp_path / "f.pth", ("heads.bottleneck.0.", seeded(bn_neck(128))), (0, 2, 2, 0)
    )
    loaded = load_network(path)
    assert loaded.arch == "fastreid_agw_resnet18_w16" and loaded.input.height == 256
    assert isinstance(loaded.network.pool, GeMPool) and float(loaded.network.pool.p) == 3.0
    assert any("exponent 3" in note for note in loaded.notes)
    assert float(load_network(path, gem_p=2.0).network.pool.p) == 2.0
    assert isinstance(load_network(path, pool="avg").network.pool, AvgPool)


def test_fast_reid_learned_exponent_cannot_be_overridden(tmp_path):
    _, path = fast_reid(
        tmp_path / "f.pth",
        ("heads.bottleneck.0.", bn_neck(128)),
        heads__pool_layer__p=torch.tensor([2.7]),
        pixel_mean=torch.zeros(3),
    )
    with pytest.raises(ReidEdgeError, match="pixel_mean"):
        load_network(path)
    _, path = fast_reid(
        tmp_path / "g.pth",
        ("heads.bottleneck.0.", bn_neck(128)),
        **{"heads.pool_layer.p": torch.tensor([2.7])},
    )
    assert float(load_network(path).network.pool.p) == pytest.approx(2.7)
    assert load_network(path).input.height == 384
    with pytest.raises(ReidEdgeError, match="--gem-p"):
        load_network(path, gem_p=3.0)


@pytest.mark.parametrize(
    "text, options, stride",
    [
        (None, {}, 2),
        ("stride: 1\n", {}, 1),
        ("PCB: false\nstride: 2\n", {}, 2),
        ("stride: 1\n", {"last_stride": 2}, 2),
        ("linear_num: 512\n", {}, 2),
    ],
)
def test_layumi_stride(tmp_path, text, options, stride):
    head = seeded(fc_neck(512, 20, relu=False), 1)
    backbone = seeded(ResNet(ResNetConfig.of_depth(50, width=16)))
    path = written(tmp_path / "net_last.pth", ("model.", backbone), ("classifier.add_block.", head))
    if text is not None:
        (tmp_path / "opts.yaml").write_text(text)
    loaded = load_network(path, **options)
    assert loaded.network.backbone.config.last_stride == stride
    assert any(f"{stride}" in note for note in loaded.notes)
    assert loaded.embedding.dim == 20


def test_layumi_without_linear_and_bad_settings(tmp_path):
    backbone = seeded(ResNet(ResNetConfig.of_depth(50, width=16)))
    path = written(
        tmp_path / "net.pth", ("model.", backbone), ("classifier.add_block.0.", bn_neck(512))
    )
    assert load_network(path).embedding.dim == 512
    (tmp_path / "opts.yaml").write_text("stride: 3\n")
    with pytest.raises(ReidEdgeError, match="stride 3"):
        load_network(path)


def test_torchreid_resnet_without_classifier_needs_arch(tmp_path):
    backbone = seeded(ResNet(ResNetConfig.of_depth(18)))
    path = written(tmp_path / "r.pth", ("", backbone))
    with pytest.raises(ReidEdgeError, match="--arch"):
        load_network(path)
    assert load_network(path, arch="torchreid_resnet18").network.backbone.config.last_stride == 2


def test_module_weights_are_a_real_network(tmp_path):
    """The embedding depends on the image, so the parity assertions above can fail."""
    neck = seeded(bn_neck(128), 1)
    backbone = seeded(ResNet(ResNetConfig(**TINY, stem_relu=False)))
    network = ReidNetwork(backbone, AvgPool(), neck, 128)
    with torch.no_grad():
        assert not close(network(IMAGE), network(IMAGE.flip(3)))
