"""A camera goes away and comes back: the outputs go on all the while."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from streamer.addresses import AddressPolicy, parse_network
from streamer.build import open_stream
from streamer.clock import MonotonicClock
from streamer.config import StreamSettings, parse_sink
from streamer.pipeline import Stream
from streamer.server.admission import Admission
from tests.rtsp_camera import Camera, camera, needs_gstreamer

DEADLINE_S = 90.0

pytestmark = needs_gstreamer()


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for ``condition``; it is looked at often, so nothing is missed and nothing is guessed."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110 - counters of another task, no event
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"within {DEADLINE_S:g} s it did not happen that {what}")


def frames_of(recording: Path) -> list[tuple[float, int, int]]:
    """Time and size of every frame that was recorded."""
    with av.open(str(recording)) as container:
        return [
            (float(frame.time or 0), frame.width, frame.height)
            for frame in container.decode(video=0)
        ]


async def watched(
    settings: StreamSettings,
    first: AbstractContextManager[Camera],
    watch: Callable[[Stream, ExitStack], Awaitable[None]],
) -> None:
    """A stream beside its camera; closing what ``watch`` is given ends that."""
    with ExitStack() as camera_lives:
        await asyncio.to_thread(camera_lives.enter_context, first)
        stream = await open_stream(settings, clock=MonotonicClock())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(stream.run())
            try:
                await watch(stream, camera_lives)
            finally:
                stream.stop()


def test_a_camera_that_comes_back_smaller_goes_on_in_the_same_output(tmp_path: Path) -> None:
    port = free_port()
    earlier, recording = tmp_path / "kept.mkv", tmp_path / "kept-2.mkv"
    earlier.write_text("what the camera showed yesterday")
    settings = StreamSettings(
        source=f"rtsp://127.0.0.1:{port}/live",
        sinks=(parse_sink(str(earlier)),),
        scale=1,
        backend="reference",
    )

    async def watch(stream: Stream, camera_lives: ExitStack) -> None:
        counted = stream.metrics.counted
        await until(lambda: counted("sent.decoded") > 30, "30 pictures were sent")
        assert stream.state == "live"
        await asyncio.to_thread(camera_lives.close)
        await until(lambda: stream.state == "lost", "the loss was noticed")
        assert "127.0.0.1" in stream.reason
        await until(lambda: counted("sent.repeated") >= 15, "the last picture was held")
        before = counted("sent.decoded")
        smaller = camera("--port", port, "--size", "160x120")
        await asyncio.to_thread(camera_lives.enter_context, smaller)
        await until(lambda: counted("sent.decoded") > before + 30, "it came back")
        assert (stream.state, stream.reason) == ("live", "")
        assert stream.source.video.width == 160
        assert stream.statistics()["reconnects"] >= 1

    asyncio.run(watched(settings, camera("--port", port, "--size", "320x240"), watch))
    assert earlier.read_text() == "what the camera showed yesterday"
    frames = frames_of(recording)
    assert {(width, height) for _, width, height in frames} == {(320, 240)}
    gaps = [later[0] - earlier[0] for earlier, later in pairwise(frames)]
    assert min(gaps) > 0
    # It is held after a second of silence; a machine that stands still adds to that.
    assert max(gaps) < 10


def test_a_camera_added_over_the_api_is_found_again_at_another_address(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where a router gives it a new one: its name is looked up, and checked, each time."""
    port, meant = free_port(), ["127.0.0.1"]
    really = socket.getaddrinfo

    def look_up(host: Any, *arguments: Any, **options: Any) -> Any:
        return really(meant[-1] if host == "door.example" else host, *arguments, **options)

    # The network's own resolver: not ours, and not there on every machine.
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    networks = (parse_network("127.0.0.1/32"), parse_network("127.0.0.3/32"))
    admission = Admission(policy=AddressPolicy(allowed=networks))
    wanted = StreamSettings(
        source=f"rtsp://door.example:{port}/live",
        sinks=(parse_sink("null:"),),
        scale=1,
        backend="reference",
    )

    async def watch(stream: Stream, camera_lives: ExitStack) -> None:
        counted = stream.metrics.counted
        await until(lambda: counted("sent.decoded") > 10, "pictures were sent")
        await asyncio.to_thread(camera_lives.close)
        await until(lambda: stream.state == "lost", "the loss was noticed")
        meant.append("127.0.0.2")
        await until(lambda: "means 127.0.0.2, which is" in caplog.text, "that was refused")
        meant.append("127.0.0.3")
        moved = camera("--port", port, "--address", meant[-1])
        await asyncio.to_thread(camera_lives.enter_context, moved)
        before = counted("sent.decoded")
        await until(lambda: counted("sent.decoded") > before + 10, "it was found again")

    async def scenario() -> None:
        await watched(await admission.pin(wanted), camera("--port", port), watch)

    asyncio.run(scenario())
