"""A publisher of another make: GStreamer's webrtcbin, with an RSA certificate and no NACK."""

from __future__ import annotations

import asyncio
import functools
import os
import subprocess
from pathlib import Path

import pytest

from tests.streamer.sources.publishing import WAIT_S, PublisherProcess, door, run
from tests.streamer.sources.test_whip import Watch

PYTHON = "/usr/bin/python3"
"""The system's, for which Debian packages the bindings."""

SCRIPT = Path(__file__).with_name("whip_gstreamer.py")

HAS_WEBRTC = """
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import Gst
Gst.init(None)
names = ("webrtcbin", "nicesink", "dtlsenc", "x264enc", "vp8enc", "opusenc")
raise SystemExit(not all(Gst.ElementFactory.find(name) for name in names))
"""

INSTALL = (
    "apt-get install python3-gi gir1.2-gst-plugins-bad-1.0 gstreamer1.0-nice "
    "gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad "
    "gstreamer1.0-plugins-ugly"
)


@functools.cache
def has_webrtcbin() -> bool:
    if not Path(PYTHON).exists():
        return False
    done = subprocess.run([PYTHON, "-c", HAS_WEBRTC], capture_output=True, timeout=60, check=False)
    return done.returncode == 0


@pytest.mark.parametrize("codec", ["H264", "VP8"])
def test_webrtcbin_publishes_picture_and_sound(codec: str) -> None:
    if not has_webrtcbin():
        if os.environ.get("STREAMER_REQUIRE_PROGRAMS") == "1":
            pytest.fail(f"needs GStreamer's webrtcbin: {INSTALL}")
        pytest.skip(f"needs GStreamer's webrtcbin: {INSTALL}")

    async def scenario() -> None:
        process = await asyncio.create_subprocess_exec(
            PYTHON,
            SCRIPT,
            codec,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        publisher = PublisherProcess(process)
        try:
            async with door() as opened:
                session = await opened.answer(await publisher.offer())
                await publisher.tell(session.answer_sdp)
                source = await opened.source(timeout_s=WAIT_S)
                assert source.video.codec == codec.lower()
                assert (source.video.width, source.video.height) == (320, 180)
                seen = Watch(source)
                await seen.see(60)
                assert len(seen.sizes) == 60
                assert len(seen.sounds) > 20
                assert not any(packet.follows_loss for packet in seen.packets)
                assert await opened.hang_up(session.id)
        finally:
            await publisher.close()

    run(scenario())
