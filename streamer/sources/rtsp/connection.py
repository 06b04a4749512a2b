"""The TCP or TLS connection to an RTSP server: answers to requests, and packets between them."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from streamer.errors import SourceError
from streamer.rtsp.message import (
    Headers,
    Interleaved,
    MessageError,
    MessageParser,
    Request,
    Response,
    interleaved_bytes,
    request_bytes,
    response_bytes,
)
from streamer.rtsp.url import RtspUrl
from streamer.sources.network_dial import dial
from streamer.sources.rtsp.limits import Limits
from streamer.sources.rtsp.udp import host_of_socket

USER_AGENT = "Streamer"

_MAX_UNSENT_BYTES = 64 << 10
"""A server that reads nothing gets no more reports; requests to it end by their time limit."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Question:
    """A request that has no answer yet."""

    answer: asyncio.Future[Response]
    on_answer: Callable[[Response], None] | None


class Connection(asyncio.BufferedProtocol):
    """Reads the socket straight into the parser; whatever is complete is handed on at once.

    ``on_packet`` gets each interleaved packet, ``on_redirect`` the place a server sends us to while
    it plays, ``on_lost`` one sentence fragment when the connection ends by itself.
    """

    def __init__(self, url: RtspUrl, limits: Limits) -> None:
        self.on_packet: Callable[[int, bytes], None] = lambda _channel, _payload: None
        self.on_redirect: Callable[[str], None] = lambda _location: None
        self.on_lost: Callable[[str], None] = lambda _reason: None
        self._url = url
        self._limits = limits
        self._parser = MessageParser()
        self._transport: Any = None
        self._waiting: dict[str, _Question] = {}
        self._cseq = 0
        self._end: str | None = None
        self._closed = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(
        cls, url: RtspUrl, limits: Limits, *, may_connect: Callable[[str], bool] | None = None
    ) -> Connection:
        """Connect; raises ``SourceError`` with what stood in the way.

        The name is looked up once, so that what ``may_connect`` judges is what is connected to.
        """
        connection = cls(url, limits)
        context = await asyncio.to_thread(_tls_context, url) if url.is_tls else None
        try:
            async with asyncio.timeout(limits.connect_s):
                addresses = await _addresses(url)
                if may_connect is not None:
                    await _check(url, addresses, may_connect)
                await asyncio.get_running_loop().create_connection(
                    lambda: connection,
                    sock=await dial(addresses, url.port),
                    ssl=context,
                    server_hostname=url.host if context else None,
                )
        except (OSError, UnicodeError) as error:
            connection.abort()
            raise SourceError(_connect_failure(url, error, limits)) from error
        return connection

    @property
    def peer_host(self) -> str:
        """The server's address, as numbers."""
        return host_of_socket(self._transport.get_extra_info("peername"))

    @property
    def local_host(self) -> str:
        return host_of_socket(self._transport.get_extra_info("sockname"))

    async def request(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        *,
        on_answer: Callable[[Response], None] | None = None,
    ) -> Response:
        """The server's answer. Raises ``SourceError`` if none comes or the connection ends.

        ``on_answer`` sees it before any packet that came right behind it.
        """
        if self._end is not None:
            raise self._ended(method)
        self._cseq += 1
        cseq = str(self._cseq)
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._waiting[cseq] = _Question(answer, on_answer)
        fields = {"CSeq": cseq, "User-Agent": USER_AGENT, **headers}
        self._transport.write(request_bytes(Request(method, url, Headers(fields))))
        try:
            async with asyncio.timeout(self._limits.answer_s):
                return await answer
        except TimeoutError as error:
            raise SourceError(
                f"{self._url.label} does not answer {method} within {self._limits.answer_s:g} s; "
                "check that the port is that of RTSP, or restart the camera"
            ) from error
        finally:
            self._waiting.pop(cseq, None)

    def send_packet(self, channel: int, payload: bytes) -> None:
        """Send RTCP between the messages; left out where the server reads nothing."""
        transport = self._transport
        if self._end is None and transport.get_write_buffer_size() < _MAX_UNSENT_BYTES:
            transport.write(interleaved_bytes(channel, payload))

    async def close(self) -> None:
        """End the connection, whatever state it is in."""
        self.on_lost = lambda _reason: None
        if self._transport is not None:
            self._transport.close()
            try:
                async with asyncio.timeout(0.5):
                    await asyncio.shield(self._closed)
            except TimeoutError:
                self.abort()

    def abort(self) -> None:
        self.on_lost = lambda _reason: None
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        found = transport.get_extra_info("socket")
        if found is not None:
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._parser.space()

    def buffer_updated(self, nbytes: int) -> None:
        try:
            for item in self._parser.received(nbytes):
                if isinstance(item, Interleaved):
                    self.on_packet(item.channel, item.payload)
                elif isinstance(item, Response):
                    self._take_answer(item)
                else:
                    self._take_request(item)
        except MessageError as error:
            self._finish(str(error))
            self._transport.abort()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(exc, OSError) and exc.strerror:
            reason = f"the connection broke: {exc.strerror}"
        else:
            cut = " in the middle of a message" if self._parser.pending_bytes else ""
            reason = f"the server closed the connection{cut}"
        if not self._closed.done():
            self._closed.set_result(None)
        self._finish(reason)

    def _take_answer(self, response: Response) -> None:
        if 100 <= response.status < 200:
            return
        waiting = self._waiting.get(response.cseq.strip())
        if waiting is None and not response.cseq and len(self._waiting) == 1:
            # Some cameras leave CSeq out; with one question open there is no doubt.
            waiting = next(iter(self._waiting.values()))
        if waiting is None or waiting.answer.done():
            return
        if waiting.on_answer is not None:
            waiting.on_answer(response)
        waiting.answer.set_result(response)

    def _take_request(self, request: Request) -> None:
        """Servers may ask too: a sign of life, or to go elsewhere."""
        known = request.method in ("OPTIONS", "GET_PARAMETER", "SET_PARAMETER", "REDIRECT")
        fields = {"CSeq": request.cseq} if request.cseq else {}
        answer = response_bytes(Response(200 if known else 501, Headers(fields)))
        if self._transport.get_write_buffer_size() < _MAX_UNSENT_BYTES:
            self._transport.write(answer)
        if request.method == "REDIRECT":
            self.on_redirect(request.headers.get("location", ""))

    def _finish(self, reason: str) -> None:
        if self._end is not None:
            return
        self._end = reason
        for waiting in self._waiting.values():
            if not waiting.answer.done():
                waiting.answer.set_exception(self._ended("a request"))
        self.on_lost(reason)

    def _ended(self, method: str) -> SourceError:
        hint = "check that the port is that of RTSP"
        if self._end and "no RTSP" in self._end and not self._url.is_tls:
            hint += ", or use rtsps:// where it is encrypted"
        return SourceError(f"{self._url.label} does not answer {method}: {self._end}; {hint}")


async def _addresses(url: RtspUrl) -> list[str]:
    """All that the host means, in the resolver's order."""
    found = await asyncio.get_running_loop().getaddrinfo(
        url.host, url.port, type=socket.SOCK_STREAM
    )
    return list(dict.fromkeys(host_of_socket(entry[4]) for entry in found))


async def _check(
    url: RtspUrl, addresses: Sequence[str], may_connect: Callable[[str], bool]
) -> None:
    """Raises ``SourceError`` unless ``may_connect`` allows each of the addresses."""
    if not all(await asyncio.to_thread(lambda: [may_connect(one) for one in addresses])):
        raise SourceError(
            f"{url.label} leads to {url.place}, which may not be reached from here; "
            "list its network under allow_sources in the settings file"
        )


def _tls_context(url: RtspUrl) -> ssl.SSLContext:
    """Reads the system's certificates from disk, so not on the event loop."""
    context = ssl.create_default_context()
    if not url.checks_certificate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        logger.warning(
            "%s: the certificate is not checked (tls=insecure); "
            "anybody on the way can read and change the stream",
            url.label,
        )
    return context


def _connect_failure(url: RtspUrl, error: OSError | UnicodeError, limits: Limits) -> str:
    """One sentence: what stood in the way of a connection, and what to do."""
    if isinstance(error, TimeoutError):
        return (
            f"{url.label} cannot be reached: {url.place} takes no connection within "
            f"{limits.connect_s:g} s; check the address, that the device is on, and the firewall"
        )
    if isinstance(error, (socket.gaierror, UnicodeError)):
        hint = "check the name, or use the address in numbers"
        if "@" in url.request_url:
            # Two readings of one address: what is taken for the host may be half a password.
            return (
                f"{url.label} cannot be reached: there is no such host; percent-encode the @ and / "
                f"of a password, or {hint}"
            )
        return f"{url.label} cannot be reached: there is no host {url.host}; {hint}"
    if isinstance(error, ConnectionRefusedError):
        return (
            f"{url.label} cannot be reached: nothing listens on {url.place}; check the port "
            "(554 is usual) and that RTSP is switched on in the device"
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"{url.label} shows a certificate that is not trusted ({error.verify_message}); "
            "install its authority on this machine, or add ?tls=insecure to accept any"
        )
    if isinstance(error, ssl.SSLError):
        return (
            f"{url.label} does not speak TLS on this port ({error.reason or 'bad handshake'}); "
            "use rtsp:// or the port of RTSPS (322 is usual)"
        )
    reason = error.strerror if isinstance(error, OSError) else None
    return (
        f"{url.label} cannot be reached ({reason or 'the connection broke at once'}); "
        "check the address, the network and whether the port takes this scheme"
    )
