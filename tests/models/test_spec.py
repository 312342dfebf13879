"""NetworkSpec: what is refused, names, round trips; build_network: the network it promises."""

import json
from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models.osnet import OSNet
from models.resnest import ResNeSt
from models.resnet import NonLocal, ResNet
from models.rga import RelationAttention
from models.spec import BACKBONES, OSNETS, RESNESTS, NetworkSpec, assemble, build_network
from runtime.contract import IMAGENET_MEAN, IMAGENET_STD, InputContract
from runtime.errors import ReidEdgeError

torch.set_num_threads(1)
SMALL = {"height_px": 64, "width_px": 32}


@st.composite
def specs(draw):
    """Valid specifications of every family."""
    backbone = draw(st.sampled_from(BACKBONES))
    head = draw(st.sampled_from(["bnneck", "linear", "reduction"]))
    options = {
        "pool": draw(st.sampled_from(["avg", "max", "gem", "attention"])),
        "head": head,
        "dim": None if head == "bnneck" else draw(st.integers(1, 64)),
        "height_px": 4 * draw(st.integers(8, 100)),
        "width_px": 4 * draw(st.integers(8, 100)),
    }
    if backbone not in OSNETS:
        options["width"] = draw(st.sampled_from([16, 32, 64]))
        options["last_stride"] = draw(st.sampled_from([1, 2]))
        options["rga"] = draw(st.sampled_from(["none", "s", "c", "sc"]))
        if backbone not in RESNESTS:
            options["ibn"] = draw(st.booleans())
            options["stem_relu"] = draw(st.booleans())
            options["ceil_pool"] = draw(st.booleans())
            options["non_local"] = tuple(draw(st.integers(0, 2)) for _ in range(4))
    return NetworkSpec(backbone, **options)


@given(specs())
def test_round_trip_through_json(spec):
    assert NetworkSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@given(st.data())
def test_another_function_has_another_name(data):
    one, other = data.draw(specs()), data.draw(specs())
    name = data.draw(st.sampled_from([f.name for f in fields(NetworkSpec)]))
    try:
        other = data.draw(st.sampled_from([other, replace(one, **{name: getattr(other, name)})]))
    except ReidEdgeError:  # a mixture that is no network
        pass
    same_size = replace(other, height_px=one.height_px, width_px=one.width_px)
    assert (one.arch == other.arch) == (one == same_size)


@pytest.mark.parametrize(
    "options, arch",
    [
        ({"backbone": "resnet18", "width": 32, "rga": "sc"}, "rga_sc_resnet18_w32"),
        ({"backbone": "resnet50"}, "resnet50"),
        ({"backbone": "resnet50", "ibn": True, "last_stride": 2}, "resnet50_ibn_a_s2"),
        ({"backbone": "osnet_ain_x1_0", "head": "linear", "dim": 512}, "osnet_ain_x1_0_linear512"),
        ({"backbone": "resnest50", "pool": "gem"}, "resnest50_gem"),
        ({"backbone": "resnext50_32x4d", "rga": "s"}, "rga_s_resnext50_32x4d"),
    ],
)
def test_names(options, arch):
    assert NetworkSpec(**options).arch == arch


@pytest.mark.parametrize(
    "options, match",
    [
        ({"backbone": "resnet20"}, "backbone must be one of .*resnext50_32x4d.*got 'resnet20'"),
        ({"width": 65}, "multiple of 8 from 8 to 512, got 65"),
        ({"width": True}, "multiple of 8"),
        ({"backbone": "resnext50_32x4d", "width": 24}, "multiple of 16 from 16"),
        ({"last_stride": 3}, "last_stride must be one of 1, 2, got 3"),
        ({"last_stride": True}, "last_stride"),
        ({"ibn": 1}, "ibn must be one of False, True, got 1"),
        ({"stem_relu": "no"}, "stem_relu"),
        ({"non_local": (0, 1, 2)}, "four counts"),
        ({"non_local": (0, -1, 0, 0)}, "four counts"),
        ({"non_local": [0, 1, 2, 0]}, "four counts"),
        ({"non_local": (0, 0, 7, 0)}, "resnet50 has only .*smaller counts"),
        ({"rga": "cs"}, "rga must be one of none, s, c, sc"),
        ({"pool": "mean"}, "pool must be one of avg, max, gem, attention"),
        ({"head": "fc"}, "head must be one of"),
        ({"head": "linear"}, "needs dim"),
        ({"head": "reduction", "dim": 0}, "needs dim"),
        ({"dim": 256}, "leave dim out or use head reduction"),
        ({"height_px": 31}, "height_px must be an integer from 32"),
        ({"width_px": 128.0}, "width_px must be an integer"),
        ({"ceil_pool": True, "rga": "s", "height_px": 130}, "multiples of 4, got 130 and 128"),
        ({"backbone": "osnet_x0_25", "rga": "sc"}, "no option rga"),
        ({"backbone": "osnet_x0_25", "width": 32}, "no option width"),
        ({"backbone": "osnet_x0_25", "last_stride": 2}, "no option last_stride"),
        ({"backbone": "resnest50", "ibn": True}, "no option ibn"),
        ({"backbone": "resnest50", "non_local": (0, 2, 0, 0)}, "no option non_local"),
        ({"backbone": "resnest101", "stem_relu": False}, "no option stem_relu"),
    ],
)
def test_refused(options, match):
    with pytest.raises(ReidEdgeError, match=match) as caught:
        NetworkSpec(**{"backbone": "resnet50", **options})
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_from_dict_wants_every_field_and_no_other():
    data = NetworkSpec("resnet18").to_dict()
    with pytest.raises(
        ReidEdgeError, match=r"unknown fields \['depth'\] and lacks fields \['rga'\]"
    ):
        NetworkSpec.from_dict({"depth": 3, **{k: v for k, v in data.items() if k != "rga"}})
    with pytest.raises(ReidEdgeError, match="must be a mapping, got list"):
        NetworkSpec.from_dict([1])
    with pytest.raises(ReidEdgeError, match="non_local"):
        NetworkSpec.from_dict({**data, "non_local": 3})


def test_input_contract():
    contract = NetworkSpec("resnet18", height_px=384, width_px=192).input_contract()
    assert contract == InputContract(
        384, 192, "RGB", 1 / 255, IMAGENET_MEAN, IMAGENET_STD, "bilinear"
    )


def test_inside_a_pydantic_model():
    pydantic = pytest.importorskip("pydantic")

    class Recipe(pydantic.BaseModel):
        network: NetworkSpec

    made = Recipe.model_validate({"network": {"backbone": "resnet50", "non_local": [0, 2, 3, 0]}})
    assert made.network == NetworkSpec("resnet50", non_local=(0, 2, 3, 0))
    with pytest.raises(pydantic.ValidationError, match=r"network\.depth"):
        Recipe.model_validate({"network": {"backbone": "resnet50", "depth": 3}})
    with pytest.raises(ReidEdgeError, match="needs dim"):
        Recipe.model_validate({"network": {"backbone": "resnet50", "head": "linear"}})


KINDS = {
    "basic": NetworkSpec("resnet18", width=8, **SMALL),
    "bottleneck": NetworkSpec("resnet50", width=8, last_stride=2, head="linear", dim=7, **SMALL),
    "agw": NetworkSpec("resnet50", width=8, non_local=(0, 2, 3, 0), pool="gem", ibn=True, **SMALL),
    "rga": NetworkSpec("resnet34", width=8, rga="sc", head="reduction", dim=9, **SMALL),
    "rga_s_resnext": NetworkSpec("resnext50_32x4d", width=16, rga="s", pool="max", **SMALL),
    "rga_c_resnest": NetworkSpec("resnest50", width=8, rga="c", pool="attention", **SMALL),
    "resnest101": NetworkSpec("resnest101", width=8, **SMALL),
    "osnet": NetworkSpec("osnet_x0_25", pool="attention", height_px=72, width_px=40),
    "osnet_ain": NetworkSpec("osnet_ain_x0_5", head="reduction", dim=16, **SMALL),
    "osnet_ibn": NetworkSpec("osnet_ibn_x0_25", **SMALL),
}


@pytest.mark.parametrize("spec", KINDS.values(), ids=KINDS.keys())
def test_every_trainable_weight_gets_a_gradient(spec):
    torch.manual_seed(0)
    network = build_network(spec)
    assert network.training
    pixels = torch.randn(4, 3, spec.height_px, spec.width_px)
    before, after = network.features(pixels)
    assert before.shape[1] == (spec.dim or network.backbone.out_channels)
    assert after.shape == (4, network.dim) and network.dim == before.shape[1]
    (before.square().mean() + (after * torch.randn_like(after)).mean()).backward()
    silent = [k for k, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert silent == []
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


@pytest.mark.parametrize("pool", ["avg", "attention"])
@given(height=st.integers(32, 75), width=st.integers(32, 75), spec=st.sampled_from(list(KINDS)))
@settings(max_examples=12, deadline=None)
def test_any_size_runs(pool, height, width, spec):
    """Baked sizes follow the maps that the backbone really makes, odd ones included."""
    spec = replace(KINDS[spec], pool=pool, height_px=height, width_px=width)
    with torch.no_grad():
        out = assemble(spec).eval()(torch.randn(2, 3, height, width))
    assert out.shape[0] == 2 and out.isfinite().all()


@pytest.mark.parametrize(
    "backbone, kind", [("resnet18", ResNet), ("resnest50", ResNeSt), ("osnet_x0_25", OSNet)]
)
def test_backbone_kind(backbone, kind):
    assert type(build_network(NetworkSpec(backbone, **SMALL)).backbone) is kind


def test_published_backbones_keep_their_shapes():
    with torch.device("meta"):
        counts = {
            name: sum(p.numel() for p in assemble(NetworkSpec(name)).backbone.parameters())
            for name in ("resnext50_32x4d", "resnext101_32x8d", "resnest50", "resnest101")
        }
    # Published counts less the 1000-class layer of 2048 inputs.
    assert {name: count + 2049 * 1000 for name, count in counts.items()} == {
        "resnext50_32x4d": 25_028_904,
        "resnext101_32x8d": 88_791_336,
        "resnest50": 27_483_240,
        "resnest101": 48_275_016,
    }


def test_initial_weights():
    torch.manual_seed(0)
    network = build_network(NetworkSpec("resnet18", head="reduction", dim=64, **SMALL))
    conv = network.backbone.layer4[0].conv2.weight.detach()  # 512 x 512 x 3 x 3
    assert float(conv.std()) == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
    assert float(network.neck[0].weight.detach().std()) == pytest.approx((2 / 64) ** 0.5, rel=0.05)
    assert not network.neck[0].bias.any()
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            assert (module.weight == 1).all() and (module.bias == 0).all()
            assert (module.running_mean == 0).all() and (module.running_var == 1).all()


def test_the_seed_decides():
    def weights(seed):
        torch.manual_seed(seed)
        return build_network(KINDS["rga"]).state_dict()

    one, same, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert not torch.equal(one["backbone.conv1.weight"], other["backbone.conv1.weight"])


def test_non_local_blocks_start_as_the_identity():
    network = build_network(KINDS["agw"])
    blocks = [m for m in network.modules() if isinstance(m, NonLocal)]
    assert len(blocks) == 5
    for block in blocks:
        x = torch.randn(2, block.g.in_channels, 4, 3)
        assert torch.equal(block(x), x)


@pytest.mark.parametrize(
    "head, trained", [("bnneck", False), ("reduction", False), ("linear", True)]
)
def test_only_a_last_batch_norm_keeps_its_bias(head, trained):
    spec = NetworkSpec("resnet18", head=head, dim=None if head == "bnneck" else 8, **SMALL)
    network = build_network(spec)
    last = {"bnneck": "neck.bias", "reduction": "neck.1.bias", "linear": "neck.bias"}[head]
    fixed = [k for k, p in network.named_parameters() if not p.requires_grad]
    assert fixed == ([] if trained else [last])


def test_rga_form_is_passed_on():
    spec = KINDS["rga"]
    networks = [build_network(spec, rga_form=form) for form in ("original", "reassociated")]
    networks[1].load_state_dict(networks[0].state_dict())
    for network, form in zip(networks, ("original", "reassociated")):
        forms = {m.form for m in network.modules() if isinstance(m, RelationAttention)}
        assert forms == {form}
    x = torch.randn(2, 3, 64, 32)
    one, other = (network.eval()(x) for network in networks)
    assert torch.allclose(one, other, rtol=1e-4, atol=1e-5 * float(one.abs().max()))


@given(height=st.integers(32, 130), width=st.integers(32, 130))
@settings(max_examples=10, deadline=None)
def test_osnet_map_size(height, width):
    with torch.no_grad():
        made = assemble(NetworkSpec("osnet_x0_25")).backbone.eval()(
            torch.zeros(1, 3, height, width)
        )
    assert tuple(made.shape[2:]) == OSNet.map_size(height, width)
