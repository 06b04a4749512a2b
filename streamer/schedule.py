"""Deadlines, and the rung of the quality ladder that a frame can still afford.

Note [Late or too slow]: A frame can be late although its rung is fast enough: the machine stopped
for a moment, or frames before it waited. It alone takes a cheaper rung then, and the next one has
the old rung again. The rung itself is lost when what it costs cannot be kept up (``most_share``), or when
it had to be left for every other frame. It is tried again after a pause: what it cost before is
forgotten, and it stays if its new costs fit for ``TRIAL_NS``. As soon as a real frame would have to
wait for it the trial ends, so that under a lasting load a trial is a frame or two, and no step.

Note [Networks that cannot fit]: What each network takes alone was tried before the first frame. One
that cannot be expected to keep up (``CostBook``) is neither begun with nor tried, so that a network for
larger machines costs nothing here. The cheapest is tried all the same: were its trial wrong, nothing else
would ever say so.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from streamer.clock import Clock
from streamer.costs import ENOUGH, LATEST, CostBook, Costs, Size
from streamer.errors import ConfigError
from streamer.rungs import CAUTION, SHARE, Demand, Reason, Rung, Step, most_share, rungs_of
from streamer.trials import TRIAL_NS, WARM_UP_NS, Loss, Trial

OVERRUN = 1.1
"""Of the interval: what a rung that is late already may take by its latest costs, which vary by 10 %."""

RECENT, DIPS = 12, 6
"""A rung that half of so many frames had to leave is lost. A stall of the machine costs two to four."""

SETTLED_NS = 5_000_000_000
"""What was held for so long was kept. A rung that is lost sooner has failed: the pauses double on."""

USUAL_MS = 1000 / 30
"""The interval while none is known."""

MAKING = "made frame"
"""Among the costs of the tiers: what one made frame costs, with any of them."""


class TierLadder:
    """Picks the best rung that fits before the deadline and can be kept up.

    The rungs are those of ``rungs_of``. One thread chooses and reports costs; ``limit`` may come
    from another. See Note [Late or too slow].
    """

    def __init__(
        self,
        tiers: Sequence[str],
        clock: Clock,
        *,
        makes_frames: bool = False,
        on_step: Callable[[Step], None] | None = None,
        pixel_ns: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """``tiers`` run from best to cheapest; the last one always fits. ``pixel_ns`` is what their
        networks took alone, in ns per pixel of the input. ``on_step`` is called by ``choose``, on its
        thread.
        """
        self._tiers = tuple(tiers)
        self._makes_frames = makes_frames
        self._clock = clock
        self.on_step = on_step
        self._best = self._tiers[0]
        self._rungs = self._rungs_from(self._best)
        self._held = self._rungs[0]
        self._held_since_ns = clock.now_ns()
        self._trial: Trial | None = None
        self._losses: dict[Rung, Loss] = {}
        self._kept: set[Rung] = set()
        self._dips: deque[bool] = deque(maxlen=RECENT)
        self._is_excused = False
        self._cold_until_ns: int | None = None
        self._size: Size = (0, 0)
        self._costs = CostBook(clock, pixel_ns)

    @property
    def rung(self) -> Rung:
        """The one that is held; a late frame has another, and so have the frames of a trial."""
        return self._held

    @property
    def cheapest(self) -> Rung:
        """For a frame that will not be shown."""
        return self._rungs[-1]

    def limit(self, name: str) -> None:
        """Take ``name`` at best from now on. Raises ``ConfigError`` for a tier there is not."""
        if name not in self._tiers:
            raise ConfigError(
                f"there is no tier {name!r}; this stream has {', '.join(self._tiers)}"
            )
        self._best = name

    def choose(
        self,
        deadline_ns: int | None,
        *,
        size: Size = (0, 0),
        interval_ms: float | None = None,
        made: int = 0,
        is_backlog: bool = False,
    ) -> Rung:
        """The rung for a real frame that must be enhanced by ``deadline_ns``; the best without one.

        ``size`` is the frame's width and height, ``interval_ms`` the time between real frames where
        it is known, ``made`` the frames wanted in it, without those that are made only where there is
        time: they cost no rung. ``is_backlog``: the next real one waits already.
        """
        self._obey_limit()
        if deadline_ns is None:
            return self._rungs[0]
        now_ns = self._clock.now_ns()
        demand = Demand((deadline_ns - now_ns) / 1e6, interval_ms, made)
        self._enter(size, demand, now_ns)
        self._costs.compare(self._held.tier, size)
        trial = self._trial
        if trial is not None:
            self._judge_trial(trial, demand, now_ns, is_backlog=is_backlog)
        elif not self._keeps_up(self._held, demand) or self._falls_behind(demand):
            self._lose_held(demand, now_ns)
        rung = self._held if self._trial is None else self._trial.rung
        if trial is not None and trial.owed_ms <= 2 * (interval_ms or 0.0):
            # What a trial took from a frame or two, the held rung makes up for.
            is_backlog = False
        affordable = self._rungs[-1] if is_backlog else self._affordable(rung, demand.left_ms)
        if affordable != rung:
            self._dip(affordable, "backlog" if is_backlog else "late", demand, now_ns)
            return affordable
        self._is_excused = False
        self._dips.append(False)
        is_late = is_backlog or demand.left_ms <= 0
        return rung if is_late else self._try_better(demand, now_ns)

    def spent(self, rung: Rung | str, cost_ms: float, *, size: Size = (0, 0)) -> None:
        """Note what one real frame of ``size`` has cost with a rung, or with its tier."""
        self._costs.of(rung if isinstance(rung, str) else rung.tier, size).add(cost_ms)

    def spent_making(self, cost_ms: float, *, size: Size = (0, 0)) -> None:
        """Note what one made frame has cost; ``size`` is that of the real ones."""
        self._costs.of(MAKING, size).add(cost_ms)

    def can_make(self, deadline_ns: int, *, size: Size = (0, 0)) -> bool:
        """Whether a frame that is begun now will be made by ``deadline_ns``."""
        left_ms = (deadline_ns - self._clock.now_ns()) / 1e6
        costs = self._costs.of(MAKING, size)
        # Whoever is never let try would be as slow as once for ever.
        return left_ms > 0 and (costs.are_old or costs.likely_ms() <= left_ms)

    def excuse(self) -> None:
        """The next real frame may be late for something else than its rung: none is lost for that."""
        self._is_excused = True

    def _affordable(self, best: Rung, left_ms: float) -> Rung:
        """The first rung from ``best`` on that a frame with so much time can have; no better network."""
        if left_ms > 0:
            for rung in self._rungs[self._rungs.index(best) :]:
                is_better = self._tiers.index(rung.tier) < self._tiers.index(best.tier)
                if not is_better and self._tier_ms(rung.tier, Costs.likely_ms) <= left_ms:
                    return rung
        return self._rungs[-1]

    def _keeps_up(self, rung: Rung, demand: Demand) -> bool:
        """Whether one real frame after the other can have this rung, as far as is known. By the mean,
        not by the p95: what one frame takes too long, others make up for."""
        parts = (rung.tier, MAKING) if rung.makes_frames else (rung.tier,)
        if all(len(self._costs.of(part, self._size)) < ENOUGH for part in parts):
            return self._should_keep_up(rung, demand)
        return self._share(rung, demand, Costs.mean_ms) <= most_share(rung, self._tiers)

    def _falls_behind(self, demand: Demand) -> bool:
        """Whether this frame is too late for the held rung, which takes more than there is by the latest
        costs: the mean knows of a load a second after it came."""
        is_known = len(self._costs.of(self._held.tier, self._size)) >= LATEST
        share = self._share(self._held, demand, Costs.latest_ms)
        return is_known and share > OVERRUN and share * (demand.interval_ms or 0.0) > demand.left_ms

    def _should_keep_up(self, rung: Rung, demand: Demand) -> bool:
        """The same of one that is not running. See Note [Networks that cannot fit]."""
        if not (expected_ms := self._costs.expected_ms(rung.tier, self._size)):
            return True
        making = self._costs.of(MAKING, self._size)
        if rung.makes_frames and len(making) >= ENOUGH:
            expected_ms += demand.made * making.latest_ms()
        return expected_ms <= most_share(rung, self._tiers) * (demand.interval_ms or USUAL_MS)

    def _dip(self, rung: Rung, reason: Reason, demand: Demand, now_ns: int) -> None:
        """This frame is late: a trial ends with it, a held rung only if that was so too often."""
        is_excused, self._is_excused = self._is_excused, False
        if self._trial is not None and not is_excused:
            self._end_trial(self._trial.rung, demand, now_ns)
        if rung == self._held:
            return
        self._tell(self._held, rung, reason, now_ns)
        # Frames that waited while a stream began say nothing of a rung that was hardly used yet.
        is_new = reason == "backlog" and len(self._costs.of(self._held.tier, self._size)) < ENOUGH
        if is_excused or is_new:
            return
        self._dips.append(True)
        if sum(self._dips) >= DIPS:
            self._lose_held(demand, now_ns)

    def _lose_held(self, demand: Demand, now_ns: int) -> None:
        """Hold the next rung that can be kept up, as far as is known."""
        before = self._held
        first = self._rungs.index(before)
        lower = self._rungs[first + 1 :]
        if not lower:
            return
        self._held = next((rung for rung in lower if self._keeps_up(rung, demand)), lower[-1])
        is_settled = now_ns - self._held_since_ns >= SETTLED_NS
        if is_settled:
            self._kept.update(self._rungs[first:])
        for rung in self._rungs[first : self._rungs.index(self._held)]:
            loss = self._losses.get(rung)
            if loss is None or is_settled:
                self._losses[rung] = Loss.now(now_ns)
            else:
                loss.has_relapsed = True
                loss.put_off(now_ns, is_kept=rung in self._kept, is_hopeless=False)
        self._compare(before, is_certain=len(self._new_costs(before)) >= LATEST)
        self._held_since_ns = now_ns
        self._dips.clear()
        self._tell(before, self._held, "too_slow", now_ns)

    def _try_better(self, demand: Demand, now_ns: int) -> Rung:
        """The rung for a frame in time: held, on trial, or from now on on trial."""
        if self._trial is None:
            may_be_had = (rung for rung in self._above if self._may_try(rung, demand, now_ns))
            better = next(may_be_had, self._held)
            if better == self._held:
                return better
            self._new_costs(better).forget()
            if better.makes_frames and not self._held.makes_frames:
                self._costs.of(MAKING, self._size).forget()
            self._trial = Trial(better, now_ns, demand.left_ms, demand.made)
        self._trial.left_ms, self._trial.made = demand.left_ms, demand.made
        return self._trial.rung

    @property
    def _above(self) -> list[Rung]:
        """What may be tried instead of the held rung: made frames beside what is held, then the next."""
        at, with_made = self._rungs.index(self._held), Rung(self._held.tier, makes_frames=True)
        return [rung for rung in (with_made, *self._rungs[:at][-1:]) if rung in self._rungs[:at]]

    def _may_try(self, rung: Rung, demand: Demand, now_ns: int) -> bool:
        """Whether it is time to, and worth it. See Note [Trials that need not be]."""
        loss, held = self._losses.get(rung), self._held
        is_new = rung not in self._kept and rung.tier not in (held.tier, *self._tiers[-2:])
        if is_new and not self._should_keep_up(rung, demand):
            return False
        if loss is None:
            return True
        if not self._tells_of(rung):
            return now_ns >= loss.retry_ns
        held_ms = self._costs.of(held.tier, self._size).latest_ms()
        making_ms = self._costs.of(MAKING, self._size).latest_ms() if rung.makes_frames else 0.0

        def fits(new_ms: float) -> bool:
            is_made = rung.tier == held.tier
            tier_ms, each_ms = (held_ms, new_ms) if is_made else (new_ms, making_ms)
            # What was measured a while ago is not held against the whole of the rule.
            most_ms = most_share(rung, self._tiers) / SHARE * (demand.interval_ms or math.inf)
            return tier_ms + demand.made * each_ms <= most_ms

        return loss.is_over(now_ns, held=held.tier, held_ms=held_ms, fits=fits)

    def _compare(self, rung: Rung, *, is_certain: bool) -> None:
        """Keep what a rung that is not held has cost beside the held one, where both are known."""
        held = self._held.tier
        held_ms = self._costs.of(held, self._size).latest_ms()
        new_ms = self._new_costs(rung).latest_ms()
        if held_ms and new_ms and self._tells_of(rung):
            self._losses[rung].compare(new_ms, held_ms, held=held, is_certain=is_certain)

    def _tells_of(self, rung: Rung) -> bool:
        """Whether what the held rung costs says something of what this better one would."""
        held = self._held
        # The plain upscale uses the machine in another way than a network.
        return rung.tier == held.tier or (
            held.tier != self._tiers[-1] and rung.makes_frames == held.makes_frames
        )

    def _new_costs(self, rung: Rung) -> Costs:
        """What ``rung`` costs and the held one does not."""
        return self._costs.of(MAKING if rung.tier == self._held.tier else rung.tier, self._size)

    def _judge_trial(self, trial: Trial, demand: Demand, now_ns: int, *, is_backlog: bool) -> None:
        rung, interval_ms = trial.rung, demand.interval_ms
        costs, new = self._costs.of(rung.tier, self._size), self._new_costs(rung)
        # A stall of the tier that is held as well is no fault of what is on trial.
        newest_ms = costs.newest_ms if new is costs else costs.latest_ms()
        has_ms = trial.left_ms
        if rung.makes_frames:
            newest_ms += trial.made * self._costs.of(MAKING, self._size).newest_ms
            has_ms = max(has_ms, interval_ms or 0.0)
        # It, or the next one, is late in any case: trying it again must be rare.
        is_hopeless = newest_ms > has_ms
        passes = not is_backlog
        if interval_ms is not None:
            passes = not trial.owe(newest_ms, interval_ms) and passes
        if len(new) >= ENOUGH:
            passes = passes and self._fits(rung, demand)
        if is_hopeless or not passes:
            self._end_trial(rung, demand, now_ns, is_hopeless=is_hopeless)
        elif now_ns - trial.began_ns >= TRIAL_NS:
            self._trial = None
            self._hold(rung, "recovered", now_ns)

    def _end_trial(
        self, rung: Rung, demand: Demand, now_ns: int, *, is_hopeless: bool = False
    ) -> None:
        """It has failed. See Note [What says nothing of a rung]."""
        self._trial = None
        loss = self._losses.setdefault(rung, Loss.now(now_ns))
        if not is_hopeless and self._fits(rung, demand):
            loss.repeat(now_ns)
            return
        loss.put_off(now_ns, is_kept=rung in self._kept, is_hopeless=is_hopeless)
        self._compare(rung, is_certain=False)

    def _fits(self, rung: Rung, demand: Demand) -> bool:
        """Whether a rung on trial can be kept up by what it has cost there."""
        loss, most = self._losses.get(rung), most_share(rung, self._tiers)
        # A luxury that comes and goes moves the time at which all frames leave.
        if most < SHARE or (loss is not None and loss.has_relapsed):
            most -= CAUTION
        return self._share(rung, demand, Costs.latest_ms) <= most

    def _share(self, rung: Rung, demand: Demand, lately: Callable[[Costs], float]) -> float:
        """Of the interval: what a rung takes by what is known of it; 0 while there is no interval."""
        cost_ms = self._tier_ms(rung.tier, lately)
        if rung.makes_frames:
            cost_ms += demand.made * lately(self._costs.of(MAKING, self._size))
        return cost_ms / demand.interval_ms if demand.interval_ms else 0.0

    def _tier_ms(self, tier: str, lately: Callable[[Costs], float]) -> float:
        """What a tier has cost, or should where it never ran."""
        costs = self._costs.of(tier, self._size)
        return lately(costs) if costs else self._costs.expected_ms(tier, self._size)

    def _obey_limit(self) -> None:
        best = self._best
        if self._rungs[0].tier == best:
            return
        was_best = self._held == self._rungs[0]
        self._rungs = self._rungs_from(best)
        self._trial = None
        # Whoever was held back by nothing but the limit is not now either.
        if was_best or self._held not in self._rungs:
            self._hold(self._rungs[0], "limited", self._clock.now_ns())

    def _rungs_from(self, best: str) -> tuple[Rung, ...]:
        tiers = self._tiers[self._tiers.index(best) :]
        return rungs_of(tiers, makes_frames=self._makes_frames)

    def _enter(self, size: Size, demand: Demand, now_ns: int) -> None:
        """What failed with pictures of another size may well fit now, and so may what failed with the
        first ones of this size."""
        is_first = not self._costs
        if size not in self._costs:
            self._cold_until_ns = now_ns + WARM_UP_NS
            self._costs.of(MAKING, size)
        elif size != self._size:
            self._cold_until_ns = None
        elif self._cold_until_ns is not None and now_ns >= self._cold_until_ns:
            self._cold_until_ns = None
            self._costs.clear(size)
            self._hold(self._first(demand), "recovered", now_ns)
        else:
            return
        self._size, self._trial, self._held_since_ns = size, None, now_ns
        if is_first:
            self._held = self._first(demand)
        self._losses.clear()
        self._kept.clear()
        self._dips.clear()

    def _first(self, demand: Demand) -> Rung:
        """The best that can be expected to keep up."""
        fitting = (rung for rung in self._rungs if self._should_keep_up(rung, demand))
        return next(fitting, self._rungs[-1])

    def _hold(self, rung: Rung, reason: Reason, now_ns: int) -> None:
        before, self._held, self._held_since_ns = self._held, rung, now_ns
        if rung != before:
            self._tell(before, rung, reason, now_ns)

    def _tell(self, before: Rung, after: Rung, reason: Reason, now_ns: int) -> None:
        if self.on_step is not None:
            self.on_step(Step(now_ns, before, after, reason))
