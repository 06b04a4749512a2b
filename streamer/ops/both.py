"""Two halves of one job at once: OpenCV lets go of the interpreter while it works."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

One = TypeVar("One")
Other = TypeVar("Other")


@cache
def _helper() -> ThreadPoolExecutor | None:
    """One thread for the whole process: more would take the cores that codecs need."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ThreadPoolExecutor(1, thread_name_prefix="ops") if (cores or 1) > 1 else None


def both(one: Callable[[], One], other: Callable[[], Other]) -> tuple[One, Other]:
    """What each of them gives. They must not share storage; raises what either of them raises."""
    helper = _helper()
    if helper is None:
        return one(), other()
    begun = helper.submit(other)
    try:
        mine = one()
    finally:
        # Whoever goes on must not meet the other half still at work.
        theirs = begun.exception()
    if theirs is not None:
        raise theirs
    return mine, begun.result()
