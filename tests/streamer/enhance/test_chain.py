from __future__ import annotations

from pathlib import Path

from streamer.clock import ManualClock
from streamer.enhance.chain import Chain
from streamer.enhance.super_resolution import SuperResolution
from streamer.frame import Frame
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


def test_a_frame_that_another_one_stood_in_for_costs_no_more_than_it_must(tmp_path: Path) -> None:
    clock = ManualClock(1000)
    stage = SuperResolution((OrtCpuEngine(tiny(tmp_path), threads=1),))
    chain = Chain(stage, TierLadder(stage.tiers, clock), clock, Metrics())
    frames = [frame_of(noise(width=32, height=18), pts=number) for number in range(3)]

    def tier_of(frame: Frame, deadline_ns: int | None) -> str:
        (done,) = chain.process(
            frame, deadline_ns=deadline_ns, with_comparison=False, shown_s=frames[1].time_s
        )
        return done.tier

    assert [tier_of(frame, 10_000_000) for frame in frames] == ["plain", "plain", "tiny"]
    assert tier_of(frames[0], None) == "tiny", "from file to file nothing stands in"
    assert chain.steps.recent() == []
    chain.close()
