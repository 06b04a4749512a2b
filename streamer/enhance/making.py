"""When frames are made that no source sent, and whether that pays. Called on the enhance worker."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction

from streamer.clock import Clock
from streamer.config import Between
from streamer.costs import Costs
from streamer.enhance.cadence import Cadence
from streamer.enhance.foresight import Foresight
from streamer.enhance.made_frames import MadeFrames
from streamer.enhance.slots import LONGEST_S, TOLERANCE, Slot, Slots
from streamer.frame import Frame, Origin
from streamer.infer.engine import Engine
from streamer.metrics import Metrics
from streamer.ops.both import yielding
from streamer.rate import Rate

NETWORK_TIMES = 3.0
"""What a predicted frame costs with a network, of what it costs without one, until that was seen. The
first one is slow, and comes between real frames that must not wait."""

LEAST_APART = Fraction(3, 4)
"""Of the wanted distance: closer to a real frame, a predicted one shows nothing more."""

NEAREST = Fraction(1, 2)
"""Of the way between two real frames: where none are made, the last slot there takes the earlier one up
to here, so that nothing leaves before its time where neither is nearer. All slots before it do."""


class Making:
    """The frames around the real ones of one stream."""

    def __init__(
        self,
        made: MadeFrames,
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
        frames that leave, see ``output_time_base``.
        """
        self.engine = engine
        self.predicts = rate is not None and between == "predict"
        self.made_cost: Callable[[float], None] = _ignore
        """Told what each frame has cost that was made around real ones, in ms."""
        self._slots = None if rate is None else Slots(rate, time_base)
        self.cadence = Cadence() if self._slots is None else self._slots.cadence
        """Of the real frames."""
        self._between = between
        self._made = made
        self._foresight = Foresight(metrics)
        self._time_base = time_base
        self._clock = clock
        self._metrics = metrics
        self._look_costs = Costs(clock)
        """Of the motion after a real frame."""
        self._plain_costs, self._network_costs = Costs(clock), Costs(clock)
        """Of each frame predicted by it, without and with a network."""
        self._look_ms = 0.0
        self._on_slot: Frame | None = None
        """The latest real frame that was given out on a slot."""
        self._last_s: Fraction | None = None
        """When the latest real frame is to be seen, left out or not."""
        self._apart_s = Fraction(0)
        """How long after the one before it."""
        self._left_out: Frame | None = None
        """The latest real frame, where no slot took it yet."""
        self._is_broken = False
        """Whether real frames were left out between the last two that were enhanced."""

    @property
    def gain_db(self) -> float | None:
        """Of prediction over repetition, lately; ``None`` where nothing is predicted."""
        return self._foresight.mean_db

    @property
    def step_s(self) -> Fraction | None:
        """Between frames that leave; ``None`` while the source's interval is not known."""
        return self.cadence.interval_s if self._slots is None else self._slots.step_s

    @property
    def is_sparse(self) -> bool:
        """Whether so few frames leave that a source need not have paused between them."""
        is_fixed = self._slots is not None and self._slots.is_fixed
        return is_fixed and (self.step_s or 0) > LONGEST_S

    @property
    def left_out(self) -> Frame | None:
        """The latest real frame, where no slot took it yet."""
        return self._left_out

    def plan(self, frame: Frame, shown_s: Fraction | None) -> list[Slot]:
        """The output's places from the last real frame up to this one that are still to be shown;
        none without a rate."""
        last_s, self._last_s = self._last_s, frame.time_s
        self._apart_s = Fraction(0) if last_s is None else frame.time_s - last_s
        if self._slots is None:
            if 0 < self._apart_s <= LONGEST_S:
                self.cadence.see(self._apart_s)
            return []
        if last_s is None:
            slots = self._slots.first(frame.time_s)
        elif not self._interpolates:
            # Whatever was shown meanwhile: that this one is late is for whoever shows it to say.
            return self._slots.at_once(last_s, frame.time_s, follows=shown_s is None)
        else:
            slots = self._slots.between(last_s, frame.time_s)
        return [slot for slot in slots if shown_s is None or slot.time_s > shown_s]

    def recalled(self, plan: list[Slot]) -> Frame | None:
        """The frame that was left out before this plan, where a slot of it takes that one or is made of
        it; to be enhanced and given to ``enter`` first."""
        return self._left_out if any(self._takes_earlier(slot) for slot in plan) else None

    def enter(self, frame: Frame, enhanced: Frame) -> None:
        """The next real frame, in both its forms."""
        self._is_broken = self._left_out is not None and self._left_out is not frame
        self._metrics.count("left_out", self._is_broken)
        self._left_out = None
        self._made.enter(frame, self._timed(enhanced))

    def leaves_out(self, frame: Frame, plan: list[Slot], *, is_live: bool) -> bool:
        """Whether no slot takes this real frame, or is made of it, as far as can be told.

        Live it must be all but certain that none will: enhanced only with the next one, it would be
        late. A file has the time.
        """
        if self._slots is None or not self._slots.is_fixed:
            return False
        if any(self._takes_later(slot) for slot in plan):
            return False
        if not self._interpolates or not is_live:
            return True
        interval_s = self.cadence.interval_s
        if interval_s is None:
            return False
        until_s = frame.time_s + (1 - TOLERANCE) * (interval_s + self.cadence.spread_s)
        return not self._slots.is_due(frame.time_s, until_s)

    def leave_out(self, frame: Frame, plan: list[Slot]) -> list[Frame]:
        """Keep a real frame aside until the next one comes, not enhanced; the ones before it that are
        ready now, in pts order."""
        self._metrics.count("left_out", self._left_out is not None)
        self._left_out = frame
        if self._interpolates:
            # What changed since the frame before is asked of each that frames may be made of.
            self._made.see(frame)
        last = self._made.last
        return [each for slot in plan if last for each in self._real_at(slot, last.enhanced)]

    def wanted(self, plan: list[Slot]) -> int:
        """How many frames are to be made in each interval up to this real one, which the next one
        waits for; predicted ones are made only where there is time, and nobody waits."""
        if not self._interpolates or self._made.last is None:
            return 0
        made = sum(slot.is_made for slot in plan)
        # After a missing frame they are those of several intervals and one in its own place, which
        # says nothing of what comes: a rung would be lost for one frame in a hundred.
        intervals = round(self._apart_s / (self.cadence.interval_s or self._apart_s or 1))
        return made // max(1, intervals)

    def see(self, frame: Frame, plan: list[Slot]) -> None:
        """All that can be told of the next real frame before it is enhanced; another thread may call
        this while it is."""
        shares = [slot.share for slot in plan if slot.is_made]
        self._made.see(frame, shares[0] if self._interpolates and shares else None)

    def around(
        self, frame: Frame, enhanced: Frame, plan: list[Slot], *, may_make: Callable[[], bool]
    ) -> list[Frame]:
        """The real frame and those before it that are ready now, in pts order."""
        earlier = self._made.last
        self.enter(frame, enhanced)
        assert self._made.last is not None
        enhanced = self._made.last.enhanced
        if self._slots is None:
            return [enhanced]
        ready: list[Frame] = []
        # What a frame costs begins where the real one is done: what is left to wait for is part of it.
        began_ns = enhanced.stamps_ns.get("enhanced", self._clock.now_ns())
        for slot in plan:
            if slot.is_made and may_make():
                ready.append(self._made.between(slot.time_s, slot.share, pts=slot.pts))
                began_ns = self._spent("interpolate", began_ns)
            elif slot.is_second or (slot is plan[-1] and slot.share > NEAREST):
                ready += self._real_at(slot, enhanced)
            elif self._slots.is_fixed and not ready:
                # After one that was made, it would be a step back.
                ready += self._real_at(slot, enhanced if earlier is None else earlier.enhanced)
        return ready

    def look(self, fits: Callable[[float], bool]) -> None:
        """Find the motion that what is predicted will go on with, and judge prediction by the real
        frame it leads to; not where ``fits`` says that this has no time.

        While the encoder still works on that frame this needs no more than a core.
        """
        self._look_ms = 0.0
        if not _may_begin((self._look_costs, self._plain_costs), fits):
            return
        began_ns = self._clock.now_ns()
        with yielding():
            gain_db = self._made.look()
        if gain_db is not None:
            self._foresight.add(gain_db)
        if self._made.is_looked_at:
            self._look_ms = (self._clock.now_ns() - began_ns) / 1e6
            self._look_costs.add(self._look_ms)

    def ahead(self, fits: Callable[[float], bool]) -> list[Frame]:
        """Frames predicted after the last real one, until the next is due; no more of them once
        ``fits`` says that one of that cost in ms has no time. ``look`` comes first."""
        interval_s = self.cadence.interval_s
        slots = self._slots
        if slots is None or interval_s is None:
            return []
        if not (self._made.is_looked_at and self._foresight.is_better):
            return []
        last = self._made.last
        assert last is not None
        began_ns = self._clock.now_ns()
        made: list[Frame] = []
        for slot in self._slots_ahead(last.decoded.time_s, interval_s):
            is_plain = not self._may_ask_network(fits)
            costs = self._plain_costs if is_plain else self._network_costs
            if is_plain and not _may_begin([costs], fits):
                break
            if not slots.claim(slot):
                continue
            slot_ns = self._clock.now_ns()
            frame = self._made.ahead(slot.time_s, pts=slot.pts, is_plain=is_plain)
            costs.add((self._clock.now_ns() - slot_ns) / 1e6)
            if frame is not None:
                # It is shown for what is left of the real one's time.
                ends = last.enhanced.pts + last.enhanced.duration
                made.append(replace(frame, duration=max(0, ends - slot.pts)))
        if made:
            # Looking is what they cost as well.
            spent_ms = self._look_ms + (self._clock.now_ns() - began_ns) / 1e6
            self._metrics.time("predict", spent_ms / len(made))
            self.made_cost(spent_ms / len(made))
        return made

    def _may_ask_network(self, fits: Callable[[float], bool]) -> bool:
        """Whether there is one, and time for a frame made with it."""
        if not self._made.maker.has_network:
            return False
        if fits(math.inf):
            # From file to file nobody waits; of large pictures all costs are old by the next one.
            return True
        if self._plain_costs.are_old:
            return False
        if self._network_costs.are_old:
            return fits(NETWORK_TIMES * self._plain_costs.p95_ms())
        return fits(self._network_costs.p95_ms())

    def instead(self, time_s: Fraction) -> Frame | None:
        """A frame for a time at which none came, on its slot; ``None`` where the last picture is as
        good, or the slot was taken."""
        if self._is_broken or self._left_out is not None:
            # A cut may lie in what was left out, and the slot may be the next real frame's.
            return None
        slot = self._slot_near(time_s)
        began_ns = self._clock.now_ns()
        # While it is made the picture stands: a network's 0.08 dB are not worth its 4 ms.
        frame = self._made.ahead(slot.time_s, pts=slot.pts, is_plain=True)
        self._metrics.time("predict", (self._clock.now_ns() - began_ns) / 1e6)
        if frame is None or not self._claim(slot):
            return None
        self._metrics.count("concealed.lost")
        return frame

    def newest(self, time_s: Fraction, shown: Frame) -> Frame | None:
        """The latest real frame for a time up to which no other came; ``None`` where that is what is
        ``shown``, or the slot was taken. One that was left out has to be entered first."""
        last = self._made.last
        if last is None or shown.planes is last.enhanced.planes:
            return None
        slot = self._slot_near(time_s)
        if not self._claim(slot):
            return None
        self._on_slot = last.enhanced
        # What it took until now is the pause of the source: no time of ours.
        return replace(
            last.enhanced,
            pts=slot.pts,
            arrived_ns=self._clock.now_ns(),
            origin=Origin.REPEATED,
            stamps_ns={},
        )

    def plan_end(self) -> list[Slot]:
        """The output's places from the last real frame of all until its time is over; for ``recalled``
        and ``finish``."""
        last, slots = self._made.last, self._slots
        if last is None or slots is None:
            return []
        real = self._left_out or last.decoded
        ends_s = real.time_s + real.duration * real.time_base
        if self._left_out is None:
            due = slots.until(real.time_s, ends_s) if self._interpolates else []
            if due or last.enhanced is self._on_slot:
                return due
        return slots.after(real.time_s, ends_s)

    def finish(self, plan: list[Slot]) -> list[Frame]:
        """The last real frame there; the source has ended."""
        last, slots = self._made.last, self._slots
        if last is None or slots is None:
            return []
        duration = round((slots.step_s or 0) / self._time_base)
        again = replace(last.enhanced, origin=Origin.REPEATED, duration=duration)
        frames = [replace(again, pts=slot.pts) for slot in plan]
        if frames and last.enhanced is not self._on_slot:
            frames[0] = replace(frames[0], origin=last.enhanced.origin)
        return frames

    def close(self) -> None:
        """The engine is not used any more."""
        self._metrics.count("left_out", self._left_out is not None)
        self._left_out = None
        self.engine.close()

    @property
    def _interpolates(self) -> bool:
        """Whether frames are made of the two real ones around them, where there is time."""
        return self._between == "interpolate"

    def _slot_near(self, time_s: Fraction) -> Slot:
        """That of a frame which no real one came for; to be claimed."""
        if self._slots is not None:
            return self._slots.nearest(time_s)
        return Slot(pts=round(time_s / self._time_base), time_s=time_s, share=1.0)

    def _claim(self, slot: Slot) -> bool:
        return self._slots is None or self._slots.claim(slot)

    def _takes_earlier(self, slot: Slot) -> bool:
        """Whether a slot may take the real frame before it, or one that is made of it."""
        return not slot.is_second

    def _takes_later(self, slot: Slot) -> bool:
        """The same of the real frame after it."""
        return not slot.is_first

    def _slots_ahead(self, last_s: Fraction, interval_s: Fraction) -> Iterator[Slot]:
        """Those that real frames, which leave as they come, do not crowd."""
        assert self._slots is not None
        apart_s = LEAST_APART * (self._slots.step_s or interval_s)
        for slot in self._slots.ahead(last_s):
            if last_s + apart_s <= slot.time_s <= last_s + interval_s - apart_s:
                yield slot

    def _real_at(self, slot: Slot, real: Frame) -> list[Frame]:
        """A real frame on a slot, once."""
        if real is self._on_slot:
            return []
        self._on_slot = real
        return [replace(real, pts=slot.pts)]

    def _timed(self, frame: Frame) -> Frame:
        """In the time base of what leaves, with the time until the next one there: at a lower rate that
        is longer than until the source's next."""
        duration_s = frame.duration * frame.time_base
        if self._slots is not None and self._slots.is_fixed:
            duration_s = max(duration_s, self._slots.step_s or duration_s)
        pts, duration = (round(each / self._time_base) for each in (frame.time_s, duration_s))
        return replace(frame, pts=pts, time_base=self._time_base, duration=duration)

    def _spent(self, name: str, began_ns: int) -> int:
        """Notes what a frame has cost until now; gives now."""
        now_ns = self._clock.now_ns()
        cost_ms = (now_ns - began_ns) / 1e6
        self._metrics.time(name, cost_ms)
        self.made_cost(cost_ms)
        return now_ns


def _may_begin(parts: Iterable[Costs], fits: Callable[[float], bool]) -> bool:
    """Whether one after the other is done in time."""
    # Whoever is never let try would be as slow as once for ever.
    return fits(sum(0.0 if costs.are_old else costs.p95_ms() for costs in parts))


def _ignore(cost_ms: float) -> None:
    """Nobody asks what it costs."""
