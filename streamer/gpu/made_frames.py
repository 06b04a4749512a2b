"""Frames made of two others on the device: flow and guide on the host, large pictures where they are."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack

import numpy as np

from kernels import launch
from kernels.arguments import Grid
from kernels.arguments import Plane as DevicePlane
from kernels.errors import KernelError
from streamer.errors import EngineError
from streamer.frame import Plane, Planes
from streamer.gpu.door import Gpu
from streamer.gpu.memory import Lease
from streamer.gpu.pictures import DevicePicture, DevicePlanes, on_device
from streamer.ops.motion import Guide

_log = logging.getLogger(__name__)

MAPS = 7
"""Of a guide: four of flow, mask, residual, softness."""

MaskOf = Callable[[tuple[int, int]], Plane | None]
"""255 where planes of that many rows and columns show what stands still; ``None``: nowhere."""


class DeviceWarper:
    """Makes pictures by guides on ``gpu.compute``; the twin of ``FrameMaker.make``.

    Of each guide some 0.4 MB go up for 640x360. Belongs to the thread of the stage that lends its
    pictures.
    """

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._is_lost = False

    def make(
        self,
        first: Planes,
        second: Planes,
        guide: Guide,
        out: Planes,
        *,
        looked_rows: int,
        still: MaskOf,
    ) -> bool:
        """Whether the frame was queued; false where a picture is not on the device, or the device
        was lost, which is logged once: then the host has to make it.

        ``looked_rows`` is the height of the luma that the guide was made of: larger pictures hold
        nothing sharper, see ``ops.motion_warp.Warper``.
        """
        pictures = on_device(first), on_device(second)
        canvas = out.canvas if isinstance(out, DevicePlanes) else None
        if self._is_lost or canvas is None or pictures[0] is None or pictures[1] is None:
            return self._left_to_host(out)
        try:
            self._gpu.device.enter()
            self._queue(
                (pictures[0], pictures[1]),
                guide,
                canvas.picture,
                is_sharp=canvas.picture.at.height <= looked_rows,
                still=still,
            )
            if canvas.lands_at_once:
                canvas.send(self._gpu)
        except (KernelError, EngineError) as error:
            self._is_lost = True
            _log.warning("frames are made on the CPU from here on: %s", error)
            return self._left_to_host(out)
        return True

    def _left_to_host(self, out: Planes) -> bool:
        if isinstance(out, DevicePlanes):
            out.made_on_host()
        return False

    def _queue(
        self,
        pair: tuple[DevicePicture, DevicePicture],
        guide: Guide,
        made: DevicePicture,
        *,
        is_sharp: bool,
        still: MaskOf,
    ) -> None:
        compute = self._gpu.compute
        maps = self._uploaded(guide)
        rows, columns = guide.mask.shape
        size = 4 * rows * columns
        with ExitStack() as used:
            at = used.enter_context(maps.reading(compute))
            for picture in pair:
                used.enter_context(picture.memory.reading(compute))
            used.enter_context(made.memory.writing(compute))
            # A prediction without a share of the first picture never looks at it.
            shares = bool(guide.mask.any())
            for n, (first, second, out) in enumerate(
                zip(pair[0].planes(), pair[1].planes(), made.planes(), strict=True)
            ):
                grid = Grid(rows=rows, columns=columns, cell=out.width / guide.extent[1])
                is_luma = n == 0
                target = self._scratch(out, used) if is_luma else out
                sharp = is_sharp and is_luma
                if shares:
                    call = launch.warp(first, second, target, guide=at, grid=grid, is_sharp=sharp)
                else:
                    call = launch.warp_one(
                        second, target, guide=at + 2 * size, grid=grid, is_sharp=sharp
                    )
                self._gpu.launch(call)
                if is_luma:
                    self._gpu.launch(launch.finish(target, out, guide=at + 5 * size, grid=grid))
            self._cover(pair[1], made, still, used)

    def _cover(
        self, second: DevicePicture, made: DevicePicture, still: MaskOf, used: ExitStack
    ) -> None:
        """Puts what stood still from the second picture over what was made."""
        for over, out in zip(second.planes(), made.planes(), strict=True):
            mask = still((out.height, out.width))
            if mask is None:
                return
            there = self._sent(mask.reshape(-1).view(np.uint8))
            plane = DevicePlane(
                address=used.enter_context(there.reading(self._gpu.compute)),
                stride=out.width,
                width=out.width,
                height=out.height,
            )
            self._gpu.launch(launch.cover(over, out, mask=plane))

    def _uploaded(self, guide: Guide) -> Lease:
        """The maps of a guide on the device, float32 and contiguous."""
        rows, columns = guide.mask.shape
        maps = np.empty((MAPS, rows, columns), np.float32)
        maps[:4] = guide.flow
        maps[4], maps[5], maps[6] = guide.mask, guide.residual, guide.softness
        return self._sent(maps.reshape(-1).view(np.uint8))

    def _sent(self, values: Plane) -> Lease:
        """Bytes on their way to the device."""
        gpu = self._gpu
        staged = gpu.pinned.lease_for_host(values.nbytes)
        host: Plane = np.asarray(staged)
        np.copyto(host, values)
        there = gpu.memory.lease(values.nbytes, gpu.uploads)
        with staged.reading(gpu.uploads) as source, there.writing(gpu.uploads) as target:
            gpu.uploads.upload(target, source, values.nbytes)
        return there

    def _scratch(self, like: DevicePlane, used: ExitStack) -> DevicePlane:
        """A plane for luma that is not finished yet."""
        lease = self._gpu.memory.lease(like.width * like.height, self._gpu.compute)
        return DevicePlane(
            address=used.enter_context(lease.writing(self._gpu.compute)),
            stride=like.width,
            width=like.width,
            height=like.height,
        )
