"""When frames leave: each at its time, made ones given up where a real one is there, and what is missing.

Pure logic: told of frames, asked what to show now and when to ask again. To show a frame is to hand it to
the encoder; see Note [Behind the encoder] in ``sinks/leaving.py``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from streamer.clock import Clock
from streamer.costs import Costs
from streamer.frame import Frame, Origin
from streamer.metrics import Metrics
from streamer.playout import DUE, Offsets, Playout, nanoseconds

MOST_LOST = 4
"""Intervals that are filled by prediction; further ahead it is a guess that looks worse than a
picture that stands still."""

MOST_WAITING = 16
"""Frames: what leaves x8 at even distances within two intervals. Behind it the links fill up."""

LONGEST_STAND = 2
"""Intervals for which one picture is to stand at most: what stands in for a missing one has to be made
by then."""

RESERVE = Fraction(3, 8)
"""Of an interval: kept in hand for what stands in, so that it is seen by then, not only begun in time.
What it takes differs, and the encoder takes longer over it: without, 23 of 169 came too late on a
quiet machine, by up to a third of an interval."""

SLACK, LEAST_SLACK = Fraction(1, 2), Fraction(1, 8)
"""Of an interval: how long a frame that is usually there is waited for at most, and at least."""

OFTEN = 0.95
"""Of the frames: what comes as late as a twentieth of them do is not missing yet."""

NEXT_SLACK = Fraction(1, 4)
"""Of an interval: how long is waited where the one before it was missing as well."""

UNEVEN = Fraction(1, 4)
"""Of an interval: how far the time of a frame may lie behind where it was expected, which what stands
in for it has. Cameras that stamp frames as they send them are off by several milliseconds."""

LONGEST_WAIT = Fraction(1, 2)
"""Of an interval: how long frames wait for slower ones at most while none are made. It is what they
wait for those at twice the rate; on a machine too slow for them latency would grow for nothing else."""

PAUSE_S, PAUSE = Fraction(1, 5), 3
"""In seconds and in intervals, whichever is longer: the source pauses when nothing has come, and nothing
stood in, for so long. A picture that stands is looked at: it is not to be a guess, or an older one."""

READY = "ready"
"""The stamp that says when a frame was ready to be shown."""

LONGEST_LEAD_NS = 20_000_000
"""What takes longer to be coded is not waited for: so long it takes on an overloaded machine only."""


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
    def spread_s(self) -> Fraction:
        """How much longer than that the longer of the usual ones are, as with film at 60 Hz."""

    @property
    def makes_frames(self) -> bool:
        """Whether frames are being made between real ones."""

    @property
    def stand_in_s(self) -> Fraction:
        """How long it takes to make a frame for a missing one; 0 while it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """How frames are to leave."""

    is_even: bool
    """At even distances, which costs waiting; else real frames leave at once."""
    conceals: bool
    """Whether missing frames are to be made."""
    budget_ms: Callable[[], float]
    """What may pass between the arrival of what a frame needs and its going to the encoder, as it is
    now."""
    lead_ms: Callable[[], float]
    """What nearly all frames take from there until they can leave, as it is now."""


def lead_ms(costs: Costs) -> float:
    """What nearly all frames take to be coded, of what they took lately. Where that is more than
    twice the usual, the machine stood still, and nobody waits for that."""
    return min(costs.p95_ms(), 2 * costs.latest_ms())


class Pacer:
    """Belongs to one thread."""

    def __init__(
        self, pacing: Pacing, *, rhythm: Callable[[], Rhythm], clock: Clock, metrics: Metrics
    ) -> None:
        self.pacing = pacing
        self.playout = Playout(budget_ms=pacing.budget_ms)
        self.last_time_s: Fraction | None = None
        """Media time of what was shown last; of what stood in for a real frame the latest that this
        frame may have."""
        self._shown_ns = 0
        """When that was."""
        self._rhythm_now = rhythm
        self._clock = clock
        self._metrics = metrics
        self._came = Offsets()
        """When real frames were decoded, those among them that nothing was lost of."""
        self._waiting: deque[Frame] = deque()
        self._last_real: tuple[Fraction, int] | None = None
        """Media time of the latest frame shown that a real one came with, and when that was."""
        self._skipped_s: Fraction | None = None
        self._lead_ns = 0
        self._decoded_ns: int | None = None
        """When the newest real frame was decoded; ``None`` once that is what stands."""

    def came(self) -> None:
        """A real frame was decoded; whether it is shown is another thing."""
        self._decoded_ns = self._clock.now_ns()

    def excuse(self, stall_ns: int) -> None:
        """The source could not be heard for so long; that is no pause of it."""
        if self._decoded_ns is not None:
            self._decoded_ns += stall_ns

    def offer(self, frame: Frame) -> None:
        """A frame is ready; one whose time has passed is not shown any more, and counted."""
        now_ns = self._clock.now_ns()
        self._see_come(frame, now_ns)
        if self.last_time_s is not None and frame.time_s <= self.last_time_s:
            self._metrics.count("dropped.pace.late")
            self._see_late(frame)
            return
        self._lead_ns = min(LONGEST_LEAD_NS, round(self.pacing.lead_ms() * 1e6))
        if not self.pacing.is_even:
            self._learn(frame, now_ns)
        elif self.playout.due_ns(frame.time_s) is None:
            self._learn(frame, now_ns, lead_ns=self._lead_ns)
        self._waiting.append(frame.stamped(READY, now_ns))

    @property
    def interval_s(self) -> Fraction | None:
        """Between neighbouring real frames; ``None`` while it is not known."""
        return self._rhythm.interval_s

    @property
    def is_full(self) -> bool:
        """Whether no more frames should be offered until some were shown."""
        return len(self._waiting) >= MOST_WAITING

    def take(self) -> Frame | None:
        """What is to be shown now, once; ``None`` while nothing waits. What has a time waits for it coded:
        while the next picture is not there yet, the encoder takes the cores from nobody."""
        now_ns = self._clock.now_ns()
        while self._waiting:
            is_late = any(self._due_ns(frame) <= now_ns for frame in list(self._waiting)[1:])
            frame = self._waiting.popleft()
            if is_late and frame.origin is not Origin.DECODED:
                self._metrics.count("dropped.pace.late")
                continue
            return self._shown(frame, now_ns)
        return None

    def flush(self) -> Frame | None:
        """The next one, due or not; the stream has ended."""
        return self._waiting.popleft() if self._waiting else None

    def next_ns(self) -> int | None:
        """When ``take`` or ``missing`` will have something; ``None`` while only a frame can tell."""
        if self._waiting:
            return self._clock.now_ns()
        missing = self._missing()
        return self._pause_ns() if missing is None else missing[1]

    def missing(self) -> Fraction | None:
        """The media time of a frame that should be there by now and is not."""
        missing = None if self._waiting else self._missing()
        if missing is None or self._clock.now_ns() < missing[1]:
            return None
        return missing[0]

    def skip(self, time_s: Fraction) -> None:
        """Nothing stands in for the frame that is missing at this time: the next one is waited for."""
        self._skipped_s = time_s

    def paused(self) -> Fraction | None:
        """The media time of now, where the source has paused: what is shown is to be its newest picture.
        Until ``stand`` says that it is."""
        pause_ns = None if self._waiting or self._missing() is not None else self._pause_ns()
        if pause_ns is None or self._clock.now_ns() < pause_ns:
            return None
        assert self.last_time_s is not None
        return self.last_time_s + Fraction(self._clock.now_ns() - self._shown_ns, 1_000_000_000)

    def stand(self, frame: Frame | None) -> None:
        """The newest picture is shown, again if there is a ``frame``; until another comes it stands."""
        self._decoded_ns = None
        if frame is not None:
            self.last_time_s = frame.time_s

    def _pause_ns(self) -> int | None:
        """When the source counts as paused, if nothing comes until then."""
        if self._decoded_ns is None or self.last_time_s is None:
            return None
        longest_s = max(PAUSE_S, PAUSE * (self._rhythm.interval_s or Fraction(0)))
        return max(self._decoded_ns, self._shown_ns) + nanoseconds(longest_s)

    def _see_come(self, frame: Frame, now_ns: int) -> None:
        """Those that came too late to be shown count as well: a line that became slower for good would
        else have all of its frames replaced."""
        if frame.origin is Origin.DECODED and not (self._came and _waited_for_lost(frame)):
            came_ns = frame.stamps_ns.get("decoded", frame.arrived_ns)
            self._came.add(frame.time_s, came_ns, now_ns=now_ns)

    def _see_late(self, frame: Frame) -> None:
        """A prediction stood in its place; what is predicted from now on is made of the frame itself."""
        if self._came_with_real(frame) and self._last_real is not None:
            real_s, shown_ns = self._last_real
            if frame.time_s > real_s:
                self._last_real = (frame.time_s, shown_ns + nanoseconds(frame.time_s - real_s))

    def coded(self, frame: Frame, coded_ns: int) -> None:
        """A frame that was shown has been coded, at this instant.

        What the slowest frames take until they are coded is less than what the slowest take until they
        are ready, wait for the encoder and are coded together.
        """
        ready_ns = frame.stamps_ns.get(READY)
        if self.pacing.is_even and ready_ns is not None:
            self._learn(frame, ready_ns, lead_ns=min(LONGEST_LEAD_NS, coded_ns - ready_ns))

    def _learn(self, frame: Frame, ready_ns: int, *, lead_ns: int = 0) -> None:
        """When a frame was ready, and how long after that it could leave."""
        # Predicted ones are made because they are due, and what waited for lost packets came later
        # than frames do: neither says when frames are ready.
        is_late = self._last_real is not None and _waited_for_lost(frame)
        if frame.origin is Origin.PREDICTED or is_late:
            return
        rhythm, most_ns = self._rhythm, None
        if self.pacing.is_even and rhythm.interval_s is not None and not rhythm.makes_frames:
            most_ns = nanoseconds(LONGEST_WAIT * rhythm.interval_s)
        released_ns = frame.stamps_ns.get("released", frame.arrived_ns)
        self.playout.ready(
            frame.time_s, ready_ns, arrived_ns=released_ns, lead_ns=lead_ns, most_ns=most_ns
        )

    def _shown(self, frame: Frame, now_ns: int) -> Frame:
        """The frame, which is shown now, with the time at which it is to leave where it has one."""
        self.last_time_s, self._shown_ns = frame.time_s, now_ns
        if self._stands_in(frame):
            self.last_time_s += UNEVEN * (self._rhythm.interval_s or 0)
        if self._came_with_real(frame):
            self._last_real = (frame.time_s, now_ns)
            self._skipped_s = None
        leaves_ns = self._leaves_ns(frame)
        return frame if leaves_ns is None else frame.stamped(DUE, leaves_ns)

    def _came_with_real(self, frame: Frame) -> bool:
        """Whether it is a real one, or made of one that came: at even distances hardly one may fall on
        a slot, as at 60 fps of 25."""
        is_made = self.pacing.is_even and frame.origin is not Origin.PREDICTED
        return frame.origin is Origin.DECODED or is_made

    def _stands_in(self, frame: Frame) -> bool:
        """Whether a frame was made in the place of a real one, not between two."""
        interval_s = self._rhythm.interval_s
        if frame.origin is not Origin.PREDICTED or interval_s is None or self._last_real is None:
            return False
        return not self.pacing.is_even and frame.time_s - self._last_real[0] >= interval_s

    @property
    def _rhythm(self) -> Rhythm:
        return self._rhythm_now()

    def _leaves_ns(self, frame: Frame) -> int | None:
        """At even distances from the others; ``None``: as soon as it is coded."""
        if self.pacing.is_even:
            return self.playout.due_ns(frame.time_s)
        if frame.origin is Origin.DECODED or self._last_real is None:
            return None
        real_s, shown_ns = self._last_real
        return shown_ns + self._lead_ns + nanoseconds(frame.time_s - real_s)

    def _due_ns(self, frame: Frame) -> int:
        """When it is to be shown at the latest."""
        leaves_ns = self._leaves_ns(frame)
        return 0 if leaves_ns is None else leaves_ns - self._lead_ns

    def _missing(self) -> tuple[Fraction, int] | None:
        """What is expected next, and when it counts as missing.

        What should have come before that one and did not is left out: where making takes longer
        than the distance of frames, the output would fall behind.
        """
        interval_s, step_s = self._rhythm.interval_s, self._rhythm.step_s
        if not self.pacing.conceals or not self._rhythm.is_regular or self._last_real is None:
            return None
        if interval_s is None or step_s is None or self.last_time_s is None:
            return None
        real_s, _ = self._last_real
        after_s = self.last_time_s
        if self._skipped_s is not None:
            after_s = max(after_s, self._skipped_s)
        if not self.pacing.is_even:
            # Frames that were predicted between real ones do not move the time of the next real one.
            step_s = interval_s
            after_s = real_s + (after_s - real_s) // interval_s * interval_s
        until_s = real_s + MOST_LOST * interval_s
        expected_s = after_s + step_s
        while expected_s + step_s <= until_s:
            if self._missing_ns(expected_s + step_s, step_s) > self._clock.now_ns():
                break
            expected_s += step_s
        if expected_s > until_s:
            return None
        return expected_s, self._missing_ns(expected_s, step_s)

    def _missing_ns(self, expected_s: Fraction, step_s: Fraction) -> int:
        """When a frame of that time counts as missing."""
        assert self._rhythm.interval_s is not None
        assert self._last_real is not None
        is_first = expected_s - self._last_real[0] <= self._rhythm.interval_s
        if self.pacing.is_even:
            due_ns = self.playout.due_ns(expected_s)
            assert due_ns is not None
            # By then nearly all are ready.
            slack_ns = nanoseconds((SLACK if is_first else NEXT_SLACK) * step_s)
            return due_ns - self._lead_ns + slack_ns
        # What was not even decoded by its time will not be ready by any: to wait until frames are ready
        # usually is to begin what stands in when the next one comes.
        usual_ns, often_ns = (
            self._came.at(share) + nanoseconds(expected_s) for share in (0.5, OFTEN)
        )
        latest_ns = usual_ns + nanoseconds(NEXT_SLACK * step_s)
        if is_first:
            latest_ns = self._latest_ns(usual_ns, step_s)
        least_ns = often_ns + nanoseconds(LEAST_SLACK * step_s)
        return max(latest_ns, least_ns) + nanoseconds(self._rhythm.spread_s)

    def _latest_ns(self, usual_ns: int, step_s: Fraction) -> int:
        """When what stands in for the first frame that is missing, which should have come at
        ``usual_ns``, has to be begun: so that the last one does not stand for too long, and the next
        one does not have to wait for it."""
        assert self._last_real is not None
        stand_in_s = self._rhythm.stand_in_s
        seen_by_s = (LONGEST_STAND - RESERVE) * step_s - stand_in_s
        made_by_s = min(step_s - stand_in_s, SLACK * step_s)
        return min(self._last_real[1] + nanoseconds(seen_by_s), usual_ns + nanoseconds(made_by_s))


def _waited_for_lost(frame: Frame) -> bool:
    """Whether a frame came only when packets of it had been given up."""
    return frame.damage is not None and not frame.damage.pictures_since
