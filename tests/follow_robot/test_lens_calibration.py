"""Lenses found again from rendered chessboards."""

import itertools
import math

import cv2
import numpy as np
import pytest

from follow_robot.camera_model import CameraModel
from follow_robot.lens_calibration import Board, Views, calibrate_lens, find_corners, fit_lens
from runtime.errors import ReidEdgeError
from tests.follow_robot.chessboards import TRUE, VIEWS, render

BOARD = Board(7, 5, 0.03)


@pytest.fixture(scope="module")
def pictures():
    return [("view%02d" % i, render(BOARD, pose)) for i, pose in enumerate(VIEWS)]


@pytest.fixture(scope="module")
def result(pictures):
    return calibrate_lens(pictures, BOARD)


def test_corners_are_where_they_were_drawn(pictures):
    for (_, image), pose in zip(pictures[:4], VIEWS):
        corners = find_corners(image, BOARD)
        matrix = np.array(
            [[TRUE.f_x_px, 0, TRUE.c_x_px - 0.5], [0, TRUE.f_y_px, TRUE.c_y_px - 0.5], [0, 0, 1]]
        )
        points = BOARD.points() - BOARD.points().mean(axis=0)
        true, _ = cv2.projectPoints(
            points, pose[0], pose[1], matrix, np.array([TRUE.k1, TRUE.k2, TRUE.p1, TRUE.p2])
        )
        true = true.reshape(-1, 2)
        off = [np.linalg.norm(corners - order, axis=1) for order in (true, true[::-1])]
        off = min(off, key=np.max)
        assert off.mean() < 0.2 and off.max() < 0.5


def test_the_lens_is_found(result):
    assert result.rejected == []
    assert len(result.used) == len(VIEWS)
    assert result.rms_px < 0.2
    lens = result.lens
    assert (lens["width_px"], lens["height_px"]) == (640, 480)
    assert lens["f_x_px"] == pytest.approx(TRUE.f_x_px, rel=0.01)
    assert lens["f_y_px"] == pytest.approx(TRUE.f_y_px, rel=0.01)
    assert abs(lens["f_x_px"] - TRUE.f_x_px) < 4 * result.focal_sigma_px
    assert lens["c_x_px"] == pytest.approx(TRUE.c_x_px, abs=4)
    assert lens["c_y_px"] == pytest.approx(TRUE.c_y_px, abs=4)


def test_what_matters_are_the_rays(result):
    """Parameters trade off against each other; directions do not."""
    found = CameraModel(**result.lens)
    for x, y in itertools.product((40, 200, 320, 500, 600), (40, 240, 440)):
        one, other = found.ray((x, y)), TRUE.ray((x, y))
        cosine = np.dot(one, other) / np.linalg.norm(one) / np.linalg.norm(other)
        assert math.acos(min(1.0, cosine)) < math.radians(0.6)


def test_good_pictures_need_no_warning(result):
    assert result.coverage >= 0.6
    assert result.warnings == []


def test_pictures_that_cannot_be_used_are_named(pictures):
    blank = np.full((480, 640, 3), 128, np.uint8)
    small = cv2.resize(pictures[5][1], (320, 240))
    extra = [("blank", blank), ("again", pictures[0][1]), ("small", small)]
    rejected = dict(calibrate_lens(pictures + extra, BOARD).rejected)
    assert set(rejected) == {"blank", "again", "small"}
    assert "no board of 7 x 5" in rejected["blank"]
    assert "same place as view00" in rejected["again"]
    assert "320 x 240" in rejected["small"]


def test_a_picture_that_does_not_fit_is_left_out(pictures):
    views = Views(BOARD)
    for name, image in pictures:
        views.add(name, image)
    bent = views.corners[3].copy()
    bent[:7] += [6, -4]  # one row of a board that was not flat
    views.corners[3] = bent
    result = fit_lens(views)
    assert [r.name for r in result.rejected] == ["view03"]
    assert "does not fit" in result.rejected[0].reason
    assert result.lens["f_x_px"] == pytest.approx(TRUE.f_x_px, rel=0.02)


def test_a_board_in_the_middle_only_is_warned_about(pictures):
    views = Views(BOARD)
    for (name, image), pose in zip(pictures, VIEWS):
        if tuple(pose[1][:2]) == (0, 0):
            views.add(name, image)
    result = fit_lens(views)
    assert len(result.used) >= 8
    assert any("edges and corners" in warning for warning in result.warnings)


def test_too_few_pictures(pictures):
    with pytest.raises(ReidEdgeError, match=r"at least 8 pictures.*got 3 \(not used: blank shows"):
        calibrate_lens(pictures[:3] + [("blank", np.zeros((480, 640), np.uint8))], BOARD)
    with pytest.raises(ReidEdgeError, match="got 0"):
        calibrate_lens([], BOARD)


def test_boards():
    points = Board(4, 3, 0.1).points()
    assert points.shape == (12, 3)
    np.testing.assert_allclose(
        points[[0, 1, 4, 11]] * 10, [[0, 0, 0], [1, 0, 0], [0, 1, 0], [3, 2, 0]]
    )
    for wrong in ((6, 6, 0.1), (2, 5, 0.1), (5, 4, 0.0)):
        with pytest.raises(ReidEdgeError, match="inner corners"):
            Board(*wrong)
