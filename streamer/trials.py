"""Trials of lost rungs: when one may be tried again, and what says that it does not fit.

Note [Trials that need not be]: What a rung of the ladder costs beside the one that is held, as a
share of that one's cost, hardly depends on the load: both slow down alike. So what a lost rung would
cost now can be told without trying it. While that does not fit it is tried after ``LONGEST_NS`` only;
when the held rung has become visibly cheaper, at once.

Note [What says nothing of a rung]: A trial that ends although what it measured fits ended by a machine
that stopped for a moment: the rung is tried again after the first pause. Only those that fail by what
they measured double it. What the first frames of a size cost, while caches are cold and engines run for
the first time, says nothing either: after ``WARM_UP_NS`` the ladder begins anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from streamer.rungs import Rung

WARM_UP_NS = 1_500_000_000
"""What frames cost before that is forgotten, and what was lost."""

TRIAL_NS = 550_000_000
"""How long a trial lasts. After a load, a last pause and three of them take less than 5 s: from the plain
upscale to the best network and made frames."""

OWED = 0.25
"""Intervals by which a trial may have put off the next frame while its mean says nothing yet: with
costs that vary by 30 % a rung that needs 0.8 on average would fail every fifth time at 0, every
thirtieth here."""

FIRST_PAUSE_NS = 1_000_000_000
PAUSE_NS = 2_500_000_000
"""The pauses between trials, which double from the first to this where the load may go away again."""

LASTING = 10
"""What was lost for long is tried less often: pauses may grow to this part of the time since."""

LONGEST_NS, HOPELESS_NS = 8_000_000_000, 60_000_000_000
"""They double up to the first where a rung was never kept, or is lost for long: a trial puts a frame or
two off, which is 1 % of them. Up to the second where a frame of it takes longer than it has: each trial
loses frames then."""

EASED = 0.7
"""Of what the held rung has cost at the last trial: from here on the load has gone."""


@dataclass(slots=True)
class Trial:
    """Of a better rung, by the frames that had it."""

    rung: Rung
    began_ns: int
    left_ms: float
    """Until the deadline of its last frame, when that was begun."""
    made: int
    """Frames wanted between that one and the next."""
    owed_ms: float = 0.0
    """By how much its frames have put off the next one."""

    def owe(self, newest_ms: float, interval_ms: float) -> bool:
        """Note what the last frame cost, and those made with it; whether the next one is put off
        too far by now."""
        self.owed_ms = max(0.0, self.owed_ms + newest_ms - interval_ms)
        return self.owed_ms > OWED * interval_ms


@dataclass(frozen=True, slots=True)
class Beside:
    """What a lost rung has cost beside the one that is held; see Note [Trials that need not be]."""

    held: str
    """The tier that is held."""
    held_ms: float
    shares: tuple[float, float]
    """Of what is new with the lost rung in the held one's cost, as measured the last two times. The
    smaller one counts: one trial may meet a machine that stops for a moment."""

    def expected_ms(self, held_ms: float) -> float:
        """What is new with the rung would cost, where the held one costs ``held_ms`` now."""
        return held_ms * min(self.shares)


@dataclass(slots=True)
class Loss:
    """Of a rung: when it was lost, when it may be tried again, and when it is whatever it may cost."""

    lost_ns: int
    retry_ns: int
    unlikely_ns: int
    pause_ns: int = FIRST_PAUSE_NS
    has_relapsed: bool = False
    beside: Beside | None = None

    @classmethod
    def now(cls, now_ns: int) -> Self:
        return cls(now_ns, now_ns + FIRST_PAUSE_NS, now_ns + LONGEST_NS)

    def put_off(self, now_ns: int, *, is_kept: bool, is_hopeless: bool) -> None:
        """It was tried and did not fit. ``is_kept``: it did for a while, before it was lost."""
        longest_ns = HOPELESS_NS if is_hopeless else LONGEST_NS
        if is_kept:
            longest_ns = min(LONGEST_NS, max(PAUSE_NS, (now_ns - self.lost_ns) // LASTING))
        self.pause_ns = min(2 * self.pause_ns, longest_ns)
        self.retry_ns = now_ns + self.pause_ns
        self.unlikely_ns = now_ns + max(LONGEST_NS, self.pause_ns)

    def repeat(self, now_ns: int) -> None:
        """It was tried, and what ended that says nothing of it."""
        self.retry_ns = self.unlikely_ns = now_ns + FIRST_PAUSE_NS

    def compare(self, new_ms: float, held_ms: float, *, held: str, is_certain: bool) -> None:
        """Keep what is new with it has cost beside the ``held`` tier. Measured by a frame or two, it is
        not ``is_certain``, and nothing is expected of it until it has been measured twice."""
        share, last = new_ms / held_ms, self.beside
        known = 0.0 if last is None or last.held != held else last.shares[1]
        earlier = share if is_certain else known
        self.beside = Beside(held, held_ms, (earlier, share))

    def is_over(
        self, now_ns: int, *, held: str, held_ms: float, fits: Callable[[float], bool]
    ) -> bool:
        """Whether it may be tried, with a tier ``held`` that costs ``held_ms`` now. ``fits`` says whether
        there is time for what it would cost beside that. See Note [Trials that need not be]."""
        if self.beside is None or self.beside.held != held:
            return now_ns >= self.retry_ns
        if held_ms <= EASED * self.beside.held_ms:
            # The load that took it has gone, which is an occasion for one trial.
            self.pause_ns, self.retry_ns = FIRST_PAUSE_NS, min(self.retry_ns, now_ns)
            self.beside = replace(self.beside, held_ms=held_ms)
        is_likely = fits(self.beside.expected_ms(held_ms))
        return now_ns >= (self.retry_ns if is_likely else self.unlikely_ns)
