"""Units as they end the names of settings: what they are called, and how they convert."""

from typing import Iterator, NamedTuple, Optional, Tuple

_KMH = 1 / 3.6
_DEG = 0.017453292519943295


class Unit(NamedTuple):
    """A unit of one dimension.

    Attributes:
        symbol: As it is written behind a number.
        name: In words.
        dimension: What it measures; units of one dimension convert into each other.
        factor: How many of the dimension's SI unit one of it is.
    """

    symbol: str
    name: str
    dimension: str
    factor: float


# By the ending of a setting's name. What settings here use comes first in each dimension, the rest
# is what people write.
_UNITS = {
    "mps": Unit("m/s", "metres per second", "speed", 1.0),
    "m": Unit("m", "metres", "length", 1.0),
    "s": Unit("s", "seconds", "time", 1.0),
    "rad": Unit("rad", "radians", "angle", 1.0),
    "deg": Unit("degrees", "degrees", "angle", _DEG),
    "radps": Unit("rad/s", "radians per second", "turn rate", 1.0),
    "mps2": Unit("m/s^2", "metres per second squared", "acceleration", 1.0),
    "mps3": Unit("m/s^3", "metres per second cubed", "jerk", 1.0),
    "radps2": Unit("rad/s^2", "radians per second squared", "turn acceleration", 1.0),
    "hz": Unit("1/s", "hertz, times per second", "rate", 1.0),
    "px": Unit("px", "pixels", "pixels", 1.0),
    "mb": Unit("MB", "megabytes", "memory", 1e6),
    "v": Unit("V", "volts", "voltage", 1.0),
    "baud": Unit("baud", "bits per second", "baud", 1.0),
    "kmh": Unit("km/h", "kilometres per hour", "speed", _KMH),
    "cm_s": Unit("cm/s", "centimetres per second", "speed", 0.01),
    "mm_s": Unit("mm/s", "millimetres per second", "speed", 0.001),
    "mph": Unit("mph", "miles per hour", "speed", 0.44704),
    "knots": Unit("knots", "knots", "speed", 0.514444),
    "cm": Unit("cm", "centimetres", "length", 0.01),
    "mm": Unit("mm", "millimetres", "length", 0.001),
    "km": Unit("km", "kilometres", "length", 1000.0),
    "ft": Unit("ft", "feet", "length", 0.3048),
    "inch": Unit("inches", "inches", "length", 0.0254),
    "ms": Unit("ms", "milliseconds", "time", 1e-3),
    "us": Unit("us", "microseconds", "time", 1e-6),
    "ns": Unit("ns", "nanoseconds", "time", 1e-9),
    "min": Unit("min", "minutes", "time", 60.0),
    "degps": Unit("degrees/s", "degrees per second", "turn rate", _DEG),
    "rpm": Unit("rpm", "turns per minute", "turn rate", 0.10471975511965977),
    "cmps2": Unit("cm/s^2", "centimetres per second squared", "acceleration", 0.01),
    "g": Unit("g", "times gravity", "acceleration", 9.80665),
    "khz": Unit("kHz", "kilohertz", "rate", 1e3),
    "fps": Unit("1/s", "frames per second", "rate", 1.0),
    "kb": Unit("kB", "kilobytes", "memory", 1e3),
    "gb": Unit("GB", "gigabytes", "memory", 1e9),
    "mv": Unit("mV", "millivolts", "voltage", 1e-3),
}
_ALSO = {
    "kph": "kmh",
    "kmph": "kmh",
    "km_h": "kmh",
    "cmps": "cm_s",
    "cms": "cm_s",
    "mmps": "mm_s",
    "m_s": "mps",
    "meter": "m",
    "meters": "m",
    "metre": "m",
    "metres": "m",
    "in": "inch",
    "inches": "inch",
    "feet": "ft",
    "sec": "s",
    "secs": "s",
    "second": "s",
    "seconds": "s",
    "msec": "ms",
    "millis": "ms",
    "minutes": "min",
    "degree": "deg",
    "degrees": "deg",
    "radian": "rad",
    "radians": "rad",
    "rad_s": "radps",
    "deg_s": "degps",
    "dps": "degps",
    "m_s2": "mps2",
    "cm_s2": "cmps2",
    "m_s3": "mps3",
    "rad_s2": "radps2",
    "pixel": "px",
    "pixels": "px",
}


def unit_of(name: str) -> Optional[Unit]:
    """The unit that a setting's name ends in, such as metres per second of ``speed_mps``."""
    for _, unit in splits(name):
        return unit
    return None


def splits(name: str) -> Iterator[Tuple[str, Unit]]:
    """Ways to read a name as a quantity and its unit, the longest unit first."""
    parts = name.lower().split("_")
    for count in (2, 1):
        ending = "_".join(parts[-count:])
        unit = _UNITS.get(_ALSO.get(ending, ending))
        if unit is not None and len(parts) > count:
            yield "_".join(parts[:-count]), unit


def convert(value: float, unit: Unit, to: Unit) -> float:
    """``value`` of one unit in another of the same dimension."""
    return value * unit.factor / to.factor
