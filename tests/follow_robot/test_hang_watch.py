"""A loop that does not come back is noticed, one that does is not."""

import threading
import time

from follow_robot.hang_watch import HangWatch


def test_a_loop_that_hangs_is_told_once():
    told, done = [], threading.Event()

    def on_hang(seconds):
        told.append(seconds)
        done.set()

    began_s = time.monotonic()
    with HangWatch(0.3, on_hang):
        assert done.wait(20)
        took_s = time.monotonic() - began_s
        time.sleep(0.3)
    assert len(told) == 1
    assert 0.3 < told[0] <= took_s


def test_a_loop_that_beats_is_left_alone():
    told = []
    with HangWatch(5.0, told.append) as watch:
        for _ in range(30):
            watch.beat()
            time.sleep(0.01)
    assert told == []


def test_the_time_counts_from_the_start_of_the_loop():
    told = []
    watch = HangWatch(0.5, told.append)
    time.sleep(0.7)  # between its making and the loop
    with watch:
        time.sleep(0.15)
    assert told == []


def test_the_end_waits_for_no_timeout():
    began_s = time.monotonic()
    with HangWatch(100.0, lambda seconds: None):
        pass
    assert time.monotonic() - began_s < 20
    assert not any(thread.name == "hang watch" for thread in threading.enumerate())
