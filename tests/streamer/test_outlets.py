"""Which sound each output of a stream is given."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from streamer.clock import ManualClock
from streamer.config import SinkSpec, StreamSettings
from streamer.metrics import Metrics
from streamer.outlets import Outlets
from streamer.sinks.recoded import RecodedSink
from streamer.sinks.rtsp_mount import RtspMount
from streamer.sinks.rtsp_tracks import OpusTrack
from streamer.sources.opening import open_source
from tests.clips import ffmpeg
from tests.programs import needs

pytestmark = needs("ffmpeg")


@pytest.mark.parametrize(("channels", "is_coded_anew"), [(2, False), (6, True)])
def test_opus_of_many_channels_is_coded_anew_for_rtp(
    channels: int, tmp_path: Path, *, is_coded_anew: bool
) -> None:
    """Its packets are several in one: full-scale noise to a browser, and nothing RTSP describes."""
    clip = tmp_path / "clip.mkv"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25", "-f", "lavfi", "-i", "sine"),
        *("-t", "1", "-ac", str(channels), "-c:v", "libx264", "-c:a", "libopus", str(clip)),
    )
    sinks = (SinkSpec(kind="webrtc"), SinkSpec(kind="rtsp"))
    mounts: dict[str, RtspMount] = {}

    async def scenario() -> None:
        clock = ManualClock()
        source = await open_source(str(clip), clock=clock, paced=False)
        assert source.audio is not None
        assert source.audio.channels == channels
        settings = StreamSettings(source=str(clip), sinks=sinks, name="clip")
        made = partial(Outlets, settings, source=source, clock=clock, metrics=Metrics())
        outlets = await asyncio.to_thread(made, mounts=mounts)
        assert outlets.enhanced is not None
        for outlet in outlets.enhanced.fanout._outlets:
            assert isinstance(outlet.sink, RecodedSink) == is_coded_anew
        described = mounts["clip"].tracks
        assert [isinstance(track, OpusTrack) for track in described] == [False, not is_coded_anew]
        await source.close()

    asyncio.run(scenario())
