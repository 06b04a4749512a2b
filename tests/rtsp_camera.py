"""Cameras for tests: GStreamer's RTSP server, and a small scripted one for what real ones do wrong."""

from __future__ import annotations

import asyncio
import os
import struct
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import av
import numpy as np
import pytest

SCRIPT = Path(__file__).parent / "peers" / "gst_rtsp_server.py"
SYSTEM_PYTHON = "/usr/bin/python3"
PACKAGES = (
    "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav"
)
MARKER = 0x80


@cache
def _has_gstreamer() -> bool:
    check = "import gi; gi.require_version('GstRtspServer', '1.0')"
    with suppress(OSError):
        done = subprocess.run([SYSTEM_PYTHON, "-c", check], capture_output=True, check=False)
        return done.returncode == 0
    return False


def needs_gstreamer() -> pytest.MarkDecorator:
    """Skips where GStreamer's RTSP server is missing, as ``tests.programs.needs`` does."""
    is_required = os.environ.get("STREAMER_REQUIRE_PROGRAMS") == "1"
    is_absent = not is_required and not _has_gstreamer()
    return pytest.mark.skipif(is_absent, reason=f"needs: apt-get install {PACKAGES}")


@dataclass(frozen=True, slots=True)
class Camera:
    """A server that runs; ``url`` holds no password."""

    url: str
    process: subprocess.Popen[bytes]

    def url_with(self, userinfo: str) -> str:
        return self.url.replace("://", f"://{userinfo}@")


@contextmanager
def camera(*arguments: str, password: str = "") -> Iterator[Camera]:
    """GStreamer's server in a process of its own; arguments as in ``peers/gst_rtsp_server.py``."""
    process = subprocess.Popen(
        [SYSTEM_PYTHON, str(SCRIPT), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "RTSP_PASSWORD": password, "GST_DEBUG": "0"},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        url = process.stdout.readline().decode().strip()
        if not url:
            pytest.fail(f"no RTSP server: {process.stderr.read().decode(errors='replace')}")
        yield Camera(url, process)
    finally:
        process.kill()
        process.communicate()


@cache
def coded_pictures(*, count: int = 12, size: int = 64, gop: int = 6) -> tuple[bytes, ...]:
    """H.264 access units of a small moving picture, Annex B, each keyframe with its headers."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width = encoder.height = size
    encoder.pix_fmt = "yuv420p"
    encoder.framerate = Fraction(30)
    encoder.gop_size = gop
    encoder.options = {"tune": "zerolatency", "preset": "ultrafast", "x264-params": "keyint_min=1"}
    units = []
    for number in range(count):
        picture = np.full((size * 3 // 2, size), 60 + 10 * (number % 10), np.uint8)
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts = number
        units += [bytes(packet) for packet in encoder.encode(frame)]
    return tuple(units + [bytes(packet) for packet in encoder.encode(None)])


def rtp_packets(unit: bytes, *, sequence: int, timestamp: int, ssrc: int = 0x1234) -> list[bytes]:
    """One access unit as single NAL unit packets, the marker on the last one (RFC 6184, 5.6)."""
    nal_units = [part.rstrip(b"\0") for part in unit.split(b"\0\0\1") if part.rstrip(b"\0")]
    return [
        struct.pack(
            "!BBHII",
            0x80,
            96 | (MARKER if number == len(nal_units) - 1 else 0),
            (sequence + number) & 0xFFFF,
            timestamp & 0xFFFFFFFF,
            ssrc,
        )
        + nal
        for number, nal in enumerate(nal_units)
    ]


SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=scripted\r\nt=0 0\r\na=control:*\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n"
    "a=framerate:30\r\na=control:track1\r\n"
)


@dataclass(slots=True)
class Asked:
    """A request as the scripted server read it."""

    method: str
    url: str
    headers: Mapping[str, str]


@dataclass(slots=True)
class Viewer:
    """One connection to the scripted server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    asked: list[Asked]
    news: asyncio.Event
    """Set whenever the client sent something."""
    reports: list[bytes] = field(default_factory=list)
    """Interleaved packets that the client sent."""
    sequence: int = 65_530
    timestamp: int = 2**32 - 9000

    async def next_request(self) -> Asked:
        """The next request; interleaved packets before it are kept in ``reports``."""
        while True:
            first = await self.reader.readexactly(1)
            if first == b"$":
                _, length = struct.unpack("!BH", await self.reader.readexactly(3))
                self.reports.append(await self.reader.readexactly(length))
                self.news.set()
                continue
            head = first + await self.reader.readuntil(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            method, url, _ = lines[0].split(" ")
            pairs = (line.partition(":")[::2] for line in lines[1:] if line)
            asked = Asked(method, url, {name.lower(): value.strip() for name, value in pairs})
            self.asked.append(asked)
            self.news.set()
            return asked

    def answer(self, asked: Asked, status: str = "200 OK", body: str = "", **headers: str) -> None:
        """Answer; ``content_base`` in ``headers`` stands for ``content-base``."""
        lines = [f"RTSP/1.0 {status}", f"CSeq: {asked.headers['cseq']}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())

    def ask(self) -> None:
        """Ask the client something: once it answers, it has read all that was sent before."""
        self.writer.write(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")

    def send_picture(self, unit: bytes, *, step: int = 3000) -> None:
        """One access unit on channel 0."""
        packets = rtp_packets(unit, sequence=self.sequence, timestamp=self.timestamp)
        self.sequence += len(packets)
        self.timestamp += step
        for packet in packets:
            self.writer.write(b"$\0" + struct.pack("!H", len(packet)) + packet)


Step = Callable[[Viewer, Asked], Awaitable[None] | None]


class ScriptedServer:
    """Plays by the book, but for the methods in ``steps``, which do what the test wants.

    ``playing`` runs after PLAY was answered, beside the answers to what comes then.
    """

    def __init__(
        self,
        *,
        sdp: str = SDP,
        session: str = "77",
        playing: Callable[[Viewer], Awaitable[None]] | None = None,
        steps: Mapping[str, Step] = MappingProxyType({}),
    ) -> None:
        self.asked: list[Asked] = []
        """All requests so far."""
        self.viewers: list[Viewer] = []
        self._sdp = sdp
        self._session = session
        self._playing = playing
        self._steps = steps
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for viewer in self.viewers:
            viewer.writer.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"rtsp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/live"

    def is_all_read(self) -> bool:
        """Whether a client has answered ``Viewer.ask``."""
        return "RTSP/1.0" in self.methods()

    def methods(self) -> list[str]:
        return [asked.method for asked in self.asked]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what a client sends; fails after a minute."""
        async with asyncio.timeout(60):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        viewer = Viewer(reader, writer, self.asked, self._news)
        self.viewers.append(viewer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                asked = await viewer.next_request()
                if asked.method.startswith("RTSP/"):
                    continue  # the client's answer to a question of ours
                step = self._steps.get(asked.method, self._by_the_book)
                done = step(viewer, asked)
                if done is not None:
                    await done
                if asked.method == "PLAY" and self._playing is not None:
                    self._tasks.add(asyncio.create_task(self._play(viewer)))
        writer.close()

    async def _play(self, viewer: Viewer) -> None:
        assert self._playing is not None
        with suppress(OSError):
            await self._playing(viewer)

    def _by_the_book(self, viewer: Viewer, asked: Asked) -> None:
        if asked.method == "OPTIONS":
            viewer.answer(asked, public="OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER")
        elif asked.method == "DESCRIBE":
            viewer.answer(asked, body=self._sdp, content_type="application/sdp")
        elif asked.method == "SETUP":
            viewer.answer(asked, session=self._session, transport=asked.headers["transport"])
        else:
            viewer.answer(asked, session=self._session)


async def film(viewer: Viewer, *, pictures: Sequence[bytes] | None = None) -> None:
    """Pictures without end, thirty a second."""
    number = 0
    units = pictures or coded_pictures()
    while True:
        viewer.send_picture(units[number % len(units)])
        await viewer.writer.drain()
        number += 1
        await asyncio.sleep(1 / 30)
