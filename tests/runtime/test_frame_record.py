"""A frame's record as JSON."""

import json

import numpy as np

from runtime.frame_record import STAGES, FrameRecord, Seen
from runtime.lock_types import LockOutput

BOX = (np.float32(10.1234), np.float32(20), np.float32(50.006), np.float32(160))


def record(**changed):
    values = dict(
        index=7,
        time_s=0.123456,
        frame_size=(480, 640),
        people=[Seen(3, BOX, 0.87654, "confirmed", 0.5557, 0.1239, "rear", 1, True)],
        lock=LockOutput("locked", 3, BOX, 0.71, 0.2, "enrolled"),
        motion=[1.0, 0.0000123, 2.5, 0.0, 1.0, -3.123456],
        took_ms={stage: 1.23456 for stage in STAGES},
        rows=(0,),
        embeddings=np.ones((1, 4), np.float32),
    )
    return FrameRecord(**{**values, **changed})


def test_json_has_everything_but_what_decides_again():
    said = json.loads(json.dumps(record().to_dict()))
    assert said == {
        "index": 7,
        "time_s": 0.1235,
        "frame_size": [480, 640],
        "people": [
            {
                "track": 3,
                "box": [10.12, 20.0, 50.01, 160.0],
                "score": 0.877,
                "state": "confirmed",
                "quality": 0.556,
                "overlap": 0.124,
                "view": "rear",
                "distance": 1,
                "embedded": True,
            }
        ],
        "lock": {
            "state": "locked",
            "track": 3,
            "box": [10.12, 20.0, 50.01, 160.0],
            "similarity": 0.71,
            "margin": 0.2,
            "event": "enrolled",
        },
        "motion": [1.0, 0.00001, 2.5, 0.0, 1.0, -3.12346],
        "took_ms": {stage: 1.235 for stage in STAGES},
    }


def test_nobody_and_nothing():
    said = record(people=[], lock=LockOutput("idle"), took_ms={}).to_dict()
    assert said["people"] == [] and said["took_ms"] == {}
    assert said["lock"] == {**dict.fromkeys(LockOutput._fields), "state": "idle"}


def test_records_of_the_same_decision_are_equal():
    assert record() == record(embeddings=None)  # what it was made from is not compared
    assert record() != record(index=8)
