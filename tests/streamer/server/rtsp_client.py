"""A client that says exactly what a test wants said, and keeps all that comes back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

from streamer.rtp.packet import RtpPacket, parse_rtp
from streamer.rtp.rtcp import (
    ReceiverReport,
    Report,
    build_picture_loss,
    build_receiver_report,
    parse_compound,
)
from streamer.rtsp.auth import ClientAuth
from streamer.rtsp.message import (
    Headers,
    Interleaved,
    MessageParser,
    Request,
    Response,
    interleaved_bytes,
    request_bytes,
)
from streamer.rtsp.url import Credentials
from tests.streamer.server.watcher import until

TCP = "RTP/AVP/TCP;unicast;interleaved={}-{}"


class RtspClient:
    """``async with`` it; requests are answered one by one, packets are gathered meanwhile."""

    def __init__(self, port: int, *, path: str = "cam", receive_bytes: int | None = None) -> None:
        self.url = f"rtsp://127.0.0.1:{port}/{path}"
        self.packets: dict[int, list[RtpPacket]] = {}
        self.reports: dict[int, list[Report]] = {}
        self.session = ""
        self.auth = ClientAuth(None)
        self.is_over = asyncio.Event()
        self._port = port
        self._receive_bytes = receive_bytes
        self._cseq = 0
        self._parser = MessageParser()
        self._responses: asyncio.Queue[Response] = asyncio.Queue()
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        made = socket.socket()
        made.setblocking(False)
        if self._receive_bytes is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_bytes)
        await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", self._port))
        self.reader, self.writer = await asyncio.open_connection(sock=made, limit=4096)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop_reading()
        self.writer.transport.abort()

    def login(self, user: str, password: str) -> None:
        self.auth = ClientAuth(Credentials(user, password))

    def stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()

    async def ask(
        self, method: str, url: str | None = None, body: bytes = b"", **headers: str
    ) -> Response:
        """Send one request and wait for its answer; the session goes along once there is one."""
        url = self.url if url is None else url
        self._cseq += 1
        fields = {"CSeq": str(self._cseq)}
        if self.session:
            fields["Session"] = self.session
        authorization = self.auth.authorization(method, url)
        if authorization:
            fields["Authorization"] = authorization
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        self.writer.write(request_bytes(Request(method, url, Headers(fields), body)))
        response = await asyncio.wait_for(self._responses.get(), 60)
        assert response.cseq == fields["CSeq"]
        return response

    async def set_up(self, track: int = 0, transport: str = "") -> Response:
        """SETUP of one track, over TCP unless ``transport`` says otherwise."""
        wanted = transport or TCP.format(2 * track, 2 * track + 1)
        response = await self.ask("SETUP", f"{self.url}/trackID={track}", Transport=wanted)
        if response.status == 200:
            self.session = response.headers["session"].partition(";")[0]
        return response

    async def play(self, *tracks: int) -> Response:
        """SETUP of these tracks over TCP, then PLAY."""
        for track in tracks or (0,):
            assert (await self.set_up(track)).status == 200
        response = await self.ask("PLAY")
        assert response.status == 200
        return response

    async def got(self, count: int, *, channel: int = 0) -> list[RtpPacket]:
        """At least ``count`` RTP packets of a channel."""
        await until(lambda: len(self.packets.get(channel, [])) >= count, f"{count} packets")
        return self.packets[channel]

    def send_picture_loss(self, channel: int = 1) -> None:
        rtcp = build_picture_loss(sender_ssrc=1, media_ssrc=2, cname="test")
        self.writer.write(interleaved_bytes(channel, rtcp))

    def read_on(self) -> None:
        """After ``stop_reading``."""
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while data := await self.reader.read(4096):
                for item in self._parser.feed(data):
                    if isinstance(item, Response):
                        self._responses.put_nowait(item)
                    elif isinstance(item, Interleaved):
                        self._keep(item)
        except OSError:
            pass
        self.is_over.set()

    def _keep(self, item: Interleaved) -> None:
        packet = parse_rtp(item.payload)
        if packet is None:
            self.reports.setdefault(item.channel, []).extend(parse_compound(item.payload))
        else:
            self.packets.setdefault(item.channel, []).append(packet)


class UdpEar(asyncio.DatagramProtocol):
    """One of a client's two UDP ports."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.transport: asyncio.DatagramTransport | None = None

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.received.append(data)

    def report(self, to_port: int) -> None:
        """A receiver report, as players send every few seconds."""
        assert self.transport is not None
        data = build_receiver_report(ReceiverReport(ssrc=7), cname="test")
        self.transport.sendto(data, ("127.0.0.1", to_port))


@asynccontextmanager
async def udp_ears() -> AsyncIterator[tuple[UdpEar, UdpEar, str]]:
    """Two open ports, and the Transport header that names them."""
    loop = asyncio.get_running_loop()
    ears = []
    for _ in range(2):
        transport, ear = await loop.create_datagram_endpoint(UdpEar, local_addr=("127.0.0.1", 0))
        ear.transport = transport
        ears.append(ear)
    ports = [ear.transport.get_extra_info("sockname")[1] for ear in ears if ear.transport]
    try:
        yield ears[0], ears[1], f"RTP/AVP;unicast;client_port={ports[0]}-{ports[1]}"
    finally:
        for ear in ears:
            if ear.transport is not None:
                ear.transport.close()
