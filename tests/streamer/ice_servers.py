"""A STUN and a TURN server that speak the protocol and say what the tests want."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aioice import stun
from aioice.ice import get_host_addresses

SEEN_FROM_OUTSIDE, RELAY = ("203.0.113.7", 40_000), ("198.51.100.9", 50_000)
USER, CREDENTIAL, REALM = "me", "not-for-logs", "here"


class Servers(asyncio.DatagramProtocol):
    """A STUN and a TURN server at one port, as far as a client that asks for its addresses goes."""

    def __init__(self) -> None:
        self.asked: list[stun.Method] = []

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        asked = stun.parse_message(data)
        self.asked.append(asked.message_method)
        key = hashlib.md5(f"{USER}:{REALM}:{CREDENTIAL}".encode()).digest()
        kind = stun.Class.RESPONSE
        told: dict[str, Any] = {"XOR-MAPPED-ADDRESS": SEEN_FROM_OUTSIDE}
        if asked.message_method != stun.Method.BINDING:
            if asked.attributes.get("USERNAME") == USER and asked.check_message_integrity(key):
                told |= {"XOR-RELAYED-ADDRESS": RELAY, "LIFETIME": 600}
            else:
                kind = stun.Class.ERROR
                told = {"ERROR-CODE": (401, "Who?"), "REALM": REALM, "NONCE": b"once"}
        answer = stun.Message(asked.message_method, kind, asked.transaction_id, told)
        if kind is stun.Class.RESPONSE and asked.message_method != stun.Method.BINDING:
            answer.add_message_integrity(key)
        self._transport.sendto(bytes(answer), addr)


@asynccontextmanager
async def servers() -> AsyncIterator[tuple[str, Servers]]:
    """Where they are reached, and what they were asked."""
    addresses = get_host_addresses(use_ipv4=True, use_ipv6=False)
    if not addresses:
        pytest.skip("needs a network interface beside the loopback")
    loop = asyncio.get_running_loop()
    transport, told = await loop.create_datagram_endpoint(Servers, local_addr=("0.0.0.0", 0))
    yield f"{addresses[0]}:{told.port}", told
    transport.close()
