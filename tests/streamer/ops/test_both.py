from __future__ import annotations

import threading
from functools import partial

import pytest

from streamer.cores import usable_cores
from streamer.ops.both import both, yielding


def test_each_half_gives_its_own() -> None:
    assert both(lambda: 1, lambda: "two") == (1, "two")


def test_halves_of_a_half_do_not_wait_for_themselves() -> None:
    halves = partial(both, lambda: 1, lambda: 2)
    done: list[object] = []
    thread = threading.Thread(target=lambda: done.append(both(halves, halves)), daemon=True)
    thread.start()
    thread.join(60)
    assert done == [((1, 2), (1, 2))]


def test_whoever_finds_the_other_thread_busy_does_both() -> None:
    is_begun, may_end = threading.Event(), threading.Event()

    def long() -> bool:
        is_begun.set()
        return may_end.wait(60)

    busy = threading.Thread(target=both, args=(partial(may_end.wait, 60), long), daemon=True)
    busy.start()
    try:
        assert is_begun.wait(60)
        mine = threading.get_ident()
        assert both(threading.get_ident, threading.get_ident) == (mine, mine)
    finally:
        may_end.set()
        busy.join(60)


@pytest.mark.parametrize("is_first", [False, True])
def test_what_a_half_raises_is_raised_when_the_other_is_done(*, is_first: bool) -> None:
    ended = threading.Event()

    def fail() -> None:
        raise ValueError("half")

    halves = (fail, ended.set) if is_first else (ended.set, fail)
    with pytest.raises(ValueError, match="half"):
        both(*halves)
    # On one core, or where the other thread was busy, what follows a failure is not begun.
    assert ended.is_set() or is_first


def test_of_two_cores_one_is_left_to_others() -> None:
    if usable_cores() != 2:
        pytest.skip("this machine does not have two cores; where there are more, none is left")
    mine = threading.get_ident()
    with yielding():
        assert both(threading.get_ident, threading.get_ident) == (mine, mine)
    met = threading.Barrier(2)
    # Only two threads at once come past it.
    both(partial(met.wait, 60), partial(met.wait, 60))
