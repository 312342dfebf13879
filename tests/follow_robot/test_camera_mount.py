"""Height and pitch of the camera from a person at known places."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from follow_robot.camera_model import CameraModel
from follow_robot.camera_mount import Sighting, solve_mount
from follow_robot.ranging import PersonPrior
from runtime.errors import ReidEdgeError
from tests.follow_robot.figures import figure_box

SIZE = (480, 640)
LENS = CameraModel(
    width_px=640, height_px=480, f_x_px=480.0, f_y_px=480.0, c_x_px=322.0, c_y_px=237.0, k1=-0.15
)
TALL = PersonPrior(height_m=1.8)


def sightings(camera, *distances, bearing=0.1, noise=None):
    found = []
    for distance in distances:
        box = np.array(figure_box(camera, SIZE, distance, bearing, TALL))
        if noise is not None:
            box = box + 2.0 * noise.standard_normal(4)
        found.append(Sighting(tuple(box.tolist()), distance))
    return found


@given(st.floats(0.1, 0.7), st.floats(-0.35, 0.1))
@settings(max_examples=25, deadline=None)
def test_exact_sightings_give_the_mount(height, pitch):
    camera = replace(LENS, height_m=height, pitch_rad=pitch)
    found = solve_mount(sightings(camera, 2.5, 4.0, 6.0), SIZE, LENS, 1.8)
    # The lens bends the upright person a little; the box's middle is not everywhere on them.
    assert found.height_m == pytest.approx(height, abs=5e-3)
    assert found.pitch_rad == pytest.approx(pitch, abs=2e-3)
    assert found.misfit_px < 0.5


def test_a_measured_height_leaves_the_pitch():
    camera = replace(LENS, height_m=0.3, pitch_rad=-0.2)
    found = solve_mount(sightings(camera, 3.0), SIZE, LENS, 1.8, camera_height_m=0.3)
    assert found.height_m == 0.3 and found.height_sigma_m == 0
    assert found.pitch_rad == pytest.approx(-0.2, abs=1e-3)


def test_of_two_mounts_that_see_the_same_the_lower_one_is_taken():
    camera = replace(LENS, height_m=0.25, pitch_rad=-0.2)
    found = solve_mount(sightings(camera, 3.5, bearing=0.0), SIZE, LENS, 1.8)
    assert found.height_m == pytest.approx(0.25, abs=0.01)
    assert found.height_sigma_m > 0.03  # and says how weak that is


def test_feet_alone_are_enough_at_two_distances():
    camera = replace(LENS, height_m=0.2, pitch_rad=0.0)
    seen = sightings(camera, 1.0, 2.5)  # a level camera so low sees no head there
    assert all(s.box[1] < 0 for s in seen)
    found = solve_mount(seen, SIZE, LENS, 1.8)
    assert found.height_m == pytest.approx(0.2, abs=0.005)
    assert found.pitch_rad == pytest.approx(0.0, abs=0.005)


def test_stated_uncertainty_is_that_of_drawn_boxes():
    rng = np.random.default_rng(0)
    camera = replace(LENS, height_m=0.3, pitch_rad=-0.15)
    z = []
    for _ in range(30):
        found = solve_mount(sightings(camera, 2.5, 4.0, noise=rng), SIZE, LENS, 1.8)
        z.append(
            [
                (found.height_m - 0.3) / found.height_sigma_m,
                (found.pitch_rad + 0.15) / found.pitch_sigma_rad,
            ]
        )
    spread = np.sqrt(np.mean(np.square(z), axis=0))
    assert (0.6 < spread).all() and (spread < 1.5).all()


def test_a_wrong_distance_is_noticed():
    camera = replace(LENS, height_m=0.3, pitch_rad=-0.15)
    first, second = sightings(camera, 2.5, 5.0)
    with pytest.raises(ReidEdgeError, match="No mount explains"):
        solve_mount([first, second._replace(distance_m=1.0)], SIZE, LENS, 1.8)


@pytest.mark.parametrize(
    "box, distance, height, words",
    [
        ((300, 0, 340, 480), 2.0, 1.8, r"got 0 edge\(s\)"),
        ((300, 0, 340, 300), 2.0, 1.8, r"got 1 edge\(s\)"),
        ((340, 10, 300, 300), 2.0, 1.8, "left, top, right, bottom"),
        ((300, 10, 340, 300), 200.0, 1.8, "0.3 to 20 metres"),
        ((300, 10, 340, 300), 2.0, 180.0, "0.5 to 2.5 metres"),
    ],
)
def test_mistakes_are_one_sentence(box, distance, height, words):
    with pytest.raises(ReidEdgeError, match=words):
        solve_mount([Sighting(box, distance)], SIZE, LENS, height)
