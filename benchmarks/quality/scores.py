"""Collects what each method scored, frame by frame, and averages it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any, TypeVar

from benchmarks.quality import temporal
from benchmarks.quality.extras import Extras, Recording
from benchmarks.quality.metrics import psnr, structure
from benchmarks.quality.temporal import Step
from streamer.clock import Clock
from streamer.frame import Plane, Planes

T = TypeVar("T")

DEFINITIONS = {
    "psnr_y": "dB over 8-bit luma codes, peak 255; 99 where nothing differs",
    "ssim": "Wang 2004 on luma, gaussian 11x11 sigma 1.5, full size, window wholly inside",
    "ms_ssim": "Wang 2003 on luma, 5 levels; fewer where a side is below 176 pixels",
    "psnr_rgb": "dB over 8-bit RGB after limited-range BT.601 4:2:0, whose own loss the row "
    "'4:2:0 alone' shows",
    "rms_rgb": "root mean squared difference in RGB codes: Middlebury's interpolation error",
    "rms_420": "the same against the original after its own way through 4:2:0: without the "
    "conversion's share",
    **temporal.DEFINITIONS,
    "ms": "median milliseconds per frame of the method's own work, as time passed, methods "
    "interleaved; of minterpolate that of its program over the clip less the same without the filter",
}

Values = dict[str, list[float]]

ORIGINAL = "original"
"""The row of the original frames, where there is something to say of them alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One item under one condition: every method's values, per frame or pair of frames."""

    group: str
    name: str
    condition: str
    width: int
    height: int
    frames: int
    """How many frames were judged."""
    values: Mapping[str, Values]
    """By method, then by measure."""
    notes: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            "set": self.group,
            "item": self.name,
            "condition": self.condition,
            "width": self.width,
            "height": self.height,
            "frames": self.frames,
            **self.notes,
            "methods": {name: summary(values) for name, values in self.values.items()},
        }


class Judge:
    """Compares the frames of several methods with the originals of one item."""

    def __init__(self, methods: Iterable[str], *, extras: Extras, border: int = 0) -> None:
        """``border`` luma pixels on each side are not looked at."""
        self.values: dict[str, Values] = {name: {} for name in methods}
        self._extras = extras
        self._inner = (slice(border, -border or None), slice(border, -border or None))
        self._recordings = {name: Recording(extras) for name in self.values}

    def frame(self, method: str, result: Planes, original: Planes) -> None:
        """Compare one frame; both (H, W) luma of the same size."""
        ours, theirs = result[0][self._inner], original[0][self._inner]
        ssim, ms_ssim = structure(ours, theirs)
        self.add(method, psnr_y=psnr(ours, theirs), ssim=ssim, ms_ssim=ms_ssim)
        if self._extras.lpips is not None:
            self.add(method, lpips=self._extras.lpips(result, original))
        self._recordings[method].add(result, original)

    def pair(self, method: str, before: Plane, after: Plane, step: Step) -> None:
        """Compare two consecutive result frames (luma) with the same two originals."""
        self.add(
            method,
            tof=step.tof(before, after),
            warping_error=step.warping_error(before, after),
        )
        if (change := step.still_change(before, after)) is not None:
            self.add(method, still_change=change)

    def add(self, method: str, **measured: float) -> None:
        for name, value in measured.items():
            self.values[method].setdefault(name, []).append(value)

    def original_pair(self, step: Step) -> None:
        """Note how calm the originals themselves are, as a row of its own."""
        self.values.setdefault(ORIGINAL, {})
        self.add(ORIGINAL, warping_error=step.original_warping_error)

    def done(
        self, *, group: str, name: str, condition: str, size: tuple[int, int], **notes: Any
    ) -> Judged:
        """Everything seen; ``size`` is (height, width)."""
        for method, recording in self._recordings.items():
            if (vmaf := recording.vmaf()) is not None:
                self.add(method, vmaf=vmaf)
        return Judged(
            group=group,
            name=name,
            condition=condition,
            height=size[0],
            width=size[1],
            frames=max((len(v.get("psnr_y", ())) for v in self.values.values()), default=0),
            values=self.values,
            notes=notes,
        )


class Stopwatch:
    """Times calls; the first call of a method at a size runs once before, untimed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._warm: set[tuple[str, tuple[int, ...]]] = set()

    def timed(self, method: str, size: tuple[int, ...], call: Callable[[], T]) -> tuple[T, float]:
        """What ``call`` gives, and its milliseconds."""
        if (method, size) not in self._warm:
            call()
            self._warm.add((method, size))
        began_ns = self._clock.now_ns()
        result = call()
        return result, (self._clock.now_ns() - began_ns) / 1e6


def summary(values: Values) -> dict[str, float]:
    """Mean of each measure, median of the milliseconds."""
    return {
        name: round(median(seen) if name == "ms" else fmean(seen), 4)
        for name, seen in values.items()
        if seen
    }


def averages(judged: Sequence[Judged], *, by_frame: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Per set and condition the mean over items of each item's mean.

    Conditions in ``by_frame`` are averaged over all their frames instead, because their items
    hold very different numbers of them. Milliseconds are the median over all frames.
    """
    over_frames = set(by_frame)
    keys = dict.fromkeys((item.group, item.condition) for item in judged)
    return [
        _average(
            [item for item in judged if (item.group, item.condition) == key],
            is_over_frames=key[1] in over_frames,
        )
        for key in keys
    ]


def _average(items: Sequence[Judged], *, is_over_frames: bool) -> dict[str, Any]:
    methods = dict.fromkeys(name for item in items for name in item.values)
    rows = {}
    for method in methods:
        seen = [item.values[method] for item in items if method in item.values]
        pooled: Values = {}
        for values in seen:
            for name, numbers in values.items():
                is_whole = is_over_frames or name == "ms"
                kept = numbers if is_whole else [fmean(numbers)] if numbers else []
                pooled.setdefault(name, []).extend(kept)
        rows[method] = summary(pooled)
    return {
        "set": items[0].group,
        "condition": items[0].condition,
        "items": len(items),
        "frames": sum(item.frames for item in items),
        "methods": rows,
    }
