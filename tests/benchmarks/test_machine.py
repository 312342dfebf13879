"""The record of the machine, read from a made-up Jetson and from this one."""

from dataclasses import replace

import pytest

from benchmarks import machine
from benchmarks.machine import read_conditions, read_machine, timing_warnings
from benchmarks.results import Machine
from tests.benchmarks.tiny_run import CONDITIONS, MACHINE


def tree(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return root


JETSON = {
    "proc/cpuinfo": "processor: 0\nmodel name: ARMv8 Processor rev 0 (v8l)\n"
    "Features: fp asimd asimddp asimdhp\n",
    "proc/meminfo": "MemTotal:        7861248 kB\nMemFree: 1 kB\n",
    "proc/stat": "cpu  100 10 30 5000 40 5 5 0 0 0\n",
    "proc/device-tree/model": "NVIDIA Jetson Xavier NX Developer Kit\0",
    "etc/nv_tegra_release": "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref\n",
    "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 20.04.6 LTS"\n',
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq": "1190400\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1907200\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1000000\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_min_freq": "1907200\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_max_freq": "1907200\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "1500000\n",
    "sys/class/devfreq/17000000.gv11b/cur_freq": "1109250000\n",
    "sys/class/thermal/thermal_zone0/type": "CPU-therm\n",
    "sys/class/thermal/thermal_zone0/temp": "41500\n",
    "sys/class/thermal/thermal_zone1/type": "GPU-therm\n",
    "sys/class/thermal/thermal_zone1/temp": "40000\n",
    "sys/class/thermal/thermal_zone2/type": "off\n",
    "sys/class/thermal/thermal_zone2/temp": "-256000\n",
    "sys/class/thermal/thermal_zone3/temp": "\n",
}


def test_a_jetson(tmp_path, monkeypatch):
    monkeypatch.setattr(machine.shutil, "which", lambda name: "/usr/sbin/nvpmodel")
    monkeypatch.setattr(machine, "power_mode", lambda: "MODE_15W_6CORE")
    found = read_machine(tree(tmp_path, JETSON))
    assert found.cpu == "ARMv8 Processor rev 0 (v8l)"
    assert found.cpu_flags == ["asimddp", "asimdhp"]
    assert found.board == "NVIDIA Jetson Xavier NX Developer Kit"
    assert (found.l4t, found.power_mode) == ("35.4.1", "MODE_15W_6CORE")
    assert found.memory_mb == 7861248 / 1024
    assert (found.governor, found.max_mhz) == ("schedutil", 1907.2)
    assert found.jetson_clocks is False, "one core may still slow down"
    assert found.os.startswith("Ubuntu 20.04.6 LTS, ")
    conditions = read_conditions(tmp_path)
    assert conditions.cpu_mhz == 1250.0 and conditions.gpu_mhz == 1109.25
    assert conditions.temperatures_c == {"CPU-therm": 41.5, "GPU-therm": 40.0}
    assert conditions.busy_cores == 0.0


def test_fixed_clocks_are_seen(tmp_path):
    files = dict(JETSON)
    files["sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq"] = "1907200\n"
    assert read_machine(tree(tmp_path, files)).jetson_clocks is True


def test_a_machine_that_says_nothing(tmp_path):
    found, conditions = read_machine(tmp_path), read_conditions(tmp_path)
    assert (found.governor, found.board, found.l4t, found.memory_mb) == (None,) * 4
    assert found.jetson_clocks is None and found.cpu_flags == []
    assert conditions.cpu_mhz is None and conditions.temperatures_c == {}


def test_a_virtual_machine_has_its_clock_in_cpuinfo(tmp_path):
    tree(tmp_path, {"proc/cpuinfo": "cpu MHz\t\t: 2000.0\n\ncpu MHz\t\t: 3000.0\n"})
    assert read_conditions(tmp_path).cpu_mhz == 2500.0


def test_this_machine():
    found = read_machine()
    assert isinstance(found, Machine) and found.cores >= found.usable_cores >= 1
    assert {"python", "numpy", "opencv", "onnxruntime", "reid-edge"} <= set(found.versions)


def test_a_broken_installation_does_not_stop_the_record(monkeypatch):
    def broken(name):
        raise RuntimeError("libnvinfer.so.8 is missing")

    monkeypatch.setattr(machine.importlib, "import_module", broken)
    assert "opencv" not in machine.versions()


@pytest.mark.parametrize(
    ("change", "load", "said"),
    [
        ({}, 0.1, None),
        ({}, 1.5, "other work took 1.5 of 2 cores"),
        ({"governor": "schedutil"}, 0.1, "governor is schedutil"),
        ({"governor": "performance", "jetson_clocks": True}, 0.1, None),
        ({"jetson_clocks": False}, None, "sudo jetson_clocks"),
    ],
)
def test_what_speaks_against_times(change, load, said):
    found = timing_warnings(replace(MACHINE, **change), replace(CONDITIONS, busy_cores=load))
    assert (said is None and found == []) or (len(found) == 1 and said in found[0])


def test_the_work_of_others_is_counted(tmp_path, monkeypatch):
    """200 ticks of user, nice, system, irq and softirq in the meantime; idle and iowait are none."""
    stat = tmp_path / "proc" / "stat"
    stat.parent.mkdir()
    stat.write_text("cpu  100 10 30 5000 40 5 5 0 0 0\ncpu0 50 5 15 2500 20 2 3 0 0 0\n")

    def meanwhile(seconds):
        stat.write_text("cpu  200 20 110 9000 90 10 10 7 0 0\n")

    monkeypatch.setattr(machine.time, "sleep", meanwhile)
    monkeypatch.setattr(machine.os, "sysconf", lambda name: 100)
    assert read_conditions(tmp_path).busy_cores == pytest.approx(200 / 100 / machine._LOOK_S)


def test_no_file_says_nothing(tmp_path):
    assert read_conditions(tmp_path).busy_cores is None
