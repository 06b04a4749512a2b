"""Which sound and rate each output of a stream is given, and what is left of one that cannot be made."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from functools import partial
from pathlib import Path

import pytest

from streamer.clock import ManualClock
from streamer.config import Between, SinkSpec, StreamSettings, parse_sink
from streamer.errors import ConfigError, SinkError
from streamer.metrics import Metrics
from streamer.outlets import Outlets, fps_out
from streamer.rate import parse_rate
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


def test_players_do_not_find_a_stream_whose_other_output_cannot_be_made() -> None:
    sinks = (SinkSpec(kind="rtsp"), SinkSpec(kind="push", target="udp://127.0.0.1"))
    settings = StreamSettings(source="synthetic:160x96@10", sinks=sinks, name="door")
    mounts: dict[str, RtspMount] = {}

    async def scenario() -> None:
        clock = ManualClock()
        source = await open_source(settings.source, clock=clock, paced=False)
        with pytest.raises(SinkError, match="names no port"):
            Outlets(settings, source=source, clock=clock, metrics=Metrics(), mounts=mounts)
        await source.close()

    asyncio.run(scenario())
    assert mounts == {}


@pytest.mark.parametrize(
    ("rate", "between", "source_fps", "wanted"),
    [
        ("x2", "none", 25, 25),
        ("60", "none", 25, 25),
        ("10", "none", 25, 10),
        ("10", "none", None, 10),
        ("x2", "none", None, None),
        ("60", "interpolate", None, 60),
        ("x2", "interpolate", 25, 50),
        ("x8", "predict", 60, 240),
    ],
)
def test_without_made_frames_a_rate_is_only_lowered(
    rate: str, between: Between, source_fps: int | None, wanted: int | None
) -> None:
    settings = StreamSettings(
        source="clip.mp4", sinks=(parse_sink("null:"),), rate=parse_rate(rate), between=between
    )
    assert fps_out(settings, None if source_fps is None else Fraction(source_fps)) == wanted


@pytest.mark.parametrize(
    ("source", "rate", "is_refused"),
    [
        ("synthetic:160x96@10?pace=fast", "x2", True),
        ("synthetic:160x96@10?pace=fast", "60", True),
        ("synthetic:160x96@10?pace=fast", "5", False),
        ("synthetic:160x96@10", "x2", False),
    ],
)
def test_what_cannot_always_be_foreseen_is_not_written_without_times(
    source: str, rate: str, tmp_path: Path, *, is_refused: bool
) -> None:
    """From file to file; whoever looks at pictures while they are made sees them when they come."""
    settings = StreamSettings(
        source=source,
        sinks=(parse_sink(f"y4m:{tmp_path / 'out.y4m'}"),),
        rate=parse_rate(rate),
        between="predict",
    )

    async def scenario() -> None:
        clock = ManualClock()
        opened = await open_source(source, clock=clock, paced=False)
        try:
            Outlets(settings, source=opened, clock=clock, metrics=Metrics())
        finally:
            await opened.close()

    if is_refused:
        with pytest.raises(ConfigError, match="--between interpolate"):
            asyncio.run(scenario())
    else:
        asyncio.run(scenario())
