"""Task ``concealment``: frames lost in bursts, filled from what was shown before, and compared."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.ahead import made_ahead, predicting
from benchmarks.quality.material import Item, Kind
from benchmarks.quality.methods import concealment_baselines
from benchmarks.quality.scores import Judge, Judged
from benchmarks.quality.settings import Bench
from benchmarks.quality.temporal import Step
from streamer.errors import ConfigError
from streamer.frame import Planes

LOSS_SHARE, MEAN_BURST = 0.05, 2.0

LONGEST_FILLED = 4
"""Frames of a burst that are made; after these the last made one stays and is not judged."""

PATTERNS = 4
"""Times that each clip is played, each with losses of its own: most clips lose few frames."""

CONDITION = "lost frames"

PROTOCOL = (
    f"Gilbert-Elliott losses of whole frames: {LOSS_SHARE:.0%} lost, bursts of {MEAN_BURST:g} on "
    "average, everything lost in the bad state and nothing in the good one, the first two frames "
    f"always arrive; each clip {PATTERNS} times over. The k-th lost frame of a burst is made for "
    f"step k from the two frames shown before the burst, k up to {LONGEST_FILLED}; only these "
    "count. Frames that arrive are taken as whole: what a decoder drags along after a loss is not "
    "modelled. tof and warping_error over pairs of shown frames of which one is made. Means are "
    "over frames, not over clips."
)

Pairs = Mapping[str, tuple[Planes, Planes]]


class ConcealmentTask:
    """Every way to fill a gap."""

    kinds = (Kind.CLIP,)

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._methods, self.said = predicting(concealment_baselines(), PROTOCOL)

    def judge(self, item: Item) -> Iterator[Judged]:
        """One result. Raises ``ConfigError``."""
        frames = self._bench.shown(item)
        if len(frames) < 3:
            raise ConfigError(f"{item.name} has fewer than three frames; two must arrive first")
        judge = Judge(self._methods, extras=self._bench.extras)
        lost = 0
        for pattern in range(PATTERNS):
            # By name, so that a clip loses the same frames whichever others are judged with it.
            seed = [self._bench.settings.seed, pattern, zlib.crc32(item.name.encode())]
            is_lost = lost_frames(len(frames), np.random.default_rng(seed))
            self._play(judge, frames, is_lost)
            lost += int(is_lost.sum())
        yield judge.done(
            group=item.group,
            name=item.name,
            condition=CONDITION,
            size=frames[0][0].shape,
            sent=len(frames) * PATTERNS,
            lost=lost,
        )

    def _play(self, judge: Judge, frames: Sequence[Planes], is_lost: NDArray[np.bool_]) -> None:
        """The clip once through, with these losses."""
        shown: Pairs = dict.fromkeys(self._methods, (frames[0], frames[1]))
        before_burst, nth = shown, 0
        for original, before, lost in zip(frames[2:], frames[1:], is_lost[2:], strict=False):
            was_made, nth = 1 <= nth <= LONGEST_FILLED, nth + 1 if lost else 0
            before_burst = shown if nth == 1 else before_burst
            is_made = 1 <= nth <= LONGEST_FILLED
            now = self._shown_now(judge, original, shown, before_burst, nth=nth)
            for name in self._methods if is_made else ():
                judge.frame(name, now[name], original)
            if is_made or (was_made and not lost):
                _compare_change(judge, shown, now, Step(before[0], original[0]))
            shown = {name: (shown[name][1], now[name]) for name in self._methods}

    def _shown_now(
        self, judge: Judge, original: Planes, shown: Pairs, before_burst: Pairs, *, nth: int
    ) -> Mapping[str, Planes]:
        """What each method shows in place of ``original``, the ``nth`` lost one (0: it arrived)."""
        if nth == 0:
            return dict.fromkeys(self._methods, original)
        if nth > LONGEST_FILLED:
            return {name: last for name, (_, last) in shown.items()}
        return made_ahead(self._bench, judge, self._methods, pairs=before_burst, step=nth)


def lost_frames(number: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(number,) bool: which frames are lost; the first two never are.

    Gilbert 1960: a chain of two states, of which the bad one loses everything. It leaves the bad
    state with 1 / mean burst, and enters it so that the loss share comes out in the long run.
    """
    leave = 1 / MEAN_BURST
    enter = leave * LOSS_SHARE / (1 - LOSS_SHARE)
    is_lost = np.zeros(number, np.bool_)
    for index in range(2, number):
        chance = 1 - leave if is_lost[index - 1] else enter
        is_lost[index] = rng.random() < chance
    return is_lost


def _compare_change(judge: Judge, shown: Pairs, now: Mapping[str, Planes], step: Step) -> None:
    judge.original_pair(step)
    for name, result in now.items():
        judge.pair(name, shown[name][1][0], result[0], step)
