from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.kernels.host_build import HostKernels

ROOT = Path(__file__).parent.parent.parent


def test_no_kernel_touches_memory_outside_its_arrays(host_kernels: HostKernels) -> None:
    """In a process of its own, which a signal ends at the first such access."""
    command = [sys.executable, "-m", "tests.kernels.fences", str(host_kernels.folder)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    last = done.stderr.strip().splitlines()[-1:]
    assert done.returncode == 0, f"{done.returncode} at {last}"
    assert int(done.stdout) > 500
