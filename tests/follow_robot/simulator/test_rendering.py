"""Pictures: people where geometry says, real occlusion, the same pixels each time, quick enough."""

import math
import time

import cv2
import numpy as np
import pytest

from follow_robot.simulator.camera import Camera
from follow_robot.simulator.looks import Look
from follow_robot.simulator.people import Walker, Waypoint
from follow_robot.simulator.plane import Pose, Walls
from follow_robot.simulator.rendering import Renderer

HOME = Pose(0.0, 0.0, 0.0)
HALL = [(-3, -4, 12, -4), (12, -4, 12, 4), (12, 4, -3, 4), (-3, 4, -3, -4)]
PLAIN = Look(height_m=1.7, pattern="plain", top=(200, 40, 30), sleeves=(200, 40, 30))


def renderer(walls=(), camera=None, **options):
    segments = np.array([*HALL, *walls], float)
    return Renderer(camera or Camera(), Walls(segments), seed=1, **options)


def person(x, y, look=PLAIN, face_deg=0.0, name="a", speed_mps=0.0, phase=0.0):
    walker = Walker(name, look, (Waypoint((x, y), face_deg=face_deg),))
    walker.velocity, walker.phase = (speed_mps, 0.0), phase
    return walker


def shown(picture, name="a"):
    return next(s for s in picture.people if s.name == name)


@pytest.mark.parametrize("x, y", [(2.0, 0.0), (3.0, 1.0), (6.0, -2.0)])
def test_somebody_stands_where_the_camera_must_see_them(x, y):
    camera = Camera(forward_m=0.0)
    seen = shown(renderer(camera=camera).render(HOME, [person(x, y)]))
    left, top, right, bottom = seen.box
    head = camera.project(x, y, 1.7 * 0.99)
    feet = camera.project(x, y, 0.0)
    assert top == pytest.approx(head[1], abs=0.03 * (bottom - top))
    assert bottom == pytest.approx(feet[1], abs=0.03 * (bottom - top))
    assert (left + right) / 2 == pytest.approx(camera.project(x, y, 1.0)[0], abs=3)
    wide = camera.focal_px / math.hypot(x, y) * 0.55
    assert 0.6 * wide < right - left < 1.5 * wide
    assert seen.distance_m == pytest.approx(math.hypot(x, y))
    assert seen.bearing_rad == pytest.approx(math.atan2(y, x))
    assert seen.share == pytest.approx(1.0, abs=0.02)
    assert np.abs(np.subtract(seen.seen_box, seen.box)).max() <= 2.5


def test_the_car_s_own_place_and_direction_count():
    still = shown(renderer().render(HOME, [person(3.0, 0.0)]))
    moved = shown(
        renderer().render(Pose(1.0, -1.0, 0.3), [person(*Pose(1, -1, 0.3).to_world(3, 0))])
    )
    assert moved.box == pytest.approx(still.box, abs=4)  # arms and legs turn a little


def test_clothes_have_their_colours():
    picture = renderer(noise=0.0).render(HOME, [person(2.5, 0.0)])
    left, top, right, bottom = shown(picture).box
    chest = picture.image[int(top + 0.35 * (bottom - top)), int((left + right) / 2)]
    assert np.abs(chest.astype(int) - PLAIN.top).max() <= 3


def test_front_and_rear_look_different_at_the_head():
    pictures = [renderer(noise=0.0).render(HOME, [person(2.5, 0.0, face_deg=f)]) for f in (0, 180)]
    heads = []
    for picture in pictures:
        left, top, right, bottom = shown(picture).box
        heads.append(picture.image[int(top + 0.08 * (bottom - top)), int((left + right) / 2)])
    assert np.abs(heads[0].astype(int) - PLAIN.hair).max() <= 3  # rear: hair
    assert np.abs(heads[1].astype(int) - PLAIN.skin).max() <= 3  # front: face


def test_who_is_nearer_covers_who_is_farther():
    near = Look(height_m=1.8, top=(0, 0, 255), sleeves=(0, 0, 255))
    people = [person(4.0, 0.0, name="far"), person(2.0, 0.05, near, name="near")]
    for order in (people, people[::-1]):
        picture = renderer(noise=0.0).render(HOME, order)
        assert [s.name for s in picture.people] == ["near", "far"]
        assert shown(picture, "near").share > 0.98
        assert shown(picture, "far").share < 0.2
        left, top, right, bottom = shown(picture, "near").box
        chest = picture.image[int(top + 0.35 * (bottom - top)), int((left + right) / 2)]
        assert chest[2] > 200 and chest[0] < 60


def test_a_wall_hides_what_stands_behind_it():
    wall = (2.5, 0.0, 2.5, 3.0)  # from straight ahead to the left
    hidden = renderer([wall]).render(HOME, [person(4.0, 1.0)])
    assert shown(hidden).share == 0 and shown(hidden).seen_box is None
    half = shown(renderer([wall]).render(HOME, [person(4.0, 0.0)]))
    assert 0.35 < half.share < 0.65
    assert half.seen_box[0] >= 158  # only the right half
    before = shown(renderer([wall]).render(HOME, [person(1.8, 0.5)]))
    assert before.share > 0.98


def test_the_frame_cuts_off_and_the_share_says_so():
    near = shown(renderer().render(HOME, [person(0.9, 0.0)]))
    assert near.box[1] < 0 and near.box[3] > 240
    assert near.seen_box[1] == 0 and near.seen_box[3] == 240
    assert 0.3 < near.share < 0.9
    aside = shown(renderer().render(HOME, [person(2.0, 1.5)]))
    assert aside.seen_box[0] == 0 and 0.1 < aside.share < 0.9


def test_nobody_behind_or_far_aside_is_shown():
    people = [
        person(-2, 0, name="behind"),
        person(1, 3, name="aside"),
        person(0.2, 0, name="on it"),
    ]
    assert renderer().render(HOME, people).people == []


def test_walking_moves_the_legs():
    steps = [
        renderer(noise=0.0).render(HOME, [person(2.5, 0, face_deg=90, speed_mps=1.2, phase=p)])
        for p in (0.0, 0.25)
    ]
    widths = [s.box[2] - s.box[0] for s in map(shown, steps)]
    assert widths[1] > 1.3 * widths[0]  # the stride is widest at a quarter of the cycle


def test_pictures_are_the_same_each_time_and_noise_is_not():
    people = [person(2.5, 0.3, Look.random(3)), person(4.0, -1.0, Look.random(4), name="b")]
    one, two = renderer(), renderer()
    first, second = one.render(HOME, people), one.render(HOME, people)
    assert np.array_equal(first.image, two.render(HOME, people).image)
    assert not np.array_equal(first.image, second.image)
    assert np.abs(first.image.astype(int) - second.image).mean() < 6
    assert first.image.dtype == np.uint8 and first.image.shape == (240, 320, 3)


def test_less_light_makes_everything_darker():
    bright = renderer(noise=0.0).render(HOME, [person(2.5, 0.0)]).image.astype(float)
    dark = renderer(noise=0.0).render(HOME, [person(2.5, 0.0)], gain=0.5).image
    assert dark == pytest.approx(bright / 2, abs=1.01)


def test_a_camera_motion_can_be_measured_in_front_of_these_walls():
    """The background must hold what perception holds on to, near and far, turning and driving."""
    from runtime.camera_motion import CameraMotion
    from runtime.scene_cut import SceneCut

    view, motion, cut = renderer(), CameraMotion(), SceneCut()
    reliable = cuts = 0
    for step in range(40):
        pose = Pose(0.05 * step, 0.0, 0.25 * math.sin(step / 6))
        image = view.render(pose, []).image
        moved = motion.update(image)
        cuts += cut.update(image, moved)
        reliable += motion.report.reliable
    assert reliable >= 38 and cuts == 0


def test_a_turn_shows_as_its_shift_in_pixels():
    from runtime.camera_motion import CameraMotion

    camera = Camera(tilt_deg=0.0)
    view, motion = renderer(camera=camera), CameraMotion()
    motion.update(view.render(HOME, []).image)
    moved = motion.update(view.render(Pose(0.0, 0.0, math.radians(3)), []).image)
    middle = moved @ (160.0, 120.0, 1.0)
    assert middle[0] - 160 == pytest.approx(camera.focal_px * math.tan(math.radians(3)), abs=2.0)


@pytest.mark.parametrize("size", [(640, 480), (160, 120)])
def test_other_sizes_work(size):
    camera = Camera(width_px=size[0], height_px=size[1])
    picture = renderer(camera=camera).render(HOME, [person(2.5, 0.0)])
    assert picture.image.shape == (size[1], size[0], 3)
    assert shown(picture).share > 0.98


def test_a_picture_takes_a_few_milliseconds():
    cv2.setNumThreads(1)
    view = renderer()
    people = [person(2.0 + i, 0.4 * i - 0.8, Look.random(i), name=str(i)) for i in range(5)]
    took_ms = []
    for step in range(15):
        started_s = time.process_time()
        view.render(Pose(0.0, 0.0, 0.01 * step), people)
        took_ms.append(1e3 * (time.process_time() - started_s))
    assert min(took_ms) < 8  # about 2.6 alone on a core
