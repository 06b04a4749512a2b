"""What viewers ask of the one encoder they share: a keyframe now and then, and a bit rate."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from streamer.clock import Clock

APART_MS = 150
"""Between two requests: one keyframe serves every viewer who asked meanwhile."""

REMIND_MS = 600
"""After this long without a keyframe the request is made again."""

LIMITS_BELOW = 0.95
FREES_ABOVE = 1.2
"""An estimate becomes a limit when it is clearly less than what is being sent, and stays one until
it is clearly more.

A browser estimates what it has received so far, at most 1.5 times: 0.97 to 1.0 times the sent rate
when it has just joined, 0.85 times when packets queue up. Taking each estimate as a limit would
spoil the picture whenever somebody joins, and pin a calm one to a low rate.
"""

FLOOR_BPS = 300_000
SHARED = 0.5
"""Of the ceiling: the floor where recordings, playlists and pushes get the same packets. A narrow line
is one viewer's, and what it costs a recording is lost for good."""

RISE_PER_S = 0.10
SMALL_CHANGE = 0.05
SETTLE_MS = 500
WINDOW_MS = 1_000


class KeyframeRequests:
    """Passes requests on, at most one per ``apart_ms``; the last of a burst is never lost."""

    def __init__(
        self, request: Callable[[], None], clock: Clock, *, apart_ms: int = APART_MS
    ) -> None:
        self._request = request
        self._clock = clock
        self._apart_ns = apart_ms * 1_000_000
        self._last_ns: int | None = None
        self._due: asyncio.TimerHandle | None = None
        self.asked = 0
        self.passed_on = 0

    def ask(self) -> None:
        """A viewer cannot go on without a keyframe."""
        self.asked += 1
        if self._due is not None:
            return
        wait_ns = self._apart_ns - self._age_ns()
        if wait_ns <= 0:
            self._pass_on()
        else:
            loop = asyncio.get_running_loop()
            self._due = loop.call_later(wait_ns / 1e9, self._pass_on)

    def remind(self) -> None:
        """Ask again if the last request has brought no keyframe for a while."""
        if self._age_ns() > REMIND_MS * 1_000_000:
            self.ask()

    def served(self) -> None:
        """A keyframe is leaving: it serves every request made until now."""
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _age_ns(self) -> int:
        if self._last_ns is None:
            return max(self._apart_ns, REMIND_MS * 1_000_000) + 1
        return self._clock.now_ns() - self._last_ns

    def _pass_on(self) -> None:
        self._due = None
        self._last_ns = self._clock.now_ns()
        self.passed_on += 1
        self._request()


class BitrateVote:
    """The bit rate that suits the viewer with the narrowest line.

    Falls at once and rises by a tenth per second, so that the picture does not pump with every
    report. It never leaves ``FLOOR_BPS .. ceiling_bps`` and begins at the ceiling. ``is_shared``: others than
    viewers get it too.
    """

    def __init__(
        self,
        apply: Callable[[int], None],
        clock: Clock,
        *,
        ceiling_bps: int,
        is_shared: bool = False,
    ) -> None:
        self._apply = apply
        self._clock = clock
        self._ceiling_bps = ceiling_bps
        self._is_shared = is_shared
        self._limits_bps: dict[str, int] = {}
        self._window: deque[tuple[int, int]] = deque()
        self._changed_ns = clock.now_ns()
        self.target_bps = ceiling_bps

    def sent(self, size_bytes: int) -> None:
        """Count one packet that every viewer was sent."""
        now_ns = self._clock.now_ns()
        self._window.append((now_ns, size_bytes))
        while self._window[0][0] < now_ns - WINDOW_MS * 1_000_000:
            self._window.popleft()

    @property
    def sent_bps(self) -> int:
        """What left during the last second."""
        since_ns = self._clock.now_ns() - WINDOW_MS * 1_000_000
        return sum(size for at_ns, size in self._window if at_ns >= since_ns) * 8

    def report(self, viewer: str, estimate_bps: int) -> None:
        """A viewer says how much its line carries."""
        was_limited = self._limits_bps.get(viewer, self._ceiling_bps) < self._ceiling_bps
        threshold = FREES_ABOVE if was_limited else LIMITS_BELOW
        is_limited = estimate_bps < threshold * self.sent_bps
        self._limits_bps[viewer] = estimate_bps if is_limited else self._ceiling_bps
        self._settle()

    def set_ceiling(self, ceiling_bps: int) -> None:
        """The ceiling from now on, which is the target at once unless a viewer's line carries less."""
        for viewer, limit_bps in self._limits_bps.items():
            is_limited = limit_bps < min(self._ceiling_bps, ceiling_bps)
            self._limits_bps[viewer] = limit_bps if is_limited else ceiling_bps
        self._ceiling_bps = ceiling_bps
        # At once: somebody asked for it, and a rise by tenths is for what lines may not carry.
        self._change(self._wanted_bps())

    def forget(self, viewer: str) -> None:
        """A viewer left, and its limit with it."""
        self._limits_bps.pop(viewer, None)
        if not self._limits_bps:
            self._change(self._ceiling_bps)

    def _settle(self) -> None:
        wanted = self._wanted_bps()
        since_s = (self._clock.now_ns() - self._changed_ns) / 1e9
        if wanted < self.target_bps:
            is_small = wanted > self.target_bps * (1 - SMALL_CHANGE)
            if not is_small and since_s * 1_000 >= SETTLE_MS:
                self._change(wanted)
        elif since_s >= 1:
            self._change(min(wanted, round(self.target_bps * (1 + RISE_PER_S))))

    def _wanted_bps(self) -> int:
        wanted = min(self._limits_bps.values(), default=self._ceiling_bps)
        floor = max(FLOOR_BPS, round(SHARED * self._ceiling_bps)) if self._is_shared else FLOOR_BPS
        return min(max(floor, wanted), self._ceiling_bps)

    def _change(self, target_bps: int) -> None:
        if target_bps == self.target_bps:
            return
        self.target_bps = target_bps
        self._changed_ns = self._clock.now_ns()
        self._apply(target_bps)
