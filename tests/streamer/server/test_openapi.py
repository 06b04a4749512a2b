"""Every route of a server, asked well and badly, answers as its OpenAPI document says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from streamer.server.bounds import MAX_BODY_BYTES
from streamer.server.hls import hls_routes
from streamer.server.whip import whip_routes
from tests.streamer.server.many import SMALL, Many, becomes, serving_many, settings, until_numbers
from tests.streamer.server.openapi import problems
from tests.streamer.server.watcher import Watcher, run
from tests.streamer.sources.publishing import PublisherProcess, door
from tests.streamer.sources.whip_peer import Settings as Publisher

SDP = {"Content-Type": "application/sdp"}
JSON = {"Content-Type": "application/json"}


class Asker:
    """Asks, compares each answer with the schema, and remembers what was asked."""

    def __init__(self, http: httpx.AsyncClient, schema: dict[str, Any]) -> None:
        self._http = http
        self._schema = schema
        self.asked: dict[tuple[str, str], set[int]] = {}

    async def ask(
        self,
        method: str,
        path: str,
        status: int,
        *,
        of: dict[str, str] | None = None,
        query: str = "",
        **sent: Any,
    ) -> httpx.Response:
        """``path`` is one of the schema; ``of`` is what its parts in braces stand for."""
        answer = await self._http.request(method, path.format(**(of or {})) + query, **sent)
        assert answer.status_code == status, (method, path, answer.text)
        assert problems(self._schema, path, method, answer) == []
        if status >= 400:
            assert answer.text.count("\n") == 1, "one sentence"
        self.asked.setdefault((method, path), set()).add(status)
        return answer


async def ask_streams(asker: Asker) -> None:
    one, stream = "/api/streams/{name}", {"name": "yard"}
    nobody = {"name": "nobody"}
    cheap = {"source": SMALL, "to": ["null:"], "scale": 1, "backend": "reference"}
    for path in ("/healthz", "/api/streams", "/metrics"):
        await asker.ask("get", path, 200)
    for path in (one, f"{one}/report", f"{one}/still.jpg"):
        await asker.ask("get", path, 200, of=stream)
        await asker.ask("get", path, 404, of=nobody)
    for path in (f"{one}/report", f"{one}/still.jpg"):
        await asker.ask("get", path, 409, of={"name": "dead"})
    post = "/api/streams"
    await asker.ask("post", post, 201, json={"name": "more", **cheap})
    await asker.ask("post", post, 409, json={"name": "more", **cheap})
    await asker.ask("post", post, 400, json={"name": "other", **cheap, "scale": 9})
    await asker.ask("post", post, 403, json={"name": "other", "source": "rtsp://127.0.0.1/x"})
    await asker.ask("post", post, 422, json={"name": "other", "source": 7})
    await asker.ask("post", post, 415, content="name: other")
    await asker.ask("post", post, 413, content=b" " * (MAX_BODY_BYTES + 1), headers=JSON)
    await asker.ask("patch", one, 200, json={"budget_ms": 60}, of=stream)
    await asker.ask("patch", one, 400, json={"budget_ms": -1}, of=stream)
    await asker.ask("patch", one, 422, json={"budget": 1}, of=stream)
    await asker.ask("patch", one, 404, json={"budget_ms": 60}, of=nobody)
    await asker.ask("delete", one, 204, of={"name": "more"})
    await asker.ask("delete", one, 404, of=nobody)


async def ask_whep(asker: Asker) -> None:
    join, stream = "/whep/{name}", {"name": "yard"}
    await asker.ask("options", join, 204, of=stream)
    await asker.ask("options", join, 404, of={"name": "nobody"})
    watcher, foreign = Watcher(), Watcher(codecs=("video/VP8",))
    offer = await watcher.offer()
    joined = await asker.ask("post", join, 201, content=offer, headers=SDP, of=stream)
    await asker.ask("post", join, 400, query="?view=x", content=offer, headers=SDP, of=stream)
    await asker.ask("post", join, 404, content=offer, headers=SDP, of={"name": "nobody"})
    other = await foreign.offer()
    await asker.ask("post", join, 406, content=other, headers=SDP, of=stream)
    await asker.ask("post", join, 413, content="v=0" + "x" * 65_600, headers=SDP, of=stream)
    await asker.ask("post", join, 415, content=offer, of=stream)
    await asker.ask("post", join, 503, content=offer, headers=SDP, of={"name": "dead"})
    session = {"name": "yard", "session_id": joined.headers["location"].rpartition("/")[2]}
    await asker.ask("delete", "/whep/{name}/{session_id}", 200, of=session)
    await asker.ask("delete", "/whep/{name}/{session_id}", 404, of=session)
    await watcher.close()
    await foreign.close()


async def ask_whip(asker: Asker) -> None:
    publish, gate = "/whip/{name}", {"name": "gate"}
    await asker.ask("options", publish, 204, of=gate)
    publisher = await PublisherProcess.start(Publisher())
    offer = await publisher.offer()
    begun = await asker.ask("post", publish, 201, content=offer, headers=SDP, of=gate)
    await asker.ask("post", publish, 409, content=offer, headers=SDP, of=gate)
    await asker.ask("post", publish, 404, content=offer, headers=SDP, of={"name": "yard"})
    await asker.ask("post", publish, 415, content=offer, of=gate)
    session = {"name": "gate", "session_id": begun.headers["location"].rpartition("/")[2]}
    await asker.ask("delete", "/whip/{name}/{session_id}", 200, of=session)
    await asker.ask("delete", "/whip/{name}/{session_id}", 404, of=session)
    await publisher.close()


async def ask_hls(asker: Asker, many: Many) -> None:
    path = "/hls/{name}/{file}"
    await until_numbers(many.http, "yard", lambda one: one["frames"]["sent"] > 30)
    playlist = await asker.ask("get", path, 200, of={"name": "yard", "file": "index.m3u8"})
    names = [line for line in playlist.text.splitlines() if not line.startswith("#")]
    begin = playlist.text.partition('URI="')[2].partition('"')[0]
    for name in (begin, names[0]):
        await asker.ask("get", path, 200, of={"name": "yard", "file": name})
    await asker.ask("get", path, 404, of={"name": "yard", "file": "notes.txt"})
    await asker.ask("get", path, 404, of={"name": "dead", "file": "index.m3u8"})


def has_sent(numbers: dict[str, Any]) -> bool:
    return bool((numbers.get("frames") or {}).get("sent"))


def test_every_route_answers_as_the_document_says(tmp_path: Path) -> None:
    yard = settings("yard", SMALL, "webrtc:", f"hls:{tmp_path}")
    dead = settings("dead", "/no/such/clip.mp4", "webrtc:")

    async def scenario() -> None:
        async with door() as opened:
            routers = [
                whip_routes({"gate": opened}),
                hls_routes({"yard": tmp_path}.get),
            ]
            async with (
                serving_many(yard, dead, routers=routers) as many,
                httpx.AsyncClient(base_url=many.url, timeout=60) as stranger,
            ):
                await until_numbers(many.http, "yard", has_sent)
                await becomes(many.registry, "dead", "failed")
                schema = (await many.http.get("/openapi.json")).json()
                asker = Asker(many.http, schema)
                await ask_streams(asker)
                await ask_whep(asker)
                await ask_whip(asker)
                await ask_hls(asker, many)
                nobody = Asker(stranger, schema)
                parts = {"name": "yard", "session_id": "x", "file": "index.m3u8"}
                for path, operations in schema["paths"].items():
                    for method in operations:
                        assert (method, path) in asker.asked, "every route is asked"
                        status = 200 if path == "/healthz" else 401
                        await nobody.ask(method, path, status, of=parts)

    run(scenario())


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/api/streams", "GET, POST"),
        ("POST", "/api/streams/yard", "DELETE, GET, PATCH"),
        ("GET", "/whep/yard", "OPTIONS, POST"),
        ("GET", "/whep/yard/session", "DELETE"),
        ("POST", "/", "GET"),
    ],
)
def test_a_wrong_method_is_told_all_that_are_possible(method: str, path: str, allowed: str) -> None:
    async def scenario() -> None:
        async with serving_many(settings("yard")) as many:
            answer = await many.http.request(method, path)
            assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
            assert answer.text == f"{method} is not possible here; use {allowed}\n"

    run(scenario())
