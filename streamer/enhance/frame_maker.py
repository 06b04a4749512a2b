"""Frames that no source sent: made of two that it did, by flow, a network and warps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from kernels import native_motion, native_warp
from streamer.enhance.guiding import guiding_by
from streamer.frame import Plane, Planes
from streamer.gpu.made_frames import DeviceWarper
from streamer.infer.engine import Engine
from streamer.infer.reference_motion import ReferenceMotionEngine
from streamer.ops.both import both
from streamer.ops.motion import Floats, FlowEstimator, Flows, Guide, foresee, half
from streamer.ops.motion_ahead import damped
from streamer.ops.motion_still import StillAreas
from streamer.ops.motion_warp import Warper, in_turn

SHORTEST_SIDE = 32
"""Pixels of a luma; flow is found on half of that, by patches of 8."""

LONGEST_SIDE = min(2 * native_motion.LONGEST_SIDE, native_warp.LONGEST_SIDE)
"""The same of one that is looked at, and of one that is made."""


def can_make(width: int, height: int, *, scale: int = 1) -> bool:
    """Whether frames can be made of pictures of this size that are enlarged so much."""
    return min(width, height) >= SHORTEST_SIDE and scale * max(width, height) <= LONGEST_SIDE


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two lumas that were looked at."""

    second: Plane
    """As it came."""
    seen: tuple[Plane, Plane]
    """Both at the size at which their motion is found."""
    flows: Flows

    @property
    def is_in_full(self) -> bool:
        return self.seen[1] is self.second


class FrameMaker:
    """Makes frames between two or after them; belongs to one thread.

    Look at a pair once, then ask for as many times of it as wanted. The pair that is warped may
    be larger than the pair that was looked at: super-resolved frames move like the small ones.
    With a ``ReferenceMotionEngine`` it works without a network.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        in_full: bool = False,
        on_device: DeviceWarper | None = None,
    ) -> None:
        """``in_full`` finds motion at the pictures' own size instead of half of it, in three to four
        times the time. ``on_device`` makes of pictures that are on a device others there."""
        self._on_device = on_device
        self._in_full = in_full
        self._guiding = guiding_by(engine)
        self._guiding_small = guiding_by(ReferenceMotionEngine())
        """Of lumas that are looked at in full, at half their size."""
        self._estimator = FlowEstimator()
        self._warpers: dict[tuple[int, int, bool, bool], Warper] = {}
        self._pair: _Pair | None = None
        self._still = StillAreas()
        self._guided: tuple[tuple[float, bool], Guide] | None = None
        """The last guide of this pair, its time, and whether it is a plain one."""
        self._foreseen: Plane = np.empty((0, 0), np.uint8)

    def warm_up(self, width: int, height: int, *, scale: int) -> None:
        """Make a frame of nothing at this size: storage is laid out by the first one, which takes
        several times as long as the next."""
        if not can_make(width, height, scale=scale):
            return
        noise = np.random.default_rng(0).integers(0, 256, (2, height, width), np.uint8)
        large = [
            tuple(
                np.zeros((scale * height // part, scale * width // part), np.uint8)
                for part in (1, 2, 2)
            )
            for _ in range(3)
        ]
        first, second, out = ((y, u, v) for y, u, v in large)
        self.look(noise[0], noise[1])
        # A network knows one of these times.
        for time in (0.5, 1.5):
            self.make(first, second, self.guide(time), out)
        self.foreseen()
        self.reset()

    @property
    def seen(self) -> Plane:
        """The second luma of the pair at the size at which its motion was found."""
        return self._looked().seen[1]

    def look(self, first: Plane, second: Plane, *, goes_on: bool = False) -> None:
        """Finds the flow between the luma of two frames that follow each other.

        (H, W) uint8 both, ``SHORTEST_SIDE`` to ``LONGEST_SIDE`` on either side. If the first is the last
        call's second, the very same array, what is known of it stays. If it ``goes_on``, as a
        duplicate of that one, at least what stood still is not forgotten. The second is kept until
        the next call.
        """
        last = self._pair
        if last is not None and first is last.second:
            before = last.seen[1]
        else:
            before = self.at_its_size(first)
            if last is None or not goes_on:
                self._still.reset()
                self._still.see(first)
        self._still.see(second)
        self._guided = None
        seen = before, self.at_its_size(second)
        self._pair = _Pair(second, seen, self._estimator.between(*seen))

    def at_its_size(self, luma: Plane) -> Plane:
        """As its motion is found."""
        is_small = max(luma.shape) <= native_motion.LONGEST_SIDE
        return luma if self._in_full and is_small else half(luma)

    def reset(self) -> None:
        """Forgets the pair and what stood still: after a cut, a gap or another size."""
        self._pair = self._guided = None
        self._still.reset()

    @property
    def has_network(self) -> bool:
        """Whether guides can be had in less time without one."""
        return self._guiding.has_network

    def guide(self, time: float, *, is_plain: bool = False) -> Guide:
        """What makes the frame at ``time`` of the last pair looked at; see ``ops.motion``.

        Between the two it is 0..1; ``step`` intervals after them ``1 + damped(step)``. Its arrays
        are views, valid until the next guide is asked for. ``is_plain`` makes it without a network.
        """
        if self._guided is not None and self._guided[0] == (time, is_plain):
            return self._guided[1]
        pair, way = self._looked(), self._guiding.plain if is_plain else self._guiding.guide
        with_pictures = not (self._still.is_weighed or pair.is_in_full)
        guide = way(pair.seen, pair.flows, time, with_pictures=with_pictures)
        if not self._still.is_weighed:
            self._still.weigh(
                self._small_pictures(pair, time) if pair.is_in_full else self._guiding.pictures
            )
        cell = 2 if pair.is_in_full else 4
        rows, columns = pair.second.shape
        guide = replace(guide, filled=(rows / cell, columns / cell))
        self._guided = ((time, is_plain), guide)
        return guide

    def make(self, first: Planes, second: Planes, guide: Guide, out: Planes) -> None:
        """Fills ``out`` with the frame that a guide describes, of the pair's frames at any size.

        They show the same part of the scene as what was looked at, all of it. ``out`` is neither
        of them.
        """
        looked_rows = self._looked().second.shape[0]
        if self._on_device is not None and self._on_device.make(
            first, second, guide, out, looked_rows=looked_rows, still=self._still.mask
        ):
            return
        is_enlarged = first[0].shape[0] > looked_rows
        luma = self._warper(first[0].shape, is_enlarged=is_enlarged, is_luma=True)
        chroma = self._warper(first[1].shape, is_enlarged=is_enlarged, is_luma=False)
        y, u, v = zip(first, second, out, strict=True)
        halves = zip(luma.halves(guide, y), chroma.halves(guide, u, v), strict=True)
        both(*(partial(in_turn, *parts) for parts in halves))
        self._still.copy(second, out)

    def foreseen(self, step: float = 1.0) -> Plane:
        """The luma ``step`` intervals after the pair, as large as ``seen``, without the network.

        Cheap, to learn whether predictions beat repetition (``gain_db``). Valid until it is asked
        for again.
        """
        pair = self._looked()
        if self._foreseen.shape != self.seen.shape:
            self._foreseen = np.empty(self.seen.shape, np.uint8)
        foresee(self.seen, pair.flows, damped(step), out=self._foreseen)
        return self._foreseen

    def between(self, before: Planes, after: Planes, time: float) -> Planes:
        """The frame at ``time`` of the way from one to the other, 0..1, in new storage."""
        return self._made(before, after, time)

    def ahead(self, earlier: Planes, last: Planes, step: float) -> Planes:
        """The frame ``step`` intervals after the last one, damped, in new storage."""
        return self._made(earlier, last, 1.0 + damped(step))

    def _made(self, first: Planes, second: Planes, time: float) -> Planes:
        out = (np.empty_like(first[0]), np.empty_like(first[1]), np.empty_like(first[2]))
        self.look(first[0], second[0])
        self.make(first, second, self.guide(time), out)
        return out

    def _small_pictures(self, pair: _Pair, time: float) -> Floats:
        """What still areas are told by: in full, motion follows single strokes of letters and would
        explain them away."""
        first, second = pair.seen
        small = half(first), half(second)
        self._guiding_small.guide(small, self._estimator.between(*small), time, with_pictures=True)
        return self._guiding_small.pictures

    def _looked(self) -> _Pair:
        assert self._pair is not None, "look at a pair first"
        return self._pair

    def _warper(self, shape: tuple[int, ...], *, is_enlarged: bool, is_luma: bool) -> Warper:
        key = (shape[0], shape[1], is_enlarged, is_luma)
        if key not in self._warpers:
            # Luma and chroma of one size; a new size drops the old ones.
            if len(self._warpers) >= 2:
                self._warpers.clear()
            self._warpers[key] = Warper(*shape, is_enlarged=is_enlarged, is_luma=is_luma)
        return self._warpers[key]
