"""The contracts refuse what no network could mean, and survive their own JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.contract import (
    COLORS,
    FEATURES,
    IMAGENET_MEAN,
    IMAGENET_STD,
    RESIZES,
    EmbeddingContract,
    InputContract,
)
from runtime.errors import ReidEdgeError

finite = st.floats(-1e6, 1e6)
positive = st.floats(1e-6, 1e6)

input_contracts = st.builds(
    InputContract,
    height=st.integers(8, 4096),
    width=st.integers(8, 4096),
    color=st.sampled_from(COLORS),
    scale=positive,
    mean=st.tuples(finite, finite, finite),
    std=st.tuples(positive, positive, positive),
    resize=st.sampled_from(RESIZES),
)
embedding_contracts = st.builds(
    EmbeddingContract,
    dim=st.integers(1, 8192),
    feature=st.sampled_from(FEATURES),
    l2_normalize=st.booleans(),
)


@given(input_contracts)
def test_input_contract_survives_json(contract):
    assert InputContract.from_dict(json.loads(json.dumps(contract.to_dict()))) == contract


@given(embedding_contracts)
def test_embedding_contract_survives_json(contract):
    assert EmbeddingContract.from_dict(json.loads(json.dumps(contract.to_dict()))) == contract


def test_defaults_are_torchvisions_imagenet_preprocessing():
    contract = InputContract(256, 128)
    assert contract.shape == (3, 256, 128)
    assert (contract.color, contract.resize, contract.scale) == ("RGB", "bilinear", 1 / 255)
    assert (contract.mean, contract.std) == (IMAGENET_MEAN, IMAGENET_STD)


def test_with_changes_only_what_is_named_and_checks_it():
    contract = InputContract(256, 128, color="BGR")
    assert contract.with_(height=384) == InputContract(384, 128, color="BGR")
    assert contract.height == 256
    with pytest.raises(ReidEdgeError, match="height"):
        contract.with_(height=0)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"height": 7}, "height must be an integer from 8 to 4096 pixels, got 7"),
        ({"width": 4097}, "width .* got 4097"),
        ({"height": 256.0}, "height .* got 256.0"),
        ({"width": True}, "width .* got True"),
        ({"height": "256"}, "height .* got '256'"),
        ({"color": "rgb"}, "one of RGB, BGR, got 'rgb'"),
        ({"color": None}, "got None"),
        ({"resize": "nearest"}, "bilinear, bicubic, area, got 'nearest'"),
        ({"mean": (0.5, 0.5)}, "mean must be three numbers"),
        ({"mean": 0.5}, "mean must be three numbers, got 0.5"),
        ({"mean": "abc"}, "mean must be three numbers, got 'abc'"),
        ({"mean": (0.5, 0.5, float("nan"))}, "mean must be three numbers"),
        ({"std": (1, 1, None)}, "std must be three numbers"),
        ({"std": (0.2, 0.0, 0.2)}, "must be positive"),
        ({"std": (0.2, -0.2, 0.2)}, "must be positive"),
        ({"scale": 0}, "must be positive, got 0"),
        ({"scale": "1"}, "must be positive, got '1'"),
        ({"scale": float("inf")}, "must be positive"),
        ({"scale": float("nan")}, "must be positive"),
    ],
)
def test_input_contract_refuses(changes, message):
    with pytest.raises(ReidEdgeError, match=message):
        InputContract(**{"height": 256, "width": 128, **changes})


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"dim": 0}, "positive integer, got 0"),
        ({"dim": 512.0}, "got 512.0"),
        ({"dim": True}, "got True"),
        ({"feature": "neck"}, "before_neck, after_neck, got 'neck'"),
        ({"l2_normalize": "no"}, "true or false, got 'no'"),
    ],
)
def test_embedding_contract_refuses(changes, message):
    with pytest.raises(ReidEdgeError, match=message):
        EmbeddingContract(**{"dim": 512, **changes})


def test_from_dict_names_unknown_and_missing_keys():
    data = InputContract(256, 128).to_dict()
    data["colour"] = data.pop("color")
    with pytest.raises(
        ReidEdgeError, match=r"unknown keys \['colour'\] and lacks keys \['color'\]"
    ):
        InputContract.from_dict(data)


@pytest.mark.parametrize("data", [None, [], "RGB", 3])
def test_from_dict_refuses_what_is_no_object(data):
    with pytest.raises(ReidEdgeError, match="must be a JSON object"):
        EmbeddingContract.from_dict(data)
