"""Redirects, passwords that grow old, and packets over UDP that come from elsewhere or out of order."""

import asyncio
import ipaddress
import socket
import struct
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from streamer.clock import ManualClock
from streamer.errors import SourceError
from streamer.rtsp.auth import ServerAuth, Verdict
from streamer.rtsp.url import parse_url
from streamer.sources.rtsp.answers import redirected
from streamer.sources.rtsp.udp import UdpPair, host_of_socket
from tests.rtsp_camera import Asked, ScriptedServer, Step, Viewer, coded_pictures, film, rtp_packets
from tests.streamer.sources.rtsp_viewer import (
    PATIENT,
    opened,
    packets_of,
    refusal_of,
    run,
    with_secret,
)


def redirect_to(location: str) -> Step:
    return lambda viewer, asked: viewer.answer(asked, "302 Moved Temporarily", location=location)


def test_a_redirect_on_the_same_host_is_followed_with_the_password() -> None:
    async def work() -> None:
        auth = ServerAuth({"user": "secret"}, clock=ManualClock())

        def guarded(viewer: Viewer, asked: Asked) -> None:
            verdict = auth.check(
                asked.headers.get("authorization"), method="OPTIONS", url=asked.url
            )
            if verdict is Verdict.GRANTED:
                viewer.answer(asked)
            else:
                viewer.answer(asked, "401 Unauthorized", www_authenticate=auth.challenges()[0])

        async with (
            ScriptedServer(playing=film, steps={"OPTIONS": guarded}) as end,
            ScriptedServer(steps={"DESCRIBE": redirect_to(end.url)}) as begin,
        ):
            source = await opened(with_secret(begin.url))
            assert len(await packets_of(source, 3)) == 3
            await source.close()
            assert "authorization" in end.asked[1].headers

    run(work)


def test_a_redirect_to_another_host_is_refused_before_anything_is_sent_there() -> None:
    async def work() -> None:
        async with (
            ScriptedServer(playing=film) as end,
            ScriptedServer(
                steps={"OPTIONS": redirect_to(end.url.replace("127.0.0.1", "localhost"))}
            ) as begin,
        ):
            assert "redirects to another host" in await refusal_of(with_secret(begin.url))
            assert end.asked == []

    run(work)


def test_a_redirect_to_another_host_may_be_allowed_but_the_password_stays() -> None:
    async def work() -> None:
        def ask(viewer: Viewer, asked: Asked) -> None:
            viewer.answer(asked, "401 Unauthorized", www_authenticate='Basic realm="x"')

        async with ScriptedServer(steps={"OPTIONS": ask, "DESCRIBE": ask}) as end:
            location = end.url.replace("127.0.0.1", "localhost")
            async with ScriptedServer(steps={"DESCRIBE": redirect_to(location)}) as begin:
                asked_for = []

                def may_connect(host: str) -> bool:
                    asked_for.append(host)
                    return True

                with pytest.raises(SourceError, match="asks for a password"):
                    await opened(with_secret(begin.url), may_connect=may_connect)
                # Addresses, not the name: that may mean something else by the time of the connection.
                assert asked_for[0] == "127.0.0.1"
                assert set(asked_for[1:]) <= {"127.0.0.1", "::1"}
                assert len(asked_for) > 1
            assert end.asked
            assert not any("authorization" in asked.headers for asked in end.asked)

    run(work)


def test_a_redirect_in_a_circle_ends() -> None:
    async def work() -> None:
        def back(viewer: Viewer, asked: Asked) -> None:
            viewer.answer(asked, "301 Moved Permanently", location=asked.url)

        async with ScriptedServer(steps={"DESCRIBE": back}) as server:
            assert "redirects more than" in await refusal_of(with_secret(server.url))
            assert len(server.viewers) == 6

    run(work)


@pytest.mark.parametrize("location", ["", "http://127.0.0.1/x", "rtsp://user:secret@/", "/live"])
def test_a_redirect_to_what_is_no_address_is_refused(location: str) -> None:
    with pytest.raises(SourceError, match="no RTSP address") as refusal:
        redirected(parse_url("rtsp://cam/a"), location, may_leave=True)
    assert "secret" not in str(refusal.value)


def test_a_redirect_never_leaves_tls_nor_turns_checks_off() -> None:
    begin = parse_url("rtsps://u:p@cam/a")
    with pytest.raises(SourceError, match="plain text"):
        redirected(begin, "rtsp://cam/b", may_leave=True)
    assert redirected(begin, "rtsps://cam/b?tls=insecure", may_leave=True).checks_certificate


def test_a_server_that_sends_its_viewers_elsewhere_is_lost() -> None:
    async def move(viewer: Viewer) -> None:
        viewer.send_picture(coded_pictures()[0])
        viewer.writer.write(b"REDIRECT * RTSP/1.0\r\nCSeq: 1\r\nLocation: rtsp://other/\r\n\r\n")

    async def work() -> None:
        async with ScriptedServer(playing=move) as server:
            source = await opened(server.url)
            with pytest.raises(SourceError, match="sends its viewers elsewhere"):
                await packets_of(source, 10)
            await source.close()

    run(work)


def test_a_nonce_that_grew_old_while_playing_is_renewed() -> None:
    async def work() -> None:
        clock = ManualClock()
        auth = ServerAuth({"user": "secret"}, clock=clock)
        verdicts: list[tuple[str, Verdict]] = []

        def guarded(viewer: Viewer, asked: Asked) -> None:
            verdict = auth.check(
                asked.headers.get("authorization"), method=asked.method, url=asked.url
            )
            verdicts.append((asked.method, verdict))
            if verdict is Verdict.GRANTED:
                viewer.answer(asked)
            else:
                challenge = auth.challenges(is_stale=verdict is Verdict.STALE)[0]
                viewer.answer(asked, "401 Unauthorized", www_authenticate=challenge)

        server = ScriptedServer(
            session="7;timeout=1",
            playing=film,
            steps={"PLAY": guarded, "GET_PARAMETER": guarded},
        )
        async with server:
            source = await opened(with_secret(server.url))
            alive = ("GET_PARAMETER", Verdict.GRANTED)
            await server.until(lambda: alive in verdicts)
            clock.advance_ms(1_000_000)
            known = len(verdicts)
            await server.until(lambda: alive in verdicts[known:])
            assert verdicts[known] == ("GET_PARAMETER", Verdict.STALE)
            await source.close()

    run(work)


async def udp_setup(viewer: Viewer, asked: Asked, sender: socket.socket) -> tuple[str, int]:
    """Answer SETUP for UDP from ``sender``; where the client listens."""
    ports = asked.headers["transport"].partition("client_port=")[2]
    port = sender.getsockname()[1]
    transport = f"{asked.headers['transport']};server_port={port}-{port + 1}"
    viewer.answer(asked, session="7;timeout=1", transport=transport)
    return "127.0.0.1", int(ports.split("-")[0])


def test_udp_packets_are_put_in_order_and_gaps_are_marked() -> None:
    async def work() -> None:
        pictures = coded_pictures()
        units = [rtp_packets(unit, sequence=0, timestamp=0) for unit in pictures[:6]]
        queue: list[bytes] = []
        for number, packets in enumerate(units):
            for packet in packets:
                head = struct.pack("!HI", len(queue), 3000 * number)
                queue.append(packet[:2] + head + packet[8:])
        first = len(units[0])
        # The second picture comes after the third, the fourth never.
        order = [*range(first), first + 1, first, *range(first + 3, len(queue))]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind(("127.0.0.1", 0))
            places: list[tuple[str, int]] = []

            async def setup(viewer: Viewer, asked: Asked) -> None:
                places.append(await udp_setup(viewer, asked, sender))

            async def send(_viewer: Viewer) -> None:
                for index in order:
                    sender.sendto(queue[index], places[0])

            server = ScriptedServer(playing=send, steps={"SETUP": setup})
            async with server:
                source = await opened(server.url + "?transport=udp")
                packets_seen = await packets_of(source, 5)
                await source.close()
        assert [packet.pts for packet in packets_seen] == [0, 3000, 6000, 12_000, 15_000]
        assert [packet.follows_loss for packet in packets_seen] == [False] * 3 + [True, False]

    run(work)


@pytest.mark.parametrize("strays", [[], [b"for who had this port before"]])
def test_udp_packets_of_another_host_or_port_are_dropped(strays: list[bytes]) -> None:
    """The first sender of all may be behind a NAT, but never shuts out the port that was announced."""

    async def work() -> None:
        seen: list[bytes] = []
        arrived = asyncio.Event()

        def take(data: bytes) -> None:
            seen.append(data)
            arrived.set()

        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other_port,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other_host,
        ):
            server.bind(("127.0.0.1", 0))
            other_port.bind(("127.0.0.1", 0))
            other_host.bind(("127.0.0.2", 0))
            pair = UdpPair("127.0.0.1", take, lambda _data: None)
            assert pair.ports[0] % 2 == 0
            assert pair.ports[1] == pair.ports[0] + 1
            pair.listen("127.0.0.1", (server.getsockname()[1], 9), None)
            place = ("127.0.0.1", pair.ports[0])
            # Datagrams of one machine to one socket keep their order.
            other_host.sendto(b"from another host", place)
            for stray in strays:
                other_port.sendto(stray, place)
            server.sendto(b"first", place)
            other_port.sendto(b"from another port", place)
            server.sendto(b"second", place)
            while b"second" not in seen:
                arrived.clear()
                async with asyncio.timeout(60):
                    await arrived.wait()
            assert seen == [*strays, b"first", b"second"]
            assert pair.refused == 2
            pair.punch()
            assert server.recv(100)[:2] == b"\x80\x00"
            pair.close()

    run(work)


def link_local_address() -> tuple[str, int, int, int] | None:
    """One of this machine's, with its zone."""
    with suppress(OSError):
        for line in Path("/proc/net/if_inet6").read_text().splitlines():
            digits, index, *_ = line.split()
            if digits.startswith("fe80"):
                return str(ipaddress.IPv6Address(int(digits, 16))), 0, 0, int(index, 16)
    return None


def test_a_link_local_server_is_heard_and_answered_over_udp() -> None:
    own = link_local_address()
    if own is None:
        pytest.skip("needs a network interface with a link-local IPv6 address")

    async def work() -> None:
        arrived = asyncio.get_running_loop().create_future()
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
            server.bind(own)
            host = host_of_socket(server.getsockname())
            pair = UdpPair(host, arrived.set_result, lambda _data: None)
            pair.listen(host, (server.getsockname()[1], 9), None)
            server.sendto(b"picture", (own[0], pair.ports[0], 0, own[3]))
            async with asyncio.timeout(60):
                assert await arrived == b"picture"
            pair.punch()
            server.settimeout(60)
            assert server.recv(100)[:2] == b"\x80\x00"
            pair.close()

    run(work)


def test_udp_is_used_where_the_server_refuses_tcp() -> None:
    async def work() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind(("127.0.0.1", 0))
            places: list[tuple[str, int]] = []

            async def setup(viewer: Viewer, asked: Asked) -> None:
                if "TCP" in asked.headers["transport"]:
                    viewer.answer(asked, "461 Unsupported Transport")
                else:
                    places.append(await udp_setup(viewer, asked, sender))

            async def send(_viewer: Viewer) -> None:
                for packet in rtp_packets(coded_pictures()[0], sequence=1, timestamp=0):
                    sender.sendto(packet, places[0])

            async with ScriptedServer(playing=send, steps={"SETUP": setup}) as server:
                source = await opened(server.url, replace(PATIENT, report_s=0.1))
                assert (await packets_of(source, 1))[0].is_keyframe
                await source.close()
                text = await refusal_of(server.url + "?transport=tcp")
                assert "does not send over TCP (461)" in text

    run(work)


def test_who_refused_tcp_and_sends_nothing_over_udp_is_not_asked_for_tcp_again() -> None:
    def setup(viewer: Viewer, asked: Asked) -> None:
        is_tcp = "TCP" in asked.headers["transport"]
        status = "461 Unsupported Transport" if is_tcp else "200 OK"
        viewer.answer(asked, status, session="5", transport=asked.headers["transport"])

    async def work() -> None:
        limits = replace(PATIENT, first_packet_s=0.2)
        async with ScriptedServer(steps={"SETUP": setup}) as server:
            text = await refusal_of(server.url, limits)
            assert "let it through, TCP is refused" in text

    run(work)


def test_a_camera_that_sends_to_groups_only_is_said() -> None:
    def setup(viewer: Viewer, asked: Asked) -> None:
        viewer.answer(asked, "461 Unsupported Transport")

    async def work() -> None:
        async with ScriptedServer(steps={"SETUP": setup}) as server:
            assert "neither over TCP nor over UDP (461)" in await refusal_of(server.url)
            text = await refusal_of(server.url + "?transport=udp")
            assert "leave ?transport=udp out" in text

    run(work)
