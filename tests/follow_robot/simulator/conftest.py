"""What simulator tests share: somebody who looks, and a world that is quick to build."""

import cv2
import pytest

from follow_robot.simulator.viewer import Viewer


@pytest.fixture(scope="session")
def viewer():
    """Colours in place of a ReID network, on one thread."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield Viewer.of()
    cv2.setNumThreads(before)
