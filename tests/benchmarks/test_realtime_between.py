"""Our frames in between beside FFmpeg's, on clips small enough for a test; no number is judged."""

from __future__ import annotations

import pytest

from benchmarks.quality import minterpolate
from benchmarks.realtime.between import compared
from streamer.clock import MonotonicClock
from streamer.enhance.frame_maker import FrameMaker
from streamer.infer.reference_motion import ReferenceMotionEngine
from tests.benchmarks.drawn import panned


@pytest.mark.skipif(bool(minterpolate.why_missing()), reason=minterpolate.why_missing())
def test_a_clip_is_told_with_time_and_processor_time_of_both_sides() -> None:
    frames = [panned(index) for index in range(13)]
    found = compared("pan", frames, FrameMaker(ReferenceMotionEngine()), MonotonicClock())
    assert (found["clip"], found["size"]) == ("pan", "128x96")
    assert 0 < found["judged"] < 6
    assert found["ms"]["ours"] > 0
    assert found["cpu_ms"]["ours"] > 0
    for ratio, times in (("faster", found["ms"]), ("cheaper", found["cpu_ms"])):
        assert found[ratio] == pytest.approx(
            times["minterpolate"] / times["ours"], abs=0.02, rel=0.02
        )
    assert found["psnr_y"]["ours"] > 20
