"""When frames are made that no source sent, and whether that pays. Called on the enhance worker."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from streamer.clock import Clock
from streamer.config import Between
from streamer.enhance.foresight import Foresight
from streamer.enhance.made_frames import MadeFrames
from streamer.enhance.scene_change import Change
from streamer.enhance.slots import Slot, Slots
from streamer.frame import Frame
from streamer.infer.engine import Engine
from streamer.metrics import Metrics
from streamer.rate import Rate

LEAST_APART = Fraction(3, 4)
"""Of the wanted distance: closer to a real frame, a predicted one shows nothing more."""


class Making:
    """The frames around the real ones of one stream."""

    def __init__(
        self,
        made: MadeFrames,
        slots: Slots,
        *,
        engine: Engine,
        rate: Rate | None,
        between: Between,
        time_base: Fraction,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """``engine`` is what ``made`` runs, to be closed with it.

        ``between`` says how the ``rate`` is reached; without one, real frames leave at their own
        times, and frames are only made for those that were lost. ``time_base`` is that of all
        frames that leave, and of ``slots``.
        """
        self.slots = slots
        self.engine = engine
        self.predicts = rate is not None and between == "predict"
        self.made_cost: Callable[[float], None] = _ignore
        self._rate = rate
        self._between = between
        self._made = made
        self._foresight = Foresight(made.maker, metrics)
        self._time_base = time_base
        self._clock = clock
        self._metrics = metrics
        self._on_slot: Frame | None = None
        """The latest real frame that was given out on a slot."""

    @property
    def gain_db(self) -> float | None:
        """Of prediction over repetition, lately; ``None`` where nothing is predicted."""
        return self._foresight.mean_db

    @property
    def interval_ms(self) -> float | None:
        """Between real frames; ``None`` while it is not known."""
        interval_s = self.slots.interval_s
        return None if interval_s is None else float(1000 * interval_s)

    @property
    def step_s(self) -> Fraction | None:
        """Between frames that leave; ``None`` while the source's interval is not known."""
        return self.slots.interval_s if self._rate is None else self.slots.step_s

    def plan(self, frame: Frame, shown_s: Fraction | None) -> list[Slot]:
        """The output's places from the last real frame up to this one that are still to be shown."""
        last = self._made.last
        if last is None:
            slots = self.slots.first(frame.time_s)
        else:
            slots = self.slots.between(last.decoded.time_s, frame.time_s)
        return [slot for slot in slots if shown_s is None or slot.time_s > shown_s]

    def wanted(self, plan: list[Slot]) -> int:
        """How many frames are to be made for each real one."""
        if self.predicts and self.slots.interval_s and self.slots.step_s:
            return max(0, math.ceil(self.slots.interval_s / self.slots.step_s) - 1)
        if self._rate is None or self._between != "interpolate" or self._made.last is None:
            return 0
        return sum(not (slot.is_first or slot.is_second) for slot in plan)

    def around(
        self, frame: Frame, enhanced: Frame, plan: list[Slot], *, may_make: Callable[[], bool]
    ) -> list[Frame]:
        """The real frame and those before it that are ready now, in pts order."""
        earlier = self._made.last
        enhanced = self._timed(enhanced)
        self._made.enter(frame, enhanced)
        if self._made.change in (Change.CUT, Change.FIRST):
            self._foresight.forget()
        if self._rate is None or self.predicts:
            return [enhanced]
        ready: list[Frame] = []
        for slot in plan:
            is_made = not (slot.is_first or slot.is_second)
            if is_made and self._between == "interpolate" and may_make():
                began_ns = self._clock.now_ns()
                ready.append(self._made.between(slot.time_s, slot.share, pts=slot.pts))
                self._spent("interpolate", began_ns)
            elif not is_made or self.slots.is_fixed:
                first = earlier.enhanced if earlier is not None else enhanced
                ready += self._real_at(slot, first if slot.share < 0.5 else enhanced)
        return ready

    def ahead(self, may_make: Callable[[], bool]) -> list[Frame]:
        """Frames predicted after the last real one, until the next is due; no more of them once
        ``may_make`` says so."""
        began_ns = self._clock.now_ns()
        made = self._ahead(may_make)
        if made:
            # Looking and foreseeing are what these cost as well.
            self._spent("predict", began_ns, frames=len(made))
        return made

    def _ahead(self, may_make: Callable[[], bool]) -> list[Frame]:
        last = self._made.last
        interval_s = self.slots.interval_s
        if not self.predicts or last is None or interval_s is None or not self._made.look():
            self._foresight.forget()
            return []
        last_s = last.decoded.time_s
        self._foresight.judge(last_s, tolerance_s=interval_s / 4)
        self._foresight.foresee(last_s + interval_s)
        if not self._foresight.is_better:
            return []
        slots = self._slots_ahead(last_s)
        made = [self._made.ahead(slot.time_s, pts=slot.pts) for slot in slots if may_make()]
        return [frame for frame in made if frame is not None]

    def instead(self, time_s: Fraction) -> Frame | None:
        """A frame for a time at which none came; ``None`` where the last picture is as good."""
        frame = self._predict(time_s, round(time_s / self._time_base))
        self._metrics.count("concealed.lost", frame is not None)
        return frame

    def close(self) -> None:
        """The engine is not used any more."""
        self.engine.close()

    def forget(self) -> None:
        """Nothing was predicted for the next frame."""
        self._foresight.forget()

    def _slots_ahead(self, last_s: Fraction) -> list[Slot]:
        """Those that real frames, which leave as they come, do not crowd."""
        interval_s, step_s = self.slots.interval_s, self.slots.step_s
        if interval_s is None or step_s is None:
            return []
        apart_s = LEAST_APART * step_s
        slots = [
            slot
            for slot in self.slots.ahead(last_s)
            if last_s + apart_s <= slot.time_s <= last_s + interval_s - apart_s
        ]
        return [slot for slot in slots if self.slots.claim(slot)]

    def _predict(self, time_s: Fraction, pts: int) -> Frame | None:
        began_ns = self._clock.now_ns()
        made = self._made.ahead(time_s, pts=pts)
        self._spent("predict", began_ns)
        return made

    def _real_at(self, slot: Slot, real: Frame) -> list[Frame]:
        """A real frame on a slot, once."""
        if real is self._on_slot:
            return []
        self._on_slot = real
        return [replace(real, pts=slot.pts)]

    def _timed(self, frame: Frame) -> Frame:
        """In the time base of what leaves, with the time until the next one there."""
        pts = round(frame.time_s / self._time_base)
        duration = round(frame.duration * frame.time_base / self._time_base)
        return replace(frame, pts=pts, time_base=self._time_base, duration=duration)

    def _spent(self, name: str, began_ns: int, *, frames: int = 1) -> None:
        cost_ms = (self._clock.now_ns() - began_ns) / 1e6 / frames
        self._metrics.time(name, cost_ms)
        self.made_cost(cost_ms)


def _ignore(cost_ms: float) -> None:
    """Nobody asks what it costs."""
