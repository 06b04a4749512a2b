"""What is shown while nothing comes: the last picture again, then the last picture as a slate."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np

from streamer.clock import Clock
from streamer.frame import Frame, Origin, Plane, Planes, rescale
from streamer.ops import host

HOLD_AFTER_S = 1.0
"""Silence from here on is a break: frames that come later than this would not be shown anyway."""

SLATE_AFTER_S = 3.0
EVERY_NS = 200_000_000
"""Often enough for players to stay connected and for a keyframe to be asked for."""

TEXT = "NO SIGNAL"
DIMMED = 0.35


class Hold:
    """Makes frames for the times at which the source gives none.

    Their media time goes on by the clock from the last real frame's, as that of a source does which
    comes back, so that the output never runs backwards. Called from one thread at a time.
    """

    def __init__(self, clock: Clock, *, fps: Fraction | None) -> None:
        self._clock = clock
        # A camera with one picture in two seconds is not silent between them.
        self._after_s = max(HOLD_AFTER_S, 3 / float(fps)) if fps else HOLD_AFTER_S
        self._last: Frame | None = None
        self._shown_ns = 0
        self._excused_ns = 0
        self._asked_ns = clock.now_ns()
        self._slate: tuple[Planes, Planes | None] | None = None

    def shown(self, frame: Frame) -> None:
        """A real frame was shown just now."""
        self._last = frame
        self._shown_ns = self._clock.now_ns()
        self._excused_ns = 0
        self._slate = None

    def excuse(self, stall_ns: int) -> None:
        """The source could not be heard for so long; that is not its silence."""
        self._excused_ns += stall_ns

    @property
    def last(self) -> Frame | None:
        """What was shown last."""
        return self._last

    @property
    def next_ns(self) -> int:
        """When ``make`` is to be called next, if no real frame was shown until then."""
        again_ns = self._asked_ns + EVERY_NS
        return again_ns if self._last is None else max(again_ns, self._silent_from_ns)

    @property
    def _silent_from_ns(self) -> int:
        """When the source counts as silent, if no real frame was shown until then."""
        return self._shown_ns + self._excused_ns + round(self._after_s * 1e9)

    def make(self) -> Frame | None:
        """A frame for now; ``None`` while there is nothing to hold, or no need to."""
        now_ns, last = self._clock.now_ns(), self._last
        if last is not None and now_ns < self._silent_from_ns:
            return None
        self._asked_ns = now_ns
        if last is None:
            return None
        silent_ns = now_ns - self._shown_ns
        elapsed = rescale(silent_ns, Fraction(1, 1_000_000_000), last.time_base)
        planes, comparison = last.planes, last.comparison
        if silent_ns >= (self._after_s - HOLD_AFTER_S + SLATE_AFTER_S) * 1e9:
            planes, comparison = self._as_slate(last)
        return replace(
            last,
            planes=planes,
            comparison=comparison,
            pts=last.pts + elapsed,
            arrived_ns=self._clock.now_ns(),
            origin=Origin.REPEATED,
            tier="held",
            stamps_ns={},
        )

    def _as_slate(self, last: Frame) -> tuple[Planes, Planes | None]:
        if self._slate is None:
            black = last.color.black
            tall = last.comparison
            self._slate = (
                slate(last.planes, black=black),
                None if tall is None else _stacked(slate(host.part(tall, 0, of=2), black=black)),
            )
        return self._slate


def slate(planes: Planes, *, black: int) -> Planes:
    """The picture dimmed and grey, with ``TEXT`` across its middle; ``black`` is luma's zero."""
    luma = cv2.GaussianBlur(planes[0], (0, 0), max(1.0, planes[0].shape[0] / 120))
    y: Plane = np.asarray(black + (luma.astype(np.float32) - black) * DIMMED).astype(np.uint8)
    height, width = y.shape
    size = width / 640
    thick = max(1, round(2 * size))
    (text_width, text_height), _ = cv2.getTextSize(TEXT, cv2.FONT_HERSHEY_DUPLEX, size, thick)
    place = ((width - text_width) // 2, (height + text_height) // 2)
    cv2.putText(y, TEXT, place, cv2.FONT_HERSHEY_DUPLEX, size, 225, thick, cv2.LINE_AA)
    return y, np.full_like(planes[1], 128), np.full_like(planes[2], 128)


def _stacked(planes: Planes) -> Planes:
    y, u, v = (np.concatenate((plane, plane)) for plane in planes)
    return y, u, v
