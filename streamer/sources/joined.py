"""Recordings put one behind another (``cat a.ts b.ts``) on one timeline, which goes on where each ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

from streamer.frame import rescale

BACK_S = Fraction(1, 10)
"""Times step back by as much within one recording: clocks jitter, and sound is split into frames by
its own."""

FARTHEST_S = 3600
"""No gap in a recording is longer. libav takes a clock that begins anew for one that has wrapped, after
26.5 hours."""

AWAY_S = 1
"""What steps further ahead is of another part."""

HELD_S = 3
"""Of media, within which all streams are to be in the new part: sound is written up to a second apart from
its picture."""


class Joined:
    """What libav reads of one container, each packet moved to its place; dts of a stream strictly increase.

    Where the time of a stream runs backwards a new part begins. It is held until all streams are in it, as
    the last packets of one come after the first of another, and goes behind the longest of them: nothing
    overlaps, and sound stays with its picture. Damaged times that come right again begin none.
    """

    def __init__(self) -> None:
        self._shift_s = Fraction(0)
        self._read_s: dict[int, Fraction] = {}
        """Of each stream the last time, as the file has it."""
        self._end_s: dict[int, Fraction] = {}
        """Of each stream the end of what was given."""
        self._dts: dict[int, int] = {}
        self._first_s: dict[int, Fraction] = {}
        """Of each stream that is in the part that is held, where that begins in the file."""
        self._before_s: dict[int, Fraction] = {}
        """Of these the time before."""
        self._held: list[Any] = []

    def given(self, packets: Iterable[Any]) -> Iterator[Any]:
        """``packets`` of libav, their times changed in place; raises what reading them raises."""
        for native in packets:
            if native.dts is None:
                yield native
            else:
                yield from self._placed(native)
        yield from self._put_behind()

    def _placed(self, native: Any) -> Iterator[Any]:
        stream, time_s = native.stream_index, native.dts * native.time_base
        if self._was_damage(stream, time_s):
            yield from self._let_go()
        elif self._begins(stream, time_s):
            if stream in self._first_s:
                yield from self._put_behind()
            self._first_s[stream], self._before_s[stream] = time_s, self._read_s[stream]
        self._read_s[stream] = time_s
        if stream not in self._first_s:
            yield self._moved(native)
            return
        self._held.append(native)
        if time_s - self._first_s[stream] > HELD_S or self._is_all_there():
            yield from self._put_behind()

    def _begins(self, stream: int, time_s: Fraction) -> bool:
        step_s = time_s - self._read_s.get(stream, time_s)
        is_with_others = bool(self._held) and stream not in self._first_s and step_s > AWAY_S
        return step_s < -BACK_S or step_s > FARTHEST_S or is_with_others

    def _was_damage(self, stream: int, time_s: Fraction) -> bool:
        """Whether a stream goes on where it was before it seemed to begin anew."""
        if stream not in self._first_s:
            return False
        is_away = abs(time_s - self._read_s[stream]) > AWAY_S
        return is_away and 0 < time_s - self._before_s[stream] < HELD_S

    def _is_all_there(self) -> bool:
        """Whether every stream goes on in the new part."""
        first_s = self._first_s
        return all(k in first_s and first_s[k] < time_s for k, time_s in self._read_s.items())

    def _put_behind(self) -> Iterator[Any]:
        if self._held:
            self._shift_s = max(self._end_s[k] - first_s for k, first_s in self._first_s.items())
        yield from self._let_go()

    def _let_go(self) -> Iterator[Any]:
        held, self._held = self._held, []
        self._first_s.clear()
        for native in held:
            yield self._moved(native)

    def _moved(self, native: Any) -> Any:
        stream, base = native.stream_index, native.time_base
        ticks = rescale(1, self._shift_s, base) if self._shift_s else 0
        dts = native.dts + ticks
        if stream in self._dts:
            dts = max(dts, self._dts[stream] + 1)
        native.dts = dts
        if native.pts is not None:
            native.pts = max(native.pts + ticks, dts)
        self._dts[stream] = dts
        self._end_s[stream] = (dts + (native.duration or 0)) * base
        return native
