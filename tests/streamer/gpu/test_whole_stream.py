"""A stream from its source to a file, its pictures on the device all the way in between."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from streamer.build import open_stream
from streamer.clock import MonotonicClock
from streamer.config import SinkSpec, StreamSettings
from streamer.enhance import assembly
from streamer.gpu.choosing import choose_on_device
from streamer.pipeline import Stream
from streamer.rate import parse_rate
from tests.streamer.gpu.emulated import ILLEGAL_ADDRESS, Emulated
from tests.streamer.gpu.test_choosing import queued
from tests.streamer.installed import only_installed


def lumas(path: Path) -> list[np.ndarray[Any, Any]]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray()[: frame.height] for frame in container.decode(video=0)]


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_file_is_the_same_whether_pictures_stay_on_a_device_or_not(
    *, emulated: Emulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_lost: bool
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    only_installed(monkeypatch, "ort-cuda", precisions=("fp32",))
    on_emulated = partial(choose_on_device, door=emulated.gpu, engine=queued)

    def settings_of(target: Path, backend: str) -> StreamSettings:
        return StreamSettings(
            source="synthetic:160x96@30?seed=3&pace=fast",
            sinks=(SinkSpec(kind="y4m", target=str(target)),),
            rate=parse_rate("x2"),
            backend=backend,
            variant="nano",
            # It is done on the host alone.
            steady=False,
            duration_s=0.5,
        )

    async def run(settings: StreamSettings) -> Stream:
        stream = await open_stream(settings, clock=MonotonicClock())
        if is_lost and settings.backend == "auto":
            emulated.fail("cuLaunchKernel", ILLEGAL_ADDRESS, after=40)
        await stream.run()
        return stream

    monkeypatch.setattr(assembly, "choose_on_device", on_emulated)
    there, here = tmp_path / "there.y4m", tmp_path / "here.y4m"
    on_device = asyncio.run(run(settings_of(there, "auto")))
    on_host = asyncio.run(run(settings_of(here, "ort-cpu")))
    report, exact = on_device.report(), on_host.report()
    assert report["frames"] == exact["frames"]
    assert ("the GPU is not used any more" in on_device.chain.notice) == is_lost
    if not is_lost:
        assert report["engines"][0]["backend"] == "ort-cuda"
        assert report["tiers"] == exact["tiers"]
    del on_device, on_host
    ours, theirs = lumas(there), lumas(here)
    assert len(ours) == len(theirs) == 30
    # What is made between two depends on how those times seem to move.
    for one, other in zip(ours[::2], theirs[::2], strict=True):
        # Above, each picture has the time of its drawing burnt in.
        apart = np.abs(one[100:].astype(int) - other[100:])
        # The CPU's network may be the int8 one, and without the device some are plain.
        assert apart.mean() < (8 if is_lost else 0.5)
