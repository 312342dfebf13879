"""What is taken over from perception and from a status."""

import json

from follow_robot.dashboard.messages import to_json
from follow_robot.dashboard.status import Row, of_record, row_of
from runtime.frame_record import FrameRecord, Seen
from runtime.lock_types import LOCKED, LockOutput


def test_a_record_becomes_a_status_that_is_json():
    box = (10.0, 20.0, 50.0, 140.0)
    people = [Seen(7, box, 0.9, "confirmed", 1.0, 0.0, "rear", 1, True)]
    lock = LockOutput(LOCKED, 7, box, 0.71, 0.3, "enrolled")
    record = FrameRecord(4, 12.5, (480, 640), people, lock, [1, 0, 0, 0, 1, 0], {"detect": 31.2})
    made = json.loads(to_json(of_record(record)))
    assert made == {
        "time_s": 12.5,
        "frame_size": [480, 640],
        "people": [{"track": 7, "box": list(box), "score": 0.9}],
        "took_ms": {"detect": 31.2},
        "lock": {
            "state": "locked",
            "track": 7,
            "box": list(box),
            "similarity": 0.71,
            "margin": 0.3,
            "event": "enrolled",
        },
    }


def test_what_is_plotted():
    nothing = {"lock": None, "target": None, "measured": None}
    assert row_of(nothing, 3.0) == Row(3.0, None, None, None, None, None, None)
    status = {
        "lock": {"similarity": 0.6},
        "threshold": 0.5,
        "target": {"distance_m": 2.0},
        "parameters": {"distance_m": 1.5},
        "command": {"vx_mps": 0.4},
        "sent": {"vx_mps": 0.3},
        "measured": {"vx_mps": 0.2},
    }
    assert row_of(status, 3.0) == Row(3.0, 0.6, 0.5, 2.0, 1.5, 0.3, 0.2), "what was let through"
    del status["sent"]
    assert row_of(status, 3.0).asked_mps == 0.4
