"""The page's files, the streams' numbers, and the server around them."""

from __future__ import annotations

import asyncio
import re
import signal
import socket

import httpx
import pytest
from fastapi import FastAPI

from streamer.errors import ConfigError
from streamer.server.app import ASSETS, PAGES, STATIC, build_app
from streamer.server.handle import StreamHandle
from streamer.server.run import Server
from tests.streamer.server.moving_picture import DeafStream, LiveStream
from tests.streamer.server.watcher import WAIT_S, run


def test_streams_are_listed_and_shown() -> None:
    async def scenario() -> None:
        stream = LiveStream("the gate")
        streams: dict[str, StreamHandle] = {"the gate": stream}
        async with (
            Server(build_app(streams), port=0) as server,
            httpx.AsyncClient(base_url=server.url, timeout=60) as http,
        ):
            listed = (await http.get("/api/streams")).json()["streams"]
            assert [one["name"] for one in listed] == ["the gate"]
            shown = (await http.get(listed[0]["statistics"])).json()
            assert shown["latency_ms"]["arrived_to_sent"]["p50"] == 21.4
            assert (await http.get("/api/streams/nowhere")).status_code == 404
            health = (await http.get("/healthz")).json()
            assert health == {"status": "ok", "streams": {"the gate": "live"}}

            streams["later"] = DeafStream()
            assert len((await http.get("/api/streams")).json()["streams"]) == 2
        await stream.close()

    run(scenario())


def test_what_is_not_there_is_said_with_what_is() -> None:
    async def scenario() -> None:
        async with (
            Server(build_app({}), port=0) as server,
            httpx.AsyncClient(base_url=server.url, timeout=60) as http,
        ):
            nowhere = await http.get("/api/cameras")
            assert (nowhere.status_code, nowhere.text.count("\n")) == (404, 1)
            assert "GET /openapi.json lists" in nowhere.text
            wrong = await http.put("/api/streams")
            assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET")
            assert wrong.text == "PUT is not possible here; use GET\n"

    run(scenario())


def test_the_page_and_all_it_asks_for_come_from_here() -> None:
    async def scenario() -> None:
        async with (
            Server(build_app({}), port=0) as server,
            httpx.AsyncClient(base_url=server.url, timeout=60) as http,
        ):
            page = await http.get("/")
            assert page.headers["content-type"].startswith("text/html")
            assert "default-src 'self'" in page.headers["content-security-policy"]
            names = set(re.findall(r"/static/[\w.]+", page.text))
            names |= {f"/static/{name}" for name in ASSETS}
            for name in names:
                assert (await http.get(name)).status_code == 200, name
            assert (await http.get("/static/../app.py")).status_code == 404

    run(scenario())


def test_every_file_of_the_page_is_served() -> None:
    assert {path.name for path in STATIC.iterdir()} == {*PAGES.values(), *ASSETS}


def test_the_page_names_no_outside_address() -> None:
    for path in STATIC.iterdir():
        addresses = re.findall(r"(?:https?:)?//[\w.-]+\.\w+", path.read_text(encoding="utf-8"))
        assert set(addresses) <= {"http://www.w3.org"}, path.name


def test_a_port_in_use_is_told_in_one_sentence() -> None:
    async def scenario() -> None:
        async with Server(FastAPI(), port=0) as first:
            with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{first.port}: "):
                async with Server(FastAPI(), port=first.port):
                    pass

    run(scenario())


def test_a_port_in_use_in_one_family_is_not_shared_in_the_other() -> None:
    async def scenario() -> None:
        with socket.create_server(("0.0.0.0", 0)) as first:
            port = first.getsockname()[1]
            with pytest.raises(ConfigError, match="address already in use; choose another port"):
                async with Server(FastAPI(), host="", port=port):
                    pass
        async with Server(FastAPI(), host="", port=port) as server:
            assert server.port == port

    run(scenario())


@pytest.mark.parametrize(
    ("host", "port", "advice"),
    [
        ("no.such.host.invalid", 0, "name an address of this machine"),
        ("192.0.2.1", 0, "name an address of this machine"),
        ("127.0.0.1", 70_000, "choose one of these"),
    ],
)
def test_an_address_that_does_not_exist_is_told(host: str, port: int, advice: str) -> None:
    async def scenario() -> None:
        with pytest.raises(ConfigError, match=f"cannot listen on .*; {advice}"):
            async with Server(FastAPI(), host=host, port=port):
                pass

    run(scenario())


def test_the_server_leaves_the_signals_alone() -> None:
    async def scenario() -> None:
        before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        async with Server(FastAPI(), port=0) as server, httpx.AsyncClient(timeout=60) as http:
            assert (await http.get(server.url)).status_code == 404
            assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before

    run(scenario())


def test_the_server_stops_although_a_request_never_ends() -> None:
    async def scenario() -> None:
        app = FastAPI()
        begun = asyncio.Event()

        @app.get("/slow")
        async def slow() -> None:
            begun.set()
            await asyncio.Event().wait()

        async with httpx.AsyncClient(timeout=None) as http:
            async with asyncio.timeout(WAIT_S), Server(app, port=0) as server:
                request = asyncio.create_task(http.get(f"{server.url}slow"))
                await begun.wait()
            await asyncio.gather(request, return_exceptions=True)

    run(scenario())


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:"), ("::1", "http://[::1]:"), ("127.0.0.1", "http://127.")],
)
def test_the_url_can_be_opened_on_this_machine(host: str, url: str) -> None:
    assert Server(FastAPI(), host=host, port=80).url.startswith(url)
