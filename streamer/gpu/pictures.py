"""Pictures in device memory, and the planes of a frame whose pixels are still on their way from there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, Protocol, Self, SupportsIndex, overload

import numpy as np

from kernels.arguments import Layout, Picture
from kernels.arguments import Plane as DevicePlane
from kernels.driver import Device
from kernels.errors import KernelError
from kernels.stream import Event, Stream
from streamer.errors import EngineError
from streamer.frame import Frame, Plane, Planes
from streamer.gpu.door import Gpu
from streamer.gpu.memory import Lease
from streamer.infer.device import ours
from streamer.ops.memory import planes_in

CODES = {Layout.NV12: np.uint8, Layout.YUV420P: np.uint8, Layout.P010: np.uint16}


class Memory(Protocol):
    """What a picture lies in, and how queued work says that it uses it."""

    def reading(self, stream: Stream) -> AbstractContextManager[int]: ...

    def writing(self, stream: Stream) -> AbstractContextManager[int]: ...


class Foreign:
    """Memory of another library, which ``owner`` keeps and whose content is there already.

    It knows no events: whoever queues work on it keeps it until that is done.
    """

    def __init__(self, owner: Any) -> None:
        self._owner = owner

    @contextmanager
    def reading(self, stream: Stream) -> Iterator[int]:
        """As ``Lease.reading``, with nothing to wait for."""
        yield 0

    def writing(self, stream: Stream) -> AbstractContextManager[int]:
        raise EngineError("a picture of another library is read only; lease one to write it")


@dataclass(frozen=True, slots=True)
class DevicePicture:
    """A 4:2:0 picture in device memory; see Note [Memory of a device] for who owns it."""

    at: Picture
    memory: Memory

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.at.width, self.at.height

    def planes(self) -> tuple[DevicePlane, ...]:
        """As kernels for single planes take them: luma and pairs, or luma, U and V."""
        at, bits = self.at, self.at.layout.bits
        luma = DevicePlane(
            address=at.luma, stride=at.luma_stride, width=at.width, height=at.height, bits=bits
        )
        chroma = DevicePlane(
            address=at.chroma,
            stride=at.chroma_stride,
            width=(at.width + 1) // 2,
            height=(at.height + 1) // 2,
            bits=bits,
            channels=2 if at.layout.has_pairs else 1,
        )
        if at.layout.has_pairs:
            return luma, chroma
        return luma, chroma, replace(chroma, address=at.second)


def size_bytes(layout: Layout, width: int, height: int) -> int:
    """Of a picture whose rows lie without anything between them."""
    rows, columns = (height + 1) // 2, (width + 1) // 2
    return int(np.dtype(CODES[layout]).itemsize) * (width * height + 2 * rows * columns)


def laid_out(address: int, layout: Layout, width: int, height: int) -> Picture:
    """A picture at an address, plane after plane and row after row without anything between."""
    sample = int(np.dtype(CODES[layout]).itemsize)
    rows, columns = (height + 1) // 2, (width + 1) // 2
    chroma = address + sample * width * height
    pairs = 2 if layout.has_pairs else 1
    return Picture(
        layout=layout,
        width=width,
        height=height,
        luma=address,
        chroma=chroma,
        second=0 if layout.has_pairs else chroma + sample * rows * columns,
        luma_stride=sample * width,
        chroma_stride=sample * columns * pairs,
    )


def lent(gpu: Gpu, layout: Layout, width: int, height: int, *, stream: Stream) -> DevicePicture:
    """A picture that ``stream`` may write, its content undefined."""
    lease = gpu.memory.lease(size_bytes(layout, width, height), stream)
    return DevicePicture(laid_out(lease.address, layout, width, height), lease)


def uploaded(gpu: Gpu, planes: Planes) -> DevicePicture:
    """Host planes on the device: copied once into page-locked memory, and from there while others
    compute. The planes may be written again at once."""
    height, width = planes[0].shape
    size = size_bytes(Layout.YUV420P, width, height)
    staged = gpu.pinned.lease_for_host(size)
    for plane, target in zip(planes, host_planes(staged, width, height), strict=True):
        np.copyto(target, plane)
    picture = lent(gpu, Layout.YUV420P, width, height, stream=gpu.uploads)
    with staged.reading(gpu.uploads) as source, picture.memory.writing(gpu.uploads) as address:
        gpu.uploads.upload(address, source, size)
    return picture


def entered(gpu: Gpu, planes: Planes) -> DevicePicture:
    """The picture of a decoded frame, which is there already or is uploaded."""
    there = on_device(planes)
    if there is None:
        gpu.metrics.count("copied.to_device")
        there = uploaded(gpu, planes)
    return there


def host_planes(lease: Lease, width: int, height: int) -> Planes:
    """Page-locked memory as Y (height, width) and U, V of half of that; the views keep the lease."""
    return planes_in(np.asarray(lease), width, height)


Failure = KernelError | EngineError


class Landing:
    """What is waited for before the host may read planes that are copied from a device."""

    def __init__(
        self,
        device: Device,
        events: Sequence[Event],
        settle: Callable[[Failure | None], None],
        *,
        begin: Callable[[], None] | None = None,
        keeps: object = None,
    ) -> None:
        """``begin`` queues the copies where that was not done yet, in the thread that looks first.
        ``settle`` is called once, there too, when they are done or have failed: it puts something
        else into the planes where they are not to be shown. ``keeps`` is let go of then."""
        self._device = device
        self._events = events
        self._settle: Callable[[Failure | None], None] | None = settle
        """``None`` once it was called."""
        self._begin = begin
        self._keeps = keeps
        self._one_at_a_time = Lock()

    def wait(self) -> None:
        """From any thread."""
        with self._one_at_a_time:
            settle = self._settle
            if settle is None:
                return
            failure: Failure | None = None
            try:
                # The encoder's thread, say, has nothing else to do with the device.
                self._device.enter()
                if self._begin is not None:
                    self._begin()
                for event in self._events:
                    event.wait()
            except (KernelError, EngineError) as error:
                failure = error
            # What they need is let go of.
            self._settle = self._begin = self._keeps = None
            settle(failure)


def _always() -> bool:
    return True


class DevicePlanes(tuple[Plane, Plane, Plane]):
    """Planes of a frame on the host, which land there when somebody looks; until then the picture is
    worked with where it is. Nothing waits for a copy before the thread that needs the pixels.
    """

    picture: DevicePicture | None
    """The same on the device; nothing for a picture that is only shown."""
    canvas: Canvas | None
    """Where it is still to be made."""
    gpu: Gpu | None
    """Whose picture it is."""
    content: int | None
    """Equal for pictures whose lumas were found to be the very same; nothing where nobody looked."""
    size: tuple[int, int]
    """Width and height."""
    _landing: Landing
    _is_sound: Callable[[], bool]

    def __new__(
        cls,
        planes: Planes,
        landing: Landing,
        picture: DevicePicture | None = None,
        canvas: Canvas | None = None,
        *,
        gpu: Gpu | None = None,
        is_sound: Callable[[], bool] = _always,
        content: int | None = None,
    ) -> Self:
        """``is_sound`` waits until it is known whether what lands is ``picture`` as it is."""
        made = super().__new__(cls, planes)
        made._landing = landing
        made._is_sound = is_sound
        made.picture = picture
        made.canvas = canvas
        made.gpu = gpu
        made.content = content
        made.size = (planes[0].shape[1], planes[0].shape[0])
        return made

    def to_show(self) -> DevicePicture | None:
        """The picture once it is known that it can be shown; nothing where something else lands."""
        return self.picture if self.picture is not None and self._is_sound() else None

    def made_on_host(self) -> None:
        """Somebody fills the planes here: what is on the device is nothing."""
        self._landing.wait()
        self.picture = self.canvas = None

    def __iter__(self) -> Iterator[Plane]:
        self._landing.wait()
        return super().__iter__()

    @overload
    def __getitem__(self, key: SupportsIndex) -> Plane: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[Plane, ...]: ...
    def __getitem__(self, key: SupportsIndex | slice) -> Any:
        self._landing.wait()
        return super().__getitem__(key)


class DeviceFrame(Frame):
    """A frame whose planes are ``DevicePlanes``: its size is known before they land."""

    __slots__ = ()

    @property
    def width(self) -> int:
        planes = self.planes
        return planes.size[0] if isinstance(planes, DevicePlanes) else int(planes[0].shape[1])

    @property
    def height(self) -> int:
        planes = self.planes
        return planes.size[1] if isinstance(planes, DevicePlanes) else int(planes[0].shape[0])


def size_of(planes: Planes) -> tuple[int, int]:
    """Width and height; nobody waits for planes that are on their way."""
    if isinstance(planes, DevicePlanes):
        return planes.size
    height, width = planes[0].shape
    return width, height


def is_same(first: Planes, second: Planes) -> bool:
    """Whether both are known to have the same luma; nobody looks at pixels for that."""
    contents = [p.content for p in (first, second) if isinstance(p, DevicePlanes)]
    return len(contents) == 2 and contents[0] is not None and contents[0] == contents[1]


def on_device(planes: Planes) -> DevicePicture | None:
    """The picture that planes are of, where it is on a device."""
    return planes.picture if isinstance(planes, DevicePlanes) else None


@dataclass(frozen=True, slots=True)
class Canvas:
    """A YUV420P picture that is to be made on the device and shown from page-locked memory."""

    picture: DevicePicture
    below: DevicePicture | None
    """What stands under it where somebody compares; planes are twice as high then."""
    landed: Lease
    rows: int = 1
    """How many pictures stand one below the other in what lands."""
    lands_at_once: bool = True
    """Else it is copied when somebody on the host looks at it, and not before."""
    name: str = "shown"
    """What copies are counted as."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what lands."""
        width, height = self.picture.size
        return width, self.rows * height

    @property
    def made(self) -> list[Event]:
        """After the last writing of what is on the device."""
        memories = (part.memory for part in (self.picture, self.below) if part is not None)
        return [memory.ready for memory in memories if isinstance(memory, Lease)]

    def send(self, gpu: Gpu) -> None:
        """Queues the copies to the host, behind what was queued to make the picture; from any
        thread."""
        gpu.metrics.count(f"copied.{self.name}")
        parts = [self.picture] if self.below is None else [self.picture, self.below]
        with (
            ours(),
            gpu.copying,
            self.landed.writing(gpu.downloads) as host,
            ExitStack() as reading,
        ):
            for number, picture in enumerate(parts):
                reading.enter_context(picture.memory.reading(gpu.downloads))
                for start, address, size in _runs(picture.at, number, of=self.rows):
                    gpu.downloads.download(host + start, address, size)


def _runs(at: Picture, number: int, *, of: int) -> list[tuple[int, int, int]]:
    """Where in host memory, from where, how many bytes: of picture ``number`` of those that stand
    one below the other in planes ``of`` times as high."""
    luma, quarter = at.width * at.height, at.width * at.height // 4
    if of == 1:
        return [(0, at.luma, luma + 2 * quarter)]
    chroma = of * luma
    return [
        (number * luma, at.luma, luma),
        (chroma + number * quarter, at.chroma, quarter),
        (chroma + (of + number) * quarter, at.second, quarter),
    ]
