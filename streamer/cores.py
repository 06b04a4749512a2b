"""The processor, and how many of its cores this process may use."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping
from pathlib import Path


def usable_cores(root: Path = Path("/")) -> int:
    """Those it may run on, and no more than a container allots it in time (``docker run --cpus 2``): with
    more threads than that everything stands still for what is left of each tenth of a second.

    ``root`` is where the system's files begin.
    """
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    return max(1, int(min(cores, _allotted(root))))


def processor_name(root: Path = Path("/")) -> str:
    """As the system tells it; a virtual machine may hide it."""
    told = processor_facts(root).get("model name", "")
    return told or platform.processor() or platform.machine()


def processor_facts(root: Path = Path("/")) -> Mapping[str, str]:
    """What Linux tells of the last of its cores, by name; empty elsewhere."""
    try:
        lines = (root / "proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return {}
    return {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in lines}


def _allotted(root: Path) -> float:
    """Seconds a second by the control groups (Linux, version 1 or 2) that the process is in."""
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return math.inf
    least = math.inf
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        groups = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        # A group has what its parents leave it; in a container the outer ones are not seen.
        inner = groups / path.lstrip("/")
        for folder in (inner, *inner.parents):
            if folder.is_relative_to(groups):
                least = min(least, _share(folder))
    return least


def _share(folder: Path) -> float:
    """Of a group itself; infinite where it has no limit."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text("ascii").split()
        else:
            quota, period = (
                (folder / f"cpu.cfs_{name}_us").read_text("ascii") for name in ("quota", "period")
            )
        return int(quota) / int(period) if int(quota) > 0 else math.inf
    except (OSError, ValueError):
        # "max", or no such file.
        return math.inf
