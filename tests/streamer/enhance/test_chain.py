from __future__ import annotations

from pathlib import Path

from streamer.clock import ManualClock
from streamer.enhance.chain import Chain
from streamer.enhance.super_resolution import SuperResolution
from streamer.infer.ort import OrtCpuEngine
from streamer.metrics import Metrics
from streamer.schedule import TierLadder
from tests.streamer.models import tiny
from tests.streamer.pictures import frame_of, noise


def test_a_frame_gets_the_tier_it_can_afford_and_is_counted(tmp_path: Path) -> None:
    clock, metrics = ManualClock(1000), Metrics()
    stage = SuperResolution((OrtCpuEngine(tiny(tmp_path), threads=1),))
    ladder = TierLadder(stage.tiers, clock)
    chain = Chain(stage, ladder, clock, metrics)
    frame = frame_of(noise(width=32, height=18))
    (whenever,) = chain.process(frame, deadline_ns=None, with_comparison=False)
    (late,) = chain.process(frame, deadline_ns=999, with_comparison=False)
    (early,) = chain.process(frame, deadline_ns=10_000_000, with_comparison=True)
    chain.close()
    assert [f.tier for f in (whenever, late, early)] == ["tiny", "plain", "tiny"]
    assert metrics.counts("tier.") == {"tiny": 2, "plain": 1}
    assert metrics.timings()["super_resolve"].n == 3
    assert early.stamps_ns == {"enhanced": 1000}
    assert early.comparison is not None
    assert [engine.manifest.name for engine in chain.engines] == ["sr-tiny-x2"]
