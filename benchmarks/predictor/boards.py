"""The boards a latency can be predicted for: clocks of their power modes, with the source."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple

from runtime.errors import ReidEdgeError

FILE = Path(__file__).with_name("boards.json")
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Clocks:
    """What a power mode sets; zero where a board has no such part.

    Attributes:
        gpu_mhz, sms: GPU clock and streaming multiprocessors that are on.
        emc_mhz, gb_per_s: Memory clock, and the bandwidth it gives in 10^9 bytes per second.
        dla_mhz, bpu_mhz: Clocks of the accelerators.
        cpu_mhz, cpu_cores: Clock and number of the CPU cores that are on.
    """

    cpu_mhz: float
    cpu_cores: int
    gpu_mhz: float = 0
    sms: int = 0
    emc_mhz: float = 0
    gb_per_s: float = 0
    dla_mhz: float = 0
    bpu_mhz: float = 0

    def changed(self, overrides: Mapping[str, float]) -> Clocks:
        """These clocks with some replaced; the bandwidth follows the memory clock."""
        values = dict(overrides)
        if "emc_mhz" in values and self.emc_mhz and "gb_per_s" not in values:
            values["gb_per_s"] = self.gb_per_s * values["emc_mhz"] / self.emc_mhz
        return replace(self, **values)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Board:
    """A board.

    Attributes:
        name: As commands take it.
        title: As its maker calls it.
        model: Which analytical model describes it: "xavier" or "x3".
        units: What can run a network: "gpu", "dla", "bpu".
        precisions: That it runs.
        default_mode: Power mode that is meant when none is given.
        modes: Power mode to clocks.
        source: Where the clocks are from.
    """

    name: str
    title: str
    model: str
    units: Tuple[str, ...]
    precisions: Tuple[str, ...]
    default_mode: str
    modes: Mapping[str, Clocks]
    ids: Mapping[str, str]
    source: str

    def mode(self, name: Optional[str] = None) -> str:
        """The power mode's name as in ``modes``.

        Args:
            name: As ``nvpmodel -q`` prints it ("MODE_15W_6CORE"), without "MODE_", its number, or
                None for the default.

        Raises:
            ReidEdgeError: The board has no such mode.
        """
        if name is None:
            return self.default_mode
        found = name.upper().replace("MODE_", "")
        found = self.ids.get(found, found)
        if found not in self.modes:
            raise ReidEdgeError(
                "The %s has no power mode %r; it has %s."
                % (self.title, name, ", ".join(self.modes))
            )
        return found


def board(name: str) -> Board:
    """A board by name.

    Raises:
        ReidEdgeError: Unknown; the message lists the boards.
    """
    known = boards()
    if name not in known:
        raise ReidEdgeError(
            "There is no latency model for board %r; expected one of: %s."
            % (name, ", ".join(known))
        )
    return known[name]


@lru_cache(maxsize=None)
def boards() -> Dict[str, Board]:
    """All boards, from ``boards.json``."""
    data = json.loads(FILE.read_text(encoding="utf-8"))
    if data["schema_version"] != SCHEMA_VERSION:
        raise ReidEdgeError(
            "%s has schema version %s, expected %d; install reid-edge again."
            % (FILE.name, data["schema_version"], SCHEMA_VERSION)
        )
    return {name: _board(name, entry) for name, entry in data["boards"].items()}


def _board(name: str, entry: Dict[str, Any]) -> Board:
    modes = {mode: dict(clocks) for mode, clocks in entry["modes"].items()}
    ids = {str(clocks.pop("id")): mode for mode, clocks in modes.items() if "id" in clocks}
    return Board(
        name=name,
        title=entry["title"],
        model=entry["model"],
        units=tuple(entry["units"]),
        precisions=tuple(entry["precisions"]),
        default_mode=entry["default_mode"],
        modes={mode: Clocks(**clocks) for mode, clocks in modes.items()},
        ids=ids,
        source=entry["source"],
    )
