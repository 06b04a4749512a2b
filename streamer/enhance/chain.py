"""What is done to a frame: enhanced as far as its time allows, and frames made around it.

Called on the enhance worker only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from streamer.clock import Clock
from streamer.costs import Costs
from streamer.enhance.cadence import Cadence
from streamer.enhance.conceal import Concealer
from streamer.enhance.denoise import Denoising
from streamer.enhance.making import Making
from streamer.enhance.slots import LONGEST_S
from streamer.enhance.steady import Steady
from streamer.frame import Frame
from streamer.gpu.fallback import Upscaler
from streamer.infer.engine import Engine
from streamer.metrics import Metrics
from streamer.ops.both import both
from streamer.playout import Offsets, nanoseconds
from streamer.rungs import Rung
from streamer.schedule import TierLadder
from streamer.steps import StepLog

EARLY = 0.05
"""Of the real frames: may come before a prediction that was begun is done."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """When frames come and leave; nothing is known of either at first."""

    interval_s: Fraction | None = None
    """Between neighbouring real frames."""
    step_s: Fraction | None = None
    """Between frames that leave, made ones among them."""
    is_regular: bool = False
    """Whether the source's next frame can be expected at its time."""
    spread_s: Fraction = Fraction(0)
    """How much longer than ``interval_s`` the longer of the usual intervals are."""
    makes_frames: bool = False
    """Whether frames are being made between real ones, as far as there is time."""
    stand_in_s: Fraction = Fraction(0)
    """How long it takes to make a frame for a missing one."""


def _nobody() -> bool:
    return False


class Chain:
    """Chooses what a frame can still afford, and does it."""

    def __init__(
        self,
        super_resolution: Upscaler,
        ladder: TierLadder,
        clock: Clock,
        metrics: Metrics,
        *,
        making: Making | None = None,
        concealer: Concealer | None = None,
        denoising: Denoising | None = None,
        steady: Steady | None = None,
    ) -> None:
        """Without ``making`` no frames are made, without ``concealer`` damaged ones stay as they
        are. ``denoising`` is what ``super_resolution`` takes noise away with, ``steady`` what it calms
        pictures with, if it does."""
        self._super_resolution = super_resolution
        self._ladder = ladder
        self._clock = clock
        self._metrics = metrics
        self._making = making
        self._concealer = concealer
        self._denoising = denoising
        self._steady = steady
        self._is_closed = False
        self._size = (0, 0)
        self._cadence = Cadence() if making is None else making.cadence
        """Of the real frames; ``making`` learns its own."""
        self._rhythm = Rhythm()
        self._makes_frames = False
        """With the rung of the last real frame, which a trial may have given it."""
        self._with_comparison = False
        """As it was last asked for."""
        self._has_time = True
        """For what was last asked for to be predicted after that frame."""
        self._begun = Offsets()
        """When real frames come; empty while there is no time to keep."""
        self._last_s = Fraction(0)
        self._stand_in_costs = Costs(clock)
        self._mend_costs = Costs(clock)
        if making is not None:
            making.made_cost = self._spent_making
        if denoising is not None:
            denoising.interval_ms = lambda: self._interval_ms
        self.steps = StepLog(clock, metrics)
        """Of the ladder; read from any thread."""
        ladder.on_step = self.steps.add

    @property
    def engines(self) -> tuple[Engine, ...]:
        """For reports: the networks that upscale, best first, the one that takes noise away, the one that
        steadies, and the one that makes frames."""
        others = (self._denoising, self._steady, self._making)
        return (
            *self._super_resolution.engines.values(),
            *(other.engine for other in others if other is not None),
        )

    @property
    def notice(self) -> str:
        """What the user must see of where this is done; empty where that is as asked for."""
        return self._super_resolution.notice

    @property
    def prediction_gain_db(self) -> float | None:
        """Of predicted frames over repeated ones, lately; ``None`` where there are none."""
        return None if self._making is None else self._making.gain_db

    @property
    def predicts(self) -> bool:
        """Whether ``ahead`` is to be called after each real frame."""
        return self._making is not None and self._making.predicts

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
        self._enter(frame, is_live=deadline_ns is not None)
        self._with_comparison = with_comparison
        frame = self._mended(frame, deadline_ns=deadline_ns, is_backlog=is_backlog)
        choose = partial(
            self._choose, deadline_ns=deadline_ns, shown_s=shown_s, is_backlog=is_backlog
        )
        enhance = partial(self._enhance, with_comparison=with_comparison, deadline_ns=deadline_ns)
        making = self._making
        if making is None:
            return [enhance(frame, choose(frame))]
        plan = making.plan(frame, shown_s)
        if (earlier := making.recalled(plan)) is not None:
            making.enter(earlier, enhance(earlier, choose(earlier)))
        if making.leaves_out(frame, plan, is_live=deadline_ns is not None):
            self._makes_frames = False
            self._rhythm = self._rhythm_of(making)
            return making.leave_out(frame, plan)
        rung = choose(frame, made=making.wanted(plan))
        self._makes_frames = rung.makes_frames
        # Motion is found on what came, so that a second core need not wait for the network.
        enhanced, _ = both(
            partial(enhance, frame, rung),
            partial(making.see, frame, plan if rung.makes_frames else []),
        )
        self._rhythm = self._rhythm_of(making)
        may_make = partial(self._may_make, rung, deadline_ns)
        return making.around(frame, enhanced, plan, may_make=may_make)

    def look(self, *, is_waited_for: Callable[[], bool] = _nobody, coding_ms: float = 0.0) -> None:
        """Find the motion that ``ahead`` needs, once the last real frame is on its way; where there is
        no time for it, ``ahead`` gives nothing. Only for a chain that ``predicts``."""
        assert self._making is not None
        self._has_time = True
        if self._makes_frames:
            self._making.look(self._fits(is_waited_for, coding_ms))

    def ahead(
        self, *, is_waited_for: Callable[[], bool] = _nobody, coding_ms: float = 0.0
    ) -> list[Frame]:
        """Frames predicted after the last real one, as many as will be done before the next real one
        comes; called after ``look`` when the last has left, so that they cost real frames no time.
        Only for a chain that ``predicts``.

        ``is_waited_for`` says whether the next real frame is there, which must not wait for these, and
        ``coding_ms`` how long the encoder will take, which is to be done by then as well.
        """
        assert self._making is not None
        if not self._makes_frames:
            return []
        return self._making.ahead(self._fits(is_waited_for, coding_ms)) if self._has_time else []

    def conceal(self, time_s: Fraction) -> Frame | None:
        """A frame for a media time at which none came; ``None`` where the last picture is as good, or
        where making one takes longer than the next real frame should have to wait."""
        making, interval_s = self._making, self._rhythm.interval_s
        if making is None or interval_s is None or self._is_closed:
            return None
        costs = self._stand_in_costs
        if not costs.are_old and costs.mean_ms() > 1000 * interval_s:
            return None
        began_ns = self._clock.now_ns()
        made = making.instead(time_s)
        if made is not None:
            costs.add((self._clock.now_ns() - began_ns) / 1e6)
            # It took the time of a real frame that did not come: no rung is to be lost for that.
            self._ladder.excuse()
        return made

    def newest(self, time_s: Fraction, shown: Frame) -> Frame | None:
        """The latest real frame for a media time, where the source has paused and something else is
        ``shown``: one that was left out, or that others were predicted after."""
        making = self._making
        if making is None or making.is_sparse or self._is_closed:
            return None
        self._enter_left_out(making.left_out)
        return making.newest(time_s, shown)

    def finish(self) -> list[Frame]:
        """Close it, as nothing comes any more; what is still to be shown."""
        making, last = self._making, []
        if making is not None and not self._is_closed:
            plan = making.plan_end()
            self._enter_left_out(making.recalled(plan))
            last = making.finish(plan)
        self.close()
        return last

    def close(self) -> None:
        """Its engines, once; a stream that breaks closes it as well."""
        if self._is_closed:
            return
        self._is_closed = True
        self._super_resolution.close()
        if self._making is not None:
            self._making.close()

    @property
    def _interval_ms(self) -> float | None:
        """Between real frames; ``None`` while it is not known."""
        interval_s = self._cadence.interval_s
        return None if interval_s is None else float(1000 * interval_s)

    def _choose(
        self,
        frame: Frame,
        *,
        deadline_ns: int | None,
        shown_s: Fraction | None,
        is_backlog: bool,
        made: int = 0,
    ) -> Rung:
        """What a real frame can afford; ``made`` are the frames wanted with it."""
        if deadline_ns is not None and shown_s is not None and frame.time_s <= shown_s:
            # Another one stood in for it; what comes next is made of it, and waits for it.
            return self._ladder.cheapest
        return self._ladder.choose(
            deadline_ns,
            size=self._size,
            interval_ms=self._interval_ms,
            made=made,
            is_backlog=is_backlog,
        )

    def _may_make(self, rung: Rung, deadline_ns: int | None) -> bool:
        """Whether there is time for one more frame in between."""
        return rung.makes_frames and (
            deadline_ns is None or self._ladder.can_make(deadline_ns, size=self._size)
        )

    def _enter(self, frame: Frame, *, is_live: bool) -> None:
        """Note when a real frame comes, and of what size."""
        interval_s = frame.time_s - self._last_s
        if self._making is None and self._begun and 0 < interval_s <= LONGEST_S:
            self._cadence.see(interval_s)
        size = (frame.width, frame.height)
        if size != self._size:
            self._size = size
            self._stand_in_costs.forget()
            self._mend_costs.forget()
        if is_live:
            now_ns = self._clock.now_ns()
            self._begun.add(frame.time_s, now_ns, now_ns=now_ns)
            self._last_s = frame.time_s

    def _fits(self, is_waited_for: Callable[[], bool], coding_ms: float) -> Callable[[float], bool]:
        """Whether what costs so many ms is made and coded before the next real frame comes."""
        assert self._making is not None
        next_ns = self._next_ns(self._making)

        def fits(cost_ms: float) -> bool:
            is_early = (
                next_ns is None or self._clock.now_ns() + (cost_ms + coding_ms) * 1e6 <= next_ns
            )
            self._has_time = is_early and not is_waited_for()
            return self._has_time

        return fits

    def _next_ns(self, making: Making) -> int | None:
        """Before when the next real frame hardly ever comes; ``None`` where none is in a hurry."""
        interval_s = making.cadence.interval_s
        if interval_s is None or not self._begun:
            return None
        return self._begun.at(EARLY) + nanoseconds(self._last_s + interval_s)

    def _rhythm_of(self, making: Making) -> Rhythm:
        cadence, makes_frames = making.cadence, self._ladder.rung.makes_frames
        # Where losses are rare the newest is all that is known.
        stand_in_ms = max(self._stand_in_costs.p95_ms(), self._stand_in_costs.newest_ms)
        return Rhythm(
            interval_s=cadence.interval_s,
            step_s=making.step_s if makes_frames else cadence.interval_s,
            is_regular=cadence.is_regular,
            spread_s=cadence.spread_s,
            makes_frames=makes_frames,
            stand_in_s=Fraction(stand_in_ms) / 1000,
        )

    def _spent_making(self, cost_ms: float) -> None:
        self._ladder.spent_making(cost_ms, size=self._size)

    def _enter_left_out(self, frame: Frame | None) -> None:
        """Enhance a frame that is to be shown after all, though none comes with which that is done."""
        if self._making is None or frame is None:
            return
        asked = self._with_comparison
        enhanced = self._enhance(frame, self._ladder.rung, with_comparison=asked, deadline_ns=None)
        self._making.enter(frame, enhanced)

    def _mended(self, frame: Frame, *, deadline_ns: int | None, is_backlog: bool) -> Frame:
        """The frame with its damage filled, where there is time for it."""
        if self._concealer is None:
            return frame
        if frame.damage is not None and deadline_ns is not None:
            left_ms = (deadline_ns - self._clock.now_ns()) / 1e6
            # After a loss frames come in twos and threes: that alone is no lack of time.
            frames = 2 if is_backlog else 1
            if left_ms < frames * self._mend_costs.p95_ms() and not self._mend_costs.are_old:
                # Without each picture in turn the next ones cannot be mended either.
                self._concealer.reset()
                return frame
        began_ns = self._clock.now_ns()
        mended = self._concealer.mend(frame)
        if mended is not frame:
            cost_ms = (self._clock.now_ns() - began_ns) / 1e6
            self._mend_costs.add(cost_ms)
            self._metrics.time("conceal", cost_ms)
        return mended

    def _enhance(
        self, frame: Frame, rung: Rung, *, with_comparison: bool, deadline_ns: int | None
    ) -> Frame:
        began_ns = self._clock.now_ns()
        enhanced = self._super_resolution.process(
            frame, tier=rung.tier, with_comparison=with_comparison, deadline_ns=deadline_ns
        )
        ended_ns = self._clock.now_ns()
        cost_ms = (ended_ns - began_ns) / 1e6
        if enhanced.tier == rung.tier:
            self._ladder.spent(rung, cost_ms, size=self._size)
        self._metrics.time("super_resolve", cost_ms)
        self._metrics.count(f"tier.{enhanced.tier}")
        return enhanced.stamped("enhanced", ended_ns)
