"""More lines, on the device: upload, pack, network, residual, download; each queued, none waited for.

The twin of ``enhance/super_resolution.py``, with the same interface and the same pictures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import fields, replace
from functools import partial

import numpy as np

from kernels import launch
from kernels.arguments import Layout, Tensor
from streamer.errors import EngineError
from streamer.frame import Frame, Planes
from streamer.gpu.door import Gpu
from streamer.gpu.health import COUNTS_BYTES, PRECISIONS, Count, DeviceWatchdog
from streamer.gpu.memory import Lease
from streamer.gpu.pictures import (
    Canvas,
    DeviceFrame,
    DevicePicture,
    DevicePlanes,
    Failure,
    Landing,
    entered,
    host_planes,
    lent,
    size_bytes,
    uploaded,
)
from streamer.infer.device import DeviceTensor, ResidentEngine, ours
from streamer.infer.engine import Deadline
from streamer.infer.reference import PLAIN
from streamer.infer.sizes import sizes_for
from streamer.infer.swapping_resident import ResidentSwapping
from streamer.ops import host
from streamer.ops.memory import PicturePool

AFTER_NS = 2_000_000
"""What follows a network here: its residual is added, and the picture copied to the host."""

AHEAD = 2
"""Frames that may be under way: one is copied to the host while the next is computed. The third
waits, so that what a frame costs is seen by whoever chooses tiers."""

KEPT_PICTURES = 8
"""Pictures that memory is laid out for: on the way to the encoder (links, pace, the one that is
coded), the last two real frames, and those under way."""


class DeviceSuperResolution:
    """Upscales by its engines' factor; called from one thread only.

    A frame leaves before it is made: its planes land when they are looked at. Where a residual was
    not sound, or the device was lost on the way, what lands is the plain upscale by the host.
    """

    notice = ""
    """Nothing is to be said: it does what was asked for."""

    def __init__(
        self,
        gpu: Gpu,
        engines: Sequence[ResidentEngine],
        *,
        lands_at_once: bool = True,
        deadline: Deadline | None = None,
    ) -> None:
        """``engines`` run from best to cheapest, in the order of ``gpu.compute``; closed with this, as
        ``gpu``. Those that wait for other streams read ``deadline``, which is set here before each run.

        With ``lands_at_once`` each picture is copied to the host as soon as it is made, while the
        next is computed; else only when somebody there looks at it, which is for whoever has an
        encoder on the device.
        """
        self.engines = {engine.manifest.variant: engine for engine in engines}
        self.scale = engines[0].manifest.scale
        self._gpu = gpu
        self._lands_at_once = lands_at_once
        self._deadline = deadline or Deadline()
        self._watchdog = DeviceWatchdog(gpu)
        self._size = (0, 0)
        self._output = (0, 0)
        self._sizes: dict[str, Mapping[str, int]] = {}
        """Of each tier's network, for pictures of that size."""
        self._nothing: Lease | None = None
        self._fitting: PicturePool | None = None
        self._under_way: deque[Landing] = deque()
        self._failure: Failure | None = None
        self._latest: Frame | None = None
        """As it came; what is shown where a made one is lost with the device."""

    @property
    def tiers(self) -> tuple[str, ...]:
        """What this stage can do with a frame, best first."""
        return tuple(dict.fromkeys((*self.engines, PLAIN)))

    def process(
        self, frame: Frame, *, tier: str, with_comparison: bool, deadline_ns: int | None = None
    ) -> Frame:
        """The frame at ``scale`` times its size; the same moment, the same colour.

        ``deadline_ns`` is when it should be done; without one nobody waits for it. Raises
        ``EngineError`` where the device can do no more: the frame is whole, frames that left earlier
        land, and the stage can only be closed.
        """
        self._deadline.ns = None if deadline_ns is None else deadline_ns - AFTER_NS
        self._gpu.enter()
        with ours():
            self._let_land(AHEAD - 1)
            if self._failure is not None:
                raise self._failure
            self._judge()
            if (frame.width, frame.height) != self._size:
                self._resize(frame.width, frame.height)
            if self._output == (0, 0):
                self._output = (frame.width * self.scale, frame.height * self.scale)
            self._latest = frame
            tier = PLAIN if tier in self._watchdog.given_up else tier
            try:
                return self._sent(frame, tier, with_comparison=with_comparison)
            except EngineError as error:
                if not self._has_other(tier, str(error)):
                    raise
                return self._sent(frame, tier, with_comparison=with_comparison)

    def lend(self, *, with_comparison: bool) -> tuple[Planes, Planes | None]:
        """Storage for one more picture of the output's size, its content undefined; with a
        comparison, whose upper half it is then. There is a size once a frame was processed.

        Whoever makes the picture on the device sends it by the ``canvas`` of the planes. Where it is lost
        with the device, the last frame that was processed lands instead, enlarged by the host.
        """
        self._gpu.enter()
        with ours():
            picture = lent(self._gpu, Layout.YUV420P, *self._output, stream=self._gpu.compute)
            canvas = self._canvas(picture, rows=2 if with_comparison else 1)
            landing = Landing(
                self._gpu.device,
                [canvas.landed.ready],
                partial(self._stand_in, canvas, self._latest),
                begin=self._begin(canvas),
            )
            return _shown(self._gpu, canvas, landing, is_sound=self._is_whole)

    def warm_up(self, width: int, height: int) -> None:
        """Makes everything ready for this size: engines, kernels, and all memory of the way."""
        self._gpu.enter()
        shapes = ((height, width), *2 * ((height // 2, width // 2),))
        y, u, v = (np.full(shape, 128, np.uint8) for shape in shapes)
        with ours():
            self._resize(width, height)
            for tier in (*self.tiers, *self.tiers):
                made, _ = self._made(uploaded(self._gpu, (y, u, v)), tier)
                canvas = replace(self._canvas(made), name="warming")
                canvas.send(self._gpu)
                canvas.landed.ready.wait()
            large = size_bytes(Layout.YUV420P, width * self.scale, height * self.scale)
            for pool in (self._gpu.pinned, self._gpu.memory):
                pool.reserve(size_bytes(Layout.YUV420P, width, height), AHEAD + 1)
                pool.reserve(large, KEPT_PICTURES)
                pool.reserve(COUNTS_BYTES, KEPT_PICTURES)

    def close(self) -> None:
        """Waits for what is under way; frames that left keep what they need until they are gone."""
        with suppress(EngineError):
            self._gpu.enter()
        self._let_land(0)
        for engine in self.engines.values():
            engine.close()
        self._nothing = self._latest = None
        self._gpu.close()

    def _sent(self, frame: Frame, tier: str, *, with_comparison: bool) -> Frame:
        """The frame with all of its work queued."""
        small = entered(self._gpu, frame.planes)
        made, count = self._made(small, tier)
        is_fitted = made.size != self._output
        below = None
        if with_comparison and not is_fitted:
            below = made if tier == PLAIN else self._made(small, PLAIN)[0]
        canvas = self._canvas(made, below, rows=1 if below is None else 2)
        if self._lands_at_once:
            canvas.send(self._gpu)
        work = _Work(self, frame, small, canvas, count)
        landing = Landing(
            self._gpu.device, [canvas.landed.ready], work.show, begin=self._begin(canvas)
        )
        self._under_way.append(landing if self._lands_at_once else work)
        planes, comparison = _shown(self._gpu, canvas, landing, is_sound=work.is_sound)
        if is_fitted:
            return self._fitted(frame, planes, tier, with_comparison=with_comparison)
        return _framed(DeviceFrame, frame, planes, comparison, tier)

    def _made(self, small: DevicePicture, tier: str) -> tuple[DevicePicture, Count | None]:
        """Queues all that makes the large picture; with what is counted of its residual."""
        gpu, (width, height), count = self._gpu, small.size, None
        size = width * self.scale, height * self.scale
        out = lent(gpu, Layout.YUV420P, *size, stream=gpu.compute)
        with ExitStack() as used:
            used.enter_context(small.memory.reading(gpu.compute))
            if tier == PLAIN:
                there, lease = self._zeros(width, height)
                used.enter_context(lease.reading(gpu.compute))
                residual = tensor(there)
            else:
                run = self.engines[tier].resident(self._sizes[tier])
                gpu.launch(launch.pack(small.at, tensor(run.inputs["packed"])))
                run.queue()
                residual = tensor(run.outputs["residual"])
                count = self._watchdog.count(run.outputs["residual"], tier)
            with out.memory.writing(gpu.compute):
                gpu.launch(launch.add_residual(small.at, residual, out.at, scale=self.scale))
        return out, count

    def _zeros(self, width: int, height: int) -> tuple[DeviceTensor, Lease]:
        """A residual of nothing, and what it lies in."""
        shape = (1, 6 * self.scale**2, (height + 1) // 2, (width + 1) // 2)
        size = 2 * int(np.prod(shape))
        if self._nothing is None or self._nothing.size_bytes != size:
            self._nothing = self._gpu.memory.lease(size, self._gpu.compute)
            with self._nothing.writing(self._gpu.compute) as address:
                self._gpu.compute.fill(address, 0, size)
        return DeviceTensor(self._nothing.address, shape, "float16"), self._nothing

    def _canvas(
        self, made: DevicePicture, below: DevicePicture | None = None, *, rows: int = 1
    ) -> Canvas:
        """Where a picture lands; ``rows`` is how many of its height stand one below the other."""
        size = rows * size_bytes(Layout.YUV420P, *made.size)
        landed = self._gpu.pinned.lease(size, self._gpu.downloads)
        return Canvas(made, below, landed, rows, lands_at_once=self._lands_at_once)

    def _begin(self, canvas: Canvas) -> Callable[[], None] | None:
        """What copies a picture when somebody looks at it; nothing where that is done before."""
        gpu = self._gpu
        return None if self._lands_at_once else gpu.later(partial(canvas.send, gpu))

    def _is_whole(self) -> bool:
        return self._failure is None

    def _note(self, failure: Failure | None) -> None:
        self._failure = failure or self._failure

    def _stand_in(self, canvas: Canvas, frame: Frame | None, failure: Failure | None) -> None:
        """Shows a frame where a made one should have landed and did not; from any thread."""
        self._note(failure)
        if failure is None or frame is None:
            return
        planes = host_planes(canvas.landed, *canvas.size)
        for number in range(canvas.rows):
            part = host.part(planes, number, of=canvas.rows)
            host.fit(frame.planes, part, black=frame.color.black)

    def _saw(self, failure: Failure | None, count: Count | None) -> bool:
        """Whether work that is over gave what can be shown; from any thread."""
        self._note(failure)
        return failure is None and (count is None or self._watchdog.saw(count))

    def _let_land(self, left: int) -> None:
        """Until only so many frames are under way."""
        while len(self._under_way) > left:
            self._under_way.popleft().wait()

    def _fitted(
        self, frame: Frame, planes: DevicePlanes, tier: str, *, with_comparison: bool
    ) -> Frame:
        """A picture of another size than the first one, by the host: cameras change it rarely."""
        width, height = self._output
        rows = 2 if with_comparison else 1
        if self._fitting is None or self._fitting.height != rows * height:
            self._fitting = PicturePool(width, rows * height)
        black = frame.color.black
        whole = self._fitting.lease()
        upper = host.part(whole, 0, of=rows)
        host.fit(planes, upper, black=black)
        if with_comparison:
            host.fit(frame.planes, host.part(whole, 1, of=2), black=black)
        return _framed(Frame, frame, upper, whole if with_comparison else None, tier)

    def _resize(self, width: int, height: int) -> None:
        self._let_land(0)
        self._size = (width, height)
        self._sizes = {
            tier: sizes_for(engine.manifest, width=width, height=height)
            for tier, engine in self.engines.items()
        }

    def _judge(self) -> None:
        """Tiers whose residuals cannot be shown are given up, if there is no other engine for them."""
        self._watchdog.judge(self.engines)
        for tier in tuple(self._watchdog.given_up):
            if self._has_other(tier, "it gave what cannot be"):
                self._watchdog.forgive(tier)

    def _has_other(self, tier: str, why: str) -> bool:
        """Whether the tier goes on with the engine that served before, as the one at hand cannot."""
        engine = self.engines.get(tier)
        return isinstance(engine, ResidentSwapping) and engine.retreat(why)


class _Work(Landing):
    """All that is queued for one frame, until it is done and what it gave is judged."""

    def __init__(
        self,
        stage: DeviceSuperResolution,
        frame: Frame,
        small: DevicePicture,
        canvas: Canvas,
        count: Count | None,
    ) -> None:
        self._canvas = canvas
        self._decoded = frame.planes
        self._note = stage._note
        self._can_be_shown = False

        def judge(failure: Failure | None) -> None:
            self._can_be_shown = stage._saw(failure, count)

        counted = [] if count is None else [count.landed.ready]
        # Memory of others knows no events: what is under way keeps it.
        super().__init__(
            stage._gpu.device, [*canvas.made, *counted], judge, keeps=(small, canvas.picture)
        )

    def is_sound(self) -> bool:
        """Whether the picture can be shown as it is; waits until that is known."""
        self.wait()
        return self._can_be_shown

    def show(self, failure: Failure | None) -> None:
        """Puts the plain upscale by the host where the picture landed, if that is not to be shown."""
        self._note(failure)
        if self.is_sound() and failure is None:
            return
        canvas = self._canvas
        planes = host_planes(canvas.landed, *canvas.size)
        for number in range(canvas.rows):
            host.upscale(self._decoded, host.part(planes, number, of=canvas.rows))


def tensor(there: DeviceTensor) -> Tensor:
    """As kernels are told of it."""
    rows, columns = there.shape[-2:]
    return Tensor(
        address=there.address, rows=rows, columns=columns, precision=PRECISIONS[there.dtype]
    )


def _shown(
    gpu: Gpu, canvas: Canvas, landing: Landing, *, is_sound: Callable[[], bool]
) -> tuple[DevicePlanes, DevicePlanes | None]:
    """The planes of a picture that lands, and the comparison whose upper half they are."""
    whole = host_planes(canvas.landed, *canvas.size)
    is_tall = canvas.rows == 2
    upper = host.part(whole, 0, of=2) if is_tall else whole
    planes = DevicePlanes(upper, landing, canvas.picture, canvas, gpu=gpu, is_sound=is_sound)
    return planes, DevicePlanes(whole, landing) if is_tall else None


def _framed(
    kind: type[Frame], frame: Frame, planes: Planes, comparison: Planes | None, tier: str
) -> Frame:
    """The frame with other planes, as ``kind``; ``replace`` would keep what it was."""
    told = {field.name: getattr(frame, field.name) for field in fields(Frame)}
    return kind(**told | {"planes": planes, "comparison": comparison, "tier": tier})
