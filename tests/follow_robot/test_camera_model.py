"""Camera: pixels, rays, the ground."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from follow_robot.camera_model import CameraModel
from runtime.errors import ReidEdgeError

SIZE = (480, 640)
LENS = CameraModel(
    width_px=640, height_px=480, f_x_px=520.0, f_y_px=515.0, c_x_px=310.0, c_y_px=245.0
)
BENT = replace(LENS, k1=-0.28, k2=0.09, p1=0.001, p2=-0.002, k3=-0.01)

mounts = st.builds(
    lambda height, pitch, yaw: dict(height_m=height, pitch_rad=pitch, yaw_rad=yaw),
    st.floats(0.05, 1.5),
    st.floats(-0.6, 0.6),
    st.floats(-0.5, 0.5),
)
pixels = st.tuples(st.floats(0, 640), st.floats(0, 480))


def test_a_level_camera_by_hand():
    camera = CameraModel(horizontal_fov_deg=90, height_m=0.2).scaled((240, 320))
    # f = 160: a point 2 m ahead on the ground is 0.2 / 2 * 160 = 16 px below the middle.
    assert camera.project((2, 0, 0)) == pytest.approx((160, 136))
    assert camera.project((2, 0, 1.2)) == pytest.approx((160, 40))
    assert camera.project((2, 1, 0.2)) == pytest.approx((80, 120))  # to the left
    assert camera.ground((160, 136)) == pytest.approx((2, 0))
    assert camera.ray((80, 120)).bearing_rad == pytest.approx(math.atan(0.5))
    assert camera.ray((160, 40)).slope == pytest.approx(0.5)


def test_pitch_is_down_and_yaw_is_left():
    camera = CameraModel(horizontal_fov_deg=90, height_m=0.5, pitch_rad=0.3, yaw_rad=0.2)
    ray = camera.scaled((240, 320)).ray((160, 120))
    assert ray.slope == pytest.approx(-math.tan(0.3))
    assert ray.bearing_rad == pytest.approx(0.2)


def test_behind_the_camera_is_no_pixel():
    camera = LENS.scaled(SIZE)
    assert camera.project((-1, 0, 0)) is None
    assert camera.project((0, 1, 0)) is None


@given(mounts, pixels, st.booleans(), st.floats(0.3, 10))
@settings(max_examples=200, deadline=None)
def test_a_pixels_ray_projects_to_the_pixel(mount, pixel, bent, distance_m):
    camera = replace(BENT if bent else LENS, **mount)
    ray = camera.ray(pixel)
    length = math.sqrt(ray.x**2 + ray.y**2 + ray.z**2)
    point = [v / length * distance_m for v in ray]
    point[2] += camera.height_m
    assert camera.project(tuple(point)) == pytest.approx(pixel, abs=0.01)


@given(mounts, pixels, st.booleans())
@settings(max_examples=100, deadline=None)
def test_ground_points_project_back_and_the_sky_has_none(mount, pixel, bent):
    camera = replace(BENT if bent else LENS, **mount)
    on_ground = camera.ground(pixel)
    if camera.ray(pixel).z >= 0:
        assert on_ground is None
    elif math.hypot(*on_ground) < 1e4:
        assert camera.project((*on_ground, 0.0)) == pytest.approx(pixel, abs=0.02)


@given(mounts, st.tuples(st.floats(1, 5), st.floats(-1, 1), st.floats(0, 1.8)))
@settings(max_examples=100, deadline=None)
def test_projection_agrees_with_opencv(mount, point):
    """With extrinsics composed here, and half a pixel between the two ways of counting."""
    camera = replace(BENT, **mount)
    # The car's axes in a level camera's, then turned by yaw and pitch about its own axes.
    level = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]], float)
    yaw, _ = cv2.Rodrigues(np.array([0, mount["yaw_rad"], 0]))
    pitch, _ = cv2.Rodrigues(np.array([mount["pitch_rad"], 0, 0]))
    rotation = pitch @ yaw @ level
    shift = -rotation @ [0, 0, mount["height_m"]]
    assume((rotation @ point + shift)[2] > 0.1)
    matrix = np.array([[520, 0, 309.5], [0, 515, 244.5], [0, 0, 1]], float)
    expected, _ = cv2.projectPoints(
        np.array([point]),
        cv2.Rodrigues(rotation)[0],
        shift,
        matrix,
        np.array([-0.28, 0.09, 0.001, -0.002, -0.01]),
    )
    assert camera.project(point) == pytest.approx(tuple(expected[0, 0] + 0.5), rel=1e-9, abs=1e-6)


def test_scaling_keeps_rays():
    small, large = BENT.scaled((240, 320)), BENT.scaled((960, 1280))
    for x, y in ((0, 0), (100, 77), (320, 240)):
        assert small.ray((x, y)) == pytest.approx(large.ray((4 * x, 4 * y)), abs=1e-9)
    assert BENT.scaled((480, 640)) == BENT
    wide = CameraModel(horizontal_fov_deg=70)
    assert wide.scaled((360, 640)).ray((0, 180)).bearing_rad == pytest.approx(math.radians(35))
    assert wide.scaled((240, 320)).ray((0, 120)).bearing_rad == pytest.approx(math.radians(35))


def test_another_field_of_view_is_refused():
    with pytest.raises(ReidEdgeError, match=r"640 x 480.*1280 x 720.*calibrate"):
        LENS.scaled((720, 1280))
    assert LENS.scaled((239, 320)).f_x_px == 260  # a rounded size is the same field of view
    with pytest.raises(ReidEdgeError, match="must have pixels"):
        LENS.scaled((0, 320))


def test_pixels_need_a_frame_size():
    with pytest.raises(ReidEdgeError, match="scaled"):
        CameraModel().ray((1, 1))


@pytest.mark.parametrize(
    "values, words",
    [
        (dict(horizontal_fov_deg=0), "horizontal_fov_deg must be 10 to 150"),
        (dict(height_m=0), "height_m must be 0.02 to 3"),
        (dict(pitch_rad=15), "pitch_rad must be -1.2 to 1.2"),
        (dict(yaw_rad=math.nan), "yaw_rad must be finite"),
        (dict(f_x_px=500.0), "width_px, .* missing"),
        (dict(k1=0.1), "distortion .* needs the calibration"),
    ],
)
def test_mistakes_are_one_sentence(values, words):
    with pytest.raises(ReidEdgeError, match=words):
        CameraModel(**values)


@pytest.mark.parametrize(
    "values, words",
    [
        (dict(f_x_px=-5.0), "above 0"),
        (dict(c_x_px=700.0), "inside the frame"),
        (dict(f_y_px=None), "f_y_px is missing"),
        (dict(k1=-1.5), "folds the picture"),
        (dict(k1=-0.3, k2=-2.0), "folds the picture"),
    ],
)
def test_impossible_lenses_are_refused(values, words):
    with pytest.raises(ReidEdgeError, match=words):
        replace(LENS, **values)
