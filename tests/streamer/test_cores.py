"""How many cores a process may use, in containers as well."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from streamer.cores import processor_facts, processor_name, usable_cores


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def system(root: Path, groups: str, files: dict[str, str]) -> Path:
    """A folder that looks like a system whose control groups have these files."""
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("200000 100000", 2), ("150000 100000", 1), ("50000 100000", 1), ("max 100000", 8)],
)
def test_a_container_has_no_more_cores_than_it_is_allotted(
    tmp_path: Path, limit: str, cores: int
) -> None:
    root = system(tmp_path, "0::/\n", {"sys/fs/cgroup/cpu.max": f"{limit}\n"})
    assert usable_cores(root) == cores


def test_what_a_parent_allots_holds_for_its_groups(tmp_path: Path) -> None:
    limits = {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"}
    files = {f"sys/fs/cgroup/{name}": text for name, text in limits.items()}
    assert usable_cores(system(tmp_path, "0::/a/b\n", files)) == 3


@pytest.mark.parametrize(("quota", "cores"), [("400000", 4), ("-1", 8)])
def test_the_older_groups_count_as_well(tmp_path: Path, quota: str, cores: int) -> None:
    files = {
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": f"{quota}\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    }
    groups = "4:memory:/docker/1\n3:cpu,cpuacct:/docker/1\n"
    assert usable_cores(system(tmp_path, groups, files)) == cores


@pytest.mark.parametrize("text", ["", "many\n", "1 0 2\n"])
def test_what_cannot_be_read_limits_nothing(tmp_path: Path, text: str) -> None:
    root = system(tmp_path, "0::/gone/../x\n", {"sys/fs/cgroup/cpu.max": text})
    assert usable_cores(root) == 8
    assert usable_cores(tmp_path / "nothing") == 8


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system pins no processes")
def test_a_limit_of_this_system_is_kept_to() -> None:
    """A process that is pinned to one core, in a program of its own."""
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    code += "from streamer.cores import processor_facts, processor_name, usable_cores; print(usable_cores())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_the_processor_is_named_as_the_system_names_it(tmp_path: Path) -> None:
    lines = "processor\t: 0\nmodel name\t: A: core\nflags\t\t: avx2 fma\n\nprocessor\t: 1\n"
    root = system(tmp_path, "0::/\n", {"proc/cpuinfo": lines})
    assert processor_name(root) == "A: core"
    assert processor_facts(root)["flags"] == "avx2 fma"


def test_where_the_system_names_no_processor_there_is_its_kind(tmp_path: Path) -> None:
    assert processor_name(tmp_path) == (platform.processor() or platform.machine())
