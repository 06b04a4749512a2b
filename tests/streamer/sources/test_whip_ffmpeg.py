"""A publisher of another make: FFmpeg's WHIP output, which offers the profile that it encodes, alone."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import av
import pytest
from aioice import ice
from aiortc import RTCCertificate
from cryptography.hazmat.primitives import serialization

from tests.streamer.server.test_whip import serving
from tests.streamer.sources.publishing import WAIT_S, PublisherProcess, door, run
from tests.streamer.sources.whip_peer import Settings


def identity(folder: Path) -> tuple[Path, Path]:
    """A certificate and its key, as files."""
    made = RTCCertificate.generateCertificate()
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made._cert.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        made._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_file, key_file


@pytest.mark.skipif("whip" not in av.formats_available, reason="this PyAV has no WHIP output")
@pytest.mark.parametrize("profile", ["baseline", "main", "high"])
def test_ffmpeg_publishes_whatever_profile_it_encodes(
    profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # While it sends it answers no checks of consent, six of which, unanswered, end a connection.
    monkeypatch.setattr(ice, "CONSENT_INTERVAL", 0.01)
    monkeypatch.setattr(ice, "CONSENT_FAILURES", 1)

    async def scenario() -> None:
        async with door() as opened, serving(opened) as http:
            url = f"{http.base_url}whip/the%20gate"
            script = Path(__file__).with_name("whip_ffmpeg.py")
            ffmpeg = await asyncio.create_subprocess_exec(
                *(sys.executable, script, url, profile, *identity(tmp_path))
            )
            try:
                source = await opened.source(timeout_s=WAIT_S)
                assert (source.video.codec, source.video.width) == ("h264", 320)
                packets = source.packets()
                for _ in range(90):
                    assert (await asyncio.wait_for(anext(packets), WAIT_S)).stream == "video"
                await source.close()
            finally:
                if ffmpeg.returncode is None:
                    ffmpeg.kill()
                await ffmpeg.wait()

    run(scenario())


@pytest.mark.parametrize("profile", ["4d001f", "640c1f", "64002A"])
def test_the_answer_states_the_profile_that_was_offered(profile: str) -> None:
    async def scenario() -> None:
        async with door() as opened:
            publisher = await PublisherProcess.start(Settings(codec="H264"))
            offer = await publisher.offer()
            for known in ("42001f", "42e01f"):
                offer = offer.replace(f"profile-level-id={known}", f"profile-level-id={profile}")
            answer_sdp = (await opened.answer(offer)).answer_sdp
            stated = [line for line in answer_sdp.splitlines() if "profile-level-id" in line]
            assert stated
            assert all(line.endswith(f"profile-level-id={profile}") for line in stated)
            await publisher.close()

    run(scenario())
