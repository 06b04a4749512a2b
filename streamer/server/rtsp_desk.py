"""What all RTSP connections share: mounts, sessions, UDP ports, and the rounds that end the silent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from streamer.clock import Clock
from streamer.rtsp.auth import ServerAuth
from streamer.server.auth import Guesses
from streamer.server.rtsp_caller import Caller
from streamer.server.rtsp_session import RtspSession
from streamer.server.rtsp_ways import Address, UdpPair, Way
from streamer.sinks.rtsp_mount import RtspMount

MAX_SESSIONS = 64


class RtspDesk:
    """``mounts`` is looked up anew each time; ``users`` may be empty or ``None``: all may watch."""

    def __init__(
        self, mounts: Mapping[str, RtspMount], *, users: Mapping[str, str] | None, clock: Clock
    ) -> None:
        self._mounts = mounts
        self._clock = clock
        self.auth = ServerAuth(users, clock=clock) if users else None
        self.guesses = Guesses(clock)
        """Of passwords, over all connections of an address."""
        self._sessions: dict[str, RtspSession] = {}
        self._callers: dict[str, Caller] = {}
        self._pairs: dict[Address, UdpPair] = {}
        self._opening = asyncio.Lock()
        self._peers: dict[tuple[str, int], RtspSession] = {}

    def mount(self, path: str) -> RtspMount | None:
        """What is served under ``path`` now."""
        found = self._mounts.get(path)
        return None if found is None or found.is_closed else found

    def session(self, session_id: str) -> RtspSession | None:
        return self._sessions.get(session_id)

    @property
    def is_full(self) -> bool:
        return len(self._sessions) >= MAX_SESSIONS

    def open(self, path: str, mount: RtspMount, way: Way, caller: Caller) -> RtspSession:
        """A new session, begun by ``caller``."""
        session = RtspSession(path, mount, way, clock=self._clock, gone=self._lose)
        self._sessions[session.id] = session
        self._callers[session.id] = caller
        caller.begin(session)
        return session

    def end(self, session: RtspSession) -> None:
        """Forget a session; twice does no harm."""
        if self._sessions.pop(session.id, None) is None:
            return
        session.end()
        self._callers.pop(session.id).forget(session)
        for peer in [peer for peer, owner in self._peers.items() if owner is session]:
            del self._peers[peer]

    async def udp_pair(self, own_address: Address) -> UdpPair:
        """Ports on the address that a client has connected to. Raises ``OSError``."""
        own = (own_address[0], 0, *own_address[2:])
        async with self._opening:
            if own not in self._pairs:
                self._pairs[own] = await UdpPair.open(own, self._heard)
            return self._pairs[own]

    def is_taken(self, peer: Address, by: RtspSession | None) -> bool:
        """Whether another session already listens at ``peer``; one whose client is gone does not."""
        owner = self._peers.get(_key(peer), by)
        return owner is not None and owner is not by and not owner.is_abandoned

    def listen_to(self, peer: Address, session: RtspSession) -> None:
        """Reports from ``peer`` are of ``session``, from now on alone."""
        before = self._peers.get(_key(peer), session)
        if before is not session:
            # The player was started again on the same ports: it would get both streams.
            self.end(before)
        self._peers[_key(peer)] = session

    def make_rounds(self) -> None:
        """End what has timed out or lost its mount, and send the reports that are due."""
        for session in list(self._sessions.values()):
            if self.mount(session.path) is not session.mount or session.is_expired:
                self._lose(session)
            else:
                session.report_if_due()

    def close(self) -> None:
        for session in list(self._sessions.values()):
            self._lose(session)
        for pair in self._pairs.values():
            pair.close()
        self._pairs.clear()

    def _lose(self, session: RtspSession) -> None:
        """End a session that its client did not end."""
        caller = self._callers.get(session.id)
        self.end(session)
        if caller is not None and session.way.is_tcp:
            # On this connection it would wait for packets in vain.
            caller.hang_up()

    def _heard(self, peer: Address, data: bytes) -> None:
        session = self._peers.get(_key(peer))
        if session is not None:
            session.take_rtcp(data)


def _key(peer: Address) -> tuple[str, int]:
    return peer[0], peer[1]
