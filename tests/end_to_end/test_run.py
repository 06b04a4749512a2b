"""``streamer run`` at every scale, and from a synthetic camera that waits for its reader."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import av
import pytest

from streamer.build import open_stream
from streamer.clock import MonotonicClock
from streamer.config import StreamSettings, parse_sink
from streamer.infer.backends import BACKENDS
from streamer.model import find_models
from streamer.sources.synthetic import SyntheticSource
from tests.clips import Clips, moving
from tests.command import RunHere
from tests.programs import needs


@needs("ffmpeg")
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_a_scale_without_a_network_says_so_and_one_with_a_network_reports_it(
    scale: int, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    clip = clips.made("scales.mkv", *moving(frames=4), "-c:v", "libx264")
    report = tmp_path / "report.json"
    done = streamer("run", clip, "--to", "null:", "--scale", scale, "--report", report)
    assert done.code == 0
    shipped = find_models(task="super_resolution", scale=scale)
    networks = {m.variant for m in shipped if m.training != "clean"} or {m.variant for m in shipped}
    numbers = json.loads(report.read_text())
    enlarging = [one for one in numbers["engines"] if one["model"].startswith("sr-")]
    backends = {engine["backend"] for engine in numbers["engines"]}
    if networks:
        assert "no trained network" not in done.err
        assert len(enlarging) == len(networks)
        # What takes noise away from a file is there, whether it has any or not.
        others = {one["model"].partition("-")[0] for one in numbers["engines"]} - {"sr"}
        assert others == {"denoise", "steady"} - ({"steady"} if scale == 1 else set())
        assert backends <= set(BACKENDS)
    else:
        assert f"streamer: no trained network for x{scale} is shipped yet" in done.err
        assert backends == {"reference"}


@pytest.mark.parametrize("limit", [("?pace=fast&frames=20",), ("?pace=fast", "--duration", "0.5")])
def test_a_synthetic_camera_that_waits_loses_no_frame(
    limit: tuple[str, ...], streamer: RunHere, tmp_path: Path
) -> None:
    report, out = tmp_path / "report.json", tmp_path / "out.mkv"
    query, *options = limit
    done = streamer(
        "run", f"synthetic:320x180@40{query}", "--to", out, "--report", report, *options
    )
    assert done.code == 0
    frames = json.loads(report.read_text())["frames"]
    assert (frames["decoded"], frames["sent"], frames["dropped"]) == (20, 20, {})
    with av.open(str(out)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([n / 40 for n in range(20)], abs=0.001)


def test_what_the_camera_itself_skipped_is_among_the_losses() -> None:
    async def scenario() -> None:
        settings = StreamSettings(
            source="synthetic:160x96", sinks=(parse_sink("null:"),), backend="reference"
        )
        stream = await open_stream(settings, clock=MonotonicClock())
        try:
            assert stream.dropped == {}
            assert isinstance(stream.source, SyntheticSource)
            stream.source.skipped = 3
            assert stream.dropped == {"source.skipped": 3}
        finally:
            await stream.source.close()

    asyncio.run(scenario())
