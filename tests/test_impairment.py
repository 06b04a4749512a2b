import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.impairment import Burst, Fates, Impairment, TcpProxy, UdpProxy, in_thread

DEADLINE_S = 60.0


class Inbox(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.senders: list[Any] = []

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.got.append(data)
        self.senders.append(addr)


async def inbox() -> tuple[asyncio.DatagramTransport, Inbox, tuple[str, int]]:
    loop = asyncio.get_running_loop()
    transport, box = await loop.create_datagram_endpoint(Inbox, local_addr=("127.0.0.1", 0))
    return transport, box, transport.get_extra_info("sockname")[:2]


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not is_so():  # noqa: ASYNC110 - a counter of the proxy has no event
            await asyncio.sleep(0.002)


def through(count: int, impairment: Impairment, *, seed: int = 7) -> list[int]:
    """The numbers that arrive, in order, of ``count`` datagrams sent through a proxy."""

    async def send() -> list[int]:
        receiver, box, address = await inbox()
        sender, _, _ = await inbox()
        async with UdpProxy(address, seed=seed, to_target=impairment) as proxy:
            for number in range(count):
                sender.sendto(number.to_bytes(2, "big"), proxy.address)
                await until(lambda n=number: proxy.done.of("to_target", "received") > n)  # type: ignore[misc]
            expected = (
                count
                - proxy.done.of("to_target", "lost")
                + proxy.done.of("to_target", "duplicated")
                - proxy.done.of("to_target", "overflowed")
            )
            await until(lambda: len(box.got) >= expected)
            sender.close()
            receiver.close()
            return [int.from_bytes(data, "big") for data in box.got]

    return asyncio.run(send())


def test_a_clear_network_delivers_everything_in_order() -> None:
    assert through(50, Impairment()) == list(range(50))


def test_the_same_seed_loses_the_same_packets_and_another_seed_others() -> None:
    lossy = Impairment(loss=0.2)
    once = through(100, lossy)
    assert once == through(100, lossy)
    assert once != through(100, lossy, seed=8)
    assert 60 < len(once) < 95


def test_bursts_lose_runs_of_packets() -> None:
    fates = Fates(3, "to_target")
    bursty = Impairment(burst=Burst(enter=0.02, leave=0.25))
    lost = [fates.next(bursty).is_lost for _ in range(20_000)]
    runs = "".join("x" if is_lost else " " for is_lost in lost).split()
    # Stationary loss is enter / (enter + leave) = 7.4 %, the mean run 1 / leave = 4 packets.
    assert 0.06 < sum(lost) / len(lost) < 0.09
    assert 3.5 < sum(map(len, runs)) / len(runs) < 4.5


def test_a_setting_does_not_shift_the_fates_of_another() -> None:
    plain, busy = Fates(5, "to_target"), Fates(5, "to_target")
    alone = [plain.next(Impairment(loss=0.3)).is_lost for _ in range(200)]
    mixed = Impairment(loss=0.3, duplicate=0.5, reorder=0.5, jitter_ms=9)
    assert [busy.next(mixed).is_lost for _ in range(200)] == alone


def test_reordering_lets_the_next_packet_overtake_and_loses_none() -> None:
    got = through(60, Impairment(reorder=0.3))
    assert sorted(got) == list(range(60))
    assert got != sorted(got)
    assert got == through(60, Impairment(reorder=0.3))


def test_duplicates_come_twice() -> None:
    got = through(60, Impairment(duplicate=0.3))
    assert sorted(set(got)) == list(range(60))
    assert len(got) > 60


def test_jitter_keeps_the_order() -> None:
    assert through(40, Impairment(delay_ms=2, jitter_ms=10)) == list(range(40))


def test_a_narrow_link_drops_what_would_wait_too_long() -> None:
    got = through(200, Impairment(bandwidth_kbps=1, queue_ms=300))
    assert 0 < len(got) < 200


def test_a_stalled_udp_proxy_holds_and_then_sends_all_in_order() -> None:
    async def play() -> None:
        receiver, box, address = await inbox()
        sender, _, _ = await inbox()
        async with UdpProxy(address) as proxy:
            proxy.stall()
            for number in range(10):
                sender.sendto(bytes([number]), proxy.address)
            await until(lambda: proxy.done.of("to_target", "received") == 10)
            assert box.got == []
            proxy.resume()
            await until(lambda: len(box.got) == 10)
            assert box.got == [bytes([number]) for number in range(10)]
            proxy.blackhole()
            sender.sendto(b"gone", proxy.address)
            await until(lambda: proxy.done.of("to_target", "swallowed") == 1)
            proxy.resume()
            sender.sendto(b"here", proxy.address)
            await until(lambda: len(box.got) == 11)
            assert box.got[-1] == b"here"
        sender.close()
        receiver.close()

    asyncio.run(play())


def test_answers_find_the_client_that_asked() -> None:
    async def play() -> None:
        server, box, address = await inbox()
        async with UdpProxy(address) as proxy:
            clients = [await inbox() for _ in range(3)]
            for number, (client, _, _) in enumerate(clients):
                client.sendto(bytes([number]), proxy.address)
            await until(lambda: len(box.got) == 3)
            for data, sender in zip(box.got, box.senders, strict=True):
                server.sendto(b"to " + data, sender)
            await until(lambda: all(answers.got for _, answers, _ in clients))
            assert [answers.got for _, answers, _ in clients] == [
                [b"to " + bytes([number])] for number in range(3)
            ]
            for client, _, _ in clients:
                client.close()
        server.close()

    asyncio.run(play())


async def echo() -> tuple[asyncio.Server, tuple[str, int]]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[:2]


async def _round_trip(data: bytes, to_target: Impairment, to_client: Impairment) -> bytes:
    server, address = await echo()
    async with TcpProxy(address, to_target=to_target, to_client=to_client) as proxy:
        reader, writer = await asyncio.open_connection(*proxy.address)

        async def send() -> None:
            writer.write(data)
            await writer.drain()
            writer.write_eof()

        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
            tasks.create_task(send())
            answer = tasks.create_task(reader.read(-1))
        writer.close()
        await writer.wait_closed()
    server.close()
    return answer.result()


@pytest.mark.parametrize(
    "impairment",
    [
        Impairment(),
        Impairment(delay_ms=5, jitter_ms=10),
        Impairment(bandwidth_kbps=8_000),
    ],
    ids=["clear", "delayed", "narrow"],
)
def test_tcp_brings_every_byte_in_order(impairment: Impairment) -> None:
    data = bytes(range(256)) * 1000
    assert asyncio.run(_round_trip(data, impairment, impairment)) == data


@pytest.mark.parametrize("how", ["reset", "finish"])
def test_a_cut_ends_connections_and_the_next_one_works(how: Any) -> None:
    async def play() -> None:
        server, address = await echo()
        async with TcpProxy(address) as proxy:
            reader, writer = await asyncio.open_connection(*proxy.address)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            proxy.cut(how)
            async with asyncio.timeout(DEADLINE_S):
                if how == "reset":
                    with pytest.raises(ConnectionResetError):
                        await reader.read()
                else:
                    assert await reader.read() == b""
            writer.close()
            reader, writer = await asyncio.open_connection(*proxy.address)
            writer.write(b"again")
            assert await reader.readexactly(5) == b"again"
            assert proxy.accepted == 2
            writer.close()
        server.close()

    asyncio.run(play())


def test_a_refusing_proxy_refuses_until_it_resumes_on_the_same_port() -> None:
    async def play() -> None:
        server, address = await echo()
        async with TcpProxy(address) as proxy:
            before = proxy.address
            proxy.refuse()
            await asyncio.sleep(0)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*before)
            proxy.resume()
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    with contextlib.suppress(ConnectionRefusedError):
                        reader, writer = await asyncio.open_connection(*before)
                        break
                    await asyncio.sleep(0.01)
            writer.write(b"back")
            assert await reader.readexactly(4) == b"back"
            writer.close()
        server.close()

    asyncio.run(play())


def test_a_stalled_connection_moves_nothing_and_then_all_of_it() -> None:
    async def play() -> None:
        server, address = await echo()
        async with TcpProxy(address) as proxy:
            reader, writer = await asyncio.open_connection(*proxy.address)
            writer.write(b"one")
            assert await reader.readexactly(3) == b"one"
            proxy.stall()
            writer.write(b"two")
            await until(lambda: proxy.done.of("to_target", "received") == 2)
            assert proxy.done.of("to_target", "sent") == 1
            proxy.resume()
            async with asyncio.timeout(DEADLINE_S):
                assert await reader.readexactly(3) == b"two"
            proxy.blackhole()
            writer.write(b"gone")
            await until(lambda: proxy.done.of("to_target", "swallowed") == 1)
            proxy.resume()
            writer.write(b"three")
            assert await reader.readexactly(5) == b"three"
            proxy.stall()
            proxy.cut()  # also what is stalled
            async with asyncio.timeout(DEADLINE_S):
                with pytest.raises(ConnectionResetError):
                    await reader.read()
            writer.close()
        server.close()

    asyncio.run(play())


def test_a_connection_is_cut_after_so_many_bytes_each_time() -> None:
    async def play() -> None:
        server, address = await echo()
        async with TcpProxy(address, cut_after_bytes=20) as proxy:
            for _ in range(2):
                reader, writer = await asyncio.open_connection(*proxy.address)
                got = 0
                async with asyncio.timeout(DEADLINE_S):
                    with contextlib.suppress(ConnectionError):
                        while True:
                            writer.write(b"01234")
                            got += len(await reader.readexactly(5))
                    writer.close()
                assert got in (10, 5)  # the last echo may die with the connection
        server.close()

    asyncio.run(play())


def test_a_target_that_refuses_is_a_reset() -> None:
    async def play() -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = free.getsockname()
        async with TcpProxy(address) as proxy:
            reader, writer = await asyncio.open_connection(*proxy.address)
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()

    asyncio.run(play())


def test_a_proxy_in_a_thread_serves_blocking_peers_and_obeys() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        in_thread(TcpProxy(server.getsockname()[:2])) as proxy,
        socket.create_connection(proxy.address, timeout=DEADLINE_S) as client,
    ):
        server.settimeout(DEADLINE_S)
        peer, _ = server.accept()
        with peer:
            client.sendall(b"hello")
            assert peer.recv(5) == b"hello"
            proxy.cut()
            with pytest.raises(ConnectionResetError):
                client.recv(1)
