"""FFmpeg's frames are compared with the moments they are for."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quality import filters, minterpolate
from benchmarks.quality.metrics import psnr
from streamer.clock import MonotonicClock
from streamer.errors import ConfigError
from tests.benchmarks.drawn import panned
from tests.programs import needs

FRAMES = [panned(index, height=128, width=192) for index in range(17)]


@needs("ffmpeg")
@pytest.mark.parametrize("variant", minterpolate.VARIANTS)
def test_every_made_frame_shows_the_moment_it_is_counted_for(variant: str) -> None:
    made, ms = minterpolate.fill(FRAMES[::2], variant, clock=MonotonicClock())
    assert set(made) <= set(range(3, 15, 2))
    assert {5, 7, 9, 11} <= set(made)
    assert ms >= 0
    inner = (slice(16, -16), slice(16, -48))
    for index, planes in made.items():
        scores = [psnr(planes[0][inner], frame[0][inner]) for frame in FRAMES]
        assert int(np.argmax(scores)) == index
        # Half a frame off, at two pixels per frame, would be far below.
        assert scores[index] > 35


@needs("ffmpeg")
def test_what_ffmpeg_refuses_is_said_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minterpolate, "VARIANTS", {"wrong": "me_mode=none_such"})
    with pytest.raises(ConfigError, match="none_such"):
        minterpolate.fill(FRAMES[:6:2], "wrong", clock=MonotonicClock())


def test_a_missing_program_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert minterpolate.why_missing() == "minterpolate: the program ffmpeg is not on PATH"
    assert filters.version() is None
