"""Task ``sr``: pictures and clips shrunk, perhaps coded, enlarged again and compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from benchmarks.quality.material import (
    Item,
    Kind,
    as_record,
    as_tuple,
    read_frames,
    read_picture,
)
from benchmarks.quality.matlab import Picture, imresize, to_planes
from benchmarks.quality.methods import STEADYING, UPSCALERS, shipped
from benchmarks.quality.scores import Judge, Judged
from benchmarks.quality.settings import Bench, Said
from benchmarks.quality.temporal import Step
from benchmarks.quality.upscaling import (
    LanczosUpscaler,
    PlainUpscaler,
    SharpUpscaler,
    SteadyUpscaler,
    Upscaler,
    cut,
)
from export.data.codec import Coding, x264
from export.data.degrade import Treatment, damage
from export.data.planes import Planes as Record
from export.data.planes import crop_to_multiple
from streamer.errors import ConfigError
from streamer.frame import Planes

CODINGS: Mapping[str, Coding | None] = {
    "clean": None,
    "crf23": x264(23),
    "crf28": x264(28),
    "crf33": x264(33),
}
CONDITIONS = ("papers", *CODINGS)
MATLAB_BICUBIC = "bicubic (MATLAB)"

PROTOCOL = (
    "papers: RGB cut to a multiple of the scale, shrunk by MATLAB's antialiased bicubic imresize, "
    "luma of rgb2ycbcr (uint8) compared, `scale` pixels cut on each side; networks get the small "
    "picture as 8-bit limited-range 4:2:0; the row 'bicubic (MATLAB)' enlarges RGB by imresize; "
    "pictures stored in grey keep their codes. clean, crf..: 4:2:0 planes shrunk by the area "
    "kernel, crf: then x264 veryfast zerolatency (a picture as one intra frame), same border."
)


class SuperResolutionTask:
    """Every upscaler for one scale."""

    kinds = (Kind.STILL, Kind.CLIP)

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._scale = scale = bench.settings.scale
        self._methods: dict[str, Upscaler] = {
            "input" if scale == 1 else "bicubic": PlainUpscaler(scale)
        }
        if scale > 1:
            self._methods["lanczos"] = LanczosUpscaler(scale)
        models, manifests = shipped(UPSCALERS, scale=scale)
        self._methods |= models
        sharpness = bench.settings.sharpness
        if sharpness:
            suffix = f"sharpened {sharpness:g}"
            self._methods |= {
                f"{name} {suffix}": SharpUpscaler(m, sharpness) for name, m in models.items()
            }
        self._steady: dict[str, SteadyUpscaler] = {}
        for name, model in models.items() if bench.settings.is_steady else ():
            # What enlarges runs a second time, so that its time is in the row's; what was made last is
            # each row's own.
            behind, steadying = shipped(STEADYING)
            rows = {f"{name} {own}": SteadyUpscaler(model, one) for own, one in behind.items()}
            self._steady |= rows
        if self._steady:
            self._methods |= self._steady
            manifests = [*manifests, *steadying]
        missing = () if models else (f"models: no network for x{scale} is shipped",)
        self.said = Said(protocol=PROTOCOL, models=tuple(manifests), left_out=missing)

    def judge(self, item: Item) -> Iterator[Judged]:
        """Under each condition. Raises ``ConfigError``."""
        conditions = self._conditions(item)
        frames = self._frames(item) if set(conditions) & CODINGS.keys() else []
        for condition in conditions:
            is_papers = condition == "papers"
            yield self._as_papers_do(item) if is_papers else self._coded(item, frames, condition)

    def _frames(self, item: Item) -> list[Record]:
        """A clip's frames, or a picture as a clip of one."""
        if item.kind is Kind.STILL:
            return [as_record(to_planes(read_picture(item.paths[0])))]
        return read_frames(item, limit=self._bench.settings.frames, multiple=2 * self._scale)

    def _conditions(self, item: Item) -> Sequence[str]:
        asked = self._bench.settings.conditions
        chosen = asked or (("papers",) if item.kind is Kind.STILL else tuple(CODINGS))
        if self._scale == 1:
            # Nothing was done to a clean picture at its own size, so there is nothing to judge.
            chosen = tuple(name for name in (asked or tuple(CODINGS)) if name in list(CODINGS)[1:])
        if item.kind is Kind.CLIP:
            chosen = tuple(name for name in chosen if name != "papers")
        if not chosen:
            raise ConfigError(
                f"none of the conditions {', '.join(asked)} fits {item.name} at x{self._scale}: "
                "papers is for pictures and x2 to x4, clean for x2 to x4; use crf23, crf28 or crf33"
            )
        return chosen

    def _as_papers_do(self, item: Item) -> Judged:
        picture = read_picture(item.paths[0])
        height, width = (side // self._scale * self._scale for side in picture.shape[:2])
        picture = picture[:height, :width]
        small = imresize(picture, height=height // self._scale, width=width // self._scale)
        judge = self._judge([MATLAB_BICUBIC])
        original = to_planes(picture)
        enlarged = to_planes(imresize(small, height=height, width=width))
        self._compare(judge, MATLAB_BICUBIC, enlarged, original, like=picture)
        for name, result in self._results(judge, to_planes(small)):
            self._compare(judge, name, result, original, like=picture)
        return judge.done(
            group=item.group, name=item.name, condition="papers", size=(height, width)
        )

    def _compare(
        self, judge: Judge, name: str, result: Planes, original: Planes, *, like: Picture
    ) -> None:
        """Without the rows and columns that were added to make sides even."""
        height, width = like.shape[:2]
        judge.frame(
            name,
            cut(result, height=height, width=width),
            cut(original, height=height, width=width),
        )

    def _coded(self, item: Item, frames: Sequence[Record], condition: str) -> Judged:
        """Planes shrunk, coded in one go, enlarged and compared; clips also in time."""
        multiple = 2 * self._scale
        small, large = damage(
            [crop_to_multiple(frame, multiple) for frame in frames],
            Treatment(kernel="area", coding=CODINGS[condition]),
            scale=self._scale,
            rng=np.random.default_rng(0),
        )
        judge = self._judge()
        for method in self._steady.values():
            method.reset()
        last: dict[str, Planes] = {}
        for index, (arrived, original) in enumerate(zip(small, large, strict=True)):
            step = Step(large[index - 1].y, original.y) if index else None
            if step:
                judge.original_pair(step)
            for name, result in self._results(judge, as_tuple(arrived)):
                judge.frame(name, result, as_tuple(original))
                if step:
                    judge.pair(name, last[name][0], result[0], step)
                last[name] = result
        size = (large[0].height, large[0].width)
        return judge.done(group=item.group, name=item.name, condition=condition, size=size)

    def _judge(self, more: Sequence[str] = ()) -> Judge:
        names = [*more, *self._methods]
        return Judge(names, extras=self._bench.extras, border=self._scale)

    def _results(self, judge: Judge, small: Planes) -> Iterator[tuple[str, Planes]]:
        for name, method in self._methods.items():
            result, ms = self._bench.watch.timed(
                name,
                small[0].shape,
                lambda m=method: m.upscale(small),  # type: ignore[misc]
            )
            judge.add(name, ms=ms)
            yield name, result
