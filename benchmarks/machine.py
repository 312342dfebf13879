"""The machine a benchmark runs on, from what Linux and Jetson Linux publish about it.

Sources: ``Documentation/admin-guide/pm/cpufreq.rst`` and ``driver-api/thermal/sysfs-api.rst`` of the
Linux kernel for clocks and temperatures; NVIDIA's Jetson Linux Developer Guide for ``nvpmodel``,
``jetson_clocks`` and ``/etc/nv_tegra_release``.
"""

from __future__ import annotations

import importlib
import os
import platform
import re
import shutil
import time
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Dict, List, Optional

from benchmarks.latency import parse_cpuinfo
from benchmarks.results import Conditions, Machine
from runtime.engine_stamp import power_mode

PACKAGES = ("reid-edge", "numpy", "onnxruntime", "onnxruntime-gpu", "onnx")
_SYSTEM = ("cv2", "tensorrt", "hobot_dnn")  # from the system's image: pip may not know them
_BUSY = 0.15  # share of the cores' time that others take from which times are not to be trusted
_LOOK_S = 0.5
_L4T = re.compile(r"R(\d+) \(release\), REVISION: ([\d.]+)")


def read_machine(root: Path = Path("/")) -> Machine:
    """What a figure must be quoted with.

    Args:
        root: Where /proc, /sys and /etc are; another folder in tests.
    """
    cpu, flags = parse_cpuinfo(_text(root / "proc/cpuinfo") or "")
    clocks = root / "sys/devices/system/cpu"
    l4t = _l4t(_text(root / "etc/nv_tegra_release"))
    return Machine(
        cpu=cpu or platform.processor() or None,
        cpu_flags=flags,
        cores=os.cpu_count(),
        usable_cores=usable_cores(),
        memory_mb=_memory_mb(_text(root / "proc/meminfo")),
        governor=_text(clocks / "cpu0/cpufreq/scaling_governor"),
        max_mhz=_scaled(_text(clocks / "cpu0/cpufreq/scaling_max_freq"), 1e3),
        os=_os_name(root),
        arch=platform.machine(),
        board=_text(root / "proc/device-tree/model"),
        l4t=l4t,
        power_mode=power_mode() if shutil.which("nvpmodel") else None,
        jetson_clocks=None if l4t is None else _clocks_fixed(clocks),
        versions=versions(),
    )


def usable_cores() -> int:
    """CPU cores this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def read_conditions(root: Path = Path("/")) -> Conditions:
    """Clocks, temperatures and the work of others now; ``root`` as for :func:`read_machine`.

    Sleeps for half a second: what the machine does meanwhile is not the benchmark's. (The kernel's load
    average would still count the benchmark's own preparations of the minute before.)
    """
    current = [
        _scaled(_text(path), 1e3)
        for path in sorted(
            (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")
        )
    ]
    known = [mhz for mhz in current if mhz is not None]
    if not known:  # a virtual machine has no cpufreq, but its cpuinfo has the clock
        lines = re.findall(r"^cpu MHz\s*:\s*([\d.]+)", _text(root / "proc/cpuinfo") or "", re.M)
        known = [float(mhz) for mhz in lines]
    # devfreq, by the address of the GPU: gpu.0, 17000000.gv11b (Xavier), 17000000.ga10b (Orin)
    gpus = sorted((root / "sys/class/devfreq").glob("*g[avp]1*b")) + sorted(
        (root / "sys/class/devfreq").glob("*.gpu")
    )
    return Conditions(
        cpu_mhz=sum(known) / len(known) if known else None,
        gpu_mhz=_scaled(_text(gpus[0] / "cur_freq"), 1e6) if gpus else None,
        temperatures_c=_temperatures(root / "sys/class/thermal"),
        busy_cores=_busy_cores(root / "proc/stat"),
    )


def timing_warnings(machine: Machine, before: Conditions) -> List[str]:
    """What speaks against quoting times measured on a machine that was so before; sentences."""
    found = []
    cores = machine.usable_cores or 1
    if before.busy_cores is not None and before.busy_cores > _BUSY * cores:
        found.append(
            "The machine was busy when latency was measured: other work took %.1f of %d cores. All "
            "variants met that alike, but the times are not those of an idle machine."
            % (before.busy_cores, cores)
        )
    if machine.governor not in (None, "performance", "userspace"):
        found.append(
            "The CPU governor is %s, which lowers clocks between calls; for figures to quote set it "
            "to performance." % machine.governor
        )
    if machine.jetson_clocks is False:
        found.append(
            "jetson_clocks is off, so clocks follow the load; for figures to quote run "
            "`sudo jetson_clocks`."
        )
    return found


def _busy_cores(stat: Path) -> Optional[float]:
    """From two looks at /proc/stat: all time but the idle, as a share of one core's."""
    before = _busy_ticks(stat)
    time.sleep(_LOOK_S)
    after = _busy_ticks(stat)
    if before is None or after is None:
        return None
    return max(after - before, 0) / os.sysconf("SC_CLK_TCK") / _LOOK_S


def _busy_ticks(stat: Path) -> Optional[int]:
    """user, nice, system, irq and softirq of the line "cpu"; not idle, iowait or a host's stealing."""
    line = re.match(r"cpu +(\d+) (\d+) (\d+) \d+ \d+ (\d+) (\d+)", _text(stat) or "")
    return sum(map(int, line.groups())) if line else None


def versions() -> Dict[str, str]:
    """Name to version of Python and of what decides speed and results, as far as installed."""
    found = {"python": platform.python_version(), "reid-edge": "not installed, a checkout"}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    for module in _SYSTEM:
        version = _module_version(module)
        if version:
            found["opencv" if module == "cv2" else module] = version
    return found


def _module_version(module: str) -> Optional[str]:
    if find_spec(module) is None:
        return None
    try:
        return str(getattr(importlib.import_module(module), "__version__", "unknown"))
    except Exception:  # a broken installation is the backend's to report, when it is needed
        return None


def _temperatures(folder: Path) -> Dict[str, float]:
    found = {}
    for zone in sorted(folder.glob("thermal_zone*")):
        degrees = _scaled(_text(zone / "temp"), 1e3)
        # A Jetson's PMIC zone says 100 always, and one that is off -256.
        if degrees is not None and -50 < degrees < 150:
            found[_text(zone / "type") or zone.name] = degrees
    return found


def _clocks_fixed(clocks: Path) -> Optional[bool]:
    """Whether the lowest allowed clock of each core is its highest, as jetson_clocks sets them."""
    ends = [
        (_text(folder / "scaling_min_freq"), _text(folder / "scaling_max_freq"))
        for folder in clocks.glob("cpu[0-9]*/cpufreq")
    ]
    return all(low == high for low, high in ends) if ends else None


def _os_name(root: Path) -> str:
    name = re.search(r'^PRETTY_NAME="?([^"\n]+)', _text(root / "etc/os-release") or "", re.M)
    kernel = "%s %s" % (platform.system(), platform.release())
    return "%s, %s" % (name[1], kernel) if name else kernel


def _l4t(release: Optional[str]) -> Optional[str]:
    """Such as "35.4.1", of "# R35 (release), REVISION: 4.1, GCID: ..."."""
    found = _L4T.search(release or "")
    return "%s.%s" % found.groups() if found else None


def _memory_mb(meminfo: Optional[str]) -> Optional[float]:
    found = re.search(r"^MemTotal:\s*(\d+) kB", meminfo or "", re.M)
    return int(found[1]) / 1024 if found else None


def _scaled(text: Optional[str], unit: float) -> Optional[float]:
    try:
        return float(text or "") / unit
    except ValueError:
        return None


def _text(path: Path) -> Optional[str]:
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except OSError:  # also those that only root may read, or that have no value now
        return None
    return text.replace("\0", "").strip() or None
