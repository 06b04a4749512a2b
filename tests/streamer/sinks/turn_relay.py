"""A TURN server for the tests: one allocation, no passwords, over UDP or TCP (RFC 8656)."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any, Self

from aioice import stun

CHANNEL_DATA = struct.Struct(">HH")


class TurnRelay:
    """Passes channel data on to peers, as long as it is open."""

    def __init__(self) -> None:
        self.ended = False
        """Whether the client gave its allocation back."""
        self._peers: dict[int, Any] = {}
        """Addresses by channel."""

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._outside, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
        )
        self._udp, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self._take), local_addr=("127.0.0.1", 0)
        )
        self._tcp = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._outside.close()
        self._udp.close()
        self._tcp.close()
        await self._tcp.wait_closed()

    def address(self, carrier: str) -> tuple[str, int]:
        """Where clients reach it over ``"udp"`` or ``"tcp"``."""
        if carrier == "tcp":
            address = self._tcp.sockets[0].getsockname()
        else:
            address = self._udp.get_extra_info("sockname")
        return address[0], address[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readexactly(4)
                length = int.from_bytes(head[2:], "big")
                is_channel = head[0] & 0xC0 == 0x40
                # STUN's length leaves 16 more bytes of its head out; channel data is padded.
                rest = length + (-length % 4) if is_channel else length + 16
                self._take(head + await reader.readexactly(rest), writer.write)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _take(self, data: bytes, reply: Callable[[bytes], None]) -> None:
        if data[0] & 0xC0 == 0x40:
            channel, length = CHANNEL_DATA.unpack_from(data)
            self._outside.sendto(data[4 : 4 + length], self._peers[channel])
            return
        request = stun.parse_message(data)
        response = stun.Message(
            message_method=request.message_method,
            message_class=stun.Class.RESPONSE,
            transaction_id=request.transaction_id,
        )
        if request.message_method == stun.Method.ALLOCATE:
            response.attributes["LIFETIME"] = 600
            response.attributes["XOR-MAPPED-ADDRESS"] = ("127.0.0.1", 9)
            response.attributes["XOR-RELAYED-ADDRESS"] = self._outside.get_extra_info("sockname")
        elif request.message_method == stun.Method.CHANNEL_BIND:
            channel = request.attributes["CHANNEL-NUMBER"]
            self._peers[channel] = request.attributes["XOR-PEER-ADDRESS"]
        elif request.message_method == stun.Method.REFRESH:
            self.ended = True
        reply(bytes(response))


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, take: Callable[[bytes, Callable[[bytes], None]], None]) -> None:
        self._take = take

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._take(data, lambda reply: self._transport.sendto(reply, addr))
