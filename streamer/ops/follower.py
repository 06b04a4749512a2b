"""What denoising and steadying are: each picture is made by a network with the help of the last one made,
brought along the motion.

By what is compiled for this processor where that is there, otherwise by OpenCV, which looks up in
weights of its own: pictures differ by a code value here and there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import DTypeLike, NDArray

from kernels import native_denoise, reference_denoise
from kernels.native import native
from kernels.native_denoise import LONGEST_SIDE
from streamer.frame import Plane, Planes
from streamer.model import RESIDUAL_ZERO
from streamer.ops import host
from streamer.ops.both import both
from streamer.ops.following import Following
from streamer.ops.memory import PicturePool

Floats = NDArray[np.float32]

BLOCK = 4
"""Cells to a side over which differences are averaged, with their signs: noise goes, another scene
stays."""

OTHER = {6: 12 / 219, 10: 6 / 224, 11: 6 / 224}
"""How much blocks of the first phase of luma, of U and of V differ, along the motion, that show
something else."""

CUT = 0.4
"""Share of such blocks from which a picture is another scene. Held-out clips with three pictures
left out in between reach 0.05, with noise of 8 codes 0.13; cuts between them begin at 0.98."""


Change: TypeAlias = Callable[[NDArray[np.float32], NDArray[Any]], bool]
"""Fills ``change`` (1, 12, H/2, W/2), as ``mix`` takes it, from ``packed``, as ``follow`` fills it;
whether it did."""


class Follower:
    """Runs a network over a stream: what it gives is what the next picture is compared with. Belongs to one
    thread.

    Motion is found between the pictures as they came, as it was in training. Across a cut nothing is
    followed: the network would leave a breath of the old scene's colours for three pictures.
    """

    def __init__(self, change: Change, *, kind: DTypeLike = np.float32) -> None:
        """``change`` is the network, ``kind`` the type of what it gives."""
        self._network, self._kind = change, kind
        self._following = Following()
        self._size = (0, 0)
        self._last: tuple[Plane, Planes] | None = None

    def reset(self) -> None:
        """What comes next follows nothing."""
        self._last = None

    def warm_up(self, width: int, height: int) -> None:
        """Run once at this size: a runtime's first run plans its memory and takes far longer."""
        pool = PicturePool(width, height)
        picture, out = pool.lease(), pool.lease()
        for plane in picture:
            plane[:] = 0
        self.make(picture, out)
        self.reset()

    def make(self, planes: Planes, out: Planes) -> bool:
        """Fills ``out`` with a picture of the size of ``planes``, sides even; neither may change until
        the next call. Another size than before begins anew.

        Where the network gives nothing, or a side is longer than ``LONGEST_SIDE``, nothing is filled,
        ``False`` comes back, and the next picture follows nothing.
        """
        if max(planes[0].shape) > LONGEST_SIDE:
            self.reset()
            return False
        if planes[0].shape != self._size:
            self._fit(planes)
        if self._last is None:
            begin(planes, self._packed)
        else:
            luma, made = self._last
            follow(made, planes, self._following.back(planes[0], luma), self._packed)
            if is_cut(self._packed):
                self._packed[:, 6:] = 0
        if not self._network(self._packed, self._change):
            self.reset()
            return False
        mix(planes, self._packed, self._change, out)
        self._last = (planes[0], out)
        return True

    def _fit(self, planes: Planes) -> None:
        self._size, self._last = planes[0].shape, None
        shape = (1, 12, *planes[1].shape)
        self._packed: NDArray[np.float32] = np.empty(shape, np.float32)
        self._change: NDArray[Any] = np.empty(shape, self._kind)


def follow(before: Planes, now: Planes, back: Floats, packed: Floats) -> None:
    """Fills ``packed`` (1, 12, H/2, W/2): ``now`` as ``host.pack`` does, and by how much ``before``, where
    things are now, differs from it.

    Both are pictures of even sides; ``back`` as ``Following.back`` gives it. Looked up cubically: at
    every step a little sharpness would go otherwise.
    """
    compiled = native()
    if compiled is None:
        _follow(before, now, back, packed)
        return
    rows = packed.shape[2]
    fill = partial(native_denoise.follow, compiled, before, now, back, packed[0])
    both(partial(fill, range(rows // 2)), partial(fill, range(rows // 2, rows)))


def is_cut(packed: Floats) -> bool:
    """Whether what ``follow`` filled shows two scenes."""
    rows, columns = packed.shape[2:]
    size = (max(1, columns // BLOCK), max(1, rows // BLOCK))
    is_other = np.zeros(size[::-1], np.bool_)
    for plane, limit in OTHER.items():
        blocks = cv2.resize(packed[0, plane], size, interpolation=cv2.INTER_AREA)
        is_other |= np.abs(blocks) > limit
    return bool(is_other.mean() > CUT)


def begin(now: Planes, packed: Floats) -> None:
    """As ``follow``, for the first picture, which differs from nothing."""
    host.pack(now, packed[:, :6])
    packed[:, 6:] = 0


def mix(now: Planes, packed: Floats, change: NDArray[Any], out: Planes) -> None:
    """Fills ``out``: ``now`` plus a share of the difference and a residual.

    ``packed`` as ``follow`` filled it; ``change`` (1, 12, H/2, W/2) is what the network gave: six shares
    and six residuals, uint8, or float32 code values around zero.
    """
    codes = change[0]
    if codes.dtype != np.uint8:
        codes = np.rint(codes + RESIDUAL_ZERO).clip(0, 255).astype(np.uint8)
    compiled = native()
    if compiled is None:
        reference_denoise.mix(now, packed[0, 6:], codes, out)
    else:
        rows = range(codes.shape[1])
        native_denoise.mix(compiled, now, packed[0, 6:], codes, out, rows)


def _follow(before: Planes, now: Planes, back: Floats, packed: Floats) -> None:
    height, width = now[0].shape
    of_luma = 2 * np.asarray(cv2.resize(back, (width, height)), np.float32)
    y, u, v = (
        _looked_up(plane, flow) for plane, flow in zip(before, (of_luma, back, back), strict=True)
    )
    host.pack((y, u, v), packed[:, 6:])
    host.pack(now, packed[:, :6])
    packed[:, 6:] -= packed[:, :6]


def _looked_up(plane: Plane, flow: Floats) -> Plane:
    found = cv2.remap(  # type: ignore[call-overload]
        plane,
        flow,
        None,
        cv2.INTER_CUBIC | cv2.WARP_RELATIVE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(found, np.uint8)
