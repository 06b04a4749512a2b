"""A file from its packets to those of another, its pictures on the device all the way.

libav's decoder and libx264 on the processor stand in for those of the device; what is between them
is what runs on one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Event, get_ident
from typing import Any

import av
import numpy as np
import pytest

from streamer import decode_context
from streamer.build import open_stream
from streamer.clock import MonotonicClock
from streamer.config import SinkSpec, StreamSettings
from streamer.enhance import assembly
from streamer.errors import SourceError
from streamer.gpu import encoding
from streamer.gpu.arrays import CPU
from streamer.gpu.choosing import choose_on_device
from streamer.gpu.encoding import Outlet
from streamer.gpu.hardware import Intake
from streamer.infer.batching_pool import ENGINES
from streamer.media import VideoInfo
from streamer.pipeline import Stream
from streamer.rate import parse_rate
from tests.streamer.gpu.emulated import ILLEGAL_ADDRESS, Emulated
from tests.streamer.gpu.engines import QueuedEngine, QueuedRun
from tests.streamer.gpu.test_choosing import queued
from tests.streamer.gpu.test_hardware import NextToHost
from tests.streamer.installed import only_installed
from tests.streamer.motion import psnr
from tests.streamer.pictures import texture

FRAMES, WIDTH, HEIGHT = 16, 160, 96


@pytest.fixture
def on_emulated(emulated: Emulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Emulated:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    only_installed(monkeypatch, "ort-cuda", precisions=("fp32",))
    chosen = partial(choose_on_device, door=emulated.gpu, engine=queued)
    monkeypatch.setattr(assembly, "choose_on_device", chosen)

    def opened(video: VideoInfo, *_: Any, **__: Any) -> Any:
        context = av.CodecContext.create(video.codec, "r")
        context.copy_opaque = True
        told = video.codec_parameters
        context.extradata = None if told is None else told.codec_context.extradata
        return NextToHost(context, lambda number: None)

    monkeypatch.setattr(decode_context, "open_decoder", opened)
    configured = decode_context._configured
    monkeypatch.setattr(
        decode_context,
        "_configured",
        lambda c, *a, **k: c if isinstance(c, NextToHost) else configured(c, *a, **k),
    )
    monkeypatch.setattr(decode_context, "Intake", partial(Intake, kind=CPU))
    monkeypatch.setattr(encoding, "encoder_on_device", lambda: "libx264")
    monkeypatch.setattr(assembly, "encodes", lambda _: True)
    monkeypatch.setattr(encoding, "Outlet", partial(Outlet, kind=CPU))
    monkeypatch.setattr(Outlet, "encoder", "libx264")
    options = {"preset": "ultrafast", "qp": "0"}
    monkeypatch.setattr(encoding, "file_options", lambda _: options)
    return emulated


def clip(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(FRAMES):
            whole = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
            whole[:HEIGHT] = texture(width=WIDTH, height=HEIGHT, moved=(1.5 * number, 0.5 * number))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(whole, format="yuv420p")))
        container.mux(stream.encode(None))
    return path


def lumas(path: Path) -> list[np.ndarray[Any, Any]]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray()[: frame.height] for frame in container.decode(video=0)]


def run(
    source: Path,
    target: Path,
    *,
    backend: str,
    rate: str | None,
    begun: Callable[[], None] = lambda: None,
) -> Stream:
    settings = StreamSettings(
        source=str(source),
        sinks=(SinkSpec(kind="file", target=str(target)),),
        rate=parse_rate(rate) if rate else None,
        backend=backend,
        variant="nano",
        # Both are done on the host alone.
        denoise="off",
        steady=False,
    )

    async def whole() -> Stream:
        stream = await open_stream(settings, clock=MonotonicClock())
        begun()
        await stream.run()
        return stream

    return asyncio.run(whole())


@pytest.mark.parametrize("rate", [None, "x2"])
@pytest.mark.usefixtures("on_emulated")
def test_no_picture_is_copied_but_those_that_something_on_the_host_needs(
    tmp_path: Path, rate: str | None
) -> None:
    source = clip(tmp_path / "in.mp4")
    there = run(source, tmp_path / "there.mkv", backend="auto", rate=rate)
    here = run(source, tmp_path / "here.mkv", backend="ort-cpu", rate=rate)
    report, exact = there.report(), here.report()
    assert report["notice"] == ""
    assert report["engines"][0]["device"] == "cuda"
    assert report["frames"] == exact["frames"]
    # Motion is found on the host: only for that the decoded pictures are fetched.
    assert report["copied"] == {"warming": 4} | ({"decoded": FRAMES} if rate else {})
    assert exact["copied"] == {}
    ours, theirs = lumas(tmp_path / "there.mkv"), lumas(tmp_path / "here.mkv")
    assert len(ours) == len(theirs) == (2 * FRAMES if rate else FRAMES)
    assert min(psnr(one, other) for one, other in zip(ours, theirs, strict=True)) > 33
    del there, here


def test_a_stream_that_is_cut_off_gives_back_its_share_of_the_device(
    on_emulated: Emulated, tmp_path: Path
) -> None:
    source = clip(tmp_path / "in.mp4")

    async def cut_off() -> None:
        stream = await open_stream(settings_for(source), clock=MonotonicClock())
        running = asyncio.create_task(stream.run())
        # Once it has begun, and long before its end.
        await asyncio.sleep(0)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    asyncio.run(cut_off())
    assert len(ENGINES) == 0
    assert on_emulated.count("modules") == 0


def settings_for(source: Path) -> StreamSettings:
    sinks = (SinkSpec(kind="null", target=""),)
    return StreamSettings(source=str(source), sinks=sinks, backend="auto", variant="nano")


def opening_with(monkeypatch: pytest.MonkeyPatch, on: Emulated, kind: type[QueuedEngine]) -> None:
    chosen = partial(
        choose_on_device, door=on.gpu, engine=lambda _, model, gpu, __: kind(gpu, model)
    )
    monkeypatch.setattr(assembly, "choose_on_device", chosen)


def test_engines_of_a_source_that_is_not_there_are_closed_beside_the_event_loop(
    on_emulated: Emulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []

    class Noting(QueuedEngine):
        def close(self) -> None:
            threads.append(get_ident())
            super().close()

    opening_with(monkeypatch, on_emulated, Noting)
    with pytest.raises(SourceError):
        asyncio.run(open_stream(settings_for(tmp_path / "none.mp4"), clock=MonotonicClock()))
    (thread,) = threads
    assert thread != get_ident()


def test_what_is_given_up_while_it_warms_up_is_closed_afterwards(
    on_emulated: Emulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_warming, may_go_on = Event(), Event()

    class Slow(QueuedEngine):
        def resident(self, sizes: Mapping[str, int]) -> QueuedRun:
            is_warming.set()
            assert may_go_on.wait(20)
            return super().resident(sizes)

    async def give_up() -> None:
        opening = asyncio.create_task(
            open_stream(settings_for(clip(tmp_path / "in.mp4")), clock=MonotonicClock())
        )
        assert await asyncio.to_thread(is_warming.wait, 60)
        opening.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await opening

    opening_with(monkeypatch, on_emulated, Slow)
    asyncio.run(give_up())
    assert on_emulated.count("complaints") == 0
    assert len(ENGINES) == 0


@pytest.mark.parametrize("after", [20, 22, 24, 25])
def test_a_lost_device_costs_no_frame(on_emulated: Emulated, tmp_path: Path, after: int) -> None:
    """Whichever step of a picture it is lost at."""
    source = clip(tmp_path / "in.mp4")
    lose = partial(on_emulated.fail, "cuLaunchKernel", ILLEGAL_ADDRESS, after=after)
    there = run(source, tmp_path / "there.mkv", backend="auto", rate=None, begun=lose)
    assert "the GPU is not used any more" in there.notice
    assert "pictures are decoded on the CPU" in there.notice
    assert there.report()["frames"]["sent"] == FRAMES
    assert len(lumas(tmp_path / "there.mkv")) == FRAMES
    del there
