"""Units at the end of names."""

import math

import pytest

from follow_robot.units import convert, splits, unit_of


@pytest.mark.parametrize(
    "name, stem, dimension",
    [
        ("speed_mps", "speed", "speed"),
        ("speed_kmh", "speed", "speed"),
        ("speed_km_h", "speed", "speed"),
        ("speed_cm_s", "speed", "speed"),
        ("distance_cm", "distance", "length"),
        ("timeout_ms", "timeout", "time"),
        ("angle_deg", "angle", "angle"),
        ("turn_acceleration_radps2", "turn_acceleration", "turn acceleration"),
        ("min_free_gb", "min_free", "memory"),
    ],
)
def test_a_name_is_a_quantity_and_its_unit(name, stem, dimension):
    found_stem, unit = next(splits(name))
    assert (found_stem, unit.dimension) == (stem, dimension)


@pytest.mark.parametrize("name", ["s", "m", "min", "accept", "k1", "speed_", "_", ""])
def test_names_without_a_unit(name):
    assert unit_of(name) is None


@pytest.mark.parametrize(
    "value, name, wanted, expected",
    [
        (36, "v_kmh", "v_mps", 10.0),
        (20, "v_cm_s", "v_mps", 0.2),
        (150, "d_cm", "d_m", 1.5),
        (300, "t_ms", "t_s", 0.3),
        (180, "a_deg", "a_rad", math.pi),
        (1, "a_rad", "a_deg", 180 / math.pi),
        (90, "w_degps", "w_radps", math.pi / 2),
        (30, "w_rpm", "w_radps", math.pi),
        (1, "f_gb", "f_mb", 1000.0),
    ],
)
def test_conversion(value, name, wanted, expected):
    unit, to = unit_of(name), unit_of(wanted)
    assert unit is not None and to is not None
    assert convert(value, unit, to) == pytest.approx(expected, rel=1e-12)
