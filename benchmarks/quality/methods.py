"""What can be judged: the roles, the baselines of each, and the shipped models by their task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol, TypeVar

import cv2
import numpy as np

from benchmarks.quality.flow import Dis, warp
from benchmarks.quality.followers import ShippedFollower
from benchmarks.quality.upscaling import Follower, ShippedUpscaler, Upscaler
from streamer.enhance.frame_maker import FrameMaker
from streamer.frame import Plane, Planes
from streamer.infer.engine import Engine
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.reference_motion import ReferenceMotionEngine
from streamer.model import MODELS, ModelManifest, read_manifest

THREADS = 2
"""Of ONNX Runtime and of OpenCV."""

T = TypeVar("T")


class Interpolator(Protocol):
    """Makes a frame between two."""

    def between(self, before: Planes, after: Planes, t: float) -> Planes:
        """The picture at ``t`` in (0, 1) of the interval; storage of its own."""


class Predictor(Protocol):
    """Makes a frame that is not there yet."""

    def ahead(self, earlier: Planes, last: Planes, step: float) -> Planes:
        """The picture ``step`` intervals after ``last``; storage of its own."""


DENOISERS: Mapping[str, Callable[[Engine], Follower]] = {"denoising": ShippedFollower}
STEADYING: Mapping[str, Callable[[Engine], Follower]] = {"steadying": ShippedFollower}
UPSCALERS: Mapping[str, Callable[[Engine], Upscaler]] = {"super_resolution": ShippedUpscaler}
INTERPOLATORS: Mapping[str, Callable[[Engine], Interpolator]] = {
    "interpolation": partial(FrameMaker, in_full=True)
}
PREDICTORS: Mapping[str, Callable[[Engine], Predictor]] = {"prediction": FrameMaker}
"""By ``task`` of the manifest, what opens a shipped model for this benchmark: one line each."""


def shipped(
    table: Mapping[str, Callable[[Engine], T]], *, scale: int | None = None
) -> tuple[dict[str, T], list[ModelManifest]]:
    """Every shipped model that ``table`` can open, in every precision, on two threads."""
    manifests = [read_manifest(path) for path in sorted(MODELS.glob("*.json"))]
    fitting = [
        manifest
        for manifest in manifests
        if manifest.task in table and (scale is None or manifest.scale == scale)
    ]
    opened = {m.name: table[m.task](OrtCpuEngine(m, threads=THREADS)) for m in fitting}
    return opened, fitting


class Repeat:
    """Shows the last frame again."""

    def between(self, before: Planes, after: Planes, t: float) -> Planes:
        return before

    def ahead(self, earlier: Planes, last: Planes, step: float) -> Planes:
        return last


class Blend:
    """Averages the two neighbours by their distance; in prediction, the line through both."""

    def between(self, before: Planes, after: Planes, t: float) -> Planes:
        return _blend(before, after, t)

    def ahead(self, earlier: Planes, last: Planes, step: float) -> Planes:
        """``last + step * (last - earlier)``, clipped: 2b - a for a step of one."""
        return _blend(earlier, last, 1 + step)


class DisWarp:
    """Backward warps along DIS flow, taken as constant in place and time."""

    def __init__(self, preset: str, *, part: int) -> None:
        """``part`` 2 estimates on luma of half the size."""
        self._dis = Dis(preset, part=part)

    def between(self, before: Planes, after: Planes, t: float) -> Planes:
        """Both neighbours, each warped by its share of the way, blended by nearness."""
        to_after = self._dis.flow(before[0], after[0])
        to_before = self._dis.flow(after[0], before[0])
        return _blend(warp(before, to_before, t), warp(after, to_after, 1 - t), t)

    def ahead(self, earlier: Planes, last: Planes, step: float) -> Planes:
        """What lies ``step`` times the way back to ``earlier``, at constant velocity."""
        return warp(last, self._dis.flow(last[0], earlier[0]), step)


def interpolation_baselines() -> dict[str, Interpolator]:
    return {"repetition": Repeat(), "averaging": Blend(), **_by_flow()}


def prediction_baselines() -> dict[str, Predictor]:
    return {"repetition": Repeat(), "linear 2b-a": Blend(), **_by_flow()}


def concealment_baselines() -> dict[str, Predictor]:
    return {"freeze": Repeat(), **_by_flow()}


def _by_flow() -> dict[str, DisWarp | FrameMaker]:
    return {
        "DIS fast, half size": DisWarp("fast", part=2),
        "DIS medium, full size": DisWarp("medium", part=1),
        "without a network": FrameMaker(ReferenceMotionEngine()),
        "without a network, as for files": FrameMaker(ReferenceMotionEngine(), in_full=True),
    }


def _blend(first: Planes, second: Planes, share: float) -> Planes:
    """``(1 - share) * first + share * second``, rounded and clipped."""
    y, u, v = (_mixed(a, b, share) for a, b in zip(first, second, strict=True))
    return y, u, v


def _mixed(first: Plane, second: Plane, share: float) -> Plane:
    return np.asarray(cv2.addWeighted(first, 1 - share, second, share, 0), dtype=np.uint8)
