"""What comes in on a connection: whole, in pieces, too slowly, or as garbage."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest

from streamer.rtsp.message import Headers, Request, request_bytes
from streamer.server import rtsp_connection
from tests.streamer.server.rtsp_client import RtspClient, udp_ears
from tests.streamer.server.rtsp_live import FPS, Camera, filming, serving
from tests.streamer.server.watcher import run, until


async def talk(port: int, data: bytes, *, ends: bool = False) -> bytes:
    """All that the server says to ``data`` until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        if ends:
            writer.write_eof()
        async with asyncio.timeout(60):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60),
        b"\0" * 100,
        b"DESCRIBE rtsp://x/y RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 999999\r\n\r\n",
        b"DESCRIBE rtsp://x/y RTSP/1.0\r\nCSeq: 1\r\nContent-Length: -1\r\n\r\n",
        b"OPTIONS * RTSP/1.0\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"OPTIONS * RTSP/1.0\r\nX: " + b"y" * 40_000,
        b"OPTIONS " + b"x" * 20_000,
    ],
)
def test_what_is_no_rtsp_ends_its_own_connection_only(garbage: bytes) -> None:
    async def scenario() -> None:
        camera = Camera()
        mount = camera.mount()
        async with serving({"cam": mount}) as server, RtspClient(server.port) as client:
            with filming(camera, mount):
                await client.play()
                said = await talk(server.port, garbage)
                assert said.startswith(b"RTSP/1.0 400 ") or not said
                await client.got(len(client.packets.get(0, [])) + 20)

    run(scenario())


def test_a_request_without_a_number_is_refused() -> None:
    async def scenario() -> None:
        async with serving({}) as server:
            for cseq in ("", "x", "-1", "1" * 11):
                request = request_bytes(Request("OPTIONS", "*", Headers({"CSeq": cseq})))
                assert (await talk(server.port, request, ends=True)).startswith(b"RTSP/1.0 400")

    run(scenario())


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"", b"\n"),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n", b"X"),
        (b"$\0\1\0", b"X"),
        (b"", b"$\0\0\0"),
        (b"", b"RTSP/1.0 200 OK\r\n\r\n"),
    ],
)
def test_who_takes_too_long_to_ask_is_hung_up_on(
    start: bytes, more: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rtsp_connection, "WHOLE_WITHIN_S", 0.2)

    async def scenario() -> None:
        async with serving({}) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)

            async def trickle() -> None:
                writer.write(start)
                while True:
                    # Each piece by itself comes in time; a whole request never does.
                    writer.write(more)
                    await asyncio.sleep(0.02)

            trickling = asyncio.create_task(trickle())
            async with asyncio.timeout(60):
                with suppress(ConnectionError):
                    assert await reader.read() == b""
            trickling.cancel()
            writer.transport.abort()

    run(scenario())


def test_a_connection_may_be_silent_while_it_has_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of datagrams; an interleaved one takes its connection along when it ends."""
    monkeypatch.setattr(rtsp_connection, "IDLE_S", 0.2)

    async def scenario() -> None:
        camera = Camera()
        mounts = {"cam": camera.mount()}
        async with (
            serving(mounts) as server,
            udp_ears() as (rtp, _, offer),
            RtspClient(server.port) as client,
        ):
            with filming(camera, mounts["cam"]):
                await client.set_up(0, offer)
                await client.ask("PLAY")
                number = camera.number
                await until(lambda: camera.number > number + FPS, "the camera stopped")
                assert rtp.received
                assert not client.is_over.is_set()
                del mounts["cam"]
                await asyncio.wait_for(client.is_over.wait(), 60)

    run(scenario())


def test_requests_in_one_piece_or_byte_by_byte_are_answered_in_order() -> None:
    async def scenario() -> None:
        async with serving({"cam": Camera().mount()}) as server:
            asked = [
                request_bytes(Request("OPTIONS", "*", Headers({"CSeq": str(number)})))
                for number in range(1, 6)
            ]
            said = await talk(server.port, b"".join(asked), ends=True)
            assert said.count(b"RTSP/1.0 200 OK") == 5
            order = [said.index(b"CSeq: %d\r\n" % number) for number in range(1, 6)]
            assert order == sorted(order)
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            for byte in asked[0]:
                writer.write(bytes((byte,)))
                await writer.drain()
            async with asyncio.timeout(60):
                assert (await reader.readline()) == b"RTSP/1.0 200 OK\r\n"
            writer.transport.abort()

    run(scenario())


def mutated(seed: int) -> bytes:
    """A sensible conversation with a few bytes changed, doubled or missing."""
    rng = random.Random(seed)
    fields = {"CSeq": "1", "Transport": "RTP/AVP/TCP;interleaved=0-1", "Session": "x"}
    method = rng.choice(["OPTIONS", "DESCRIBE", "SETUP", "PLAY", "PAUSE", "GET_PARAMETER"])
    url = rng.choice(["rtsp://h/cam", "rtsp://h/cam/trackID=0", "rtsp://h/%zz", "*", "rtsp://[/"])
    data = bytearray(request_bytes(Request(method, url, Headers(fields), b"body")) * 2)
    data += b"$\1\0\x08" + rng.randbytes(8)
    for _ in range(rng.randrange(1, 8)):
        at = rng.randrange(len(data))
        kind = rng.randrange(4)
        if kind == 0:
            data[at] = rng.randrange(256)
        elif kind == 1:
            del data[at : at + rng.randrange(1, 20)]
        elif kind == 2:
            data[at:at] = rng.randbytes(rng.randrange(1, 20))
        else:
            data[at:at] = data[: rng.randrange(1, 60)]
    return bytes(data)


def test_damaged_requests_harm_nobody(caplog: pytest.LogCaptureFixture) -> None:
    failures: list[object] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failures.append(context))
        camera = Camera()
        mount = camera.mount()
        async with serving({"cam": mount}) as server, RtspClient(server.port) as client:
            with filming(camera, mount):
                await client.play()
                for round_ in range(40):
                    seeds = range(round_ * 10, round_ * 10 + 10)
                    await asyncio.gather(
                        *(talk(server.port, mutated(seed), ends=True) for seed in seeds)
                    )
                await client.got(len(client.packets.get(0, [])) + 20)
                await until(lambda: mount.clients == 1, "sessions stayed")

    run(scenario())
    assert not failures
    assert not caplog.records
