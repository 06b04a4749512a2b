"""How viewers find the way through address translation: by STUN and TURN servers that settings name."""

from __future__ import annotations

from aioice import stun

from streamer.clock import MonotonicClock
from streamer.ice import IceServer
from streamer.sinks.webrtc import WebRtcSink
from streamer.sources.whip import WhipDoor
from tests.streamer.ice_servers import CREDENTIAL, USER, servers
from tests.streamer.server.watcher import Watcher, run
from tests.streamer.sources.publishing import publishing


def sink(*ice_servers: IceServer) -> WebRtcSink:
    return WebRtcSink(
        "enhanced",
        request_keyframe=lambda: None,
        set_target_bitrate=lambda _: None,
        clock=MonotonicClock(),
        ice_servers=ice_servers,
    )


def test_a_viewer_is_told_the_address_that_others_see_and_that_of_the_relay() -> None:
    async def scenario() -> None:
        async with servers() as (place, told):
            viewers = sink(
                IceServer(url=f"stun:{place}"),
                IceServer(url=f"turn:{place}", username=USER, credential=CREDENTIAL),
            )
            watcher = Watcher()
            session = await viewers.answer(await watcher.offer())
            await viewers.close()
            await watcher.close()
        assert "203.0.113.7 40000 typ srflx" in session.answer_sdp
        assert "198.51.100.9 50000 typ relay" in session.answer_sdp
        assert stun.Method.REFRESH in told.asked, "the relay is given back"

    run(scenario())


def test_without_servers_nobody_is_asked_and_only_own_addresses_are_told() -> None:
    async def scenario() -> None:
        viewers, watcher = sink(), Watcher()
        session = await viewers.answer(await watcher.offer())
        await viewers.close()
        await watcher.close()
        assert "typ host" in session.answer_sdp
        assert "typ srflx" not in session.answer_sdp

    run(scenario())


def test_a_publisher_is_told_the_address_that_others_see() -> None:
    async def scenario() -> None:
        async with servers() as (place, _):
            door = WhipDoor(
                "camera", clock=MonotonicClock(), ice_servers=[IceServer(url=f"stun:{place}")]
            )
            answers: list[str] = []

            async def answer(offer_sdp: str) -> str:
                answers.append((await door.answer(offer_sdp)).answer_sdp)
                return answers[0]

            async with publishing(answer):
                assert "203.0.113.7 40000 typ srflx" in answers[0]
            await door.close()

    run(scenario())
