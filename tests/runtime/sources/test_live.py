"""The capture thread: newest frame, loss and return, stale frames, and the end."""

import logging
import threading

import numpy as np
import pytest

from runtime.errors import ReidEdgeError
from runtime.sources.captures import CameraSettings, open_v4l2
from runtime.sources.live import Backoff, LiveSource
from tests.runtime.sources.fakes import (
    CRASH,
    DAMAGED,
    LOST,
    PATIENCE_S,
    FakeClock,
    FakeVideo,
    Videos,
    picture,
)


def open_live(videos, clock=None, **options):
    clock = clock or FakeClock()
    return LiveSource(
        lambda: open_v4l2("0", CameraSettings(), videos),
        "camera 0",
        clock=clock,
        wait=clock.wait,
        **options,
    )


def threads_of_captures():
    return [t for t in threading.enumerate() if t.name.startswith("capture ")]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    assert not threads_of_captures()
    yield
    for thread in threads_of_captures():
        thread.join(PATIENCE_S)
    assert not threads_of_captures()


def closing(source, *videos):
    """Close while a camera waits for a frame that then comes."""
    for video in videos:
        video.give(LOST)
    source.close()


def test_a_quick_reader_gets_every_frame_with_its_time():
    video, clock = FakeVideo(), FakeClock()
    source = open_live(Videos(video), clock)
    for index in range(4):
        clock.now_s += 0.04
        video.give(picture(index))
        frame = source.read(PATIENCE_S)
        assert frame.index == index and frame.time_s == clock.now_s
        np.testing.assert_array_equal(frame.image, picture(index))
        video.idle.wait(PATIENCE_S)
    assert source.dropped == 0 and source.live and not source.ended
    closing(source, video)


def test_a_slow_reader_gets_the_newest_and_the_rest_is_counted():
    video = FakeVideo(*(picture(value) for value in range(5)))
    source = open_live(Videos(video))
    assert video.idle.wait(PATIENCE_S)
    frame = source.read()
    assert frame.index == 4 and frame.image[0, 0, 0] == 4 and source.dropped == 4
    assert source.read(timeout_s=0) is None and not source.ended  # never the same one twice
    video.give(picture(5), picture(6))
    assert video.idle.wait(PATIENCE_S)
    assert source.read().index == 6 and source.dropped == 5
    closing(source, video)


def test_a_reader_waits_for_the_next_frame():
    video = FakeVideo()
    source = open_live(Videos(video))
    got = []
    reader = threading.Thread(target=lambda: got.append(source.read(PATIENCE_S)))
    reader.start()
    assert video.idle.wait(PATIENCE_S)
    video.give(picture(9))
    reader.join(PATIENCE_S)
    assert got[0].image[0, 0, 0] == 9
    closing(source, video)


def test_a_frame_that_waited_too_long_is_not_handed_out():
    video, clock = FakeVideo(picture(1)), FakeClock()
    source = open_live(Videos(video), clock, max_age_s=0.5)
    assert video.idle.wait(PATIENCE_S)
    clock.now_s += 0.6
    assert source.read(timeout_s=0) is None and source.dropped == 1
    video.give(picture(2))
    frame = source.read(PATIENCE_S)
    assert frame.index == 1 and frame.time_s == clock.now_s
    assert video.idle.wait(PATIENCE_S)
    video.give(picture(3))
    assert video.idle.wait(PATIENCE_S)
    clock.now_s += 0.4
    assert source.read(timeout_s=0).index == 2
    closing(source, video)


def test_a_lost_camera_is_opened_again_after_growing_waits(caplog):
    first, second = FakeVideo(picture(1), LOST), FakeVideo(picture(2))
    videos, clock = Videos(first), FakeClock()
    videos.left += [FakeVideo(opens=False) for _ in range(5)] + [second]
    with caplog.at_level(logging.WARNING):
        source = open_live(videos, clock, backoff=Backoff(0.25, 2, 2), max_age_s=100)
        assert second.idle.wait(PATIENCE_S)
    frame = source.read(PATIENCE_S)
    assert frame.image[0, 0, 0] == 2 and frame.index == 1
    assert clock.waits_s == [0.25, 0.5, 1, 2, 2, 2]
    assert source.reconnects == 1 and first.released == 1 and not source.ended
    assert "camera 0 is lost; opening it again in 0.25 s" in caplog.text
    closing(source, second)
    assert second.released == 1


def test_waits_start_anew_only_once_a_frame_has_come():
    good = FakeVideo(picture(1), LOST)
    mute = [FakeVideo(LOST) for _ in range(3)]  # opens, but gives nothing
    back, last = FakeVideo(picture(2), LOST), FakeVideo()
    clock = FakeClock()
    source = open_live(Videos(good, *mute, back, last), clock)
    assert last.idle.wait(PATIENCE_S)
    assert clock.waits_s == [0.25, 0.5, 1, 2, 0.25]
    assert source.reconnects == 5
    assert all(video.released == 1 for video in (good, *mute, back))
    closing(source, last)


def test_an_opencv_error_is_a_loss():
    first, second = FakeVideo(picture(1), CRASH), FakeVideo(picture(2))
    source = open_live(Videos(first, second))
    assert second.idle.wait(PATIENCE_S)
    assert source.read(PATIENCE_S).image[0, 0, 0] == 2
    assert first.released == 1 and source.reconnects == 1
    closing(source, second)


def test_damaged_frames_are_passed_over_until_there_are_too_many():
    first = FakeVideo(picture(1), *[DAMAGED] * 9, picture(2), *[DAMAGED] * 10)
    second = FakeVideo()
    source = open_live(Videos(first, second))
    assert second.idle.wait(PATIENCE_S)
    assert source.undecodable == 19 and source.reconnects == 1 and not first.left
    assert source.read(PATIENCE_S).image[0, 0, 0] == 2
    closing(source, second)


def test_a_camera_that_stays_away_ends_the_source_with_a_reason():
    video, clock = FakeVideo(picture(1), LOST), FakeClock()
    source = open_live(Videos(video), clock, give_up_after_s=10, max_age_s=100)
    source._thread.join(PATIENCE_S)
    assert clock.waits_s == [0.25, 0.5, 1, 2, 4, 8]  # 7.75 s are less than 10, 15.75 s are not
    assert not source.ended  # one frame is left
    assert source.read().image[0, 0, 0] == 1
    assert source.ended
    for _ in range(2):
        with pytest.raises(ReidEdgeError, match="camera 0 has given no frame for 16 s; check"):
            source.read()
    source.close()
    assert source.read() is None


def test_without_a_limit_it_tries_for_ever():
    video, clock, enough = FakeVideo(picture(1), LOST), FakeClock(), threading.Event()
    clock.before_wait = lambda: len(clock.waits_s) >= 50 and enough.set()
    source = open_live(Videos(video), clock, give_up_after_s=None)
    assert enough.wait(PATIENCE_S)
    assert not source.ended and clock.now_s > 300
    source.close()
    assert source.ended


def test_a_camera_that_is_not_there_at_the_start_is_a_mistake():
    with pytest.raises(ReidEdgeError, match="Camera 0 cannot be opened"):
        open_live(Videos(FakeVideo(opens=False)))


def test_any_other_failure_reaches_the_reader():
    video = FakeVideo(picture(1), ReidEdgeError("The MIPI camera gave 7 bytes."))
    source = open_live(Videos(video))
    source._thread.join(PATIENCE_S)
    assert source.read().index == 0
    with pytest.raises(ReidEdgeError, match="7 bytes"):
        source.read()
    assert source.ended and video.released == 1
    source.close()


def test_iterating_ends_when_it_is_closed():
    video = FakeVideo()
    seen = []
    with open_live(Videos(video)) as source:
        video.give(picture(0))
        for frame in source:
            seen.append(frame.index)
            video.idle.wait(PATIENCE_S)
            video.give(picture(0) if frame.index < 2 else LOST)
            if frame.index == 2:
                source.close()
    assert seen == [0, 1, 2] and source.ended and video.released == 1
    source.close()  # twice does no harm


def test_closing_wakes_a_reader_even_if_the_camera_hangs(caplog):
    video = FakeVideo()
    source = open_live(Videos(video))
    assert video.idle.wait(PATIENCE_S)
    got = []
    reader = threading.Thread(target=lambda: got.append(source.read()))
    reader.start()
    with caplog.at_level(logging.WARNING):
        source.close(timeout_s=0.02)
    assert "does not answer" in caplog.text
    reader.join(PATIENCE_S)
    assert got == [None] and source.ended and not video.released
    video.give(picture(1))  # the read returns at last
    source._thread.join(PATIENCE_S)
    assert video.released == 1 and source.read() is None


def test_a_change_of_size_is_given_out_and_said(caplog):
    video = FakeVideo()
    source = open_live(Videos(video))
    with caplog.at_level(logging.WARNING):
        for size in ((4, 6), (4, 6), (8, 12)):
            video.idle.wait(PATIENCE_S)
            video.give(picture(1, *size))
            assert source.read(PATIENCE_S).image.shape[:2] == size
    assert [r.getMessage() for r in caplog.records] == [
        "Source camera 0 changed its frame size from 6 x 4 to 12 x 8."
    ]
    closing(source, video)


@pytest.mark.parametrize("waits", [(0, 2, 8), (9, 2, 8), (1, 0.5, 8)])
def test_a_backoff_that_never_waits_or_shrinks_is_refused(waits):
    with pytest.raises(ReidEdgeError, match="0 < first_s <= longest_s and factor >= 1"):
        Backoff(*waits)
