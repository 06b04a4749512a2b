"""WHIP over real HTTP: a publisher comes and goes, and what is refused in one sentence."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

from streamer.errors import SourceLost
from streamer.server.run import Server
from streamer.server.whip import whip_routes
from streamer.sources.whip import WhipDoor
from tests.streamer.sources.publishing import WAIT_S, PublisherProcess, door, run
from tests.streamer.sources.whip_peer import Settings

SDP = {"Content-Type": "application/sdp"}


@asynccontextmanager
async def serving(opened: WhipDoor) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server that has this one door, by the name ``the gate``."""
    app = FastAPI()
    app.include_router(whip_routes({"the gate": opened}))
    async with (
        Server(app, port=0) as server,
        httpx.AsyncClient(base_url=server.url, timeout=WAIT_S) as client,
    ):
        yield client


def test_a_publisher_comes_publishes_and_leaves() -> None:
    async def scenario() -> None:
        async with door() as opened, serving(opened) as http:
            publisher = await PublisherProcess.start(Settings())
            offer = await publisher.offer()
            response = await http.post("/whip/the%20gate", content=offer, headers=SDP)
            assert response.status_code == 201
            assert response.headers["content-type"].startswith("application/sdp")
            assert response.headers["etag"].startswith('"')
            session = response.headers["location"]
            assert session.startswith("/whip/the%20gate/")
            assert len(session.rsplit("/", 1)[1]) >= 20
            await publisher.tell(response.text)
            source = await opened.source(timeout_s=WAIT_S)
            assert (source.video.width, source.video.height) == (640, 360)

            second = await http.post("/whip/the%20gate", content=offer, headers=SDP)
            assert second.status_code == 409
            assert "has a publisher already" in second.text

            assert (await http.delete(f"{session}x")).status_code == 404
            assert (await http.delete(session)).status_code == 200
            assert (await http.delete(session)).status_code == 404
            with pytest.raises(SourceLost):
                async for _ in source.packets():
                    pass
            assert not opened.is_publishing
            await publisher.close()

    run(scenario())


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "sentence"),
    [
        ("the%20gate", "hello", SDP, 400, "does not begin with v=0"),
        ("the%20gate", b"\xff\xfe", SDP, 400, "not UTF-8"),
        ("the%20gate", "v=0\r\no=- 0 0 IN IP4 0\r\ns=-\r\nt=0 0\r\n", SDP, 406, "no video section"),
        ("nowhere", "v=0", SDP, 404, "no stream 'nowhere'"),
        ("the%20gate", "{}", {"Content-Type": "application/json"}, 415, "send application/sdp"),
        ("the%20gate", "v=0", {}, 415, "send application/sdp"),
        ("the%20gate", "v=0" + "x" * 65_600, SDP, 413, "longer than 64 KiB"),
    ],
)
def test_a_wrong_request_is_refused_in_one_sentence(
    path: str, body: str | bytes, headers: dict[str, str], status: int, sentence: str
) -> None:
    async def scenario() -> None:
        async with door() as opened, serving(opened) as http:
            response = await http.post(f"/whip/{path}", content=body, headers=headers)
            assert response.status_code == status
            assert sentence in response.text
            assert not opened.is_publishing

    run(scenario())


def test_trickle_is_refused_and_the_endpoint_says_what_it_takes() -> None:
    async def scenario() -> None:
        async with door() as opened, serving(opened) as http:
            patch = await http.patch(
                "/whip/the%20gate/some-session",
                content="a=candidate",
                headers={"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": '"1"'},
            )
            assert patch.status_code == 405
            assert patch.headers["allow"] == "DELETE"
            options = await http.options("/whip/the%20gate")
            assert options.status_code == 204
            assert options.headers["accept-post"] == "application/sdp"
            assert (await http.options("/whip/nowhere")).status_code == 404
            for method in ("GET", "HEAD", "PUT"):
                assert (await http.request(method, "/whip/the%20gate")).status_code == 405

    run(scenario())
