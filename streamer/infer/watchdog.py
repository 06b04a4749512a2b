"""A cheap look at each output of a network, so that a broken one never reaches the picture."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.clock import Clock
from streamer.infer.engine import Engine, Tensors
from streamer.model import FOLLOWING, RESIDUAL_ZERO

MEAN_LIMIT = 16.0
"""Code values, either way. An upscale keeps the mean: over noise, checkerboards and stripes of
full contrast, 6.3 is the most that a shipped network adds."""

SIZE_LIMIT = 250.0
"""Code values, root mean square. Networks for streams reach 123 on stripes of single pixels, and a few
on pictures."""

BYTES_LIMIT = 120.0
"""The same of whole codes as uint8, which end at 128: networks reach 35, 127 is what random bits give."""

SHARE_LIMIT = 1.01
"""Of what a motion network says beside its flow: shares, and luma as code values / 255."""

IN_A_ROW, IN_A_MINUTE = 3, 10
"""Unsound outputs after which an engine is given up."""

MINUTE_NS = 60_000_000_000


class Watchdog:
    """Judges what one engine gives, after each run; belongs to the thread that runs it.

    A 1280x720 residual takes 0.08 ms as uint8 and 0.45 as float32.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self.verdict = ""
        """Why the engine is to be used no more, in one sentence for the log; empty until then."""
        self._label = f"{engine.manifest.name} on {engine.backend}"
        self._judge = FAULTS.get(engine.manifest.task, _guide_fault)
        self._clock = clock
        self._in_a_row = 0
        self._lately_ns: deque[int] = deque(maxlen=IN_A_MINUTE)

    def is_sound(self, outputs: Tensors) -> bool:
        """Whether the outputs of this run can be used. If not, make the frame without them."""
        faults = (self._judge(name, array) for name, array in outputs.items())
        fault = next((fault for fault in faults if fault), "")
        if not fault:
            self._in_a_row = 0
            return True
        self.failed(fault)
        return False

    def failed(self, fault: str) -> None:
        """This run gave nothing that can be used."""
        now_ns = self._clock.now_ns()
        self._in_a_row += 1
        self._lately_ns.append(now_ns)
        is_full = len(self._lately_ns) == IN_A_MINUTE
        if self._in_a_row >= IN_A_ROW:
            often = f"{self._in_a_row} times in a row"
        elif is_full and now_ns - self._lately_ns[0] <= MINUTE_NS:
            often = f"{IN_A_MINUTE} times in a minute"
        else:
            return
        self.verdict = self.verdict or (
            f"{self._label} gave what cannot be {often} (last: {fault}), so this run goes on without "
            "it; choose another --backend, and please report it"
        )


def _residual_fault(name: str, residual: NDArray[Any]) -> str:
    """What is wrong with a residual; empty where nothing is."""
    rows = residual.reshape(-1, residual.shape[-1])
    if residual.dtype == np.uint8:
        # One pass over bytes gives both; over float32 it would take twice as long as two.
        level, deviation = cv2.meanStdDev(rows)
        mean = float(level[0, 0]) - RESIDUAL_ZERO
        size, limit = float(np.hypot(mean, deviation[0, 0])), BYTES_LIMIT
    else:
        rows = rows.astype(np.float32, copy=False)
        mean = cv2.mean(rows)[0]
        size, limit = cv2.norm(rows, cv2.NORM_L2) / rows.size**0.5, SIZE_LIMIT
    # Written so that not a number is never within.
    if not abs(mean) <= MEAN_LIMIT:
        return f"{name} with a mean of {mean:.3g} code values"
    return "" if size <= limit else f"{name} of {size:.3g} code values"


def _change_fault(name: str, change: NDArray[Any]) -> str:
    """What is wrong with what a network gives that follows pictures; empty where nothing is. Shares are
    bounded by what takes them."""
    shares, residuals = np.split(change, 2, axis=1)
    if not np.isfinite(shares).all():
        return f"{name} that is not a number"
    return _residual_fault(name, residuals)


def _guide_fault(name: str, values: NDArray[Any]) -> str:
    """What is wrong with an output of a motion network; empty where nothing is."""
    rows = values.reshape(-1, values.shape[-1]).astype(np.float32, copy=False)
    limit = float(max(values.shape[-2:])) if name == "flow" else SHARE_LIMIT
    # The largest of numbers is told wrongly where some are none; their sum is not.
    if not np.isfinite(cv2.norm(rows, cv2.NORM_L1)):
        return f"{name} that is not a number"
    largest = cv2.norm(rows, cv2.NORM_INF)
    return "" if largest <= limit else f"{name} of {largest:.3g}, at most {limit:g} makes sense"


FAULTS: Mapping[str, Callable[[str, NDArray[Any]], str]] = {
    "super_resolution": _residual_fault,
    **dict.fromkeys(FOLLOWING, _change_fault),
}
"""By task, what judges an output; all others are of motion."""
