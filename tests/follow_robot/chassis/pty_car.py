"""A pseudo-terminal in the place of a serial cable."""

import os
import select
import time
import tty

PATIENCE_S = 20.0  # for what must come, on a machine that is busy with other things


class PtyCable:
    """The far end is ``master``; the near end is opened by name, through a link like a real one's.

    Attributes:
        link: Path to open; it stays the same when the cable is plugged in again.
    """

    def __init__(self, folder):
        self.link = os.path.join(str(folder), "car")
        self.master = -1
        self.plug_in()

    def plug_in(self):
        """A new pseudo-terminal under the same link."""
        self.master, near = os.openpty()
        tty.setraw(near)
        os.set_blocking(self.master, False)
        new = self.link + ".new"
        os.symlink(os.ttyname(near), new)
        os.replace(new, self.link)
        os.close(near)

    def unplug(self):
        """Hang up; the device is gone, as udev removes it."""
        if self.master >= 0:
            os.close(self.master)
            self.master = -1

    def send(self, data):
        assert os.write(self.master, data) == len(data)

    def receive(self, count):
        """``count`` bytes, waited for."""
        data, deadline_s = b"", time.monotonic() + PATIENCE_S
        while len(data) < count:
            assert select.select([self.master], [], [], max(0, deadline_s - time.monotonic()))[0]
            data += os.read(self.master, count - len(data))
        return data

    def receive_all(self):
        """What waits now."""
        data = b""
        while select.select([self.master], [], [], 0.05)[0]:
            try:
                piece = os.read(self.master, 65536)
            except OSError:  # nobody has the near end open any more
                return data
            data += piece
        return data
