"""The server as a whole: where it listens, whom it lets in, how long it waits and what it survives."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest

from streamer.clock import ManualClock, MonotonicClock
from streamer.errors import ConfigError
from streamer.rtsp.transport import parse_transports
from streamer.server import rtsp, rtsp_desk
from streamer.server.auth import GUESS_EVERY_S, GUESSES
from streamer.server.rtsp import RtspServer
from streamer.server.rtsp_answers import MAX_WRONG_PASSWORDS
from streamer.server.rtsp_session import ABANDONED_S, TIMEOUT_S
from tests.streamer.server.rtsp_client import RtspClient, udp_ears
from tests.streamer.server.rtsp_live import Camera, filming, serving
from tests.streamer.server.watcher import run, until

USERS = {"ann": "correct horse", "bob": 'quote"and\\slash'}


def test_it_takes_a_free_port_and_says_where_it_is() -> None:
    async def scenario() -> None:
        async with serving({}) as server:
            assert server.port > 0
            assert server.url == f"rtsp://127.0.0.1:{server.port}/"

    run(scenario())


@pytest.mark.parametrize(
    ("host", "shown"), [("", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]")]
)
def test_its_address_is_one_that_a_player_here_can_use(host: str, shown: str) -> None:
    server = RtspServer({}, host=host, port=8554, clock=MonotonicClock())
    assert server.url == f"rtsp://{shown}:8554/"


def test_on_all_addresses_every_family_has_the_same_port() -> None:
    async def scenario() -> None:
        async with RtspServer({}, host="", port=0, clock=MonotonicClock()) as server:
            async with RtspClient(server.port) as client:
                assert (await client.ask("OPTIONS")).status == 200
            try:
                _, six = await asyncio.open_connection("::1", server.port)
            except OSError:
                pytest.skip("this machine has no IPv6")
            six.transport.abort()

    run(scenario())


def test_a_port_that_is_taken_is_said_in_one_sentence() -> None:
    async def scenario() -> None:
        async with serving({}) as server:
            second = RtspServer({}, host="127.0.0.1", port=server.port, clock=MonotonicClock())
            with pytest.raises(ConfigError, match="choose another port"):
                await second.__aenter__()
        with pytest.raises(ConfigError, match="0 to 65535"):
            await RtspServer({}, port=70_000, clock=MonotonicClock()).__aenter__()

    run(scenario())


@pytest.mark.parametrize("user", list(USERS))
def test_each_user_gets_in_with_the_password_and_only_with_it(user: str) -> None:
    async def scenario() -> None:
        camera = Camera()
        mount = camera.mount()
        async with (
            serving({"cam": mount}, users=USERS) as server,
            RtspClient(server.port) as client,
        ):
            with filming(camera, mount):
                assert (await client.ask("OPTIONS")).status == 200
                for password, status in (("wrong", 401), (USERS[user], 200)):
                    client.login(user, password)
                    challenge = await client.ask("DESCRIBE")
                    assert challenge.status == 401
                    offered = challenge.headers.all("www-authenticate")
                    assert ["Basic" in value for value in offered] == [False, False]
                    assert "SHA-256" in offered[0]
                    client.auth.take_challenge(offered)
                    assert (await client.ask("DESCRIBE")).status == status
                assert (await client.set_up(0)).status == 200
                assert (await client.ask("PLAY")).status == 200
                await client.got(10)

    run(scenario())


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
def test_both_digests_are_taken(algorithm: str) -> None:
    async def scenario() -> None:
        async with (
            serving({"cam": Camera().mount()}, users=USERS) as server,
            RtspClient(server.port) as client,
        ):
            client.login("bob", USERS["bob"])
            offered = (await client.ask("PLAY")).headers.all("www-authenticate")
            # The one without a name is MD5, as RFC 2069 had it.
            chosen = [one for one in offered if ("SHA-256" in one) == (algorithm == "SHA-256")]
            client.auth.take_challenge(chosen)
            assert (await client.ask("PLAY")).status == 454

    run(scenario())


def test_a_stranger_learns_no_name_of_a_stream() -> None:
    async def scenario() -> None:
        async with (
            serving({"cam": Camera().mount()}, users=USERS) as server,
            RtspClient(server.port) as client,
        ):
            root = f"rtsp://127.0.0.1:{server.port}"
            answers = [await client.ask("DESCRIBE", f"{root}/{path}") for path in ("cam", "no")]
            assert [answer.status for answer in answers] == [401, 401]
            client.login("eve", "guess")
            client.auth.take_challenge(answers[0].headers.all("www-authenticate"))
            assert (await client.ask("DESCRIBE")).status == 401

    run(scenario())


def test_a_password_can_be_guessed_a_few_times_only() -> None:
    async def scenario() -> None:
        async with (
            serving({"cam": Camera().mount()}, users=USERS) as server,
            RtspClient(server.port) as client,
        ):
            challenge = (await client.ask("DESCRIBE")).headers.all("www-authenticate")
            for guess in range(MAX_WRONG_PASSWORDS):
                client.login("ann", f"guess {guess}")
                client.auth.take_challenge(challenge)
                assert (await client.ask("DESCRIBE")).status == 401
            await asyncio.wait_for(client.is_over.wait(), 60)

    run(scenario())


async def guess(port: int, password: str) -> int:
    """What comes of this password of Ann's, on a connection of its own."""
    async with RtspClient(port) as client:
        client.login("ann", password)
        challenge = await client.ask("DESCRIBE")
        # MD5 as most players speak it: nothing in it is random.
        client.auth.take_challenge(challenge.headers.all("www-authenticate")[-1:])
        answer = await client.ask("DESCRIBE")
        assert ("retry-after" in answer.headers) == (answer.status == 503)
        return answer.status


def test_guesses_are_counted_over_all_connections_and_who_is_in_stays() -> None:
    async def scenario() -> None:
        clock = ManualClock(1)
        camera = Camera(clock=clock)
        mount = camera.mount()
        async with (
            serving({"cam": mount}, users=USERS, clock=clock) as server,
            RtspClient(server.port) as known,
        ):
            with filming(camera, mount):
                known.login("bob", USERS["bob"])
                known.auth.take_challenge(
                    (await known.ask("DESCRIBE")).headers.all("www-authenticate")
                )
                assert (await known.ask("DESCRIBE")).status == 200
                for number in range(GUESSES):
                    assert await guess(server.port, f"guess {number}") == 401
                assert await guess(server.port, USERS["ann"]) == 503
                assert (await known.ask("DESCRIBE")).status == 200
                assert (await known.ask("DESCRIBE", Authorization="")).status == 401
                assert (await known.ask("DESCRIBE")).status == 200, "its password was never wrong"
                clock.advance_ms(GUESS_EVERY_S * 1_000)
                assert await guess(server.port, USERS["ann"]) == 200

    run(scenario())


def test_a_player_with_an_old_password_keeps_nobody_out() -> None:
    async def scenario() -> None:
        clock = ManualClock(1)
        camera = Camera(clock=clock)
        mount = camera.mount()
        async with serving({"cam": mount}, users=USERS, clock=clock) as server:
            with filming(camera, mount):
                for _ in range(3 * GUESSES):
                    assert await guess(server.port, "the old one") == 401
                    clock.advance_ms(1_000)
                assert await guess(server.port, USERS["ann"]) == 200

    run(scenario())


def test_basic_is_refused_even_with_the_right_password() -> None:
    async def scenario() -> None:
        async with (
            serving({"cam": Camera().mount()}, users=USERS) as server,
            RtspClient(server.port) as client,
        ):
            given = "Basic YW5uOmNvcnJlY3QgaG9yc2U="
            assert (await client.ask("DESCRIBE", Authorization=given)).status == 401

    run(scenario())


def test_a_silent_session_ends_after_its_timeout() -> None:
    async def scenario() -> None:
        clock = ManualClock(1)
        mounts = {"cam": Camera().mount()}
        async with serving(mounts, clock=clock) as server, RtspClient(server.port) as client:
            await client.set_up(0)
            clock.advance_ms(TIMEOUT_S * 1_000 - 1)
            assert (await client.ask("GET_PARAMETER")).status == 200
            clock.advance_ms(TIMEOUT_S * 1_000 - 1)
            assert (await client.ask("OPTIONS")).status == 200
            clock.advance_ms(TIMEOUT_S * 1_000)
            await asyncio.wait_for(client.is_over.wait(), 60)

    run(scenario())


def test_receiver_reports_keep_a_datagram_session() -> None:
    async def scenario() -> None:
        clock = ManualClock(1)
        camera = Camera(clock=clock)
        mount = camera.mount()
        async with (
            serving({"cam": mount}, clock=clock) as server,
            udp_ears() as (rtp, rtcp, offer),
        ):
            with filming(camera, mount):
                async with RtspClient(server.port) as client:
                    response = await client.set_up(0, offer)
                    (transport,) = parse_transports(response.headers["transport"])
                    assert transport.server_port is not None
                    await client.ask("PLAY")
                    await until(lambda: rtp.received, "no packets")
                for _ in range(2):
                    # The connection is gone: without a word it would end soon.
                    clock.advance_ms(ABANDONED_S * 1_000 - 1_000)
                    rtcp.report(transport.server_port[1])
                    before = len(rtp.received)
                    await until(lambda: len(rtp.received) > before + 50, "it ended")  # noqa: B023
                clock.advance_ms(TIMEOUT_S * 1_000)
                await until(lambda: mount.clients == 0, "it went on")

    run(scenario())


def test_a_datagram_session_whose_client_was_killed_ends_soon() -> None:
    async def scenario() -> None:
        clock = ManualClock(1)
        camera = Camera(clock=clock)
        mount = camera.mount()
        async with (
            serving({"cam": mount}, clock=clock) as server,
            udp_ears() as (rtp, _, offer),
        ):
            with filming(camera, mount):
                async with RtspClient(server.port) as client:
                    await client.set_up(0, offer)
                    await client.ask("PLAY")
                    await until(lambda: rtp.received, "no packets")
                    session = client.session
                async with RtspClient(server.port) as other:
                    other.session = session
                    assert (await other.ask("PAUSE")).status == 200, "it may be taken up again"
                    assert (await other.ask("PLAY")).status == 200
                    await other.ask("OPTIONS", Session="")
                for _ in range(3):
                    clock.advance_ms(TIMEOUT_S * 500)
                    await asyncio.sleep(0)
                await until(lambda: mount.clients == 0, "it went on")

    run(scenario())


def test_a_player_that_was_killed_gets_its_ports_again() -> None:
    """As recorders that always name the same ones."""

    async def scenario() -> None:
        clock = ManualClock(1)  # it never runs out of patience
        mount = Camera(clock=clock).mount()
        async with (
            serving({"cam": mount}, clock=clock) as server,
            udp_ears() as (_, _, offer),
        ):
            async with RtspClient(server.port) as killed:
                await killed.set_up(0, offer)
                await killed.ask("PLAY")
            async with RtspClient(server.port) as again:
                # That a connection is lost may be noticed after another was accepted.
                while (await again.set_up(0, offer)).status == 461:
                    await again.ask("OPTIONS")
                assert (await again.ask("PLAY")).status == 200
                assert mount.clients == 1

    run(scenario())


def test_an_interleaved_session_belongs_to_its_connection() -> None:
    async def scenario() -> None:
        mounts = {"cam": Camera().mount()}
        async with (
            serving(mounts) as server,
            RtspClient(server.port) as one,
            RtspClient(server.port) as other,
        ):
            await one.set_up(0)
            other.session = one.session
            assert (await other.ask("PLAY")).status == 455

    run(scenario())


def test_only_so_many_connections_and_sessions_are_open(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rtsp, "MAX_CONNECTIONS", 2)
    monkeypatch.setattr(rtsp_desk, "MAX_SESSIONS", 1)

    async def scenario() -> None:
        mounts = {"cam": Camera().mount()}
        async with serving(mounts) as server:
            async with RtspClient(server.port) as one, RtspClient(server.port) as two:
                assert (await one.set_up(0)).status == 200
                assert (await two.set_up(0)).status == 453
                for _ in range(3):
                    async with RtspClient(server.port) as three:
                        await asyncio.wait_for(three.is_over.wait(), 60)
                assert (await one.ask("GET_PARAMETER")).status == 200

            async def is_let_in() -> bool:
                async with RtspClient(server.port) as four:
                    asking = asyncio.ensure_future(four.set_up(0))
                    over = asyncio.ensure_future(four.is_over.wait())
                    await asyncio.wait((asking, over), return_when="FIRST_COMPLETED")
                    over.cancel()
                    asking.cancel()
                    return (
                        asking.done() and not asking.cancelled() and asking.result().status == 200
                    )

            # The server notices that the first two are gone when it reads from them.
            async with asyncio.timeout(60):
                while not await is_let_in():
                    pass

    with caplog.at_level(logging.WARNING):
        run(scenario())
    assert [record.message for record in caplog.records] == [
        "an RTSP client was turned away: 2 connections are open, the limit"
    ]


def test_closing_the_server_ends_every_connection_even_one_that_does_not_read() -> None:
    async def scenario() -> None:
        camera = Camera(bitrate_kbps=4_000)
        mount = camera.mount()
        async with (
            serving({"cam": mount}) as server,
            RtspClient(server.port) as playing,
            RtspClient(server.port) as idle,
            RtspClient(server.port, receive_bytes=4096) as asleep,
        ):
            with filming(camera, mount):
                for client in (playing, asleep):
                    await client.play()
                    await client.got(5)
                asleep.stop_reading()
                number = camera.number
                await until(lambda: camera.number > number + 10, "the camera stopped")
            await idle.ask("OPTIONS")
            await server.__aexit__(None, None, None)
            await asyncio.wait_for(playing.is_over.wait(), 60)
            await asyncio.wait_for(idle.is_over.wait(), 60)
            assert mount.clients == 0
            with pytest.raises(OSError):
                socket.create_connection(("127.0.0.1", server.port), 5)

    run(scenario())
