"""Where an address that a stranger named may lead us: only to what is allowed, whatever its peer says."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from streamer.addresses import AddressPolicy, parse_network
from streamer.clock import MonotonicClock
from streamer.errors import SourceError
from streamer.rtsp.url import parse_url
from streamer.sources.base import PacketSource
from streamer.sources.opening import open_within
from streamer.sources.rtsp.connection import USER_AGENT
from tests.programs import needs
from tests.rtsp_camera import Asked, ScriptedServer, Viewer, film
from tests.streamer.sources.peers import flv, free_port, sending
from tests.streamer.sources.rtsp_viewer import opened, packets_of, run

ALLOWED, FORBIDDEN, EMPTY = "127.0.0.1", "127.0.0.2", "127.0.0.3"
POLICY = AddressPolicy(allowed=(parse_network(f"{ALLOWED}/32"), parse_network(f"{EMPTY}/32")))


@contextmanager
def meaning(*answers: list[str]) -> Iterator[str]:
    """A name that means other addresses each time it is looked up, as whoever owns one can make it."""
    really, left = socket.getaddrinfo, iter(answers)

    def look_up(host: Any, *arguments: Any, **options: Any) -> list[Any]:
        hosts = next(left) if host == "cam.example" else [host]
        return [found for one in hosts for found in really(one, *arguments, **options)]

    with pytest.MonkeyPatch.context() as patch:
        # The network's own resolver: not ours, and not there on every machine.
        patch.setattr(socket, "getaddrinfo", look_up)
        yield "cam.example"


class Inside:
    """What nobody outside may reach."""

    def __init__(self) -> None:
        self.visits: list[asyncio.StreamWriter] = []

    async def listen(self, port: int = 0) -> asyncio.Server:
        return await asyncio.start_server(
            lambda _, writer: self.visits.append(writer), FORBIDDEN, port
        )

    def hang_up(self) -> None:
        for writer in self.visits:
            writer.transport.abort()


@pytest.mark.parametrize("way", ["named", "sent"])
@pytest.mark.parametrize("first", [ALLOWED, FORBIDDEN])
def test_what_was_checked_is_what_is_connected_to(first: str, way: str) -> None:
    inside = Inside()

    async def work() -> None:
        def send_on(viewer: Viewer, asked: Asked) -> None:
            viewer.answer(asked, "302 Moved Temporarily", location=named)

        async with ScriptedServer(playing=film) as end:
            named = end.url.replace(ALLOWED, "cam.example")
            async with (
                await inside.listen(parse_url(end.url).port),
                ScriptedServer(steps={"DESCRIBE": send_on}) as begin,
            ):
                opening = opened(
                    named if way == "named" else begin.url, may_connect=POLICY.may_connect
                )
                if first == ALLOWED:
                    source = await opening
                    assert len(await packets_of(source, 3)) == 3
                    await source.close()
                else:
                    with pytest.raises(SourceError, match=r"leads to cam\.example:\d+, which may"):
                        await opening
                    assert not end.asked
                inside.hang_up()

    with meaning([first], [FORBIDDEN], [FORBIDDEN]):
        run(work)
    assert not inside.visits


def test_one_forbidden_address_among_those_of_a_name_is_enough() -> None:
    async def work() -> None:
        async with ScriptedServer(playing=film) as end:
            named = end.url.replace(ALLOWED, "cam.example")
            with pytest.raises(SourceError, match="list its network under allow_sources"):
                await opened(named, may_connect=POLICY.may_connect)
            assert not end.asked

    with meaning([ALLOWED, FORBIDDEN]):
        run(work)


def test_a_camera_is_found_at_whichever_address_of_its_name_it_answers() -> None:
    async def work() -> None:
        async with ScriptedServer(playing=film) as end:
            named = end.url.replace(ALLOWED, "cam.example")
            source = await open_within(POLICY, named, clock=MonotonicClock())
            assert isinstance(source, PacketSource)
            assert len(await packets_of(source, 3)) == 3
            await source.close()

    with meaning(*[[EMPTY, ALLOWED]] * 2):
        run(work)


@needs("ffmpeg")
def test_what_libav_reads_is_found_at_whichever_address_of_its_name_it_answers() -> None:
    port = free_port()

    async def work() -> None:
        while True:
            try:
                url = f"rtmp://cam.example:{port}/live/key"
                source = await open_within(POLICY, url, clock=MonotonicClock())
            except SourceError as error:
                if "refused" not in str(error):  # ffmpeg does not listen yet
                    raise
            else:
                break
        assert source.video.codec == "h264"
        await source.close()

    with (
        meaning(*[[EMPTY, ALLOWED]] * 1000),
        sending(flv(f"rtmp://{ALLOWED}:{port}/live/key", "-listen", "1")),
    ):
        run(work)


def test_what_only_libav_reads_is_refused_where_libav_might_be_sent_elsewhere() -> None:
    """It follows redirects by itself, and asks nobody."""
    sdp = "v=0\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:t\r\n"
    inside = Inside()

    async def work() -> None:
        server = await inside.listen()
        place = "rtsp://{}:{}/".format(*server.sockets[0].getsockname())

        def describe(viewer: Viewer, asked: Asked) -> None:
            if asked.headers["user-agent"] == USER_AGENT:
                viewer.answer(asked, body=sdp, content_type="application/sdp")
            else:
                viewer.answer(asked, "302 Moved Temporarily", location=place)

        async with server, ScriptedServer(steps={"DESCRIBE": describe}) as camera:
            with pytest.raises(
                SourceError, match=r"sends video as JPEG.*; set the camera to H\.264"
            ):
                await opened(camera.url, may_connect=POLICY.may_connect)
            inside.hang_up()

    run(work)
    assert not inside.visits
