"""Guides of made frames without a network: of the motions that are told, the one both pictures confirm."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.infer.engine import Tensors
from streamer.model import ModelManifest, TensorSpec

Floats = NDArray[np.float32]

TEMPER = 384.0
"""Of the choice between motions: 1.5 code values of mismatch make one three times as likely."""

NARROW, WIDE = 3, 7
"""Cells on each side over which mismatch is averaged, half of each: the narrow one finds edges,
the wide one does not fall for noise. Together 0.05 dB better than either alone."""

SOFT_START, SOFT_PULL = -4.5, 90.0
"""Half soft where both pictures differ by 13 code values."""

SOFT_LATER = 0.5
"""Added to the start for each interval beyond the second picture."""

SOFT_LEAST = 0.1
"""What is less soft stays sharp: 0.01 dB better, and parts without softness cost no blur."""


DETAIL = 9
"""Cells on each side over which detail is averaged."""

NOISE = 2.5
"""Of the share that a blur takes from detail: as much as Wiener's filter would leave out, and this
many times more, since grain and bends of the motion look alike to it. Fine print and foliage gain
0.1 to 0.3 dB over mismatch alone, which calls strong contrast a guess; at 1.5 faces lose 0.05."""


class ReferenceMotionEngine:
    """Takes and gives what a motion network does (``ops/motion.py``), by plain arithmetic.

    Where pictures 0 and 1, both brought to the wanted time by one motion, look alike, that motion
    is right: this chooses between the forward flow, the backward flow and standing still. What
    none of them explains becomes soft. Which picture counts is a matter of time alone, but for
    what would come from beyond the edge of one of them.
    """

    backend = "reference"

    def __init__(self) -> None:
        self.manifest = ModelManifest(
            name="motion-by-agreement",
            task="motion",
            variant="plain",
            training="none",
            scale=1,
            file="",
            sha256="",
            opset=0,
            precision="fp32",
            inputs=(
                TensorSpec(name="pictures", shape=(1, 6, "2*h", "2*w")),
                TensorSpec(name="motion", shape=(1, 5, "h", "w")),
            ),
            outputs=(
                TensorSpec(name="flow", shape=(1, 4, "h", "w")),
                TensorSpec(name="mask", shape=(1, 1, "h", "w")),
                TensorSpec(name="residual", shape=(1, 1, "h", "w")),
                TensorSpec(name="softness", shape=(1, 1, "h", "w")),
            ),
            multiple_of=4,
        )

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        """Fills ``flow``, ``mask``, ``softness`` and, where it is asked for, ``residual``; raises
        nothing."""
        pictures, motion = inputs["pictures"][0], inputs["motion"][0]
        time = float(motion[4, 0, 0])
        forward, backward, standing = (_mismatch(pictures[n], pictures[n + 1]) for n in (0, 2, 4))
        ahead = _sigmoid(TEMPER * (backward - forward))
        moves = _sigmoid(TEMPER * (standing - np.minimum(forward, backward)))
        common = moves * (motion[2:4] + ahead * (motion[0:2] - motion[2:4]))
        flow = outputs["flow"][0]
        np.multiply(common, np.float32(-time), out=flow[0:2])
        np.multiply(common, np.float32(1.0 - time), out=flow[2:4])
        outputs["mask"][0, 0] = _share_of_first(flow, time)
        if "residual" in outputs:
            outputs["residual"][...] = 0.0
        moved = backward + ahead * (forward - backward)
        differs = standing + moves * (moved - standing)
        start = SOFT_START + SOFT_LATER * max(0.0, time - 1.0)
        softness = (_sigmoid(start + SOFT_PULL * differs) - SOFT_LEAST) / (1.0 - SOFT_LEAST)
        np.clip(softness, 0.0, _noise_share(pictures, time), out=outputs["softness"][0, 0])

    def close(self) -> None: ...


def _mismatch(one: NDArray[Any], other: NDArray[Any]) -> Floats:
    """How far two (2h, 2w) pictures differ around each of (h, w) cells, code values / 255."""
    apart = cv2.absdiff(one, other)
    cells = cv2.resize(
        apart, (apart.shape[1] // 2, apart.shape[0] // 2), interpolation=cv2.INTER_AREA
    )
    near = cv2.blur(cells, (NARROW, NARROW), borderType=cv2.BORDER_REPLICATE)
    around = cv2.blur(cells, (WIDE, WIDE), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.addWeighted(near, 0.5, around, 0.5, 0.0), dtype=np.float32)


def _noise_share(pictures: Floats, time: float) -> Floats:
    """(h, w) share of detail that a mean of both pictures gets wrong, 0 and up.

    Two pictures of one scene with errors of their own differ by twice the error's power; the mean
    holds the scene's and, of two equal shares, half the error's.
    """
    apart = (_detail(cv2.subtract(pictures[n], pictures[n + 1])) for n in (0, 2))
    error = np.float32(0.5) * cv2.min(*apart)
    first = max(0.0, 1.0 - time)
    kept = np.float32(first**2 + (1.0 - first) ** 2)
    power = np.maximum(_detail(pictures[0]) - (1 - kept) * error, np.float32(1e-7))
    return np.asarray(np.float32(NOISE) * kept * error / power, dtype=np.float32)


def _detail(picture: Floats) -> Floats:
    """Variance within the four pixels of each cell, averaged around it; (h, w) of (2h, 2w)."""
    size = (picture.shape[1] // 2, picture.shape[0] // 2)
    mean = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    square = cv2.resize(cv2.multiply(picture, picture), size, interpolation=cv2.INTER_AREA)
    variance = square - cv2.multiply(mean, mean)
    return np.asarray(
        cv2.blur(variance, (DETAIL, DETAIL), borderType=cv2.BORDER_REPLICATE), dtype=np.float32
    )


def _share_of_first(flow: Floats, time: float) -> Floats | float:
    """(h, w) share of picture 0: by nearness in time, unless only one of them holds the place."""
    if time >= 1.0:
        # The later picture alone: its motion is the shorter one, and it knows what came last.
        return 0.0
    beyond = _beyond(flow[2], flow[3]) - _beyond(flow[0], flow[1])
    share: Floats = np.clip(np.float32(1.0 - time) + beyond, 0.0, 1.0)
    return share


def _beyond(x: Floats, y: Floats) -> Floats:
    """0 where a flow ends within the picture, 1 where it ends a cell or more beyond its edge."""
    height, width = x.shape
    columns = x + np.arange(width, dtype=np.float32)
    rows = y + np.arange(height, dtype=np.float32)[:, None]
    off = np.maximum(
        np.maximum(-columns, columns - (width - 1)), np.maximum(-rows, rows - (height - 1))
    )
    beyond: Floats = np.clip(off, 0.0, 1.0)
    return beyond


def _sigmoid(value: Floats) -> Floats:
    # OpenCV's exponential overflows to infinity without a word, and the sigmoid to zero.
    return np.asarray(1.0 / (1.0 + cv2.exp(-value)), dtype=np.float32)
