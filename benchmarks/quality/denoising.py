"""Task ``denoising``: clips soiled as by a camera in a dim room, perhaps coded, cleaned and compared."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from benchmarks.quality import filters
from benchmarks.quality.extras import y4m, y4m_header
from benchmarks.quality.material import Item, Kind, as_record, as_tuple
from benchmarks.quality.methods import DENOISERS, shipped
from benchmarks.quality.scores import Judge, Judged
from benchmarks.quality.settings import Bench, Said
from benchmarks.quality.temporal import Step
from benchmarks.quality.upscaling import Follower
from export.data.codec import Coding, x264
from export.data.noise import Dimness, soil
from streamer.clock import MonotonicClock
from streamer.errors import ConfigError
from streamer.frame import Planes

MJPEG = Coding(codec="mjpeg", quality=5)

CONDITIONS: Mapping[str, Dimness] = {
    "noise 2": Dimness(gauss_sigma=2.0),
    "noise 5": Dimness(gauss_sigma=5.0),
    "noise 10": Dimness(gauss_sigma=10.0),
    "noise 5 smooth": Dimness(gauss_sigma=5.0, smooth_sigma=0.7),
    "noise 5 mjpeg": Dimness(gauss_sigma=5.0, coding=MJPEG),
    "noise 5 crf23": Dimness(gauss_sigma=5.0, coding=x264(23)),
    "crf28": Dimness(coding=x264(28)),
    "clean": Dimness(),
}

FILTERS = ("hqdn3d", "hqdn3d=8", "atadenoise", "nlmeans", "nlmeans=s=5")
"""Of FFmpeg, as they are where nothing is said and as noise of 5 codes asks for; atadenoise looks at later
frames, too."""

SHORTEST = {"atadenoise": 5}
"""Frames: with fewer FFmpeg 5.1 never ends."""

INPUT = "input"

PROTOCOL = (
    "Clips shrunk by the area kernel to the size they are judged at; noise n: normal, of n code values in "
    "luma and chroma, smooth: blurred by 0.7 pixels and as strong, mjpeg: quantiser 5, crf..: x264 "
    "veryfast zerolatency, after the noise. Every frame is judged, the first ones too, which nothing "
    "comes before."
)


class DenoisingTask:
    """Every way to take noise away."""

    kinds = (Kind.CLIP,)

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._clock = MonotonicClock()
        self._models, manifests = shipped(DENOISERS)
        reasons = {name: filters.why_missing(name.partition("=")[0]) for name in FILTERS}
        self._filters = tuple(name for name, reason in reasons.items() if not reason)
        missing = [reason for reason in reasons.values() if reason]
        if not self._models:
            missing.append("models: no network for denoising is shipped")
        self.said = Said(protocol=PROTOCOL, models=tuple(manifests), left_out=tuple(missing))

    def judge(self, item: Item) -> Iterator[Judged]:
        """Under each condition. Raises ``ConfigError``."""
        clean = self._bench.shown(item)
        for name in self._bench.settings.conditions or tuple(CONDITIONS):
            yield self._judged(item, clean, name)

    def _judged(self, item: Item, clean: Sequence[Planes], condition: str) -> Judged:
        rng = np.random.default_rng([1, zlib.crc32(item.name.encode())])
        soiled = soil([as_record(planes) for planes in clean], CONDITIONS[condition], rng)
        noisy = [as_tuple(planes) for planes in soiled]
        usable = [name for name in self._filters if len(noisy) >= SHORTEST.get(name, 1)]
        judge = Judge((INPUT, *usable, *self._models), extras=self._bench.extras)
        results = {INPUT: list(noisy)}
        for name in usable:
            results[name] = self._by_ffmpeg(judge, name, noisy)
        for name, model in self._models.items():
            results[name] = []
            # Timed for the first time, a picture is cleaned twice, and would follow itself.
            self._clean(name, model, noisy[0])
            model.reset()
            for planes in noisy:
                result, ms = self._clean(name, model, planes)
                judge.add(name, ms=ms)
                results[name].append(result)
        for index, original in enumerate(clean):
            step = Step(clean[index - 1][0], original[0]) if index else None
            if step:
                judge.original_pair(step)
            for name, made in results.items():
                judge.frame(name, made[index], original)
                if step:
                    judge.pair(name, made[index - 1][0], made[index][0], step)
        size = (clean[0][0].shape[0], clean[0][0].shape[1])
        return judge.done(group=item.group, name=item.name, condition=condition, size=size)

    def _clean(self, name: str, model: Follower, planes: Planes) -> tuple[Planes, float]:
        return self._bench.watch.timed(name, planes[0].shape, lambda: model.clean(planes))

    def _by_ffmpeg(self, judge: Judge, name: str, noisy: Sequence[Planes]) -> list[Planes]:
        """The time is that of the whole program less that of the same program without the filter."""
        stream = y4m_header(noisy[0], rate="30:1") + b"".join(y4m(planes) for planes in noisy)
        _, idle_ms = filters.filtered(stream, filters.NOTHING, clock=self._clock)
        answer, busy_ms = filters.filtered(stream, name, clock=self._clock)
        made = [planes for _, planes in filters.pictures(answer)]
        if len(made) != len(noisy):
            raise ConfigError(
                f"ffmpeg's {name} gave {len(made)} of {len(noisy)} frames; leave it out"
            )
        judge.add(name, ms=max(busy_ms - idle_ms, 0.0) / len(made))
        return made
