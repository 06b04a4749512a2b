"""Senders in processes of their own, for the tests of network sources."""

from __future__ import annotations

import asyncio
import gzip
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.clips import ffmpeg

DEADLINE_S = 60.0
UDP = socket.SOCK_DGRAM
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p")


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def encoded(
    *, size: str = "320x180", keyframes: int = 15, video: tuple[str, ...] = H264
) -> list[str]:
    """Arguments for a live picture at 30 fps and a tone, encoded."""
    return [
        *("-re", "-f", "lavfi", "-i", f"testsrc2=size={size}:rate=30"),
        *("-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"),
        *video,
        *("-g", str(keyframes), "-c:a", "aac", "-t", "120"),
    ]


def ts(target: str, **picture: Any) -> list[str]:
    return [*encoded(**picture), "-flush_packets", "1", "-f", "mpegts", target]


def flv(target: str, *before: str, **picture: Any) -> list[str]:
    return [*encoded(**picture), *before, "-f", "flv", target]


@contextmanager
def sending(arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """An ffmpeg that sends until the end of the block."""
    program = shutil.which("ffmpeg")
    assert program is not None
    with subprocess.Popen(
        [program, "-hide_banner", "-v", "error", "-nostdin", "-y", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
            process.wait()


class _Files(SimpleHTTPRequestHandler):
    """Files of a folder; with ranges, which Python's own server does not know."""

    def do_GET(self) -> None:
        server: Any = self.server
        server.asked.append((self.path, dict(self.headers)))
        for pattern, status, headers in server.rules:
            if re.search(pattern, self.path):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        path = Path(self.translate_path(self.path))
        asked = self.headers.get("Range", "") if server.knows_ranges else ""
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        is_packed = bool(re.search(server.packs, self.path))
        data = gzip.compress(data) if is_packed else data
        begin = int(wanted[1]) if wanted else 0
        end = int(wanted[2]) + 1 if wanted and wanted[2] else len(data)
        part = data[begin:end]
        self.send_response(206 if wanted else 200)
        if server.knows_ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        if is_packed:
            self.send_header("Content-Encoding", "gzip")
        if wanted:
            last = begin + len(part) - 1
            self.send_header("Content-Range", f"bytes {begin}-{last}/{len(data)}")
        self.end_headers()
        self.wfile.write(part[: server.cut_after])

    def log_message(self, *_: Any) -> None: ...

    def handle(self) -> None:
        with suppress(OSError):  # the reader had enough
            super().handle()


class FileServer(ThreadingHTTPServer):
    """What it was asked for, and answers other than files, by pattern of the path."""

    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A reader that hangs up, in its handshake as well, is what some tests are about."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Files, directory=str(folder)))
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.rules: list[tuple[str, int, dict[str, str]]] = []
        self.knows_ranges = True
        self.packs = "^$"
        """Which files are given as gzip, by pattern of the path."""
        self.cut_after: int | None = None
        """So many bytes of an answer are sent, whatever its length was said to be."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving(folder: Path, *, tls: ssl.SSLContext | None = None) -> Iterator[FileServer]:
    with FileServer(folder) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ffmpeg_clip(path: Path, *arguments: str) -> None:
    """``path``, made by ffmpeg."""
    ffmpeg(*arguments, str(path))


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not is_so():  # noqa: ASYNC110 - other processes have no event
            await asyncio.sleep(0.02)


async def send_until(arguments: list[str], is_so: Callable[[], bool]) -> None:
    """Send until then. ffmpeg gives up where nobody listens yet or any more: it is started again."""
    while not is_so():
        with sending(arguments) as sender:
            await until(lambda sender=sender: sender.poll() is not None or is_so())  # type: ignore[misc]


def wait_for(path: Path, text: str, count: int) -> None:
    deadline = threading.Event()
    for _ in range(int(DEADLINE_S / 0.05)):
        if path.exists() and path.read_text().count(text) >= count:
            return
        deadline.wait(0.05)
    pytest.fail(f"{path.name} never held {count} times {text}")
