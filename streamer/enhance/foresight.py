"""Whether prediction has lately been better than showing the last frame again."""

from __future__ import annotations

from streamer.metrics import Metrics

SHARE = 0.1
"""Of the newest gain in the mean: about a third of a second at 30 fps."""

OFF_DB, ON_DB = -0.1, 0.1
"""Apart, so that a gain near nothing does not switch back and forth."""


class Foresight:
    """Told what predicting each real frame would have gained, as soon as it is there."""

    def __init__(self, metrics: Metrics) -> None:
        self.mean_db: float | None = None
        """Mean gain over repetition; ``None`` while nothing was compared."""
        self.is_better = True
        self._metrics = metrics

    def add(self, gain_db: float) -> None:
        """Of one real frame."""
        self.mean_db = (
            gain_db if self.mean_db is None else self.mean_db + SHARE * (gain_db - self.mean_db)
        )
        was_better = self.is_better
        self.is_better = self.mean_db > (OFF_DB if was_better else ON_DB)
        if self.is_better != was_better:
            self._metrics.count(
                "prediction.switched_on" if self.is_better else "prediction.switched_off"
            )
