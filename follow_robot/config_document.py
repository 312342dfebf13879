"""The documented file of defaults, written from the dataclasses and their docstrings.

    python -m follow_robot.config_document > follow_robot/defaults.yaml

Meanings and defaults thus stand in one place, and the file cannot tell anything else.
"""

import dataclasses
import inspect
import json
import re
import sys
import textwrap
from typing import Any, Dict, List

from follow_robot.config import SECTIONS
from follow_robot.units import unit_of

_WIDTH = 98
_HEAD = """\
Settings of follow-robot and their defaults, all of which may be left out. Copy what you want to
change into a file of your own and start with --config FILE; single values can also be given as
--set section.field=value. A section may stand in a file of its own: "camera: camera.yaml".

Names end in their unit. Paths are relative to the folder in which the program is started.
"""


def document() -> str:
    """Every section with every field, its default and its meaning, as YAML text."""
    lines = _comment(_HEAD, "", keep=True)
    for name, kind in SECTIONS.items():
        lines += ["", ""]
        lines += _comment(_summary(kind), "")
        lines.append("%s:" % name)
        lines += _fields(kind(), "  ")
    return "\n".join(lines) + "\n"


def described(kind: type) -> Dict[str, str]:
    """Meaning of each field of a dataclass, from the ``Attributes`` of it and of what it extends."""
    found: Dict[str, str] = {}
    for base in reversed(kind.__mro__):
        text = inspect.cleandoc(base.__doc__ or "")
        if not dataclasses.is_dataclass(base) or "Attributes:" not in text:
            continue
        text = re.split(r"\n(?=\w)", text.partition("Attributes:")[2])[0]
        for entry in re.split(r"\n {4}(?=\w)", text):
            names, colon, meaning = " ".join(entry.split()).partition(": ")
            if colon:
                found.update({name.strip(): meaning for name in names.split(",")})
    return found


def _fields(settings: Any, indent: str) -> List[str]:
    meanings = described(type(settings))
    lines = []
    own = vars(type(settings)).get("__annotations__", {})
    # What a section adds to a part's settings comes before them.
    for field in sorted(dataclasses.fields(settings), key=lambda f: f.name not in own):
        value = getattr(settings, field.name)
        lines += _comment(meanings[field.name], indent)
        if dataclasses.is_dataclass(value):
            lines.append("%s%s:" % (indent, field.name))
            lines += _fields(value, indent + "  ")
            continue
        unit = unit_of(field.name)
        said = "  # %s" % unit.symbol if unit else ""
        lines.append("%s%s: %s%s" % (indent, field.name, _scalar(value), said))
    return lines


def _scalar(value: Any) -> str:
    """As YAML 1.1 and 1.2 read it alike: a number with an exponent needs a point for 1.1."""
    if isinstance(value, (tuple, list)):
        return "[%s]" % ", ".join(_scalar(item) for item in value)
    text = json.dumps(value)
    return re.sub(r"^(-?\d+)e", r"\1.0e", text) if isinstance(value, float) else text


def _comment(text: str, indent: str, keep: bool = False) -> List[str]:
    lines = text.splitlines() if keep else _wrapped(text, _WIDTH - len(indent))
    return [(indent + "# " + line).rstrip() for line in lines]


def _wrapped(text: str, width: int) -> List[str]:
    return textwrap.wrap(text.replace("``", ""), width)


def _summary(kind: type) -> str:
    return " ".join((kind.__doc__ or "").strip().split("\n\n")[0].split())


if __name__ == "__main__":
    sys.stdout.write(document())
