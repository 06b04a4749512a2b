"""When frames leave: each at its time, made ones given up where a real one is there, and what is missing.

Pure logic: told of frames, asked what to show now and when to ask again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from streamer.clock import Clock
from streamer.frame import Frame, Origin
from streamer.metrics import Metrics
from streamer.playout import Playout, nanoseconds

MOST_LOST = 4
"""Intervals that are filled by prediction; further ahead it is a guess that looks worse than a
picture that stands still."""

MOST_WAITING = 16
"""Frames: what leaves x8 at even distances within two intervals. Behind it the links fill up."""

SLACK, NEXT_SLACK = Fraction(1, 2), Fraction(1, 4)
"""Of an interval: how late a frame may be before it is missing. Where the one before it was missing
as well there is little to wait for."""


class Rhythm(Protocol):
    """What is known of the times of real frames."""

    @property
    def interval_s(self) -> Fraction | None:
        """Between neighbouring ones; ``None`` while it is not known."""

    @property
    def step_s(self) -> Fraction | None:
        """Between frames that leave, made ones among them."""

    @property
    def is_regular(self) -> bool:
        """Whether a next one can be expected at its time."""

    @property
    def makes_frames(self) -> bool:
        """Whether frames are being made between real ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """How frames are to leave."""

    is_even: bool
    """At even distances while frames are made, which costs waiting; else real frames leave at once."""
    conceals: bool
    """Whether missing frames are to be made."""
    budget_ms: Callable[[], float]
    """What may pass between the arrival of what a frame needs and its leaving, as it is now."""


class Pacer:
    """Belongs to one thread."""

    def __init__(
        self, pacing: Pacing, *, rhythm: Callable[[], Rhythm], clock: Clock, metrics: Metrics
    ) -> None:
        self.pacing = pacing
        self.playout = Playout(budget_ms=pacing.budget_ms)
        self.last_time_s: Fraction | None = None
        """Media time of what was shown last."""
        self._rhythm_now = rhythm
        self._clock = clock
        self._metrics = metrics
        self._waiting: deque[Frame] = deque()
        self._last_real: tuple[Fraction, int] | None = None
        """Media time of the latest real frame shown, and when that was."""
        self._last_shown_ns = 0
        self._gave_up = False

    def offer(self, frame: Frame) -> None:
        """A frame is ready; one whose time has passed is not shown any more, and counted."""
        now_ns = self._clock.now_ns()
        if self.last_time_s is not None and frame.time_s <= self.last_time_s:
            self._metrics.count("dropped.pace.late")
            return
        if frame.origin is not Origin.PREDICTED:
            # Those are made because they are due: they say nothing of when frames are ready.
            released_ns = frame.stamps_ns.get("released", frame.arrived_ns)
            self.playout.ready(frame.time_s, now_ns, arrived_ns=released_ns)
        self._waiting.append(frame)

    @property
    def is_full(self) -> bool:
        """Whether no more frames should be offered until some were shown."""
        return len(self._waiting) >= MOST_WAITING

    def take(self) -> Frame | None:
        """What is to be shown now, once; ``None`` while nothing is due."""
        now_ns = self._clock.now_ns()
        while self._waiting:
            is_late = any(self._due_ns(frame) <= now_ns for frame in list(self._waiting)[1:])
            if not is_late and self._due_ns(self._waiting[0]) > now_ns:
                return None
            frame = self._waiting.popleft()
            if is_late and frame.origin is not Origin.DECODED:
                self._metrics.count("dropped.pace.late")
                continue
            self._show(frame, now_ns)
            return frame
        return None

    def flush(self) -> Frame | None:
        """The next one, due or not; the stream has ended."""
        return self._waiting.popleft() if self._waiting else None

    def next_ns(self) -> int | None:
        """When ``take`` or ``missing`` will have something; ``None`` while only a frame can tell."""
        if self._waiting:
            return min(self._due_ns(frame) for frame in self._waiting)
        missing = self._missing()
        return None if missing is None else missing[1]

    def missing(self) -> Fraction | None:
        """The media time of a frame that should be there by now and is not."""
        missing = None if self._waiting else self._missing()
        if missing is None or self._clock.now_ns() < missing[1]:
            return None
        return missing[0]

    def give_up(self) -> None:
        """What was missing could not be made: wait for the source."""
        self._gave_up = True

    def _show(self, frame: Frame, now_ns: int) -> None:
        if self.last_time_s is not None:
            shown_ns = now_ns - self._last_shown_ns
            error_ns = shown_ns - nanoseconds(frame.time_s - self.last_time_s)
            self._metrics.time("cadence_error", abs(error_ns) / 1e6)
        self.last_time_s, self._last_shown_ns = frame.time_s, now_ns
        if frame.origin is Origin.DECODED:
            self._last_real = (frame.time_s, now_ns)
            self._gave_up = False

    @property
    def _rhythm(self) -> Rhythm:
        return self._rhythm_now()

    @property
    def _is_even(self) -> bool:
        return self.pacing.is_even and self._rhythm.makes_frames

    def _due_ns(self, frame: Frame) -> int:
        if self._is_even:
            due_ns = self.playout.due_ns(frame.time_s)
            assert due_ns is not None
            return due_ns
        if frame.origin is Origin.DECODED or self._last_real is None:
            return 0
        real_s, shown_ns = self._last_real
        return shown_ns + nanoseconds(frame.time_s - real_s)

    def _expected_s(self, interval_s: Fraction, step_s: Fraction) -> Fraction | None:
        """The media time of the next frame that is due from the source."""
        if self.last_time_s is None or self._last_real is None:
            return None
        if self._is_even:
            return self.last_time_s + step_s
        # Frames that were predicted between real ones do not move the time of the next real one.
        real_s, _ = self._last_real
        return real_s + ((self.last_time_s - real_s) // interval_s + 1) * interval_s

    def _missing(self) -> tuple[Fraction, int] | None:
        """What is expected next, and when it counts as missing."""
        interval_s, step_s = self._rhythm.interval_s, self._rhythm.step_s
        if not self.pacing.conceals or self._gave_up or not self._rhythm.is_regular:
            return None
        if interval_s is None or step_s is None or self._last_real is None:
            return None
        expected_s = self._expected_s(interval_s, step_s)
        if expected_s is None or expected_s - self._last_real[0] > MOST_LOST * interval_s:
            return None
        due_ns = self.playout.due_ns(expected_s)
        assert due_ns is not None
        is_first = expected_s - self._last_real[0] <= interval_s
        slack = SLACK if is_first else NEXT_SLACK
        waits_s = slack * (step_s if self._is_even else interval_s)
        return expected_s, due_ns + nanoseconds(waits_s)
