from __future__ import annotations

import numpy as np

from benchmarks.quality.upscaling import PlainUpscaler, SharpUpscaler
from tests.benchmarks.drawn import panned


def test_a_sharp_upscaler_sharpens_luma_alone() -> None:
    small = panned(0)
    soft, sharp = (
        method.upscale(small) for method in (PlainUpscaler(2), SharpUpscaler(PlainUpscaler(2), 0.5))
    )
    steps = [np.abs(np.diff(planes[0].astype(int), axis=1)).mean() for planes in (soft, sharp)]
    assert steps[1] > 1.02 * steps[0]
    for ours, theirs in zip(sharp[1:], soft[1:], strict=True):
        np.testing.assert_array_equal(ours, theirs)
