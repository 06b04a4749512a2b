"""What is loaded when streams begin is not looked through again and again; threads share what is freed."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

CODE = """
import gc
import streamer.serving, streamer.build
from streamer.heap import keep_what_is_loaded
before = len(gc.get_objects())
keep_what_is_loaded()
print(before, len(gc.get_objects()))
"""


def test_a_collection_has_hardly_anything_to_look_through() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before > 50_000
    assert after < before / 20


ARENAS_OF_THREADS = """
import ctypes, sys, threading
from streamer.heap import share_arenas
if sys.argv[1] == "shared":
    share_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
meet = threading.Barrier(12)
def use():
    meet.wait()
    libc.malloc(50_000)
    meet.wait()
threads = [threading.Thread(target=use) for _ in range(12)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.fdopen.restype = ctypes.c_void_p
told = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, told)
libc.fflush(told)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="needs: glibc")
def test_all_threads_share_two_arenas_unless_the_user_says_otherwise() -> None:
    def arenas(how: str, **environment: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", ARENAS_OF_THREADS, how],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, **environment},
        )
        return done.stdout.count("<heap nr=")

    assert arenas("by default") > 2
    assert arenas("shared") == 2
    assert arenas("shared", MALLOC_ARENA_MAX="1") == 1
