"""Task ``interpolation``: every second frame is left out, made from its neighbours and compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from benchmarks.quality import minterpolate
from benchmarks.quality.material import Item, Kind, read_triplet
from benchmarks.quality.matlab import Picture, to_planes, to_rgb
from benchmarks.quality.methods import INTERPOLATORS, interpolation_baselines, shipped
from benchmarks.quality.metrics import psnr, rms_error
from benchmarks.quality.scores import Judge, Judged
from benchmarks.quality.settings import Bench, Said
from benchmarks.quality.temporal import Step
from benchmarks.quality.upscaling import cut
from streamer.clock import MonotonicClock
from streamer.errors import ConfigError
from streamer.frame import Planes

MIDDLE = 0.5
ROUND_TRIP = "4:2:0 alone"
"""The row of the original itself after the conversion every method's pictures go through."""

PROTOCOL = (
    "clips: frames 1, 3, 5, ... are made from their neighbours at t = 0.5, YUV planes as decoded; "
    "only those frames count that every method made (minterpolate has none in the first and last "
    "interval); tof and warping_error over the sequence as shown, original and made frames in "
    "turn. triplets: t = 0.5; RGB to limited-range BT.601 4:2:0 before, and back for psnr_rgb and "
    "rms_rgb; minterpolate needs four frames and is left out there."
)


class InterpolationTask:
    """Every way to make a frame between two."""

    kinds = (Kind.CLIP, Kind.TRIPLET)

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        models, manifests = shipped(INTERPOLATORS)
        self._methods = {**interpolation_baselines(), **models}
        reason = minterpolate.why_missing()
        self._filters = () if reason else tuple(minterpolate.VARIANTS)
        missing = () if models else ("models: no interpolation network is shipped",)
        left_out = (*missing, *((reason,) if reason else ()))
        self.said = Said(protocol=PROTOCOL, models=tuple(manifests), left_out=left_out)

    def judge(self, item: Item) -> Iterator[Judged]:
        """One result. Raises ``ConfigError``."""
        yield self._triplet(item) if item.kind is Kind.TRIPLET else self._clip(item)

    def _triplet(self, item: Item) -> Judged:
        pictures = read_triplet(item)
        before, original, after = (to_planes(picture) for picture in pictures)
        judge = Judge([ROUND_TRIP, *self._methods], extras=self._bench.extras)
        height, width = pictures[1].shape[:2]
        judge.add(ROUND_TRIP, **_rgb_scores(original, pictures[1], like=original))
        for name, result in self._made(judge, before, after):
            shown = cut(result, height=height, width=width)
            judge.frame(name, shown, cut(original, height=height, width=width))
            judge.add(name, **_rgb_scores(result, pictures[1], like=original))
        return judge.done(
            group=item.group, name=item.name, condition="triplets", size=(height, width)
        )

    def _clip(self, item: Item) -> Judged:
        frames = self._bench.shown(item)
        # A last frame without a partner would only be a neighbour.
        frames = frames[: (len(frames) - 1) // 2 * 2 + 1]
        if len(frames) < 3:
            raise ConfigError(f"{item.name} has fewer than three frames, nothing lies between them")
        judge = Judge([*self._methods, *self._filters], extras=self._bench.extras)
        filtered = self._filtered(judge, frames)
        judged = [
            i for i in range(1, len(frames), 2) if all(i in made for made in filtered.values())
        ]
        if not judged:
            raise ConfigError(
                f"{item.name} has {len(frames)} frames, too few for minterpolate; 9 are enough"
            )
        for index in judged:
            self._judge_between(judge, frames, index, filtered)
        return judge.done(
            group=item.group, name=item.name, condition="clips", size=frames[0][0].shape
        )

    def _judge_between(
        self,
        judge: Judge,
        frames: Sequence[Planes],
        index: int,
        filtered: Mapping[str, Mapping[int, Planes]],
    ) -> None:
        before, original, after = frames[index - 1 : index + 2]
        steps = Step(before[0], original[0]), Step(original[0], after[0])
        for step in steps:
            judge.original_pair(step)
        results = dict(self._made(judge, before, after))
        results |= {name: made[index] for name, made in filtered.items()}
        for name, result in results.items():
            judge.frame(name, result, original)
            judge.pair(name, before[0], result[0], steps[0])
            judge.pair(name, result[0], after[0], steps[1])

    def _made(self, judge: Judge, before: Planes, after: Planes) -> Iterator[tuple[str, Planes]]:
        for name, method in self._methods.items():
            result, ms = self._bench.watch.timed(
                name,
                before[0].shape,
                lambda m=method: m.between(before, after, MIDDLE),  # type: ignore[misc]
            )
            judge.add(name, ms=ms)
            yield name, result

    def _filtered(self, judge: Judge, frames: Sequence[Planes]) -> dict[str, dict[int, Planes]]:
        """What each variant of minterpolate makes of the whole clip, by index."""
        filtered = {}
        for name in self._filters:
            made, ms = minterpolate.fill(frames[::2], name, clock=MonotonicClock())
            judge.add(name, ms=ms)
            filtered[name] = made
        return filtered


def _rgb_scores(result: Planes, original: Picture, *, like: Planes) -> dict[str, float]:
    """Against the RGB original, and against ``like``, the original as planes."""
    inner = tuple(slice(side) for side in original.shape[:2])
    rgb = np.ascontiguousarray(to_rgb(result)[inner])
    return {
        "psnr_rgb": psnr(rgb, original),
        "rms_rgb": rms_error(rgb, original),
        "rms_420": rms_error(rgb, to_rgb(like)[inner]),
    }
