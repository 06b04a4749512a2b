"""What is loaded when streams begin is not looked through again and again."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import gc
import streamer.serving, streamer.build
from streamer.garbage import keep_what_is_loaded
before = len(gc.get_objects())
keep_what_is_loaded()
print(before, len(gc.get_objects()))
"""


def test_a_collection_has_hardly_anything_to_look_through() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before > 50_000
    assert after < before / 20
