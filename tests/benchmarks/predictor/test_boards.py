"""Boards and their power modes."""

import pytest

from benchmarks.predictor.boards import board, boards
from runtime.errors import ReidEdgeError


def test_an_unknown_board_lists_the_known_ones():
    with pytest.raises(ReidEdgeError, match="xavier-agx, xavier-nx, x3"):
        board("orin")


@pytest.mark.parametrize(
    "asked, expected",
    [
        (None, "15W_6CORE"),
        ("15W_2CORE", "15W_2CORE"),
        ("MODE_10W_2CORE", "10W_2CORE"),  # as nvpmodel -q prints it
        ("mode_20w_4core", "20W_4CORE"),
        ("3", "10W_2CORE"),  # its number
    ],
)
def test_names_of_power_modes(asked, expected):
    assert board("xavier-nx").mode(asked) == expected


def test_an_unknown_power_mode_lists_the_boards_own():
    with pytest.raises(ReidEdgeError, match="MAXN, 30W_ALL"):
        board("xavier-agx").mode("15W_6CORE")


def test_clocks_agree_with_the_peaks_of_the_data_sheet():
    """TOPS and GB/s of published tables follow from clocks: 8 tensor cores of 64 FMA, x2 in INT8."""
    table = {
        ("xavier-agx", "MAXN"): (22.56, 136.5),
        ("xavier-agx", "30W_ALL"): (14.75, 102.4),
        ("xavier-agx", "10W"): (4.26, 68.2),
        ("xavier-nx", "20W_6CORE"): (13.63, 59.7),
        ("xavier-nx", "10W_DESKTOP"): (6.27, 51.2),
    }
    for (name, mode), (tops, gb_per_s) in table.items():
        clocks = board(name).modes[mode]
        assert 2 * 1024 * clocks.sms * clocks.gpu_mhz / 1e6 == pytest.approx(tops, rel=0.005)
        assert clocks.gb_per_s == gb_per_s
        bus_bytes = 32 if name == "xavier-agx" else 16
        assert clocks.emc_mhz * 2 * bus_bytes / 1e3 == pytest.approx(gb_per_s, rel=0.005)


def test_changed_clocks_take_the_bandwidth_along():
    clocks = board("xavier-agx").modes["MAXN"]
    changed = clocks.changed({"emc_mhz": clocks.emc_mhz / 2, "gpu_mhz": 100})
    assert changed.gb_per_s == pytest.approx(clocks.gb_per_s / 2)
    assert (changed.gpu_mhz, changed.sms) == (100, 8)


def test_every_board_has_a_source_and_its_default_mode():
    for found in boards().values():
        assert found.source and found.default_mode in found.modes
