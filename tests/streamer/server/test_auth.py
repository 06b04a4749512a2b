"""Who may ask: every route, every kind of token, and what the page may load without one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import httpx
from fastapi import APIRouter, FastAPI, Response
from starlette.routing import Route

from streamer.clock import ManualClock
from streamer.server.app import ASSETS, PUBLIC_PATHS, Access, build_app
from streamer.server.auth import GUESS_EVERY_S, GUESSES, Guesses
from streamer.server.run import Server
from tests.streamer.server.many import TOKEN, serving_many, settings
from tests.streamer.server.watcher import run

OPEN = {"/", "/docs", "/healthz"}
"""The only routes beside the page's files that may answer without a token."""


def routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Every method and path that the application answers, found as Starlette keeps them."""
    found = 0
    for route in _flat(app.router.routes):
        if isinstance(route, Route):
            found += 1
            for method in route.methods or ():
                path = re.sub(r"\{[^}]+:path\}", "a/b.ts", route.path)
                yield method, re.sub(r"\{[^}]+\}", "yard", path)
    assert found >= len(PUBLIC_PATHS) + 10, "the walk finds the routes"


def _flat(found: Sequence[object]) -> Iterator[object]:
    """Routers that were included are kept as they are by newer versions of FastAPI."""
    for one in found:
        inner = getattr(one, "original_router", None)
        if inner is None:
            yield one
        else:
            yield from _flat(inner.routes)


WRONG = (None, "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x")


def test_every_route_but_the_page_and_health_asks_for_the_token() -> None:
    async def scenario() -> None:
        clock, other = ManualClock(), APIRouter()

        @other.post("/whip/{name}")
        @other.delete("/whip/{name}/{session}")
        @other.get("/hls/{name}/{file:path}")
        async def later() -> Response:
            raise AssertionError("nobody gets here")

        async with (
            serving_many(settings("yard"), routers=[other], clock=clock) as many,
            httpx.AsyncClient(base_url=many.url, timeout=60) as http,
        ):
            asked = set(routes(many.app))
            in_schema = {path.replace("{name}", "yard") for path in many.app.openapi()["paths"]}
            assert {path for path in in_schema if "{" not in path} <= {path for _, path in asked}
            guarded = {one for one in asked if one[1] not in OPEN and "/static/" not in one[1]}
            assert {("POST", "/whep/yard"), ("DELETE", "/api/streams/yard")} < guarded
            guarded |= {("POST", path) for path in ("/nothing", "/docs", "//api/streams", "/")}
            for given in WRONG:
                headers = {} if given is None else {"Authorization": given}
                for method, path in guarded:
                    clock.advance_ms(1000 * GUESS_EVERY_S)
                    answer = await http.request(method, path, headers=headers)
                    assert answer.status_code == 401, (method, path, given)
                    assert answer.headers["www-authenticate"].startswith('Bearer realm="streamer"')
                    assert answer.headers["x-content-type-options"] == "nosniff"

    run(scenario())


def test_what_is_public_is_the_page_and_health_and_nothing_else() -> None:
    assert OPEN | {f"/static/{name}" for name in ASSETS} == PUBLIC_PATHS

    async def scenario() -> None:
        async with (
            serving_many(settings("yard")) as many,
            httpx.AsyncClient(base_url=many.url, timeout=60) as http,
        ):
            for path in PUBLIC_PATHS:
                assert (await http.get(path)).status_code == 200, path
                assert (await http.post(path)).status_code == 401, path
            for path in ("/static/../api/streams", "/static/x.js", "/api/streams#/static/"):
                assert (await http.get(path)).status_code == 401, path

    run(scenario())


def test_the_right_token_opens_what_is_there() -> None:
    async def scenario() -> None:
        async with serving_many(settings("yard")) as many:
            for path in ("/api/streams", "/api/streams/yard", "/metrics", "/openapi.json"):
                assert (await many.http.get(path)).status_code == 200, path
            lower = {"Authorization": f"bearer {TOKEN}"}
            assert (await many.http.get("/metrics", headers=lower)).status_code == 200
            in_query = await many.http.get(
                f"/api/streams?token={TOKEN}", headers={"Authorization": ""}
            )
            assert in_query.status_code == 401, "an address ends in logs and histories"

    run(scenario())


def test_wrong_tokens_are_answered_slowly_and_the_right_one_waits_with_them() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        async with serving_many(settings("yard"), clock=clock) as many:
            wrong = {"Authorization": "Bearer wrong"}
            for number in range(GUESSES):
                guess = {"Authorization": f"Bearer wrong{number}"}
                answer = await many.http.get("/metrics", headers=guess)
                assert answer.status_code == 401
                assert 'error="invalid_token"' in answer.headers["www-authenticate"]
            for headers in (wrong, None):
                held = await many.http.get("/metrics", headers=headers)
                assert held.status_code == 429
                assert int(held.headers["retry-after"]) == GUESS_EVERY_S
            nothing = await many.http.get("/metrics", headers={"Authorization": ""})
            assert nothing.status_code == 401, "no token is no guess"
            clock.advance_ms(GUESS_EVERY_S * 1000)
            assert (await many.http.get("/metrics")).status_code == 200
            assert (await many.http.get("/healthz")).status_code == 200

    run(scenario())


def test_a_player_with_an_old_token_locks_nobody_out() -> None:
    async def scenario() -> None:
        async with serving_many(settings("yard"), clock=ManualClock()) as many:
            old = {"Authorization": "Bearer the-token-of-yesterday"}
            for _ in range(2 * GUESSES):
                assert (await many.http.get("/metrics", headers=old)).status_code == 401
            assert (await many.http.get("/metrics")).status_code == 200

    run(scenario())


def test_guesses_are_counted_per_address_and_forgotten_with_time() -> None:
    clock = ManualClock()
    guesses = Guesses(clock)
    for number in range(GUESSES):
        assert guesses.wait_s("192.0.2.1") == 0
        guesses.count("192.0.2.1", f"guess {number}")
        guesses.count(f"2001:db8::{number}", f"guess {number}")
    assert guesses.wait_s("192.0.2.1") == GUESS_EVERY_S
    assert guesses.wait_s("192.0.2.2") == 0
    assert guesses.wait_s("2001:db8::ffff") == GUESS_EVERY_S, "one user has all of a /64"
    assert guesses.wait_s("2001:db8:0:1::1") == 0
    clock.advance_ms(1000 * GUESS_EVERY_S * GUESSES)
    for number in range(GUESSES):
        assert guesses.wait_s("192.0.2.1") == 0
        guesses.count("192.0.2.1", f"guess {number}")
    for number in range(10_000):
        guesses.count(f"10.0.{number >> 8}.{number & 255}", "guess")
    assert len(guesses._spent) <= 4096


def test_without_a_token_only_this_machine_s_names_are_answered() -> None:
    async def scenario() -> None:
        async with serving_many(settings("yard"), token=None) as many:
            port = httpx.URL(many.url).port
            for host in (f"127.0.0.1:{port}", f"localhost:{port}", "[::1]:80", "127.0.0.2"):
                answer = await many.http.get("/api/streams", headers={"Host": host})
                assert answer.status_code == 200, host
            for host in ("evil.example", f"127.0.0.1.evil.example:{port}", "10.0.0.1", "[::1", ""):
                answer = await many.http.get("/api/streams", headers={"Host": host})
                assert answer.status_code == 421, host

    run(scenario())


def test_a_preflight_needs_no_token_and_only_listed_origins_pass() -> None:
    origin = "https://studio.example"

    async def scenario() -> None:
        async with serving_many(settings("yard"), allowed_origins=[origin]) as many:
            asked = {
                "Origin": origin,
                "Access-Control-Request-Method": "PATCH",
                "Access-Control-Request-Headers": "authorization,content-type",
                "Authorization": "",
            }
            answer = await many.http.options("/api/streams/yard", headers=asked)
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == origin
            assert "authorization" in answer.headers["access-control-allow-headers"].lower()
            refused = await many.http.get(
                "/metrics", headers={"Origin": origin, "Authorization": "Bearer wrong"}
            )
            assert refused.status_code == 401
            assert refused.headers["access-control-allow-origin"] == origin, "a page may read why"
            other = await many.http.options(
                "/api/streams/yard", headers={**asked, "Origin": "https://evil.example"}
            )
            assert other.status_code == 400
            assert "access-control-allow-origin" not in other.headers

    run(scenario())


def test_players_of_hls_may_give_the_token_in_the_address_and_it_goes_on_from_there() -> None:
    playlist = '#EXTM3U\n#EXT-X-MAP:URI="init.mp4"\n#EXTINF:1,\n1.m4s\nhttps://cdn.example/2.m4s\n'
    seen: list[str] = []

    async def scenario() -> None:
        router = APIRouter()

        @router.get("/hls/{name}/{file}")
        async def get(name: str, file: str, token: str = "") -> Response:
            seen.append(f"{file} {token}")
            if file.endswith(".m3u8"):
                return Response(
                    playlist,
                    media_type="application/vnd.apple.mpegurl",
                    headers={"ETag": '"1"'},
                )
            return Response(b"media", media_type="video/mp4")

        app = build_app({}, access=Access(token=TOKEN), routers=[router])
        async with (
            Server(app, port=0) as server,
            httpx.AsyncClient(base_url=server.url, timeout=60) as http,
        ):
            assert (await http.get("/hls/yard/index.m3u8")).status_code == 401
            assert (await http.get("/hls/yard/index.m3u8?token=wrong")).status_code == 401
            answer = await http.get(f"/hls/yard/index.m3u8?token={TOKEN}")
            assert answer.status_code == 200
            assert answer.text == (
                f'#EXTM3U\n#EXT-X-MAP:URI="init.mp4?token={TOKEN}"\n#EXTINF:1,\n'
                f"1.m4s?token={TOKEN}\nhttps://cdn.example/2.m4s\n"
            )
            assert int(answer.headers["content-length"]) == len(answer.content)
            assert "etag" not in answer.headers
            segment = await http.get(f"/hls/yard/1.m4s?token={TOKEN}")
            assert segment.content == b"media"
            plain = await http.get(
                "/hls/yard/index.m3u8", headers={"Authorization": f"Bearer {TOKEN}"}
            )
            assert plain.text == playlist, "who sends a header goes on sending it"
        assert seen == ["index.m3u8 ", "1.m4s ", "index.m3u8 "], "the token ends at the gate"

    run(scenario())
