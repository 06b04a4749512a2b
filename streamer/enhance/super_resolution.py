"""More lines: the plain upscale, and the residual that a network adds to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.enhance.denoise import Denoising
from streamer.enhance.steady import Steady
from streamer.frame import Frame, Planes
from streamer.infer.engine import Deadline, Engine
from streamer.infer.guarded import Guarded
from streamer.infer.reference import PLAIN
from streamer.ops import host
from streamer.ops.memory import PicturePool
from streamer.ops.sharpen import sharpen

AFTER_NS = 3_000_000
"""What follows a network here: its residual is added, which at 720p takes 0.4 ms compiled and 1 to 3
otherwise."""


class SuperResolution:
    """Upscales by its engines' factor; called from one thread only.

    The output keeps the size of its first picture. A camera may change its own (WebRTC does so
    all the time): the upscaled picture is fitted then, and one that is large enough already is
    only made smaller.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        *,
        denoising: Denoising | None = None,
        steady: Steady | None = None,
        deadline: Deadline | None = None,
        notice: str = "",
        sharpness: float = 0.0,
    ) -> None:
        """``engines`` run from best to cheapest; each is a tier named after its network. ``notice`` is
        what the user must see of where this is done.

        ``denoising`` cleans what they are given, ``steady`` calms what they make. Engines that wait
        for other streams read ``deadline``, which is set here before each run.

        By ``sharpness``, 0 to 1, every picture that leaves is sharpened, on every tier, as a change of
        tier would be seen otherwise.
        """
        self.engines = {engine.manifest.variant: engine for engine in engines}
        self.scale = engines[0].manifest.scale
        self.notice = notice
        self.denoising = denoising
        self._steady = steady
        self._sharpness = sharpness
        self._deadline = deadline or Deadline()
        self._size = (0, 0)
        self._output = (0, 0)
        self._pool = PicturePool(0, 0)
        self._output_pool = self._tall_pool = self._pool
        self._packed: NDArray[np.float32] = np.empty(0, np.float32)
        self._residuals: dict[str, NDArray[Any]] = {}

    @property
    def tiers(self) -> tuple[str, ...]:
        """What this stage can do with a frame, best first."""
        return tuple(dict.fromkeys((*self.engines, PLAIN)))

    def process(
        self, frame: Frame, *, tier: str, with_comparison: bool, deadline_ns: int | None = None
    ) -> Frame:
        """The frame at ``scale`` times its size; the same moment, the same colour.

        ``deadline_ns`` is when it should be done; without one nobody waits for it.
        """
        self._deadline.ns = None if deadline_ns is None else deadline_ns - AFTER_NS
        if (frame.width, frame.height) != self._size:
            self._resize(frame.width, frame.height)
        if self._output == (0, 0):
            self._begin_output()
        if (self._pool.width, self._pool.height) != self._output:
            return self._fitted(frame, tier=tier, with_comparison=with_comparison)
        comparison = self._tall_pool.lease() if with_comparison else None
        planes = host.part(comparison, 0, of=2) if comparison else self._pool.lease()
        soft = self._soft(planes)
        if comparison:
            host.upscale(frame.planes, soft)
            host.copy(soft, host.part(comparison, 1, of=2))
        tier = self._enhance(frame, soft, tier, is_plain=comparison is not None)
        self._sharpen(frame, soft, planes)
        return replace(frame, planes=planes, comparison=comparison, tier=tier)

    def lend(self, *, with_comparison: bool) -> tuple[Planes, Planes | None]:
        """Storage for one more picture of the output's size, its content undefined; with a
        comparison, whose upper half it is then. There is a size once a frame was processed."""
        if not with_comparison:
            return self._output_pool.lease(), None
        comparison = self._tall_pool.lease()
        return host.part(comparison, 0, of=2), comparison

    def warm_up(self, width: int, height: int) -> None:
        """Run once at this size: a runtime's first run plans its memory and takes far longer."""
        self._resize(width, height)
        for tier, engine in self.engines.items():
            engine.run({"packed": self._packed}, {"residual": self._residuals[tier]})
        if self.denoising is not None:
            self.denoising.warm_up(width, height)
        if self._steady is not None:
            self._steady.warm_up(width * self.scale, height * self.scale)

    def _begin_output(self) -> None:
        """The first picture decides: what was announced may be turned on its way in."""
        self._output = (self._pool.width, self._pool.height)
        self._output_pool = self._pool
        self._tall_pool = PicturePool(self._output[0], 2 * self._output[1])

    def _fitted(self, frame: Frame, *, tier: str, with_comparison: bool) -> Frame:
        """As ``process``, for a picture of another size than the first one."""
        black = frame.color.black
        comparison = self._tall_pool.lease() if with_comparison else None
        planes = host.part(comparison, 0, of=2) if comparison else self._output_pool.lease()
        if frame.width >= self._output[0] and frame.height >= self._output[1]:
            upscaled, tier = frame.planes, PLAIN
            self._leave_out()
            if comparison:
                host.fit(upscaled, host.part(comparison, 1, of=2), black=black)
        else:
            upscaled = self._pool.lease()
            if comparison:
                host.upscale(frame.planes, upscaled)
                host.fit(upscaled, host.part(comparison, 1, of=2), black=black)
            tier = self._enhance(frame, upscaled, tier, is_plain=comparison is not None)
        soft = self._soft(planes)
        host.fit(upscaled, soft, black=black)
        self._sharpen(frame, soft, planes)
        return replace(frame, planes=planes, comparison=comparison, tier=tier)

    def _enhance(self, frame: Frame, out: Planes, tier: str, *, is_plain: bool) -> str:
        """Fills ``out``, which where it ``is_plain`` holds the upscaled picture already; the tier that
        it has then: the plain one where the network failed."""
        small = self._cleaned(frame, tier)
        if tier != PLAIN and self._add(small, out, tier):
            return tier
        if self._steady is not None:
            self._steady.reset()
        if tier != PLAIN or small is not frame.planes or not is_plain:
            host.upscale(small, out)
        return PLAIN

    def _add(self, small: Planes, out: Planes, tier: str) -> bool:
        """Fills ``out`` with what a network makes; ``False`` where it failed, and nothing is filled."""
        host.pack(small, self._packed)
        residual, engine = self._residuals[tier], self.engines[tier]
        engine.run({"packed": self._packed}, {"residual": residual})
        if isinstance(engine, Guarded) and engine.fell_back:
            return False
        if self._steady is None:
            host.enhance(small, residual, out)
        else:
            enlarged = self._pool.lease()
            host.enhance(small, residual, enlarged)
            self._steady.steady(enlarged, out)
        return True

    def _soft(self, planes: Planes) -> Planes:
        """Where a picture is made that becomes ``planes``: elsewhere where its luma is sharpened then. Each
        has storage of its own, which whoever follows pictures over time may keep."""
        return (self._output_pool.lease()[0], *planes[1:]) if self._sharpness else planes

    def _sharpen(self, frame: Frame, soft: Planes, planes: Planes) -> None:
        """Fills ``planes`` with what ``_soft`` gave for them, now that nothing else is done to it."""
        if self._sharpness:
            sharpen(soft[0], planes[0], strength=self._sharpness, color=frame.color)

    def _cleaned(self, frame: Frame, tier: str) -> Planes:
        """The picture without noise, where that is done. A network would sharpen it; the plain upscale does
        not, and waits for nothing that takes longer than there is."""
        if self.denoising is None:
            return frame.planes
        until_ns = self._deadline.ns if tier == PLAIN else None
        return self.denoising.cleaned(frame.planes, until_ns=until_ns)

    def _leave_out(self) -> None:
        """What comes next follows nothing."""
        if self.denoising is not None:
            self.denoising.reset()
        if self._steady is not None:
            self._steady.reset()

    def close(self) -> None:
        for engine in self.engines.values():
            engine.close()
        if self.denoising is not None:
            self.denoising.close()
        if self._steady is not None:
            self._steady.close()

    def _resize(self, width: int, height: int) -> None:
        half = (height // 2, width // 2)
        self._size = (width, height)
        self._pool = PicturePool(width * self.scale, height * self.scale)
        self._packed = np.zeros((1, 6, *half), np.float32)
        shape = (1, 6 * self.scale**2, *half)
        self._residuals = {
            tier: np.empty(shape, engine.manifest.residual_dtype)
            for tier, engine in self.engines.items()
        }
