"""Why a serial port cannot be used, said so that it can be mended."""

from __future__ import annotations

import errno
import glob
import os
from typing import List, Optional

# Tegra's own ports, which pyserial does not list.
_UNLISTED = "/dev/ttyTHS*"


def without_pyserial() -> str:
    """The sentence where pyserial is not installed."""
    return (
        "A serial chassis needs pyserial; install it with pip install pyserial (or sudo apt "
        "install python3-serial)."
    )


def known_ports() -> List[str]:
    """The serial ports of this machine, ready for a message."""
    try:
        from serial.tools import list_ports
    except ImportError:
        return []
    ports = {port.device: port.description for port in list_ports.comports()}
    for path in glob.glob(_UNLISTED):
        ports.setdefault(path, "n/a")
    return [
        path if text in ("n/a", "", None, os.path.basename(path)) else "%s (%s)" % (path, text)
        for path, text in sorted(ports.items())
    ]


def say_ports() -> str:
    """Half a sentence that names the ports there are."""
    ports = known_ports()
    return "this machine has %s" % ", ".join(ports) if ports else "this machine has no serial port"


def explain(path: str, baud: int, error: Exception) -> str:
    """The sentence for a port that could not be opened.

    Args:
        path: The port.
        baud: The speed asked for.
        error: What opening raised.
    """
    number = number_of(error)
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR):
        return "Serial port %s does not exist (%s); check the cable and the chassis' power." % (
            path,
            say_ports(),
        )
    if number in (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK):
        others = holders(os.path.realpath(path))
        return "Serial port %s is busy: %s holds it; end that and try again." % (
            path,
            ", ".join(others) or "another process",
        )
    if number in (errno.EACCES, errno.EPERM):
        return (
            "No permission to open serial port %s; add yourself to the group dialout (sudo "
            "usermod -aG dialout $USER) and log in again." % path
        )
    if number in (errno.ENOTTY, errno.EISDIR) or os.path.isfile(path):
        return "%s is not a serial port (%s)." % (path, say_ports())
    return "Serial port %s cannot be opened at %d baud (%s); %s." % (
        path,
        baud,
        reason(error),
        say_ports(),
    )


def number_of(error: BaseException) -> Optional[int]:
    """The errno behind an exception of pyserial, termios or the system; None where unknown."""
    number = getattr(error, "errno", None)
    if number is None and error.args and isinstance(error.args[0], int):  # termios.error
        number = error.args[0]
    if number is None and error.__context__ is not None:  # pyserial wraps some without the number
        return number_of(error.__context__)
    return number


def reason(error: BaseException) -> str:
    """A few words."""
    number = number_of(error)
    return os.strerror(number) if number else str(error)


def holders(path: str, proc: str = "/proc") -> List[str]:
    """Other processes that have the file open, as far as this user may see: "name (pid 12)".

    Args:
        path: The device itself, links resolved.
        proc: Where the process table is mounted.
    """
    found = []
    for pid in filter(str.isdigit, _entries(proc)):
        if int(pid) == os.getpid():
            continue
        folder = os.path.join(proc, pid, "fd")
        if any(_target(os.path.join(folder, fd)) == path for fd in _entries(folder)):
            found.append("%s (pid %s)" % (_name(os.path.join(proc, pid, "comm")), pid))
    return found


def _entries(folder):
    try:
        return os.listdir(folder)
    except OSError:  # gone meanwhile, or another user's
        return []


def _target(link):
    try:
        return os.readlink(link)
    except OSError:
        return None


def _name(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "a process"
