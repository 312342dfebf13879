"""How long a frame takes to become bytes on the wire, with and without the networks."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Dict, List, NamedTuple

import numpy as np

from follow_robot.driver_messages import Report
from runtime.frame_record import FrameRecord

_WAITING = 50  # commands whose way to the wire is still awaited
_KEPT = 100000
NETWORKS = ("detect", "embed")


class _Sent(NamedTuple):
    frame_time_s: float
    networks_s: float


class LatencyMeter:
    """Joins commands with the driver's reports of writing them, by their sequence numbers."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[int, _Sent] = OrderedDict()
        self.whole_ms: List[float] = []
        self.own_ms: List[float] = []

    def sent(self, sequence: int, record: FrameRecord) -> None:
        """A command for this frame went to the driver."""
        networks_s = sum(record.took_ms.get(stage, 0.0) for stage in NETWORKS) / 1e3
        self._waiting[sequence] = _Sent(record.time_s, networks_s)
        while len(self._waiting) > _WAITING:
            self._waiting.popitem(last=False)

    def written(self, report: Report) -> None:
        """The driver has written."""
        if report.sequence is None or report.sent_s is None:
            return
        sent = self._waiting.pop(report.sequence, None)
        if sent is not None and len(self.whole_ms) < _KEPT:
            whole_s = report.sent_s - sent.frame_time_s
            self.whole_ms.append(1e3 * whole_s)
            self.own_ms.append(1e3 * (whole_s - sent.networks_s))

    def summary(self) -> Dict[str, Any]:
        """p50, p90 and p99 in milliseconds; ``own``: without detector and ReID network."""
        result: Dict[str, Any] = {"frames": len(self.whole_ms)}
        for name, values in (("whole", self.whole_ms), ("own", self.own_ms)):
            if values:
                p50, p90, p99 = np.percentile(values, (50, 90, 99)).tolist()
                result[name] = {"p50_ms": p50, "p90_ms": p90, "p99_ms": p99}
        return result
