"""Motion on the host (OpenCV): flow between two small pictures, and warps of large ones.

One description serves made frames of every kind. Two pictures stand at times 0 and 1 and one is
wanted at ``time``: inside (0, 1) it is interpolated, above 1 predicted. A *motion* is what a
pixel of the wanted picture travels from time 0 to time 1, in pixels of the grid it is kept on;
its sources are ``x - time * motion`` in picture 0 and ``x + (1 - time) * motion`` in picture 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.frame import Plane

Floats = NDArray[np.float32]

PICTURES, MOTIONS = 6, 5
"""Channels of the two inputs of a motion network."""

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
    """How one picture is made of two; what a network says of it."""

    flow: Floats
    """(4, h, w): x and y into picture 0, x and y into picture 1, pixels of this grid."""
    mask: Floats
    """(h, w): share of picture 0, 0..1."""
    residual: Floats
    """(h, w): added to luma, code values / 255."""
    softness: Floats
    """(h, w): share of the blurred luma, 0..1."""


BLUR_SIZE, BLUR_SIGMA = 5, 1.0
"""Pixels of the made picture: what is blurred where the motion is a guess."""


class FlowEstimator:
    """Dense inverse search (Kroeger et al. 2016) on small luma; belongs to one thread.

    Without variational refinement and one octave finer than OpenCV's "fast" preset: as good as
    its "medium" one within 0.2 dB of the warped picture, at a third of the time. The network refines.
    """

    def __init__(self) -> None:
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._search.setFinestScale(1)
        self._search.setGradientDescentIterations(12)
        self._search.setVariationalRefinementIterations(0)

    def between(self, first: Plane, second: Plane) -> Flows:
        """Both flows of two (h, w) uint8 pictures; at least 16 pixels on each side."""
        return Flows(self.to(first, second), self.to(second, first))

    def to(self, start: Plane, end: Plane) -> Floats:
        """From each pixel of one picture to its place in the other, (h, w, 2) pixels."""
        return np.asarray(
            self._search.calc(start, end, None),  # type: ignore[call-overload]
            dtype=np.float32,
        )


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
    columns, rows = _grid(*flow.shape[:2])
    across = cv2.scaleAdd(flow[..., 0], share, columns)
    down = cv2.scaleAdd(flow[..., 1], share, rows)
    looked_up = cv2.remap(picture, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(looked_up, dtype=np.float32)


@lru_cache(maxsize=16)
def _grid(height: int, width: int) -> tuple[Floats, Floats]:
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    return columns, rows


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
    ends = [np.multiply(end, np.float32(1 / 255)) for end in (first, second)]
    coarse = Flows(coarser(flows.forward), coarser(flows.backward))
    told = motions_at(coarse, time)
    layers = []
    for motions in told:
        fine = 2.0 * cv2.resize(motions, (width, height), interpolation=cv2.INTER_LINEAR)
        for end, share in zip(ends, (-time, 1.0 - time), strict=True):
            layers.append(sample(end, np.asarray(fine, dtype=np.float32), share))
    _fill(pictures, [*layers, *ends])
    _fill(motion, [motions[..., axis] for motions in told for axis in (0, 1)])
    motion[4] = time


def coarser(flow: Floats) -> Floats:
    """A (h, w, 2) flow on a grid of half the size, in that grid's pixels."""
    height, width = (flow.shape[0] + 1) // 2, (flow.shape[1] + 1) // 2
    return np.asarray(
        0.5 * cv2.resize(flow, (width, height), interpolation=cv2.INTER_AREA), dtype=np.float32
    )


def _fill(out: Floats, layers: Sequence[Floats]) -> None:
    """Copies layers into the top left of the first channels and repeats their edges."""
    height, width = layers[0].shape
    for channel, layer in enumerate(layers):
        out[channel, :height, :width] = layer
    filled = out[: len(layers)]
    filled[:, height:, :width] = filled[:, height - 1 : height, :width]
    filled[:, :, width:] = filled[:, :, width - 1 : width]


def padded(side: int, multiple: int) -> int:
    """The next multiple; what a motion network's inputs are enlarged to."""
    return -(-side // multiple) * multiple


class Warper:
    """Makes planes of one size by a guide; its storage is made once, fresh pages cost more than
    the arithmetic. Belongs to one thread."""

    def __init__(self, height: int, width: int, *, is_enlarged: bool) -> None:
        """``is_enlarged``: the planes hold nothing sharper than half their size, and bilinear will
        do; bicubic costs three times as much and gives 0.2 dB more where a picture is sharp."""
        self.shape = (height, width)
        self._interpolation = cv2.INTER_LINEAR if is_enlarged else cv2.INTER_CUBIC
        self._grid = (0, 0)
        self._fit(1, 1)
        self._shares = np.empty((2, height, width), np.float32)
        self._looked_up = np.empty((2, height, width), np.uint8)

    def follow(self, guide: Guide) -> None:
        """Takes the guide for the planes that come next."""
        rows, columns = guide.mask.shape
        self._fit(rows, columns)
        height, width = self.shape
        across, down = width / columns, height / rows
        for end in (0, 1):
            x = guide.flow[2 * end] + _line(columns)
            y = guide.flow[2 * end + 1] + _line(rows)[:, None]
            # A pixel's centre lies half a pixel in, on either grid.
            self._stretch(
                x * np.float32(across) + np.float32((across - 1) / 2),
                across,
                0.0,
                self._ringed[end, 0],
            )
            self._stretch(
                y * np.float32(down) + np.float32((down - 1) / 2), 0.0, down, self._ringed[end, 1]
            )
        _enlarge(guide.mask, self._shares[0])
        _enlarge(1.0 - guide.mask, self._shares[1])

    def blend(self, first: Plane, second: Plane, out: Plane) -> None:
        """The made plane: both (H, W) uint8 planes looked up and mixed; borders repeat."""
        for n, plane in enumerate((first, second)):
            cv2.remap(
                plane,
                self._places[n, 0],
                self._places[n, 1],
                self._interpolation,
                dst=self._looked_up[n],
                borderMode=cv2.BORDER_REPLICATE,
            )
        one, other = self._looked_up
        cv2.blendLinear(one, other, self._shares[0], self._shares[1], dst=out)

    def finish(self, guide: Guide, out: Plane) -> None:
        """Softens a made (H, W) plane where it is a guess and adds the residual, in place."""
        soft = self._looked_up[0]
        cv2.GaussianBlur(
            out, (BLUR_SIZE, BLUR_SIZE), BLUR_SIGMA, dst=soft, borderType=cv2.BORDER_REPLICATE
        )
        _enlarge(guide.softness, self._shares[0])
        _enlarge(1.0 - guide.softness, self._shares[1])
        cv2.blendLinear(soft, out, self._shares[0], self._shares[1], dst=out)
        _enlarge(guide.residual * np.float32(255), self._shares[0])
        cv2.add(out, self._shares[0], out, dtype=cv2.CV_8U)

    def _fit(self, rows: int, columns: int) -> None:
        """Storage for guides of this size: coordinates with a ring of one cell of the guide."""
        if (rows, columns) == self._grid:
            return
        self._grid = (rows, columns)
        height, width = self.shape
        is_whole = height % rows == 0 and width % columns == 0
        down, across = (height // rows, width // columns) if is_whole else (0, 0)
        self._ringed = np.empty((2, 2, height + 2 * down, width + 2 * across), np.float32)
        self._places = self._ringed[..., down : down + height, across : across + width]

    def _stretch(self, places: Floats, across: float, down: float, out: Floats) -> None:
        """Coordinates that lie ``across`` and ``down`` apart, at the planes' size.

        One cell is added around them that goes on evenly: resizing would repeat the edge, and
        coordinates that stop half a cell before the edge smear it.
        """
        ringed = np.pad(places, 1, mode="edge")
        ringed[:, 0] -= across
        ringed[:, -1] += across
        ringed[0] -= down
        ringed[-1] += down
        if out.shape != self.shape:
            # Whole multiples, ring and all: four times as fast as the general case.
            _enlarge(ringed, out)
            return
        cv2.warpAffine(
            ringed,
            _affine(*places.shape, *self.shape),
            (out.shape[1], out.shape[0]),
            dst=out,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )


@lru_cache(maxsize=16)
def _affine(rows: int, columns: int, height: int, width: int) -> NDArray[np.float64]:
    """From a pixel of (height, width) to its place in a ringed grid of (rows, columns)."""
    across, down = columns / width, rows / height
    return np.array([[across, 0, across / 2 + 0.5], [0, down, down / 2 + 0.5]])


def _enlarge(part: Floats, out: Floats) -> None:
    cv2.resize(part, (out.shape[1], out.shape[0]), dst=out, interpolation=cv2.INTER_LINEAR)


@lru_cache(maxsize=16)
def _line(length: int) -> Floats:
    return np.arange(length, dtype=np.float32)
