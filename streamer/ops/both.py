"""Two halves of one job at once: OpenCV and what is compiled let go of the interpreter's lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import local
from typing import TypeVar

from streamer.cores import usable_cores

One = TypeVar("One")
Other = TypeVar("Other")


_inside = local()


def _begin() -> None:
    _inside.is_helper = True


_cores = cache(usable_cores)


@cache
def _helper() -> ThreadPoolExecutor | None:
    """One thread for the whole process: more would take the cores that codecs need."""
    if _cores() == 1:
        return None
    return ThreadPoolExecutor(1, thread_name_prefix="ops", initializer=_begin)


@contextmanager
def yielding() -> Iterator[None]:
    """Of two cores, leaves one to others: what ``both`` does within, this thread does alone."""
    was_helper = getattr(_inside, "is_helper", False)
    _inside.is_helper = was_helper or _cores() == 2
    try:
        yield
    finally:
        _inside.is_helper = was_helper


def both(one: Callable[[], One], other: Callable[[], Other]) -> tuple[One, Other]:
    """What each of them gives. They must not share storage; raises what either of them raises.

    Where the other thread is busy, as with another stream or with the half that calls this, both are
    done here, one after the other.
    """
    helper = None if getattr(_inside, "is_helper", False) else _helper()
    if helper is None:
        return one(), other()
    begun = helper.submit(other)
    try:
        mine = one()
    finally:
        was_begun = not begun.cancel()
        # Whoever goes on must not meet the other half still at work.
        theirs = begun.exception() if was_begun else None
    if theirs is not None:
        raise theirs
    return mine, begun.result() if was_begun else other()
