"""The chain from a frame to the target, on drawn people."""

import dataclasses
import json

import numpy as np
import pytest

from runtime.bundle import Bundle
from runtime.detection import Detections
from runtime.embed_schedule import EmbedSchedule
from runtime.errors import ReidEdgeError
from runtime.frame_record import STAGES
from runtime.perception import Perception, strangers
from tests.runtime import drawn
from tests.runtime.drawn import RATE_HZ, ColourNetwork, draw, found, perception, person, street
from tests.runtime.fake_bundle import make_bundle

STREET = street()
CROSSING = 60  # frames of the scene below


def crossing(number):
    """Red stands a little to the left, green to the right, and blue walks across before them."""
    people = {"red": person(110), "green": person(250, 190, 110)}
    if number >= 20:
        people["blue"] = person(-30 + 10 * (number - 20), 215, 130)
    return {name: box for name, box in people.items() if box[2] > 4 and box[0] < 316}


def visible(people):
    """The boxes a detector gives: those of who is not hidden for the most part by blue in front."""
    cover = people.get("blue")
    seen = []
    for name, (left, top, right, bottom) in people.items():
        hidden = 0
        if cover is not None and name != "blue":
            hidden = max(min(right, cover[2]) - max(left, cover[0]), 0) / (right - left)
        if hidden < 0.7:
            seen.append((left, top, right, bottom))
    return seen


def frames(scene=crossing, count=CROSSING):
    """Picture, time and detections of each frame."""
    for number in range(count):
        people = scene(number)
        yield draw(STREET, people), number / RATE_HZ, found(visible(people))


def who(record, box):
    """Name of the drawn person a box is on."""
    boxes = crossing(record.index)
    centre = (box[0] + box[2]) / 2
    return min(boxes, key=lambda name: abs(sum(boxes[name][::2]) / 2 - centre))


def run(chain, choose=lambda chain, number: None, inputs=None):
    records = []
    for number, (picture, time_s, detections) in enumerate(inputs or frames()):
        records.append(chain.step(picture, time_s, detections))
        choose(chain, number)
    return records


def choose_red(chain, number):
    if number == 2:
        chain.choose_box(crossing(2)["red"])


def plain(record):
    said = record.to_dict()
    del said["took_ms"]
    return json.loads(json.dumps(said))


def test_the_chosen_one_is_followed_through_a_crossing():
    chain = perception()
    records = run(chain, choose_red)
    followed = [r for r in records if r.lock.state == "locked"]
    assert {who(r, r.lock.box) for r in followed} == {"red"}
    assert records[-1].lock.state == "locked" and len(followed) > 30
    events = [r.lock.event for r in records if r.lock.event]
    assert events[0] == "enrolled"
    assert all(state == "enrolling" for state in [r.lock.state for r in records[3:9]])
    # Who is looked at is said, and no more than there is time for.
    looked = [sum(p.embedded for p in r.people) for r in records]
    assert sum(looked) > 10 and max(looked) <= chain.schedule.settings.budget
    assert chain.schedule.crops == len(chain.embed.crops) == sum(len(r.rows) for r in records)


def test_a_record_says_what_was_seen():
    records = run(perception(), choose_red)
    assert [r.index for r in records] == list(range(CROSSING))
    assert [r.time_s for r in records] == [n / RATE_HZ for n in range(CROSSING)]
    first = records[0]
    assert first.frame_size == (240, 320) and len(first.people) == 2
    assert set(first.took_ms) == set(STAGES) and min(first.took_ms.values()) >= 0
    assert first.took_ms["detect"] == 0 and first.took_ms["motion"] > 0
    boxes = sorted(p.box for p in first.people)
    np.testing.assert_allclose(boxes, sorted(crossing(0).values()), atol=1e-3)
    assert all(0 <= p.quality <= 1 and p.view == "rear" for p in first.people)
    np.testing.assert_allclose(first.motion, [1, 0, 0, 0, 1, 0], atol=1e-9)
    # A standing camera; people who move do not move it.
    assert all(np.abs(np.array(r.motion) - [1, 0, 0, 0, 1, 0]).max() < 0.5 for r in records)
    assert not any(r.observation.cut for r in records)


def test_what_was_observed_decides_the_same_again():
    first = perception()
    records = run(first, choose_red)
    again = perception(embed=None)
    for number, record in enumerate(records):
        asked = []

        def recorded(rows, record=record, asked=asked):
            asked.append(tuple(rows))
            return record.embeddings

        said = again.decide(record.observation, recorded)
        assert plain(said) == plain(record)
        assert asked == ([record.rows] if record.rows else [])
        assert (said.embeddings is None) == (record.embeddings is None)
        if number == 2:
            again.lock.enrol(first_choice(record))
    assert sum(len(r.rows) for r in records) > 10  # or nothing would be proved


def first_choice(record):
    """The track that ``choose_red`` chose on its frame."""
    return min(record.people, key=lambda p: abs(p.box[0] - crossing(2)["red"][0])).track


def test_a_step_is_observing_and_deciding():
    whole, halves = perception(), perception()
    for number, (picture, time_s, detections) in enumerate(frames(count=30)):
        expected = whole.step(picture, time_s, detections)
        seen = halves.observe(picture, time_s, detections)
        got = halves.decide(seen, halves.embed_rows(picture, seen))
        assert plain(got) == plain(expected) and got.took_ms["motion"] > 0
        choose_red(whole, number)
        choose_red(halves, number)


def test_the_detector_is_asked_where_no_detections_are_given():
    asked = []

    def detect(picture):
        asked.append(picture.shape)
        return found([person(110)])

    record = perception(detect=detect).step(STREET, 0.0)
    assert asked == [(240, 320, 3)] and len(record.people) == 1 and record.took_ms["detect"] > 0
    with pytest.raises(ReidEdgeError, match="Give a detector to Perception or detections"):
        perception().step(STREET, 0.0)


def test_without_a_network_people_are_tracked_and_nobody_can_be_chosen():
    chain = perception(embed=None)
    assert chain.embed_rows(STREET, None) is None
    records = run(chain)
    assert len({p.track for p in records[-1].people}) == len(records[-1].people) >= 2
    assert {p.track for p in records[0].people} <= {p.track for p in records[-1].people}
    assert not any(p.embedded for r in records for p in r.people)
    assert {r.lock.state for r in records} == {"idle"} and chain.schedule.crops == 0
    box = crossing(CROSSING - 1)["red"]
    for choose in (
        lambda: chain.choose_box(box),
        lambda: chain.choose_point(110, 150),
        chain.choose_front,
        lambda: chain.choose_gallery([STREET]),
    ):
        with pytest.raises(ReidEdgeError, match="only be locked with a ReID network"):
            choose()
    assert chain.lock.state == "idle"


def test_choosing_by_box_click_and_front():
    for choose in (
        lambda chain: chain.choose_box((95, 85, 130, 195)),
        lambda chain: chain.choose_point(110, 150),
        lambda chain: chain.choose_front(),
    ):
        chain = perception()
        run(chain, inputs=list(frames(count=3)))
        track = choose(chain)
        assert chain.lock.state == "enrolling"
        assert who(chain.last, next(p.box for p in chain.last.people if p.track == track)) == "red"


def test_a_choice_that_means_nobody_changes_nothing():
    chain = perception()
    with pytest.raises(ReidEdgeError, match="before the first frame"):
        chain.choose_box((0, 0, 10, 10))
    run(chain, choose_red, list(frames(count=15)))
    assert chain.lock.state == "locked"
    with pytest.raises(ReidEdgeError, match=r"frame of 320 x 240 pixels .* got \[400"):
        chain.choose_box((400, 10, 450, 100))
    with pytest.raises(ReidEdgeError, match=r"Nobody is seen at .* people are at"):
        chain.choose_box((150, 0, 200, 60))
    with pytest.raises(ReidEdgeError, match="at least one photo"):
        chain.choose_gallery([])
    assert chain.lock.state == "locked"


def test_a_gallery_finds_the_person_of_the_photos():
    chain = perception()
    photos = [draw(street(seed), {"green": (0, 0, 60, 150)})[:150, :60] for seed in range(3)]
    chain.choose_gallery(photos)
    records = run(chain)
    followed = [r for r in records if r.lock.state == "locked"]
    assert len(followed) > 20 and {who(r, r.lock.box) for r in followed} == {"green"}


def test_a_frame_of_another_size_is_another_view():
    chain = perception()
    records = run(chain, choose_red, list(frames(count=20)))
    assert records[-1].lock.state == "locked"
    large = street(1, (480, 640))
    boxes = {name: tuple(2 * v for v in box) for name, box in crossing(19).items()}
    for number in range(20, 50):
        record = chain.step(draw(large, boxes), number / RATE_HZ, found(list(boxes.values())))
        assert record.frame_size == (480, 640)
        if record.lock.box is not None:
            assert abs(record.lock.box[0] - boxes["red"][0]) < 20
        if number == 20:
            assert record.observation.cut and record.lock.state == "occluded"
            np.testing.assert_array_equal(record.motion, [1, 0, 0, 0, 1, 0])
    assert record.lock.state == "locked"  # found again by its look


def test_behind_a_cut_places_mean_nothing():
    chain = perception()
    run(chain, choose_red, list(frames(count=16)))
    red, green = crossing(15)["red"], crossing(15)["green"]
    elsewhere, changed = street(4), {"red": person(252, 190, 110), "green": person(110)}
    said = []
    for number in range(16, 40):
        picture = draw(elsewhere, changed)
        record = chain.step(picture, number / RATE_HZ, found(list(changed.values())))
        assert record.observation.cut == (number == 16)
        said.append(record.lock)
    assert said[0].state == "occluded" and said[-1].state == "locked"
    followed = [out.box for out in said if out.box is not None]
    np.testing.assert_allclose(followed, [changed["red"]] * len(followed), atol=3)
    assert abs(red[0] - green[0]) > 100  # the two exchanged their places


def test_a_gap_in_time_is_a_cut():
    chain = perception()
    inputs = list(frames(count=16))
    run(chain, choose_red, inputs)
    assert chain.last.lock.state == "locked"
    picture, _, detections = inputs[-1]
    assert chain.step(picture, 3.0, detections).lock.state == "occluded"


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_embeddings_that_are_not_finite_are_refused(broken):
    network = ColourNetwork()

    def embed(crops):
        rows = network(crops)
        rows[-1, 3] = broken
        return rows

    chain = perception(embed=embed)
    picture, time_s, detections = next(frames())
    with pytest.raises(ReidEdgeError, match=r"embeddings that are not finite; export"):
        chain.step(picture, time_s, detections)
    # Recorded ones too: a whole row of NaN is no row that was left out.
    seen = perception().observe(picture, time_s, detections)
    with pytest.raises(ReidEdgeError, match="not finite"):
        perception().decide(seen, lambda rows: np.full((len(rows), drawn.DIM), broken))
    with pytest.raises(ReidEdgeError, match="finite"):
        chain.choose_gallery([picture])


def test_time_must_not_run_backwards():
    chain = perception()
    chain.step(STREET, 1.0, Detections.empty())
    with pytest.raises(ReidEdgeError, match="time"):
        chain.step(STREET, 0.5, Detections.empty())


def test_nobody_in_sight():
    chain = perception()
    for number in range(3):
        record = chain.step(STREET, number / RATE_HZ, Detections.empty())
        assert record.people == [] and record.rows == () and record.embeddings is None
    assert chain.embed.crops == []
    with pytest.raises(ReidEdgeError, match="no person is seen on frame 2"):
        chain.choose_front()


def test_a_busy_schedule_embeds_no_more_than_its_budget():
    people = {name: person(30 + 50 * i) for i, name in enumerate(drawn.NAMES)}
    network = ColourNetwork()
    chain = Perception(embed=network, schedule=EmbedSchedule())
    counts = []
    for number in range(8):
        before = len(network.crops)
        chain.step(draw(STREET, people), number / RATE_HZ, found(list(people.values())))
        counts.append(len(network.crops) - before)
    assert max(counts) == chain.schedule.settings.budget and sum(counts) >= 6
    assert set(network.crops) == set(drawn.NAMES)  # everybody's turn comes


def test_a_bundle_brings_what_people_have_in_common(tmp_path):
    bundle = Bundle.open(make_bundle(tmp_path / "bundle"))
    with np.load(str(bundle.find("golden"))) as golden:
        raw = golden["embedding_int8"]
    known = strangers(bundle)
    np.testing.assert_allclose(known, raw / np.linalg.norm(raw, axis=1, keepdims=True), rtol=1e-5)
    chain = Perception.with_bundle(bundle, embed=ColourNetwork())
    assert isinstance(chain.embed, ColourNetwork)
    mean = known.mean(axis=0)
    left = chain.lock.scene.without(mean[None] + np.eye(len(mean))[:1])
    np.testing.assert_allclose(left, np.eye(len(mean))[:1], atol=1e-6)


def test_a_bundle_without_golden_embeddings_is_refused(tmp_path):
    bundle = Bundle.open(make_bundle(tmp_path / "bundle"))
    files = {n: e for n, e in bundle.manifest.files.items() if e["role"] != "golden"}
    bare = Bundle(bundle.path, dataclasses.replace(bundle.manifest, files=files))
    with pytest.raises(ReidEdgeError, match="has no golden embeddings, which the lock needs"):
        Perception.with_bundle(bare, embed=ColourNetwork())
