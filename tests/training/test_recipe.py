"""Recipes: what is refused, what is changed from outside, and that the shipped ones are valid."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import yaml

from models.spec import NetworkSpec
from runtime.errors import ReidEdgeError
from training.recipe import descriptions, fields, parse, read_recipe, shipped

MINIMAL = {"network": {"backbone": "resnet18"}}


def own_network():
    return NetworkSpec("resnet18", width=8, height_px=64, width_px=32)


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipe_is_valid_and_survives_a_round_trip(name):
    recipe = read_recipe(name, network=own_network)
    assert descriptions()[name] == recipe.description
    assert recipe.name == name and recipe.description
    assert parse(yaml.safe_load(yaml.safe_dump(recipe.to_dict())), "again") == recipe


def test_the_four_named_recipes_are_shipped():
    assert {"bot", "finetune", "rga", "small"} <= set(shipped())


def test_fine_tuning_takes_the_network_of_the_start():
    recipe = read_recipe("finetune", {"network.height_px": "96"}, own_network)
    assert recipe.fine_tune and recipe.network == replace(own_network(), height_px=96)
    assert read_recipe("bot", network=own_network).network.backbone == "resnet50"
    with pytest.raises(ReidEdgeError, match=r"fine-tunes a trained network; pass --init default"):
        read_recipe("finetune")
    with pytest.raises(ReidEdgeError, match="network is missing"):
        parse({}, "mine.yaml")


def test_a_schedule_that_never_falls_is_refused_with_one_that_does():
    """At 20 epochs the rate of `bot` was at its peak from 10 to the end, and `rga` only rose."""
    for name, said in (
        ("bot", "schedule.milestones 40, 70 would"),
        ("rga", "warmup_epochs 20 and"),
    ):
        with pytest.raises(ReidEdgeError, match=said) as error:
            read_recipe(name, {"schedule.epochs": "20"})
        given = re.findall(r"--set (\S+?)=(\S+?)[.]?(?= |$)", str(error.value))
        assert given
        schedule = read_recipe(name, {"schedule.epochs": "20", **dict(given)}).schedule
        assert schedule.warmup_epochs <= schedule.milestones[0] < schedule.milestones[-1] < 20


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
        ({"name": "a/b"}, "name is 'a/b': string should match"),
        ({"schedule": {"epochs": "three"}}, "epochs should be a valid integer, got 'three'"),
        ({"schedule": {"epochs": 10}}, r"epochs 10, and schedule.warmup_epochs 10 would come"),
        ({"schedule": {"freeze_backbone_epochs": 121}}, "is 121, .* set it to at most 120"),
        ({"losses": {"circle": {"margin": 1.5}}}, "circle.margin should be less than 1, got 1.5"),
        ({"sampler": {"persons": 1}}, "persons should be greater than or equal to 2, got 1"),
        ({"losses": {"classification": {"scale": 30}}}, "only .*head arcface, .* reads it"),
        ({"losses": {"distill_features": {"bank": False}}}, "only losses.distill_similarity"),
        ({"optimizer": {"momentum": 0.5}}, "momentum is 0.5, but only optimizer.kind sgd"),
        (
            {"schedule": {"milestones": [30]}},
            r"milestones is \[30.0\], but only schedule.kind step",
        ),
        ({"sampler": {"batch": 32}}, "batch is 32, but only sampler.kind uniform"),
        ({"sampler": {"kind": "uniform", "rear_weight": 2}}, "rear_weight is 2.0, but only"),
        ({"keep_start": 0.5}, "keep_start is 0.5, but only fine_tune true"),
        ({"teacher": {"mode": "live"}}, "mode is live, but only a distillation loss"),
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
        path, {"schedule.epochs": "13", "losses.triplet.margin": "null", "ema.decay": "0.5"}
    )
    assert recipe.schedule.epochs == 13 and recipe.losses.triplet.margin is None
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
