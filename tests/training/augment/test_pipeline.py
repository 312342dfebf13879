"""Pipelines: order, settings of a recipe, the reported flip, and the generator of an image."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import ReidEdgeError
from training.augment import Pipeline, item_rng
from training.augment.colour import ColourJitter
from training.augment.erase import RandomErasing, RandomPatch
from training.augment.geometry import Flip, PadCrop
from training.augment.pipeline import STEPS
from training.augment.policy import AutoPolicy
from training.sampler import PKSampler, UniformSampler


def crop(height=64, width=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def source(rng):
    return crop(seed=int(rng.integers(100)))


EVERYTHING = {name: {"probability": 0.7} for name in reversed(list(STEPS))}


def test_the_order_of_application_is_fixed():
    steps = Pipeline.build(EVERYTHING, source).steps
    assert [type(step).__name__ for step in steps] == [
        "Flip",
        "DetectorJitter",
        "PadCrop",
        "RandomPatch",
        "AutoPolicy",
        "ColourJitter",
        "RandomErasing",
        "Cutout",
    ]
    assert [type(step) for step in steps] == list(STEPS.values())
    documented = [name for name in STEPS if f"``{name}``" in Pipeline.build.__doc__]
    places = [
        Pipeline.build.__doc__.index(f"``{name}``  ")
        for name in documented
        if name != "detector_jitter"
    ]
    assert documented == list(STEPS) and places == sorted(places)


def test_sections_carry_the_fields_and_lists_become_tuples():
    pipeline = Pipeline.build(
        {
            "erasing": {
                "probability": 1,
                "area": [0.1, 0.2],
                "fill": "constant",
                "constant": [1, 2, 3],
            },
            "policy": {"policies": [[["rotate", 0.5, [1, 2]]]]},
            "pad_crop": {},
            "patch": {"area": [0.1, 0.3]},
        },
        source,
    )
    assert pipeline.steps == (
        PadCrop(),
        RandomPatch(source, area=(0.1, 0.3)),
        AutoPolicy(policies=((("rotate", 0.5, (1, 2)),),)),
        RandomErasing(1, (0.1, 0.2), fill="constant", constant=(1, 2, 3)),
    )


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_a_pipeline_runs_its_steps_on_one_generator(seed):
    image = crop()
    before = image.copy()
    steps = [Flip(), PadCrop(), ColourJitter(), RandomErasing(fill="noise")]
    got, flipped = Pipeline(steps)(image, np.random.default_rng(seed))
    rng, want = np.random.default_rng(seed), image
    for step in steps:
        want = step.apply(want, rng)
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(image, before)
    assert flipped == Flip().decide(np.random.default_rng(seed))
    assert got.flags.c_contiguous and not np.shares_memory(got, image)


def test_the_flip_is_reported():
    for probability in (0, 1):
        pipeline = Pipeline.build({"flip": {"probability": probability}})
        got, flipped = pipeline(crop(), np.random.default_rng(0))
        assert flipped is bool(probability)
        np.testing.assert_array_equal(got, crop()[:, ::-1] if flipped else crop())


def test_no_steps_copy_the_image():
    image = crop()
    for pipeline in (Pipeline(), Pipeline.build({})):
        got, flipped = pipeline(image, np.random.default_rng(0))
        np.testing.assert_array_equal(got, image)
        assert not np.shares_memory(got, image) and flipped is False


def test_the_same_numbers_give_the_same_image_and_others_another():
    pipeline = Pipeline.build(EVERYTHING, source)
    images = {
        key: pipeline(crop(), item_rng(*key))[0].tobytes()
        for key in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 1, 1)]
    }
    assert len(set(images.values())) == len(images)
    for key in reversed(images):  # order of preparation does not matter
        again = pickle.loads(pickle.dumps(pipeline))  # as in a worker process
        assert again(crop(), item_rng(*key))[0].tobytes() == images[key]


@settings(max_examples=100, deadline=None)
@given(*[st.tuples(st.integers(0, 2**64), *[st.integers(0, 2**33)] * 2)] * 2)
def test_item_numbers_are_streams_of_their_own(one, other):
    draws = [item_rng(*key).integers(2**63, size=2).tolist() for key in (one, other)]
    assert (draws[0] == draws[1]) == (one == other)


def test_item_numbers_are_not_those_of_the_bare_seed():
    draws = {
        int(rng.integers(2**63))
        for rng in (
            item_rng(3, 0, 0),
            np.random.default_rng(3),
            np.random.default_rng((3, 0, 0)),
            np.random.default_rng((3, 0)),
        )
    }
    assert item_rng(3, 0, 0).integers(2**63) in draws and len(draws) == 2  # the bare three agree


def test_item_numbers_are_not_those_a_sampler_draws(monkeypatch):
    used = []

    def recording(*arguments, **keywords):
        used.append(SeedSequence(*arguments, **keywords))
        return used[-1]

    SeedSequence = np.random.SeedSequence
    monkeypatch.setattr(np.random, "SeedSequence", recording)
    ids = np.arange(40) // 2  # fewer places than persons: both streams of the sampler
    for n in range(6):
        PKSampler(ids, persons=10, images=4, seed=7).epoch(n)
        UniformSampler(40, 8, seed=7).epoch(n)
    sampled = {tuple(sequence.generate_state(4)) for sequence in used}
    used.clear()
    for epoch in range(6):
        for position in range(6):
            item_rng(7, epoch, position)
    items = {tuple(sequence.generate_state(4)) for sequence in used}
    assert len(sampled) >= 14 and len(items) == 36 and not sampled & items


@pytest.mark.parametrize("key", [(-1, 0, 0), (0, -1, 0), (0, 0, -1)])
def test_negative_numbers_are_an_error(key):
    with pytest.raises(ValueError):
        item_rng(*key)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.float32),
    ],
)
def test_what_is_no_image_is_refused(image):
    with pytest.raises(ReidEdgeError, match=r"\(H, W, 3\) uint8"):
        Pipeline()(image, np.random.default_rng(0))


@pytest.mark.parametrize(
    "sections, words",
    [
        ({"flipp": {}}, "Unknown augmentation flipp; choose from flip, detector_jitter, pad_crop"),
        ({"flip": {"prob": 1}}, "flip has no field prob; it takes probability"),
        ({"patch": {"source": 3}}, "patch has no field source; it takes probability, area"),
        ({"erasing": {"area": [0.5, 0.1]}}, "RandomErasing area must be two rising numbers"),
        ({"flip": None}, "flip must be a mapping"),
        ({"flip": 0.5}, "flip must be a mapping"),
        ({"patch": {}}, "patch needs other training crops"),
    ],
)
def test_bad_sections_are_refused(sections, words):
    with pytest.raises(ReidEdgeError, match=words):
        Pipeline.build(sections)


def test_a_flip_may_only_come_first():
    with pytest.raises(ReidEdgeError, match="first step"):
        Pipeline([PadCrop(), Flip()])
    with pytest.raises(ReidEdgeError, match="first step"):
        Pipeline([Flip(), Flip()])
