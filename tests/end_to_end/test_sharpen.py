"""``streamer run --sharpen``, from file to file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.clips import Clips
from tests.command import RunHere
from tests.measure import pictures_of
from tests.programs import needs

pytestmark = needs("ffmpeg", "ffprobe")


def gradient(path: Path) -> float:
    """The mean one of all lumas of a clip."""
    lumas = np.stack([planes[0] for planes in pictures_of(path)]).astype(float)
    return float(np.abs(np.diff(lumas, axis=1)).mean() + np.abs(np.diff(lumas, axis=2)).mean())


@pytest.mark.parametrize("tier", ["lite", "plain"])
def test_pictures_that_leave_are_sharper_by_as_much_as_was_asked_for(
    tier: str, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    seen = []
    for strength in ("0", "0.5", "1"):
        out = tmp_path / f"{strength}.mkv"
        options = ("--tier", tier, "--crf", "4", "--denoise", "off", "--sharpen", strength)
        assert streamer("run", clips.plain(), "--to", out, *options).code == 0
        seen.append(gradient(out))
    none, half, whole = seen
    assert half > 1.02 * none
    assert whole > 1.02 * half


@pytest.mark.parametrize("strength", ["-0.1", "1.5", "nan", "inf"])
def test_another_strength_is_refused(strength: str, streamer: RunHere, tmp_path: Path) -> None:
    done = streamer("run", "synthetic:", "--to", tmp_path / "o.mp4", "--sharpen", strength)
    assert done.sentence.endswith("is out of range; use 0 (not at all) to 1 (0.5 is usual)")
