"""Distance and bearing from one box."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from follow_robot.camera_model import CameraModel
from follow_robot.ranging import FARTHEST_M, PersonPrior, _above, measure
from runtime.errors import ReidEdgeError
from tests.follow_robot.figures import figure_box, inside

SIZE = (480, 640)
PERSON = PersonPrior()
LOW = CameraModel(height_m=0.2)
HIGH = CameraModel(height_m=0.9)

cameras = st.builds(
    lambda height, pitch, fov: CameraModel(
        height_m=height, pitch_rad=pitch, horizontal_fov_deg=fov
    ),
    st.floats(0.1, 1.0),
    st.floats(-0.3, 0.3),
    st.floats(45, 90),
)


@given(cameras, st.floats(0.5, 8), st.floats(-0.9, 0.9), st.sampled_from([SIZE, (240, 320)]))
@settings(max_examples=300, deadline=None)
def test_a_person_as_expected_is_where_it_says(camera, distance, aside, size):
    bearing = aside * math.radians(camera.horizontal_fov_deg) / 2
    box = figure_box(camera, size, distance, bearing)
    assume(box is not None and inside(box, size))
    found = measure(box, size, camera, PERSON)
    assume(found is not None)
    # Hypothesis looks for the worst mount there is; 15000 random ones gave at most 2.07 sigma.
    assert abs(found.distance_m - distance) <= 2.5 * found.distance_sigma_m
    assert abs(found.bearing_rad - bearing) <= 2.5 * found.bearing_sigma_rad


def test_every_place_in_front_of_a_robot_is_measurable():
    """No holes: from touching distance on there is always an answer, and near is never far."""
    for pitch in (0.0, -0.15, -0.3):
        camera = replace(LOW, pitch_rad=pitch)
        for distance in np.arange(0.25, 6, 0.05):
            found = measure(figure_box(camera, SIZE, distance), SIZE, camera, PERSON)
            assert found is not None
            if distance < 0.5:
                assert found.distance_m < 0.8


@pytest.mark.parametrize("camera", [LOW, replace(LOW, height_m=0.4, pitch_rad=-0.2), HIGH])
def test_stated_uncertainty_is_that_of_noisy_people(camera):
    """Heights, widths, pitch and box edges scattered as the priors say."""
    rng = np.random.default_rng(3)
    z = []
    for _ in range(700):
        distance, bearing = rng.uniform(0.8, 5), rng.uniform(-0.25, 0.25)
        width = max(0.3, 1 + PERSON.width_sigma_share * rng.standard_normal())
        seen = replace(
            PERSON,
            height_m=PERSON.height_m + PERSON.height_sigma_m * rng.standard_normal(),
            shoulder_width_m=PERSON.shoulder_width_m * width,
            leg_width_m=PERSON.leg_width_m * width,
        )
        tilted = replace(
            camera, pitch_rad=camera.pitch_rad + camera.pitch_sigma_rad * rng.standard_normal()
        )
        box = np.array(figure_box(tilted, SIZE, distance, bearing, seen))
        shown = np.clip(box, 0, [SIZE[1], SIZE[0]] * 2)
        sigma = max(1.0, PERSON.box_sigma_share * max(shown[2:] - shown[:2]))
        found = measure(box + sigma * rng.standard_normal(4), SIZE, camera, PERSON)
        if found is not None and found.how != "bound":
            z.append((found.distance_m - distance) / found.distance_sigma_m)
    z = np.abs(z)
    assert len(z) > 550
    assert (z < 1).mean() > 0.6
    assert (z < 2).mean() > 0.9
    assert (z < 0.3).mean() < 0.5  # nor is it stated far too large


@pytest.mark.parametrize("camera", [LOW, HIGH, replace(LOW, pitch_rad=-0.25)])
def test_farther_people_measure_farther(camera):
    even = PersonPrior(leg_width_m=0.45, shoulder_width_m=0.45)  # no step where the hips show
    last = None
    for distance in np.arange(0.5, 9, 0.05):
        box = figure_box(camera, SIZE, distance, person=even)
        found = measure(box, SIZE, camera, even)
        if last is not None and last.how == found.how:
            assert found.distance_m > last.distance_m - 1e-6 or found.how == "bound"
        elif last is not None:  # other cues: they may differ, within what they say
            slack = math.hypot(last.distance_sigma_m, found.distance_sigma_m)
            assert found.distance_m > last.distance_m - slack
        last = found


@given(cameras, st.floats(0.8, 6), st.floats(-0.3, 0.3))
@settings(max_examples=100, deadline=None)
def test_mirror_image_mirrors_the_bearing(camera, distance, bearing):
    box = figure_box(camera, SIZE, distance, bearing)
    assume(box is not None and inside(box, SIZE))
    mirrored = (SIZE[1] - box[2], box[1], SIZE[1] - box[0], box[3])
    one, other = (measure(b, SIZE, camera, PERSON) for b in (box, mirrored))
    assume(one is not None)
    assert other.how == one.how
    assert other.distance_m == pytest.approx(one.distance_m, rel=1e-6)
    assert other.bearing_rad == pytest.approx(-one.bearing_rad, abs=1e-6)


@given(cameras, st.floats(0.8, 6), st.floats(-0.2, 0.2), st.floats(-1, 1))
@settings(max_examples=50, deadline=None)
def test_a_turned_camera_turns_the_bearing_only(camera, distance, bearing, yaw):
    box = figure_box(camera, SIZE, distance, bearing)
    assume(box is not None and inside(box, SIZE))
    one = measure(box, SIZE, camera, PERSON)
    other = measure(box, SIZE, replace(camera, yaw_rad=yaw), PERSON)
    assume(one is not None)
    assert other.distance_m == pytest.approx(one.distance_m, rel=1e-6)
    assert other.bearing_rad == pytest.approx(one.bearing_rad + yaw, abs=1e-6)


def test_resolution_does_not_matter():
    for distance in (0.7, 1.2, 2.5, 4):
        small, large = (
            measure(figure_box(LOW, size, distance, 0.1), size, LOW, PERSON)
            for size in (SIZE, (960, 1280))
        )
        assert small.distance_m == pytest.approx(large.distance_m, rel=0.01)
        assert small.how == large.how


def how(camera, distance, **kwargs):
    return measure(figure_box(camera, SIZE, distance, **kwargs), SIZE, camera, PERSON).how


def test_each_view_uses_what_it_shows():
    assert how(LOW, 5.0) == "feet+height+width"
    assert how(LOW, 1.2) == "feet+legs"  # a low camera close by sees legs
    assert how(HIGH, 2.0) == "head+width"  # a level camera at the chest loses the feet first
    assert how(replace(HIGH, pitch_rad=0.4), 1.2).startswith("feet+")  # looking down, the head
    assert how(replace(LOW, pitch_rad=-0.25), 0.6) == "legs"  # neither
    assert how(LOW, 0.25) == "bound"  # too near for anything


def test_the_ground_is_weak_from_a_low_camera():
    vague = PersonPrior(height_sigma_m=0.4, width_sigma_share=0.9)
    sigmas = []
    for height in (0.15, 0.3, 0.6):
        camera = CameraModel(height_m=height)
        found = measure(figure_box(camera, SIZE, 4.0), SIZE, camera, vague)
        sigmas.append(found.distance_sigma_m)
    assert sigmas[0] > 1.1 * sigmas[1] > 1.3 * sigmas[2]
    assert sigmas[0] > 0.7  # and says so


def test_a_known_height_sharpens_the_distance():
    camera = replace(LOW, pitch_rad=-0.2)
    box = figure_box(camera, SIZE, 3.0)
    vague, known = (
        measure(box, SIZE, camera, PersonPrior(height_sigma_m=sigma)) for sigma in (0.15, 0.03)
    )
    assert known.distance_sigma_m < 0.75 * vague.distance_sigma_m


def test_feet_above_the_horizon_are_not_feet():
    """Somebody behind a counter: the box ends above the camera's own height."""
    box = figure_box(HIGH, SIZE, 3.0, hidden_below_m=1.05)
    found = measure(box, SIZE, HIGH, PERSON)
    assert "feet" not in found.how and "height" not in found.how
    assert found.distance_m == pytest.approx(3.0, abs=2 * found.distance_sigma_m)


@pytest.mark.parametrize("hidden", [0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0])
@pytest.mark.parametrize("camera", [replace(LOW, pitch_rad=-0.15), HIGH])
def test_hidden_feet_do_not_put_the_person_far_away(hidden, camera):
    """The ground alone would say up to nine times too far; a car would rush forwards."""
    box = figure_box(camera, SIZE, 3.0, hidden_below_m=hidden)
    found = measure(box, SIZE, camera, PERSON)
    assert found.distance_m < 1.3 * 3.0
    assert found.distance_m - 3.0 < 3.1 * found.distance_sigma_m


def test_a_child_is_measured_by_its_feet():
    child = PersonPrior(height_m=1.0, height_sigma_m=0.05, shoulder_width_m=0.32, leg_width_m=0.25)
    found = measure(figure_box(HIGH, SIZE, 3.0, person=child), SIZE, HIGH, PERSON)
    assert found.how == "feet+width"  # the adult's height would say five metres
    assert found.distance_m == pytest.approx(3.0, abs=2 * found.distance_sigma_m)


def test_a_person_leaving_sideways_is_farther_aside_than_what_is_seen():
    # f = 532: half of the person's 0.5 m at 3 m is 44 px; the middle is at the frame's left edge.
    bearing = math.radians(31)
    box = figure_box(LOW, SIZE, 3.0, bearing)
    seen = measure(box, SIZE, LOW, PERSON)
    middle_of_visible = LOW.scaled(SIZE).ray((box[2] / 2, 240)).bearing_rad
    assert seen.bearing_rad > middle_of_visible
    assert seen.bearing_rad == pytest.approx(bearing, abs=2 * seen.bearing_sigma_rad)
    whole = measure(figure_box(LOW, SIZE, 3.0, 0.3), SIZE, LOW, PERSON)
    assert seen.bearing_sigma_rad > 2 * whole.bearing_sigma_rad


def test_a_full_frame_is_near_and_hardly_known():
    found = measure((0, 0, 640, 480), SIZE, LOW, PERSON)
    assert found.how == "bound"
    assert found.distance_m < 0.5
    assert found.distance_sigma_m > 0.5 * found.distance_m


def test_a_box_beyond_the_frame_is_the_same_as_one_cut_there():
    """Detectors extrapolate people who are cut off."""
    box = figure_box(LOW, SIZE, 1.0)
    assert box[1] < -100
    cut = (box[0], 0.0, box[2], box[3])
    assert measure(box, SIZE, LOW, PERSON) == measure(cut, SIZE, LOW, PERSON)


def test_almost_at_the_edge_is_cut_off():
    """A box that ends three pixels below the frame's upper edge: nobody is so small."""
    box = figure_box(LOW, SIZE, 1.0)
    found = measure((box[0], 3.0, box[2], box[3]), SIZE, LOW, PERSON)
    assert "height" not in found.how
    assert found.distance_m == pytest.approx(1.0, abs=2 * found.distance_sigma_m)


def test_a_sliver_of_somebody_whose_head_is_cut_off_is_not_far_away():
    """Seen through a gap: as narrow as six metres away, but then the head would show."""
    found = measure((300, 0, 318, 235), SIZE, LOW, PERSON)
    assert found.how == "bound"
    assert found.distance_m < 2.2
    assert found.distance_sigma_m > 0.5 * found.distance_m


def test_bounds_are_those_of_a_cut_off_gaussian():
    """What is beyond the bound is cut off: mean and deviation against samples."""
    samples = np.random.default_rng(0).normal(0.3, 0.1, 200000)
    for bound in (0.1, 0.3, 0.45):
        left = samples[samples > bound]
        assert _above(0.3, 0.1, bound) == pytest.approx((left.mean(), left.std()), rel=0.02)
    assert _above(0.3, 0.1, -1.0) == (0.3, 0.1)


def test_far_away_is_bounded_and_uncertain():
    found = measure((318, 238, 321, 244), SIZE, LOW, PERSON)
    assert found.distance_m == FARTHEST_M
    assert 0 < found.distance_sigma_m <= FARTHEST_M


def test_nothing_in_the_frame_is_nothing_measured():
    assert measure((-50, 0, -1, 100), SIZE, LOW, PERSON) is None
    assert measure((10, 500, 50, 600), SIZE, LOW, PERSON) is None
    assert measure((10, 20, 10, 100), SIZE, LOW, PERSON) is None


@given(
    cameras,
    st.tuples(*[st.floats(-2000, 2000)] * 4),
    st.sampled_from([(480, 640), (1, 1), (720, 1280)]),
)
@settings(max_examples=300, deadline=None)
def test_any_box_gives_numbers_or_nothing(camera, box, size):
    left, top, right, bottom = box
    box = (min(left, right), min(top, bottom), max(left, right), max(top, bottom))
    found = measure(box, size, camera, PERSON)
    if found is not None:
        assert all(map(math.isfinite, found[:4]))
        assert 0 < found.distance_m <= FARTHEST_M
        assert found.distance_sigma_m > 0 and found.bearing_sigma_rad > 0


@pytest.mark.parametrize("box", [(0, 0, math.nan, 5), (5, 0, 0, 5), (0, 5, 5, 0)])
def test_broken_boxes_are_refused(box):
    with pytest.raises(ReidEdgeError, match="left, top, right, bottom"):
        measure(box, SIZE, LOW, PERSON)


@pytest.mark.parametrize(
    "values, words",
    [
        (dict(height_m=-1.0), "height_m=-1.0"),
        (dict(leg_share=1.5), "leg_share=1.5"),
        (dict(height_m=170.0), "0.5 to 2.5"),
        (dict(height_sigma_m=0.9), "at most a quarter"),
    ],
)
def test_impossible_people_are_refused(values, words):
    with pytest.raises(ReidEdgeError, match=words):
        PersonPrior(**values)
