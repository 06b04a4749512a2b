"""WHEP over real HTTP: what is answered, and what is refused in one sentence."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from streamer.server.app import build_app
from streamer.server.handle import StreamHandle
from streamer.server.run import Server
from tests.streamer.server.moving_picture import HEIGHT, WIDTH, DeafStream, LiveStream, running
from tests.streamer.server.watcher import Watcher, run, until

SDP = {"Content-Type": "application/sdp"}


@asynccontextmanager
async def serving(
    streams: Mapping[str, StreamHandle], **options: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running server over ``streams``."""
    async with (
        Server(build_app(streams, **options), port=0) as server,
        httpx.AsyncClient(base_url=server.url, timeout=60) as client,
    ):
        yield client


@pytest.mark.parametrize(("view", "rows"), [("enhanced", HEIGHT), ("compare", 2 * HEIGHT)])
def test_a_viewer_joins_watches_and_leaves(view: str, rows: int) -> None:
    async def scenario() -> None:
        async with running(LiveStream("the gate")) as stream, serving({"the gate": stream}) as http:
            watcher = Watcher()
            response = await http.post(
                f"/whep/the%20gate?view={view}", content=await watcher.offer(), headers=SDP
            )
            assert response.status_code == 201
            assert response.headers["content-type"].startswith("application/sdp")
            assert response.headers["etag"].startswith('"')
            session = response.headers["location"]
            assert session.startswith("/whep/the%20gate/")
            assert len(session.rsplit("/", 1)[1]) >= 20
            await watcher.accept(response.text)
            await until(lambda: watcher.frames, "no picture")
            assert (watcher.frames[0].width, watcher.frames[0].height) == (WIDTH, rows)

            assert (await http.delete(session)).status_code == 200
            assert (await http.delete(session)).status_code == 404
            assert stream.viewers == 0
            await watcher.close()

    run(scenario())


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "sentence"),
    [
        ("/whep/camera", "hello", SDP, 400, "does not begin with v=0"),
        ("/whep/camera", b"\xff\xfe", SDP, 400, "not UTF-8"),
        ("/whep/camera?view=sideways", "v=0", SDP, 400, "enhanced or compare"),
        ("/whep/nowhere", "v=0", SDP, 404, "no stream 'nowhere'"),
        ("/whep/camera", "{}", {"Content-Type": "application/json"}, 415, "send application/sdp"),
        ("/whep/camera", "v=0", {}, 415, "send application/sdp"),
        ("/whep/camera", "v=0" + "x" * 65_600, SDP, 413, "longer than 64 KiB"),
        ("/whep/deaf", "v=0", SDP, 503, "add --to webrtc:"),
    ],
)
def test_a_wrong_request_is_refused_in_one_sentence(
    path: str, body: str | bytes, headers: dict[str, str], status: int, sentence: str
) -> None:
    async def scenario() -> None:
        stream = LiveStream()
        async with serving({"camera": stream, "deaf": DeafStream()}) as http:
            response = await http.post(path, content=body, headers=headers)
            assert response.status_code == status
            assert sentence in response.text
            assert response.text.count("\n") == 1
            assert response.headers["content-type"].startswith("text/plain")
            assert stream.viewers == 0
        await stream.close()

    run(scenario())


def test_an_offer_without_h264_is_not_acceptable() -> None:
    async def scenario() -> None:
        stream = LiveStream()
        async with serving({"camera": stream}) as http:
            watcher = Watcher(codecs=("video/VP8",))
            response = await http.post("/whep/camera", content=await watcher.offer(), headers=SDP)
            assert response.status_code == 406
            assert "no H.264" in response.text
            await watcher.close()
        await stream.close()

    run(scenario())


def test_a_full_stream_says_when_to_come_back() -> None:
    async def scenario() -> None:
        stream = LiveStream(max_viewers=1)
        async with serving({"camera": stream}) as http:
            watcher = Watcher()
            offer = await watcher.offer()
            assert (await http.post("/whep/camera", content=offer, headers=SDP)).status_code == 201
            response = await http.post("/whep/camera", content=offer, headers=SDP)
            assert response.status_code == 503
            assert int(response.headers["retry-after"]) > 0
            await watcher.close()
        await stream.close()

    run(scenario())


def test_trickle_is_refused_and_the_endpoint_says_what_it_takes() -> None:
    async def scenario() -> None:
        stream = LiveStream()
        async with serving({"camera": stream}) as http:
            patch = await http.patch(
                "/whep/camera/some-session",
                content="a=candidate",
                headers={"Content-Type": "application/trickle-ice-sdpfrag"},
            )
            assert patch.status_code == 405
            assert patch.headers["allow"] == "DELETE"
            options = await http.options("/whep/camera")
            assert options.status_code == 204
            assert options.headers["accept-post"] == "application/sdp"
            assert (await http.get("/whep/camera")).status_code == 405
            assert (await http.options("/whep/nowhere")).status_code == 404
        await stream.close()

    run(scenario())


def test_other_pages_may_watch_only_where_they_are_allowed() -> None:
    async def scenario() -> None:
        stream = LiveStream()
        origin = {"Origin": "https://player.example"}
        preflight = {
            **origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
        }
        async with serving({"camera": stream}) as http:
            response = await http.get("/api/streams", headers=origin)
            assert "access-control-allow-origin" not in response.headers
        async with serving({"camera": stream}, allowed_origins=[origin["Origin"]]) as http:
            response = await http.options("/whep/camera", headers=preflight)
            assert response.headers["access-control-allow-origin"] == origin["Origin"]
        await stream.close()

    run(scenario())
