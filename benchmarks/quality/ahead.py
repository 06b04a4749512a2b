"""Task ``prediction``: the next frame made from the two last ones and compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.quality.material import Item, Kind
from benchmarks.quality.methods import PREDICTORS, Predictor, prediction_baselines, shipped
from benchmarks.quality.scores import Judge, Judged
from benchmarks.quality.settings import Bench, Said
from benchmarks.quality.temporal import Step
from streamer.errors import ConfigError
from streamer.frame import Planes

PROTOCOL = (
    "From frames i and i + d the frame i + d + n is made, for every i; n / d is the step, in "
    "intervals of d frames (step 1: i, i + 1 -> i + 2). tof and warping_error over consecutive "
    "predicted frames. Triplets count as clips of three frames."
)


class PredictionTask:
    """Every way to make the next frame."""

    kinds = (Kind.CLIP, Kind.TRIPLET)

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._methods, self.said = predicting(prediction_baselines(), PROTOCOL)

    def judge(self, item: Item) -> Iterator[Judged]:
        """One result. Raises ``ConfigError``."""
        frames = self._bench.shown(item)
        step = self._bench.settings.step
        distance, reach = step.denominator, step.numerator
        if len(frames) <= distance + reach:
            needed = distance + reach + 1
            raise ConfigError(
                f"{item.name} has {len(frames)} frames; a step of {step} needs {needed}"
            )
        judge = Judge(self._methods, extras=self._bench.extras)
        previous: Mapping[str, Planes] = {}
        for index in range(distance + reach, len(frames)):
            last = index - reach
            made = made_ahead(
                self._bench,
                judge,
                self._methods,
                # Every method sees the same two originals.
                pairs=dict.fromkeys(self._methods, (frames[last - distance], frames[last])),
                step=float(step),
            )
            _compare(judge, made, previous, frames, index)
            previous = made
        yield judge.done(
            group=item.group, name=item.name, condition=item.kind.value, size=frames[0][0].shape
        )


def predicting(
    baselines: Mapping[str, Predictor], protocol: str
) -> tuple[Mapping[str, Predictor], Said]:
    """The baselines and what is shipped, and what is said of them."""
    models, manifests = shipped(PREDICTORS)
    missing = () if models else ("models: no prediction network is shipped",)
    said = Said(protocol=protocol, models=tuple(manifests), left_out=missing)
    return {**baselines, **models}, said


def made_ahead(
    bench: Bench,
    judge: Judge,
    methods: Mapping[str, Predictor],
    *,
    pairs: Mapping[str, tuple[Planes, Planes]],
    step: float,
) -> dict[str, Planes]:
    """What each method predicts from its own pair (earlier, last), timed."""
    made = {}
    for name, method in methods.items():
        earlier, last = pairs[name]
        made[name], ms = bench.watch.timed(
            name,
            last[0].shape,
            lambda m=method, a=earlier, b=last: m.ahead(a, b, step),  # type: ignore[misc]
        )
        judge.add(name, ms=ms)
    return made


def _compare(
    judge: Judge,
    made: Mapping[str, Planes],
    previous: Mapping[str, Planes],
    frames: Sequence[Planes],
    index: int,
) -> None:
    for name, result in made.items():
        judge.frame(name, result, frames[index])
    if previous:
        step = Step(frames[index - 1][0], frames[index][0])
        judge.original_pair(step)
        for name, result in made.items():
            judge.pair(name, previous[name][0], result[0], step)
