"""Motion on the host: flow between two small pictures, and what it says of any time between or after.

One description serves made frames of every kind. Two pictures stand at times 0 and 1 and one is
wanted at ``time``: inside (0, 1) it is interpolated, above 1 predicted. A *motion* is what a
pixel of the wanted picture travels from time 0 to time 1, in pixels of the grid it is kept on;
its sources are ``x - time * motion`` in picture 0 and ``x + (1 - time) * motion`` in picture 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from kernels.native import native
from kernels.native_motion import FlowCalls
from streamer.frame import Plane
from streamer.ops import motion_global
from streamer.ops.both import both

Floats = NDArray[np.float32]

PICTURES, MOTIONS, GUIDE = 6, 5, 6
"""Channels of the inputs of a motion network: what it sees, what it is told, what it changes."""

MULTIPLE = 8
"""Sides of the pictures among those inputs are multiples of this."""


@dataclass(frozen=True, slots=True)
class Flows:
    """Optical flow between two pictures, both (h, w, 2) float32 in pixels."""

    forward: Floats
    """From each pixel of picture 0 to its place in picture 1."""
    backward: Floats
    """From each pixel of picture 1 to its place in picture 0."""


@dataclass(frozen=True, slots=True)
class Guide:
    """How one picture is made of two; what a network says of it.

    Its grid has (h, w) cells; the last row and column may reach beyond the picture.
    """

    flow: Floats
    """(4, h, w): x and y into picture 0, x and y into picture 1, pixels of this grid."""
    mask: Floats
    """(h, w): share of picture 0, 0..1."""
    residual: Floats
    """(h, w): added to luma, code values / 255."""
    softness: Floats
    """(h, w): share of the blurred luma, 0..1."""
    filled: tuple[float, float] | None = None
    """Rows and columns that the picture fills, where it ends within a cell."""

    @property
    def extent(self) -> tuple[float, float]:
        """Rows and columns of cells that the picture is as large as."""
        if self.filled is not None:
            return self.filled
        rows, columns = self.mask.shape
        return float(rows), float(columns)


BLUR_SIZE, BLUR_SIGMA = 5, 1.0
"""Pixels of the made picture: what is blurred where the motion is a guess."""


class Search(Protocol):
    """Finds flow one way; belongs to one thread."""

    def search(self, start: Plane, end: Plane) -> Floats:
        """From each pixel of one (h, w) uint8 picture to its place in the other, (h, w, 2) pixels."""

    def complete(self, flow: Floats, start: Plane, end: Plane) -> None:
        """Puts the camera's motion where it explains a place as well, in place."""


class OpenCvSearch:
    """By OpenCV's dense inverse search, where nothing was compiled for this processor.

    Without variational refinement and one octave finer than OpenCV's "fast" preset: as good as its
    "medium" one within 0.2 dB of the warped picture, at a third of the time.
    """

    def __init__(self) -> None:
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._search.setFinestScale(1)
        self._search.setGradientDescentIterations(12)
        self._search.setVariationalRefinementIterations(0)

    def search(self, start: Plane, end: Plane) -> Floats:
        # It refuses rows with a gap between them, as a decoder leaves them; nothing is copied where
        # there is none.
        start, end = np.ascontiguousarray(start), np.ascontiguousarray(end)
        flow = self._search.calc(start, end, None)  # type: ignore[call-overload]
        return np.asarray(flow, dtype=np.float32)

    def complete(self, flow: Floats, start: Plane, end: Plane) -> None:
        motion_global.complete(flow, start, end)


class FlowEstimator:
    """Dense inverse search (Kroeger et al. 2016) on small luma; belongs to one thread.

    Compiled it goes down to the pictures' own size, OpenCV's to half of it in twice the time: 0.6 dB
    on the mean of 15 clips.
    """

    def __init__(self, search: Callable[[], Search] | None = None) -> None:
        """``search`` makes one; without it the best that this machine has is taken."""
        search = search or _best_search
        # One for each direction: a search keeps storage of its own.
        self._ahead, self._back = search(), search()

    def between(self, first: Plane, second: Plane) -> Flows:
        """Both flows of two (h, w) uint8 pictures; at least 16 pixels on each side.

        Where the camera's motion explains a place as well as the search, it is taken: 5.9 dB on a
        city of repeating windows, 0.6 on the mean of 15 clips.
        """
        return Flows(
            *both(
                partial(_completed, self._ahead, first, second),
                partial(_completed, self._back, second, first),
            )
        )

    def to(self, start: Plane, end: Plane) -> Floats:
        """From each pixel of one picture to its place in the other, (h, w, 2) pixels."""
        return self._ahead.search(start, end)


def _best_search() -> Search:
    compiled = native()
    return OpenCvSearch() if compiled is None else FlowCalls(compiled)


def _completed(search: Search, start: Plane, end: Plane) -> Floats:
    flow = search.search(start, end)
    search.complete(flow, start, end)
    return flow


def half(luma: Plane) -> Plane:
    """A (H, W) picture at half its size, by averaging; an odd last row or column is left out."""
    height, width = luma.shape[0] // 2, luma.shape[1] // 2
    even = luma[: 2 * height, : 2 * width]
    small = cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8)


def motions_at(flows: Flows, time: float) -> tuple[Floats, Floats]:
    """The motion at ``time`` as each flow tells it, (h, w, 2) each.

    A flow is known where it starts, not where its pixel is at ``time``; two rounds of looking it
    up where the last round said it starts bring it there.
    """
    forward = _carried(flows.forward, -time)
    backward = _carried(flows.backward, -(1.0 - time))
    return forward, -backward


def _carried(flow: Floats, share: float) -> Floats:
    found = flow
    for _ in range(2):
        found = sample(flow, found, share)
    return found


def sample(picture: Floats, flow: Floats, share: float = 1.0) -> Floats:
    """``picture`` (h, w[, 2]) looked up bilinearly at ``x + share * flow``; borders repeat."""
    out = np.empty(picture.shape, np.float32)
    look_up(picture, np.float32(share) * flow, out)
    return out


def look_up(
    picture: Floats | Plane, moved: Floats, out: Floats | Plane, down: Floats | None = None
) -> None:
    """Fills ``out`` with the picture at ``x + moved``, (h, w, 2) pixels, or (h, w) across and down."""
    cv2.remap(
        picture,
        moved,
        down,  # type: ignore[arg-type]
        cv2.INTER_LINEAR | cv2.WARP_RELATIVE_MAP,
        dst=out,
        borderMode=cv2.BORDER_REPLICATE,
    )


def foresee(second: Plane, flows: Flows, step: float, *, out: Plane) -> None:
    """The (h, w) picture ``step`` intervals after the second, looked up along the way back alone."""
    moved = _carried(flows.backward, step) * np.float32(step)
    look_up(second, moved, out)


def pack_motion(
    first: Plane, second: Plane, flows: Flows, time: float, *, pictures: Floats, motion: Floats
) -> None:
    """Fills the inputs of a motion network from two (h, w) uint8 pictures and their flows.

    ``pictures`` (6, H, W) with H >= h and W >= w: picture 0 and 1 brought to ``time`` by the
    forward flow, both by the backward flow, and both as they are, code values / 255. ``motion``
    (5, H/2, W/2) on a grid twice as coarse, in its own pixels: x and y by the forward flow, x and
    y by the backward flow, ``time``. Edges repeat.
    """
    height, width = first.shape
    layers = pictures[:, :height, :width]
    for end, picture in enumerate((first, second)):
        np.multiply(picture, np.float32(1 / 255), out=layers[4 + end])
    coarse = Flows(coarser(flows.forward), coarser(flows.backward))
    for n, found in enumerate(motions_at(coarse, time)):
        rows, columns = found.shape[:2]
        parts = motion[2 * n : 2 * n + 2, :rows, :columns]
        parts[:] = found.transpose(2, 0, 1)
        for end, share in enumerate((-time, 1.0 - time)):
            # Each cell is two pixels wide, and what it holds is in cells. One component after the
            # other: a quarter less time than both at once.
            x, y = (
                cv2.resize(np.float32(2 * share) * part, (2 * columns, 2 * rows))[:height, :width]
                for part in parts
            )
            look_up(layers[4 + end], x, layers[2 * n + end], y)
    repeat_edges(pictures, height, width)
    repeat_edges(motion[:4], rows, columns)
    motion[4] = time


def coarser(flow: Floats) -> Floats:
    """A (h, w, 2) flow on a grid of half the size, in that grid's pixels.

    Each of them is two by two of the old ones; the last ones of odd sides have only the edge, and
    repeat it.
    """
    down, across = (side % 2 for side in flow.shape[:2])
    even = cv2.copyMakeBorder(flow, 0, down, 0, across, cv2.BORDER_REPLICATE)
    size = (even.shape[1] // 2, even.shape[0] // 2)
    halved = cv2.resize(even, size, interpolation=cv2.INTER_AREA)
    return np.asarray(0.5 * halved, dtype=np.float32)


def repeat_edges(layers: Floats, height: int, width: int) -> None:
    """Fills what lies right of and below the first (height, width) of each layer."""
    layers[:, height:, :width] = layers[:, height - 1 : height, :width]
    layers[:, :, width:] = layers[:, :, width - 1 : width]


def padded(side: int, multiple: int) -> int:
    """The next multiple; what a motion network's inputs are enlarged to."""
    return -(-side // multiple) * multiple
