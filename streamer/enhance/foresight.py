"""Whether prediction has lately been better than showing the last frame again."""

from __future__ import annotations

from fractions import Fraction

from streamer.enhance.frame_maker import FrameMaker
from streamer.frame import Plane
from streamer.metrics import Metrics
from streamer.ops.motion_ahead import gain_db

SHARE = 0.1
"""Of the newest gain in the mean: about a third of a second at 30 fps."""

OFF_DB, ON_DB = -0.1, 0.1
"""Apart, so that a gain near nothing does not switch back and forth."""


class Foresight:
    """Predicts each real frame, small and cheaply, and compares when it is there."""

    def __init__(self, maker: FrameMaker, metrics: Metrics) -> None:
        self.mean_db: float | None = None
        """Mean gain over repetition; ``None`` while nothing was compared."""
        self.is_better = True
        self._maker = maker
        self._metrics = metrics
        self._foreseen: tuple[Plane, Plane, Fraction] | None = None
        """The next frame as predicted, the one it was predicted from, and the time it is for."""

    def foresee(self, for_s: Fraction) -> None:
        """Predict the frame at the time ``for_s``, one interval after the pair looked at last."""
        self._foreseen = (self._maker.foreseen(), self._maker.small, for_s)

    def forget(self) -> None:
        """What comes next cannot be compared: a cut, or nothing moves."""
        self._foreseen = None

    def judge(self, time_s: Fraction, *, tolerance_s: Fraction) -> None:
        """The frame of this time was just looked at: compare it with what was foreseen for it."""
        if self._foreseen is None:
            return
        predicted, last, for_s = self._foreseen
        self._foreseen = None
        if abs(time_s - for_s) > tolerance_s or predicted.shape != self._maker.small.shape:
            return
        gain = gain_db(predicted, last=last, actual=self._maker.small)
        self.mean_db = (
            gain if self.mean_db is None else self.mean_db + SHARE * (gain - self.mean_db)
        )
        was_better = self.is_better
        self.is_better = self.mean_db > (OFF_DB if was_better else ON_DB)
        if self.is_better != was_better:
            self._metrics.count(
                "prediction.switched_on" if self.is_better else "prediction.switched_off"
            )
