"""Recipes: what is refused, what is changed from outside, and that the shipped ones are valid."""

from __future__ import annotations

import pytest
import yaml

from runtime.errors import ReidEdgeError
from training.recipe import fields, parse, read_recipe, shipped

MINIMAL = {"network": {"backbone": "resnet18"}}


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipe_is_valid_and_survives_a_round_trip(name):
    recipe = read_recipe(name)
    assert recipe.name == name and recipe.description
    assert parse(yaml.safe_load(yaml.safe_dump(recipe.to_dict())), "again") == recipe


def test_the_three_named_recipes_are_shipped():
    assert {"bot", "rga", "small"} <= set(shipped())


def test_augmentations_are_described_too():
    listed = {name for name, _, _ in fields()}
    assert {"augment.flip.probability", "augment.erasing.area"} <= listed
    assert not any(name.endswith(".source") for name in listed)


def test_every_field_is_described():
    listed = {name: text for name, _, text in fields()}
    assert all(text for text in listed.values())
    assert {"network.rga", "losses.triplet.margin", "schedule.epochs", "ema.decay"} <= set(listed)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schedule": {"epoch": 3}}, "schedule.epoch is not a field"),
        ({"scheduel": {}}, "scheduel is not a field"),
        ({"network": {"backbone": "resnet18", "widht": 32}}, "network.widht"),
        ({"network": {"backbone": "resnet19"}}, "backbone must be one of"),
        ({"schedule": {"epochs": 0}}, "schedule.epochs"),
        ({"optimizer": {"learning_rate": float("nan")}}, "optimizer.learning_rate"),
        ({"augment": {"flip": {"probability": 2.0}}}, "probability"),
        ({"augment": {"mixup": {}}}, "mixup"),
        (
            {"losses": {"triplet": {"weight": 1}}, "sampler": {"kind": "uniform"}},
            "needs sampler.kind pk",
        ),
        ({"losses": {"triplet": {"weight": 1}}, "sampler": {"images": 1}}, "at least 2"),
        (
            {"losses": {"circle": {"weight": 1}}, "sampler": {"kind": "uniform"}},
            "circle loss needs sampler.kind pk",
        ),
        (
            {"losses": {"distill_similarity": {"weight": 1}}, "teacher": {"mode": "live"}},
            "bank needs a fixed teacher",
        ),
        ({"losses": {"classification": {"weight": 0}}}, "no loss"),
        ({"name": "a/b"}, "name"),
    ],
)
def test_mistake_is_named_in_one_sentence(change, said):
    with pytest.raises(ReidEdgeError, match=said) as error:
        parse({**MINIMAL, **change}, "mine.yaml")
    assert str(error.value).startswith("mine.yaml: ") and "\n" not in str(error.value)


def test_fields_can_be_set_from_outside(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(MINIMAL))
    recipe = read_recipe(
        path, {"schedule.epochs": "3", "losses.triplet.margin": "null", "ema.decay": "0.5"}
    )
    assert recipe.schedule.epochs == 3 and recipe.losses.triplet.margin is None
    assert recipe.ema is not None and recipe.ema.decay == 0.5
    small = read_recipe(path, {"optimizer.learning_rate": "1e-3", "augment": "{}", "ema": "null"})
    assert small.optimizer.learning_rate == 0.001 and small.augment == {} and small.ema is None
    with pytest.raises(ReidEdgeError, match=r"schedule\.epoks is not a field"):
        read_recipe(path, {"schedule.epoks": "3"})
    with pytest.raises(ReidEdgeError, match="needs a YAML value"):
        read_recipe(path, {"schedule.epochs": "["})


def test_unknown_name_broken_yaml_and_wrong_shape_are_refused(tmp_path):
    with pytest.raises(ReidEdgeError, match=r"No recipe 'bott'; choose .*bot"):
        read_recipe("bott")
    with pytest.raises(ReidEdgeError, match="Cannot read recipe"):
        read_recipe(tmp_path / "absent.yaml")
    broken = tmp_path / "broken.yaml"
    for text, said in (
        ("a: [", "not valid YAML"),
        ("- 1", "must be a YAML mapping"),
        ("", "network"),
    ):
        broken.write_text(text)
        with pytest.raises(ReidEdgeError, match=said):
            read_recipe(broken)
