"""What is done to a frame: enhanced as far as its time allows, and frames made around it.

Called on the enhance worker only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from streamer.clock import Clock
from streamer.enhance.conceal import Concealer
from streamer.enhance.frame_maker import SHORTEST_SIDE
from streamer.enhance.making import Making
from streamer.enhance.super_resolution import SuperResolution
from streamer.frame import Frame
from streamer.infer.engine import Engine
from streamer.metrics import Metrics
from streamer.schedule import Rung, TierLadder
from streamer.steps import StepLog


@dataclass(frozen=True, slots=True)
class Rhythm:
    """When frames come and leave; nothing is known of either at first."""

    interval_s: Fraction | None = None
    """Between neighbouring real frames."""
    step_s: Fraction | None = None
    """Between frames that leave, made ones among them."""
    is_regular: bool = False
    """Whether the source's next frame can be expected at its time."""
    makes_frames: bool = False
    """Whether frames are being made between real ones, as far as there is time."""


def _nobody() -> bool:
    return False


class Chain:
    """Chooses what a frame can still afford, and does it."""

    def __init__(
        self,
        super_resolution: SuperResolution,
        ladder: TierLadder,
        clock: Clock,
        metrics: Metrics,
        *,
        making: Making | None = None,
        concealer: Concealer | None = None,
    ) -> None:
        """Without ``making`` no frames are made, without ``concealer`` damaged ones stay as they
        are."""
        self._super_resolution = super_resolution
        self._ladder = ladder
        self._clock = clock
        self._metrics = metrics
        self._making = making
        self._concealer = concealer
        self._is_closed = False
        self._size = (0, 0)
        self._rhythm = Rhythm()
        self.steps = StepLog(clock, metrics)
        """Of the ladder; read from any thread."""
        ladder.on_step = self.steps.add

    @property
    def engines(self) -> tuple[Engine, ...]:
        """The networks that upscale, best first, and the one that makes frames, for reports."""
        made = () if self._making is None else (self._making.engine,)
        return (*self._super_resolution.engines.values(), *made)

    @property
    def prediction_gain_db(self) -> float | None:
        """Of predicted frames over repeated ones, lately; ``None`` where there are none."""
        return None if self._making is None else self._making.gain_db

    @property
    def rhythm(self) -> Rhythm:
        """What is known of the times of frames; may be read from any thread."""
        return self._rhythm

    def limit(self, tier: str) -> None:
        """Take ``tier`` at best from now on. Raises ``ConfigError`` for one there is not."""
        self._ladder.limit(tier)

    def process(
        self,
        frame: Frame,
        *,
        deadline_ns: int | None,
        with_comparison: bool,
        is_backlog: bool = False,
        shown_s: Fraction | None = None,
    ) -> list[Frame]:
        """The frames that are ready now, in pts order; ``deadline_ns`` is for the enhancing.

        ``shown_s`` is the media time of what was shown last: what lies before it is not made.
        """
        frame = self._mended(frame, is_backlog=is_backlog)
        making, size = self._making, (frame.width, frame.height)
        self._size = size
        plan = [] if making is None else making.plan(frame, shown_s)
        rung = self._ladder.choose(
            deadline_ns,
            size=size,
            interval_ms=None if making is None else making.interval_ms,
            made=0 if making is None else making.wanted(plan),
            is_backlog=is_backlog,
        )
        if making is not None:
            makes = self._ladder.rung.makes_frames
            slots = making.slots
            step_s = making.step_s if makes else slots.interval_s
            self._rhythm = Rhythm(slots.interval_s, step_s, slots.is_regular, makes)
        enhanced = self._enhance(frame, rung, with_comparison=with_comparison)
        if making is None:
            return [enhanced]

        def may_make() -> bool:
            return rung.makes_frames and (
                deadline_ns is None or self._ladder.can_make(deadline_ns, size=size)
            )

        making.made_cost = partial(self._ladder.spent_making, size=size)
        return making.around(frame, enhanced, plan, may_make=may_make)

    def ahead(self, *, is_waited_for: Callable[[], bool] = _nobody) -> list[Frame]:
        """Frames predicted after the last real one, until the next is due; called when that one has
        left, so that it costs the real frame no time. ``is_waited_for`` says whether the next real
        frame is there, which must not wait for these."""
        if self._making is None or not self._making.predicts:
            return []
        if not self._ladder.rung.makes_frames:
            self._making.forget()
            return []
        return self._making.ahead(lambda: not is_waited_for())

    def conceal(self, time_s: Fraction) -> Frame | None:
        """A frame for a media time at which none came; ``None`` where the last picture is as good."""
        making, interval_s = self._making, self._rhythm.interval_s
        if making is None or interval_s is None or self._is_closed:
            return None
        until_ns = self._clock.now_ns() + round(interval_s * 1_000_000_000)
        if not self._ladder.can_make(until_ns, size=self._size):
            return None
        return making.instead(time_s)

    def close(self) -> None:
        self._is_closed = True
        self._super_resolution.close()
        if self._making is not None:
            self._making.close()

    def _mended(self, frame: Frame, *, is_backlog: bool) -> Frame:
        """The frame with its damage filled, where there is time for it."""
        if self._concealer is None or min(frame.planes[0].shape) < SHORTEST_SIDE:
            return frame
        if is_backlog:
            # Without each picture in turn the next ones cannot be mended either.
            self._concealer.reset()
            return frame
        began_ns = self._clock.now_ns()
        mended = self._concealer.mend(frame)
        if mended is not frame:
            self._metrics.time("conceal", (self._clock.now_ns() - began_ns) / 1e6)
        return mended

    def _enhance(self, frame: Frame, rung: Rung, *, with_comparison: bool) -> Frame:
        began_ns = self._clock.now_ns()
        enhanced = self._super_resolution.process(
            frame, tier=rung.tier, with_comparison=with_comparison
        )
        ended_ns = self._clock.now_ns()
        cost_ms = (ended_ns - began_ns) / 1e6
        if enhanced.tier == rung.tier:
            self._ladder.spent(rung, cost_ms, size=(frame.width, frame.height))
        self._metrics.time("super_resolve", cost_ms)
        self._metrics.count(f"tier.{enhanced.tier}")
        return enhanced.stamped("enhanced", ended_ns)
