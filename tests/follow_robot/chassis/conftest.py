"""A serial cable and a port on its near end."""

import pytest

from follow_robot.chassis import SerialPort
from tests.follow_robot.chassis.pty_car import PtyCable


@pytest.fixture
def cable(tmp_path):
    cable = PtyCable(tmp_path)
    yield cable
    cable.unplug()


@pytest.fixture
def port(cable):
    with SerialPort(cable.link) as port:
        yield port
