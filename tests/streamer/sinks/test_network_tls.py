"""RTMPS and RTSPS: to a server whose certificate is trusted, and to none other."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from streamer.errors import SinkError
from streamer.sinks import muxer_target
from tests.programs import needs
from tests.streamer.sinks.network_peers import Camera, Peer, free_port
from tests.streamer.sinks.test_network import pushing

pytestmark = needs("ffmpeg")


def certificate(folder: Path, *, name: str) -> Path:
    """A certificate for ``name`` and 127.0.0.2 that signs itself, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.2"))]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return path


async def tls_door(path: Path, plain_port: int) -> asyncio.Server:
    """A TLS server that passes everything on to ``plain_port``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            inner = await asyncio.open_connection("127.0.0.1", plain_port)
            await asyncio.gather(copy(reader, inner[1]), copy(inner[0], writer))
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)


@pytest.mark.parametrize("scheme", ["rtmps", "rtsps"])
def test_a_trusted_server_gets_the_stream(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = certificate(tmp_path, name="localhost")
    monkeypatch.setitem(muxer_target.TLS_OPTIONS, "ca_file", str(path))

    async def scenario() -> None:
        camera, plain_port = Camera(), free_port()
        door = await tls_door(path, plain_port)
        port = door.sockets[0].getsockname()[1]
        sink = pushing(camera, f"{scheme}://localhost:{port}/live/key")
        receiver = Peer.rtmp if scheme == "rtmps" else Peer.rtsp
        with receiver(plain_port) as peer:
            await camera.film(sink, lambda: peer.count() >= 10)
            await sink.close()
        door.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("scheme", ["rtmps", "rtsps"])
@pytest.mark.parametrize("what", ["a stranger's", "another name's"])
def test_a_server_that_is_not_trusted_gets_nothing(
    scheme: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "localhost" if what == "a stranger's" else "elsewhere.example"
    path = certificate(tmp_path, name=name)
    if what == "another name's":
        monkeypatch.setitem(muxer_target.TLS_OPTIONS, "ca_file", str(path))

    async def scenario() -> None:
        camera, plain_port = Camera(), free_port()
        reached = asyncio.Event()

        async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if await reader.read(1):
                reached.set()
            writer.close()

        behind = await asyncio.start_server(plain, "127.0.0.1", plain_port)
        door = await tls_door(path, plain_port)
        port = door.sockets[0].getsockname()[1]
        sink = pushing(camera, f"{scheme}://localhost:{port}/live/key")
        await camera.film(sink, lambda: camera.metrics.counted("sink.restarts.peer") >= 1)
        with pytest.raises(SinkError, match="never reached"):
            await sink.close()
        assert not reached.is_set()
        door.close()
        behind.close()

    asyncio.run(scenario())
