from __future__ import annotations

import os
import subprocess
import sys

import pytest

ON_ONE_CORE = """
import os
from streamer.infer.ort import usable_cores
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
print(usable_cores())
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system pins no processes")
def test_cores_that_this_process_may_not_use_do_not_count() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ON_ONE_CORE], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "1"
