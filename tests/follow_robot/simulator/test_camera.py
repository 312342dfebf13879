"""The simulated camera's projection, held against numbers worked out by hand and the car's own model."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from follow_robot.camera_model import CameraModel
from follow_robot.simulator.camera import NEAR_M, Camera
from follow_robot.simulator.plane import Pose
from runtime.errors import ReidEdgeError


def test_a_level_camera_projects_as_worked_out_by_hand():
    camera = Camera(width_px=320, height_px=240, hfov_deg=90.0, height_m=0.5, tilt_deg=0.0)
    assert camera.focal_px == pytest.approx(160)
    assert camera.project(2.0, 0.0, 0.5) == pytest.approx((160, 120, 2.0))
    assert camera.project(2.0, 1.0, 1.5) == pytest.approx((80, 40, 2.0))  # left and up
    assert camera.project(4.0, -1.0, 0.0) == pytest.approx((200, 140, 4.0))
    assert camera.project(NEAR_M / 2, 0.0, 0.5) is None
    assert camera.project(-1.0, 0.0, 0.5) is None


def test_a_tilted_camera_has_straight_ahead_below_its_middle():
    camera = Camera(tilt_deg=20.0)
    column, row, _ = camera.project(3.0, 0.0, camera.height_m)
    assert column == pytest.approx(160)
    assert row == pytest.approx(120 + camera.focal_px * math.tan(math.radians(20)))


@settings(max_examples=100, deadline=None)
@given(
    st.floats(0.6, 8), st.floats(-3, 3), st.floats(0, 2.2), st.floats(-20, 30), st.floats(40, 100)
)
def test_it_agrees_with_the_car_s_own_camera_model(ahead, left, up, tilt_deg, hfov_deg):
    camera = Camera(hfov_deg=hfov_deg, tilt_deg=tilt_deg, height_m=0.3)
    model = CameraModel(
        horizontal_fov_deg=hfov_deg, height_m=0.3, pitch_rad=-camera.tilt_rad
    ).scaled((240, 320))
    seen = camera.project(ahead, left, up)
    if seen is not None:
        assert model.project((ahead, left, up)) == pytest.approx(seen[:2], abs=1e-6)


def test_the_rays_of_pixels_lead_to_what_they_show():
    camera = Camera()
    azimuth, slope = camera.rays()
    for row, column in ((10, 20), (120, 160), (230, 300), (200, 5)):
        way = 3.0
        up = camera.height_m + way * slope[row, column]
        point = way * math.cos(azimuth[row, column]), way * math.sin(azimuth[row, column]), up
        x, y, _ = camera.project(*point)
        assert (x, y) == pytest.approx((column + 0.5, row + 0.5), abs=1e-6)


def test_it_sits_in_front_of_the_car_s_middle():
    pose = Camera(forward_m=0.2).pose(Pose(1.0, 2.0, math.pi / 2))
    assert pose == pytest.approx((1.0, 2.2, math.pi / 2))


@pytest.mark.parametrize(
    "wrong",
    [{"width_px": 10}, {"hfov_deg": 170}, {"tilt_deg": 80}, {"height_m": 0}, {"rate_hz": 0.1}],
)
def test_impossible_cameras_are_refused(wrong):
    with pytest.raises(ReidEdgeError):
        Camera(**wrong)


def test_rays_cover_the_field_of_view():
    azimuth, slope = Camera(hfov_deg=80.0, tilt_deg=0.0).rays()
    assert np.ptp(azimuth[120]) == pytest.approx(math.radians(80), rel=0.01)
    assert (slope[0] > 0).all() and (slope[-1] < 0).all()
