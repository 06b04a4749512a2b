"""Which tests need a device, and that the check on a device runs them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchmarks import gpu_check

ROOT = Path(__file__).parent.parent
TRAINING = ROOT / "tests" / "export"
"""Of which the check runs nothing."""


def left_out(marked: Iterable[Path]) -> list[Path]:
    """Those files that the check should run and does not."""
    run = [ROOT / path for path in gpu_check.device_tests()] + [TRAINING]
    return sorted({path for path in marked if not any(map(path.is_relative_to, run))})
