"""Features of the original codebases, reproduced from checkpoint files in their own layouts."""

import pytest
import torch

from models.checkpoint import load_network

TOLERANCE = 1e-5

# name -> (arch, family)
MODELS = {
    "rga_sc_r50": ("rga_sc_resnet50", "microsoft-rga"),
    "rga_s_r50": ("rga_s_resnet50", "microsoft-rga"),
    "bot_r50": ("bot_resnet50", "reid-strong-baseline"),
    "bot_r18": ("bot_resnet18", "reid-strong-baseline"),
    "bot_r50_ibn_a": ("bot_resnet50_ibn_a", "reid-strong-baseline"),
    "osnet_x0_25": ("osnet_x0_25", "torchreid"),
    "osnet_x1_0": ("osnet_x1_0", "torchreid"),
    "osnet_ain_x1_0": ("osnet_ain_x1_0", "torchreid"),
    "torchreid_resnet50": ("torchreid_resnet50", "torchreid"),
    "torchreid_resnet50_fc512": ("torchreid_resnet50_fc512", "torchreid"),
    "fastreid_bot_r50": ("fastreid_bot_resnet50", "fast-reid"),
    "fastreid_sbs_r50_ibn": ("fastreid_sbs_resnet50_ibn_a", "fast-reid"),
    "layumi_r50_s1": ("layumi_resnet50", "layumi"),
}


@pytest.mark.parametrize("name", MODELS)
def test_reproduces_original_feature(name, golden, embed, relative_error, tmp_path):
    reference = golden(name)
    path = reference.save(tmp_path / "model.pth", prefix="module." if len(name) % 2 else "")
    if name.startswith("layumi"):
        (tmp_path / "opts.yaml").write_text("PCB: false\nlinear_num: 512\nstride: 1\n")
    loaded = load_network(path)

    assert (loaded.arch, loaded.family) == MODELS[name]
    assert (loaded.input.height, loaded.input.width) == reference.hw
    assert reference.dropped_as_documented(key for key, _ in loaded.dropped)
    assert all(reason for _, reason in loaded.dropped)
    expected = reference.feature()
    assert loaded.embedding.dim == expected.shape[1]
    assert relative_error(embed(loaded, reference.crops()), expected) <= TOLERANCE
    # What is exported computes the same.
    exported = loaded.for_export()
    assert relative_error(embed(loaded, reference.crops(), exported), expected) <= TOLERANCE


@pytest.mark.parametrize("name", ["rga_sc_r50", "bot_r18"])
def test_module_prefix_and_feature_before_neck(name, golden, embed, relative_error, tmp_path):
    reference = golden(name)
    path = reference.save(tmp_path / "model.pth", prefix="module.")
    loaded = load_network(path, feature="before_neck")
    assert loaded.embedding.feature == "before_neck"
    got = embed(loaded, reference.crops())
    assert relative_error(got, reference.feature("feature_pre_bn")) <= TOLERANCE


@pytest.mark.parametrize("name", ["rga_sc_r50", "rga_s_r50"])
def test_both_rga_forms_are_the_original(name, golden, embed, relative_error, tmp_path):
    reference = golden(name)
    path = reference.save(tmp_path / "model.pth")
    networks = {form: load_network(path, rga_form=form) for form in ("original", "reassociated")}
    states = [loaded.network.state_dict() for loaded in networks.values()]
    assert states[0].keys() == states[1].keys()
    for form, loaded in networks.items():
        assert relative_error(embed(loaded, reference.crops()), reference.feature()) <= TOLERANCE, (
            form
        )
    # In float64 the two are the same function; only float32 pixels separate them from the golden.
    outputs = [
        embed(loaded, reference.crops(), loaded.network.double(), torch.float64)
        for loaded in networks.values()
    ]
    assert relative_error(outputs[0], outputs[1]) <= 1e-12
    # A swap of the relation halves is seen.
    state = reference.state()
    for key in [k for k in state if ".gg_" in k and k.endswith("0.weight")]:
        state[key] = torch.cat(state[key].chunk(2, 1)[::-1], 1)
    swapped = load_network(reference.save(tmp_path / "swapped.pth", state))
    assert relative_error(embed(swapped, reference.crops()), reference.feature()) > 0.01


def test_gem_exponent_comes_from_the_checkpoint(golden, embed, relative_error, tmp_path):
    reference = golden("fastreid_sbs_r50_ibn")
    state = reference.state()
    state["heads.pool_layer.p"] = torch.full_like(state["heads.pool_layer.p"], 2.5)
    state["pixel_mean"] = torch.tensor([123.675, 116.28, 103.53]).reshape(1, 3, 1, 1)
    loaded = load_network(reference.save(tmp_path / "model.pth", state))
    got = embed(loaded, reference.crops())
    assert relative_error(got, reference.feature("feature_gem_p_2_5")) <= TOLERANCE
    assert relative_error(got, reference.feature()) > 0.01
    assert "pixel_mean" in dict(loaded.dropped)


def test_layumi_flip_sum(golden, embed, relative_error, tmp_path):
    reference = golden("layumi_r50_s1")
    state = {**reference.state(), "n_averaged": torch.tensor(3)}
    loaded = load_network(reference.save(tmp_path / "net_last.pth", state), last_stride=1)
    assert "n_averaged" in dict(loaded.dropped)
    total = embed(loaded, reference.crops()) + embed(
        loaded, [crop[:, ::-1] for crop in reference.crops()]
    )
    assert relative_error(total, reference.feature("feature_flip_sum")) <= TOLERANCE


@pytest.mark.parametrize("mistake", [{"stem_relu": True}, {"last_stride": 2}])
def test_mistakes_are_visible(mistake, golden, embed, relative_error, tmp_path):
    reference = golden("bot_r18")
    loaded = load_network(reference.save(tmp_path / "model.pth"), **mistake)
    assert relative_error(embed(loaded, reference.crops()), reference.feature()) > 0.05


def test_float64_error_is_rounding_only(golden, relative_error, tmp_path):
    reference = golden("bot_r18")
    loaded = load_network(reference.save(tmp_path / "model.pth"))
    images = reference.crops()
    rgb = torch.tensor([image[..., ::-1].copy().tolist() for image in images], dtype=torch.float64)
    mean, std = (
        torch.tensor(v, dtype=torch.float64) for v in (loaded.input.mean, loaded.input.std)
    )
    pixels = ((rgb / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        got = loaded.network.double()(pixels).numpy()
    assert relative_error(got, reference.feature()) <= 1e-10
