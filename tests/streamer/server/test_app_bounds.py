"""What every request keeps to: bodies that are too long or too slow, headers for safety."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from streamer.server import bounds
from streamer.server import run as server_run
from streamer.server.bounds import MAX_BODY_BYTES
from streamer.server.supervised import Supervised
from tests.streamer.server.many import becomes, serving_many, settings
from tests.streamer.server.watcher import run

JSON = {"Content-Type": "application/json"}


def test_a_body_that_is_too_long_is_refused_whether_or_not_it_says_so() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 4096

    async def scenario() -> None:
        async with serving_many() as many:
            said = await many.http.post(
                "/api/streams", content=b" " * (MAX_BODY_BYTES + 1), headers=JSON
            )
            assert said.status_code == 413
            assert said.text == "the body is longer than 128 KiB, which is the most\n"
            try:
                unsaid = await many.http.post("/api/streams", content=endless(), headers=JSON)
            except (httpx.WriteError, httpx.ReadError):
                pass  # the connection was closed while the rest was being sent
            else:
                assert unsaid.status_code == 413
            assert (await many.http.get("/api/streams")).status_code == 200

    run(scenario())


async def begun(
    url: httpx.URL, *, length: int, body: bytes
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which a stream is being added, with a part of the body that is announced."""
    reader, writer = await asyncio.open_connection(url.host, url.port)
    head = "POST /api/streams HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"
    writer.write("\r\n".join((*head, f"Content-Length: {length}", "", "")).encode() + body)
    return reader, writer


def test_a_body_that_never_comes_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "BODY_WITHIN_S", 0.2)

    async def scenario() -> None:
        async with serving_many(token=None) as many:
            url = httpx.URL(many.url)
            reader, writer = await begun(url, length=100, body=b'{"na')
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
            assert answer.startswith(b"HTTP/1.1 408 ")
            writer.close()

    run(scenario())


def test_a_connection_without_a_request_is_closed_and_one_with_a_request_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_run, "IDLE_S", 0.2)

    async def scenario() -> None:
        async with serving_many(token=None) as many:
            url = httpx.URL(many.url)
            slow_reader, slow_writer = await begun(url, length=2, body=b"{")
            for sent in (b"", b"GET / HTTP/1.1\r\nHost: "):
                reader, writer = await asyncio.open_connection(url.host, url.port)
                writer.write(sent)
                assert await asyncio.wait_for(reader.read(), 60) == b"", sent
                writer.close()
            slow_writer.write(b"}")
            answer = await asyncio.wait_for(slow_reader.readuntil(b"\r\n\r\n"), 60)
            assert answer.startswith(b"HTTP/1.1 422 ")
            slow_writer.close()

    run(scenario())


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
def test_who_offers_another_protocol_is_answered_in_this_one_without_a_word_in_the_log(
    protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with serving_many() as many:
            offered = {"Connection": "Upgrade", "Upgrade": protocol}
            assert (await many.http.get("/healthz", headers=offered)).status_code == 200

    run(scenario())
    assert [one for one in caplog.records if one.name.startswith("uvicorn")] == []


def test_health_is_told_without_any_stream_s_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    # Anybody may ask for it, and these are put together on the event loop.
    def numbers(stream: Supervised) -> None:
        raise AssertionError(f"the numbers of {stream.name} were asked for")

    async def scenario() -> None:
        async with serving_many(settings("yard")) as many:
            await becomes(many.registry, "yard", "live")
            monkeypatch.setattr(Supervised, "statistics", numbers)
            health = (await many.http.get("/healthz")).json()
            assert health == {"status": "ok", "streams": {"yard": "live"}}

    run(scenario())


def test_head_is_answered_as_get_is_without_the_body() -> None:
    async def scenario() -> None:
        async with serving_many(settings("yard")) as many:
            for path in ("/", "/static/page.js", "/api/streams/nobody"):
                got, head = await many.http.get(path), await many.http.head(path)
                assert (head.status_code, head.content) == (got.status_code, b""), path
                assert head.headers["content-length"] == got.headers["content-length"]
            assert (await many.http.head("/healthz")).status_code == 200
            assert (await many.http.head("/api/streams", headers={"Authorization": ""})).is_error

    run(scenario())


def test_every_answer_has_the_headers_that_browsers_need() -> None:
    async def scenario() -> None:
        async with serving_many(settings("yard")) as many:
            for path in ("/", "/api/streams", "/metrics", "/nowhere", "/static/page.js"):
                headers = (await many.http.get(path)).headers
                assert headers["x-content-type-options"] == "nosniff", path
                assert headers["referrer-policy"] == "no-referrer", path
                assert headers["x-frame-options"] == "DENY", path
            page = await many.http.get("/")
            assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
            assert page.headers["cache-control"] == "no-cache"
            assert (await many.http.get("/api/streams")).headers["cache-control"] == "no-store"

    run(scenario())
