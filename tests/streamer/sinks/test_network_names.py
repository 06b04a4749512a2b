"""What an output's name means is asked before each connection, and nothing else is connected to."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from streamer.addresses import AddressPolicy, parse_network
from streamer.errors import SinkError
from streamer.sinks.network import NetworkSink
from streamer.sources.network_rtmp import RtmpSession
from tests.programs import needs
from tests.streamer.sinks.network_peers import Camera, Peer, free_port

FIRST, FORBIDDEN, SECOND = "127.0.0.1", "127.0.0.2", "127.0.0.3"
POLICY = AddressPolicy(allowed=(parse_network(f"{FIRST}/32"), parse_network(f"{SECOND}/32")))
NAME = "live.example"


@contextmanager
def meaning(now: list[str]) -> Iterator[None]:
    """``NAME`` means the addresses that ``now`` holds."""
    really = socket.getaddrinfo

    def look_up(host: Any, *arguments: Any, **options: Any) -> list[Any]:
        hosts = now if host == NAME else [host]
        if not hosts:
            raise socket.gaierror(socket.EAI_AGAIN, "no resolver")
        return [found for one in hosts for found in really(one, *arguments, **options)]

    with pytest.MonkeyPatch.context() as patch:
        # The network's own resolver: not ours, and not there on every machine.
        patch.setattr(socket, "getaddrinfo", look_up)
        yield


def pushing(camera: Camera, url: str, *, reach: AddressPolicy | None = POLICY) -> NetworkSink:
    return NetworkSink(
        url,
        audio=None,
        clock=camera.clock,
        metrics=camera.metrics,
        request_keyframe=camera.request_keyframe,
        reach=reach,
        dice=random.Random(1),
    )


@needs("ffmpeg")
def test_a_server_that_moved_is_found_and_what_is_forbidden_is_never_called(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    port, now, called = free_port(), list[str](), list[object]()

    async def scenario() -> None:
        inside = await asyncio.start_server(lambda *ends: called.append(ends), FORBIDDEN, port)
        camera = Camera()
        sink = pushing(camera, f"rtmp://{NAME}:{port}/live/key")
        # Not even its resolver answers yet.
        await camera.film(sink, lambda: "does not resolve" in caplog.text)
        now[:] = [FIRST]
        with Peer.rtmp(port) as peer:
            await camera.film(sink, lambda: peer.count() >= 10)
            now[:] = [FORBIDDEN]
        await camera.film(sink, lambda: f"{NAME} means {FORBIDDEN}, which is" in caplog.text)
        now[:] = [SECOND]
        with Peer.ffmpeg("-listen", "1", "-i", f"rtmp://{SECOND}:{port}/live/key") as peer:
            await camera.film(sink, lambda: peer.count() >= 10)
            await sink.close()
        inside.close()

    with meaning(now):
        asyncio.run(scenario())
    assert not called
    assert f"rtmp://{NAME}:{port}: is back after" in caplog.text
    assert f"rtmp://{SECOND}" not in caplog.text, "it is called as its user calls it"


@needs("ffmpeg")
def test_of_several_addresses_the_one_where_somebody_listens_is_found() -> None:
    port = free_port()

    async def scenario() -> None:
        camera = Camera()
        sink = pushing(camera, f"rtmp://{NAME}:{port}/live/key")
        with Peer.rtmp(port) as peer:
            await camera.film(sink, lambda: peer.count() >= 10)
            await sink.close()

    with meaning([SECOND, FIRST]):
        asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/live/key", "/app/live/key?token=a:b", "/live/a:b/c'[d]"])
def test_an_rtmp_server_is_told_the_name_that_it_was_called_by(path: str) -> None:
    """One that serves many names knows by it which of them is meant."""

    async def told(reach: AddressPolicy | None) -> str:
        port, heard = free_port(), asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            session, came = RtmpSession(app="", key=""), b""
            while not heard.done() and (data := await reader.read(1 << 16)):
                session.feed(data)
                writer.write(session.take_answers())
                # The first message is sent in chunks; each further one begins with this byte.
                came += data.replace(b"\xc3", b"")
                if found := re.search(rb"tcUrl\x02..(rtmp://[^\0]+)\0", came, re.DOTALL):
                    heard.set_result(found[1].decode())
            writer.close()

        camera = Camera()
        sink = pushing(camera, f"rtmp://me:secret@localhost:{port}{path}", reach=reach)
        async with await asyncio.start_server(serve, FIRST, port):
            await camera.film(sink, heard.done)
            with pytest.raises(SinkError, match="was never reached"):
                await sink.close()
        return str(heard.result()).replace(str(port), "PORT")

    async def scenario() -> None:
        anywhere = AddressPolicy(allowed=(parse_network("127.0.0.0/8"), parse_network("::1")))
        named, found = await told(None), await told(anywhere)
        assert found == named
        assert found.startswith("rtmp://localhost:PORT/")

    asyncio.run(scenario())
