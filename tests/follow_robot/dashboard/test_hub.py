"""The application's and the server's side of the hub: newest frame, wishes, STOP."""

import threading
import time

import numpy as np
import pytest

from follow_robot.dashboard.hub import HISTORY_S, Hub, Parameter, frame_size
from follow_robot.dashboard.messages import Act
from runtime.errors import ReidEdgeError

PARAMETERS = (
    Parameter("distance_m", "Distance", "m", 0.8, 4.0, 0.1, 1.5),
    Parameter("speed_mps", "Highest speed", "m/s", 0.0, 0.5, 0.05, 0.3),
)
IMAGE = np.zeros((480, 640, 3), np.uint8)


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def told():
    return []


@pytest.fixture
def hub(clock, told):
    return Hub(PARAMETERS, on_stop=told.append, clock=clock)


def act(kind, **fields):
    return Act(1, kind, **fields)


def kinds(hub):
    return [intent.kind for intent in hub.intents()]


def test_only_the_newest_frame_is_kept_and_nothing_is_copied(hub):
    for index in range(3):
        hub.publish(IMAGE, {"time_s": float(index)})
    newest = hub.newest()
    assert newest.seq == 3 and newest.frame_time_s == 2.0
    assert newest.image is IMAGE


def test_wishes_come_in_order_once_with_all_they_hold(hub, clock):
    hub.publish(IMAGE, {})
    hub.act("page 1", act("choose", box=(1, 2, 30, 40), point=(5, 6), track=7))
    clock.now_s += 0.1
    hub.act("page 1", act("go"))
    first, second = hub.intents()
    assert first[:6] == ("choose", "page 1", 100.0, (1, 2, 30, 40), (5, 6), 7)
    assert second[:3] == ("go", "page 1", 100.1)
    assert hub.intents() == []


def test_wishes_are_bounded_and_the_newest_of_a_kind_counts(hub):
    hub.publish(IMAGE, {})
    for kind in ("go", "hold", "go", "hold") * 100:
        hub.act("page 1", act(kind))
    assert kinds(hub) == ["go", "hold"]
    hub.act("page 1", act("hold"))
    hub.act("page 1", act("go"))
    assert kinds(hub) == ["hold", "go"]
    hub.act("page 1", act("set", values={"distance_m": 1.0, "speed_mps": 0.1}))
    hub.act("page 1", act("set", values={"distance_m": 2.0}))
    (intent,) = hub.intents()
    assert intent.values == {"distance_m": 2.0, "speed_mps": 0.1}


def test_an_application_that_comes_late_is_told_only_to_stop(hub, clock):
    hub.publish(IMAGE, {})
    for kind in ("choose_front", "go", "release", "hold", "stop"):
        hub.act("page 1", act(kind))
    clock.now_s += 1.1
    assert kinds(hub) == ["release", "hold", "stop"]


def test_the_wishes_of_a_page_that_is_gone_are_dropped_unless_to_stop(hub):
    hub.act("page 1", act("go"))
    hub.act("page 1", act("hold"))
    hub.act("page 1", act("go"))
    hub.leave("page 1")
    assert kinds(hub) == ["hold"] and hub.controller is None


def test_stop_reaches_the_driver_at_once_and_drops_what_would_move(hub, told):
    hub.act("page 1", act("go"))
    assert told == []
    hub.act("page 2", act("stop"))  # not in control, and still
    assert told == ["STOP pressed by page 2"], "before the application looked"
    assert hub.stop_sent
    assert kinds(hub) == ["stop"]
    assert hub.controller == "page 1", "STOP takes no control"


def test_stop_that_cannot_reach_the_driver_says_so_and_reaches_the_application(hub):
    def broken(_):
        raise OSError("pipe closed")

    hub.on_stop = broken
    with pytest.raises(ReidEdgeError, match=r"pipe closed.*switch"):
        hub.act("page 1", act("stop"))
    assert kinds(hub) == ["stop"] and hub.stop_sent


def test_stop_is_shown_as_sent_until_a_status_confirms_it(hub):
    hub.stop("page 1")
    hub.publish(IMAGE, {"stop": {"pressed": False}})  # made before the driver knew
    assert hub.stop_sent
    hub.publish(IMAGE, {"stop": {"pressed": True}})
    assert not hub.stop_sent


def test_go_is_refused_while_stopped(hub):
    hub.stop("page 1")
    with pytest.raises(ReidEdgeError, match="re-arm"):
        hub.act("page 1", act("go"))
    hub.publish(IMAGE, {"stop": {"pressed": True}})
    with pytest.raises(ReidEdgeError, match="re-arm"):
        hub.act("page 1", act("go"))
    assert kinds(hub) == ["stop"]


def test_rearm_takes_two_steps(hub):
    with pytest.raises(ReidEdgeError, match="not stopped"):
        hub.act("page 1", act("rearm"))
    hub.stop("page 1")
    hub.intents()
    code = hub.act("page 1", act("rearm"))
    assert code and kinds(hub) == []
    with pytest.raises(ReidEdgeError, match="no longer valid"):
        hub.act("page 1", act("rearm", code="0" * 16))
    code = hub.act("page 1", act("rearm"))
    assert hub.act("page 1", act("rearm", code=code)) is None
    assert kinds(hub) == ["rearm"] and not hub.stop_sent


def test_a_stop_between_the_two_steps_wins(hub):
    hub.stop("page 1")
    code = hub.act("page 1", act("rearm"))
    hub.stop("page 2")
    with pytest.raises(ReidEdgeError, match="no longer valid"):
        hub.act("page 1", act("rearm", code=code))
    assert kinds(hub) == ["stop"]
    code = hub.act("page 1", act("rearm"))
    hub.act("page 1", act("rearm", code=code))
    hub.stop("page 2")  # before the application took the re-arm
    assert kinds(hub) == ["stop"]


def test_a_stop_from_elsewhere_between_the_two_steps_wins_too(hub):
    hub.publish(IMAGE, {"stop": {"pressed": True, "reasons": ["page"]}})
    code = hub.act("page 1", act("rearm"))
    hub.publish(IMAGE, {"stop": {"pressed": True, "reasons": ["page"]}})
    hub.publish(IMAGE, {"stop": {"pressed": True, "reasons": ["page", "joystick"]}})
    with pytest.raises(ReidEdgeError, match="no longer valid"):
        hub.act("page 1", act("rearm", code=code))
    code = hub.act("page 1", act("rearm"))
    hub.publish(IMAGE, {"stop": {"pressed": True, "reasons": ("page", "joystick")}})
    hub.act("page 1", act("rearm", code=code))
    assert kinds(hub) == ["rearm"]


def test_an_old_offer_to_rearm_is_void(hub, clock):
    hub.stop("page 1")
    code = hub.act("page 1", act("rearm"))
    clock.now_s += 10.5
    with pytest.raises(ReidEdgeError, match="no longer valid"):
        hub.act("page 1", act("rearm", code=code))


@pytest.mark.parametrize(
    "kind", ["go", "hold", "release", "choose_front", "set", "choose", "rearm"]
)
def test_one_page_controls_others_observe_until_they_take_over(hub, kind):
    fields = {"set": {"values": {"distance_m": 1.0}}, "choose": {"box": (0, 0, 9, 9)}}
    hub.publish(IMAGE, {"stop": {"pressed": kind == "rearm"}})
    hub.act("page 1", act("hold"))
    hub.intents()
    with pytest.raises(ReidEdgeError, match=r"Page 1 controls the car; take over"):
        hub.act("page 2", act(kind, **fields.get(kind, {})))
    assert kinds(hub) == []
    hub.act("page 2", act("take"))
    hub.act("page 2", act(kind, **fields.get(kind, {})))
    with pytest.raises(ReidEdgeError, match="Page 2 controls"):
        hub.act("page 1", act("hold"))


def test_taking_over_drops_what_the_other_page_still_wished(hub):
    hub.act("page 1", act("go"))
    hub.act("page 2", act("take"))
    assert kinds(hub) == []


@pytest.mark.parametrize(
    "values, says",
    [
        ({"distance_m": 0.79}, r"Distance must be 0.8 to 4 m, got 0.79"),
        ({"speed_mps": 0.51}, "0 to 0.5"),
        ({"speed_mps": 0.2, "torque": 1.0}, "no parameter torque; known are distance_m, speed_mps"),
    ],
)
def test_parameters_stay_within_their_limits(hub, values, says):
    with pytest.raises(ReidEdgeError, match=says):
        hub.act("page 1", act("set", values=values))
    assert kinds(hub) == []


@pytest.mark.parametrize("box", [(640, 0, 700, 10), (0, 480, 5, 490), (-9, 0, 0, 5), (0, -9, 5, 0)])
def test_a_box_must_touch_the_frame(hub, box):
    with pytest.raises(ReidEdgeError, match="no picture yet"):
        hub.act("page 1", act("choose", box=box))
    hub.publish(IMAGE, {})
    with pytest.raises(ReidEdgeError, match="640 x 480"):
        hub.act("page 1", act("choose", box=box))


def test_frame_size_is_the_statuss_or_the_images(hub):
    assert frame_size(hub.newest()) is None
    hub.publish(None, {})
    assert frame_size(hub.newest()) is None
    hub.publish(IMAGE, {})
    assert frame_size(hub.newest()) == (480, 640)
    hub.publish(IMAGE, {"frame_size": (720, 1280)})  # shown smaller than it is
    assert frame_size(hub.newest()) == (720, 1280)


def test_history_is_thinned_and_bounded(hub):
    for index in range(4000):  # 40 Hz, 100 s
        status = {
            "time_s": index / 40,
            "lock": {"similarity": 0.5},
            "threshold": 0.4,
            "target": {"distance_m": 2.0},
            "parameters": {"distance_m": 1.5},
            "sent": {"vx_mps": 0.1},
            "measured": {"vx_mps": 0.2},
        }
        hub.publish(None, status)
    rows = hub.rows_since(0)
    times = [row.time_s for _, row in rows]
    assert times == pytest.approx([100 - HISTORY_S + 0.1 * i for i in range(600)])
    assert rows[0][1][1:] == (0.5, 0.4, 2.0, 1.5, 0.1, 0.2)
    assert hub.rows_since(rows[-2][0]) == rows[-1:]


def test_the_plot_has_every_similarity_though_few_frames_are_compared(hub):
    similarity = {4: 0.4, 11: 0.5}  # at 0.1333 and 0.3667 s, which are no points of the plot
    for index in range(15):
        lock = {"similarity": similarity.get(index)}
        hub.publish(None, {"time_s": index / 30, "lock": lock})
    rows = [(round(row.time_s, 2), row.similarity) for _, row in hub.rows_since(0)]
    assert rows == [(0.0, None), (0.1, None), (0.2, 0.4), (0.3, None), (0.4, 0.5)]


def test_events_are_numbered_and_none_is_lost_between_two_looks(hub):
    for index in range(50):
        event = {3: "occluded", 4: "handed_over"}.get(index)
        hub.publish(IMAGE, {"time_s": index / 30, "lock": {"event": event}})
    hub.publish(IMAGE, {"time_s": 4 / 30, "lock": {"event": "lost"}})
    hub.publish(IMAGE, {"time_s": 4 / 30, "lock": {"event": "lost"}})  # the same frame once more
    hub.say("Nobody is seen there.")
    texts = [event.text for event in hub.events_since(0)]
    assert texts == ["occluded", "handed over", "lost", "Nobody is seen there."]
    assert [e.text for e in hub.events_since(3)] == ["Nobody is seen there."]
    for index in range(100):
        hub.say(str(index))
    assert len(hub.events_since(0)) == 40


def test_a_sign_of_life_counts_from_the_page_in_control_only(hub, clock):
    hub.act("page 1", act("hold"))
    clock.now_s = 105.0
    hub.heard("page 2")
    assert hub.heard_s == 100.0
    hub.heard("page 1")
    assert hub.heard_s == 105.0


def test_publishing_is_cheap_even_while_others_use_the_hub():
    hub = Hub(PARAMETERS)
    people = [{"track": i, "box": (1.0, 2.0, 3.0, 4.0), "score": 0.5} for i in range(10)]
    done = threading.Event()

    def server():
        while not done.is_set():
            hub.rows_since(0)
            hub.events_since(0)
            hub.act("page 1", Act(1, "hold"))

    thread = threading.Thread(target=server)
    thread.start()
    took_s = []
    try:
        for index in range(2000):
            status = {"time_s": index / 30, "people": people, "lock": {"similarity": 0.5}}
            # Of this thread: what the scheduler does on a loaded machine is not this code's cost.
            began_s = time.thread_time()
            hub.publish(IMAGE, status)
            took_s.append(time.thread_time() - began_s)
    finally:
        done.set()
        thread.join()
    assert np.median(took_s) < 0.3e-3
