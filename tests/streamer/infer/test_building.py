from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from threading import Event

import pytest

from streamer.errors import EngineError
from streamer.infer.building import Building
from streamer.infer.sizes import Sizes

SMALL: Sizes = (("h", 8), ("w", 8))
LARGE: Sizes = (("h", 16), ("w", 24))


def building_of(
    build: Callable[[Mapping[str, int], Event], str],
) -> tuple[Building[str], list[str]]:
    discarded: list[str] = []
    return Building(build, discard=discarded.append, left_to="x is left to y"), discarded


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_build_that_breaks_is_not_repeated_and_the_next_size_has_its_turn() -> None:
    asked: list[int] = []

    def build(sizes: Mapping[str, int], abandoned: Event) -> str:
        asked.append(sizes["h"])
        if sizes["h"] == 8:
            raise ZeroDivisionError
        return "made"

    building, _ = building_of(build)
    for sizes in (SMALL, SMALL, LARGE):
        building.ask(sizes)
        building.wait()
    assert asked == [8, 16]
    assert building.taken() == (LARGE, "made")


def test_what_was_built_and_taken_is_not_given_up_when_its_stream_ends() -> None:
    """Streams share engines, and go on building with them when the first of them is gone."""
    given_up: list[Event] = []

    def build(sizes: Mapping[str, int], abandoned: Event) -> str:
        given_up.append(abandoned)
        return "made"

    building, discarded = building_of(build)
    building.ask(SMALL)
    building.wait()
    assert building.taken() == (SMALL, "made")
    building.close()
    assert not given_up[0].is_set()
    assert discarded == []


def test_nothing_is_built_for_a_stream_that_is_over(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[int] = []

    def build(sizes: Mapping[str, int], abandoned: Event) -> str:
        asked.append(sizes["h"])
        raise EngineError("no memory; buy some")

    building, _ = building_of(build)
    for _ in range(2):
        building.close()
    building.ask(SMALL)
    building.wait()
    assert asked == []
    building.refuse(LARGE, "it is late")
    assert caplog.records == []


def test_a_build_whose_stream_ends_meanwhile_is_told_and_discards_what_it_made() -> None:
    def build(sizes: Mapping[str, int], abandoned: Event) -> str:
        assert abandoned.wait(20)
        return "made"

    building, discarded = building_of(build)
    building.ask(SMALL)
    building.close()
    assert discarded == ["made"]
    assert building.taken() is None


def test_the_end_of_the_program_waits_until_a_build_has_noticed() -> None:
    program = """
from threading import Event
from streamer.infer.building import Building
began, discarded = Event(), []
def build(sizes, abandoned):
    began.set()
    assert abandoned.wait(20)
    print("noticed")
    return "made"
building = Building(build, discard=discarded.append, left_to="x is left to y")
building.ask((("h", 8), ("w", 8)))
assert began.wait(20)
print("over")
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        timeout=60,
        text=True,
        check=True,
    )
    assert (done.stdout.splitlines(), done.stderr) == (["over", "noticed"], "")
