from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from streamer.clock import ManualClock
from streamer.config import Between
from streamer.enhance import chain
from streamer.enhance.chain import Chain
from streamer.enhance.frame_maker import FrameMaker
from streamer.enhance.made_frames import MadeFrames
from streamer.enhance.making import Making
from streamer.enhance.scene_change import SceneWatch
from streamer.enhance.slots import output_time_base
from streamer.enhance.super_resolution import SuperResolution
from streamer.frame import Frame, Origin, Planes
from streamer.infer.engine import Engine, Tensors
from streamer.infer.reference import ReferenceEngine
from streamer.infer.reference_motion import ReferenceMotionEngine
from streamer.metrics import Metrics
from streamer.rate import Rate
from streamer.schedule import TierLadder
from tests.streamer.enhance.shifting import SlowNetwork
from tests.streamer.pictures import frame_of, texture

WIDTH, HEIGHT = 160, 96
BASE = Fraction(1, 30)

Picture = Callable[[int], Planes]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is moved by hand cannot tell whose time it was that passed on two threads."""
    monkeypatch.setattr(chain, "both", lambda one, other: (one(), other()))


def pan(number: int) -> Planes:
    """A texture that moves three pixels a frame."""
    return picture(moved=3.0 * number)


def picture(*, moved: float = 0.0, seed: int = 1) -> Planes:
    luma = texture(width=WIDTH, height=HEIGHT, moved=(moved, 0.0), seed=seed)
    chroma = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)
    return luma, chroma, chroma.copy()


def sent(planes: Planes, number: int) -> Frame:
    return replace(frame_of(planes, pts=number), time_base=BASE)


class Slow(ReferenceMotionEngine):
    """Takes its time for each frame that is made, by a clock that is moved by hand."""

    def __init__(self, clock: ManualClock, takes_ms: float) -> None:
        super().__init__()
        self._clock = clock
        self.takes_ms = takes_ms

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        super().run(inputs, outputs)
        self._clock.advance_ms(self.takes_ms)


class Bench:
    """A chain that leaves pictures as they are and makes more of them."""

    def __init__(
        self,
        rate: Rate | None,
        *,
        between: Between = "interpolate",
        scale: int = 1,
        takes_ms: float = 0.0,
        network_takes_ms: float | None = None,
    ) -> None:
        self.clock, self.metrics = ManualClock(), Metrics()
        stage = SuperResolution((ReferenceEngine(scale),))
        self.engine = Slow(self.clock, takes_ms)
        self.network = SlowNetwork(self.clock, network_takes_ms or 0.0)
        engine: Engine = self.engine if network_takes_ms is None else self.network
        self.base = BASE if rate is None else output_time_base(BASE, rate)
        self.ladder = TierLadder(stage.tiers, self.clock, makes_frames=rate is not None)
        making = Making(
            MadeFrames(FrameMaker(engine), SceneWatch(), stage.lend),
            engine=engine,
            rate=rate,
            between=between,
            time_base=self.base,
            clock=self.clock,
            metrics=self.metrics,
        )
        self.chain = Chain(stage, self.ladder, self.clock, self.metrics, making=making)

    def process(
        self,
        frame: Frame,
        *,
        deadline_ns: int | None = None,
        shown_s: Fraction | None = None,
        with_comparison: bool = False,
    ) -> list[Frame]:
        return self.chain.process(
            frame, deadline_ns=deadline_ns, with_comparison=with_comparison, shown_s=shown_s
        )

    def predicted(self, *, after_ms: float = 0.0, coding_ms: float = 0.0) -> list[Frame]:
        """``after_ms``: until the last real frame is encoded, whose motion is looked for meanwhile."""
        if self.chain.predicts:
            self.chain.look(coding_ms=coding_ms)
        self.clock.advance_ms(after_ms)
        return self.chain.ahead(coding_ms=coding_ms) if self.chain.predicts else []

    def run(self, pictures: Picture, count: int) -> list[Frame]:
        frames: list[Frame] = []
        for number in range(count):
            frames += self.process(sent(pictures(number), number))
            frames += self.predicted()
        return frames


def error(frame: Frame, planes: Planes) -> float:
    return float(np.abs(frame.planes[0].astype(float) - planes[0]).mean())


def test_a_made_frame_shows_what_lies_between_and_says_so() -> None:
    frames = Bench(Rate(times=2)).run(pan, 4)
    assert [frame.origin for frame in frames[:3]] == [
        Origin.DECODED,
        Origin.INTERPOLATED,
        Origin.DECODED,
    ]
    assert [frame.time_s * 60 for frame in frames] == list(range(7))
    made, between = frames[3], picture(moved=4.5)
    assert error(made, between) < 0.3 * error(made, pan(1))


def test_real_frames_are_not_changed_by_frames_between_them() -> None:
    frames = Bench(Rate(times=3)).run(pan, 3)
    real = [frame for frame in frames if frame.origin is Origin.DECODED]
    assert all(np.array_equal(frame.planes[0], pan(n)[0]) for n, frame in enumerate(real))


def test_a_predicted_frame_shows_what_comes_next() -> None:
    frames = Bench(Rate(times=2), between="predict").run(pan, 4)
    predicted = [frame for frame in frames if frame.origin is Origin.PREDICTED]
    # The first picture alone says nothing of where things go.
    assert [frame.time_s * 60 for frame in predicted][-2:] == [5, 7]
    assert error(predicted[-1], picture(moved=10.5)) < 0.3 * error(predicted[-1], pan(3))


def test_predicted_frames_keep_their_distance_from_real_ones() -> None:
    # Of the slots of 45 fps between frames of 30, those at 2/3 of the way lie too close to the next.
    frames = Bench(Rate(fps=Fraction(45)), between="predict").run(pan, 12)
    assert all(frame.origin is Origin.DECODED for frame in frames)
    assert len(frames) == 12
    frames = Bench(Rate(fps=Fraction(90)), between="predict").run(pan, 12)
    predicted = [frame.time_s * 90 for frame in frames if frame.origin is Origin.PREDICTED]
    assert predicted[-2:] == [34, 35]


def test_across_a_cut_the_old_shot_goes_on() -> None:
    def shots(number: int) -> Planes:
        return pan(number) if number < 4 else picture(moved=3.0 * number, seed=9)

    frames = Bench(Rate(times=2)).run(shots, 6)
    across = frames[7]
    assert across.time_s == Fraction(7, 60)
    assert across.origin is Origin.PREDICTED
    assert error(across, picture(moved=10.5)) < 0.4 * error(across, pan(3))


def test_across_a_cut_at_the_beginning_the_picture_is_repeated() -> None:
    def shots(number: int) -> Planes:
        return picture(seed=1 + number)

    frames = Bench(Rate(times=2)).run(shots, 2)
    assert frames[1].origin is Origin.REPEATED
    assert frames[1].planes is frames[0].planes


def test_where_nothing_moves_no_network_runs() -> None:
    still = picture()
    bench = Bench(Rate(times=4))
    frames = bench.run(lambda number: still, 3)
    assert [frame.origin for frame in frames[1:4]] == [Origin.REPEATED] * 3
    assert not bench.chain.conceal(Fraction(3, 30))


def test_a_size_that_changes_within_a_pair_makes_nothing_of_both() -> None:
    bench = Bench(Rate(times=2))
    bench.run(pan, 3)
    luma = texture(width=80, height=48)
    chroma = np.full((24, 40), 128, np.uint8)
    frames = bench.process(sent((luma, chroma, chroma), 3))
    assert frames[0].origin in (Origin.PREDICTED, Origin.REPEATED)
    assert {frame.planes[0].shape for frame in frames} == {(HEIGHT, WIDTH)}


def test_the_comparison_of_a_made_frame_shows_the_source_below() -> None:
    bench = Bench(Rate(times=2), scale=2)
    bench.process(sent(pan(0), 0), with_comparison=True)
    made, real = bench.process(sent(pan(1), 1), with_comparison=True)
    assert made.comparison is not None
    assert real.comparison is not None
    upper, lower = np.split(made.comparison[0], 2)
    assert np.array_equal(upper, made.planes[0])
    assert not np.array_equal(lower, np.split(real.comparison[0], 2)[1])
    assert made.planes[0].shape == (2 * HEIGHT, 2 * WIDTH)


def test_what_was_shown_already_is_not_made() -> None:
    bench = Bench(Rate(times=4))
    bench.process(sent(pan(0), 0))
    frames = bench.process(sent(pan(1), 1), shown_s=Fraction(2, 120))
    assert [frame.time_s * 120 for frame in frames] == [3, 4]


def test_frames_in_between_are_given_up_when_they_come_too_late() -> None:
    bench = Bench(Rate(times=2))
    bench.process(sent(pan(0), 0), deadline_ns=50_000_000)
    for _ in range(4):
        bench.ladder.spent_making(30.0, size=(WIDTH, HEIGHT))
    frames = bench.process(sent(pan(1), 1), deadline_ns=20_000_000)
    assert [frame.origin for frame in frames] == [Origin.DECODED]


def test_a_fixed_rate_without_time_to_make_frames_takes_the_nearest_real_ones() -> None:
    bench = Bench(Rate(fps=Fraction(60)))
    for _ in range(4):
        bench.ladder.spent_making(30.0, size=(WIDTH, HEIGHT))
    frames = [
        frame
        for number in range(4)
        for frame in bench.process(sent(pan(number), number), deadline_ns=20_000_000)
    ]
    assert all(frame.origin is Origin.DECODED for frame in frames)
    assert [frame.pts for frame in frames] == sorted({frame.pts for frame in frames})
    assert len(frames) == 4


def test_without_a_rate_frames_are_made_for_lost_ones_only() -> None:
    bench = Bench(None)
    frames = bench.run(pan, 12)
    assert [frame.origin for frame in frames] == [Origin.DECODED] * 12
    assert bench.chain.rhythm.is_regular
    assert bench.chain.rhythm.interval_s == BASE
    concealed = bench.chain.conceal(Fraction(12, 30))
    assert concealed is not None
    assert (concealed.origin, concealed.pts) == (Origin.PREDICTED, 12)
    assert error(concealed, pan(12)) < 0.3 * error(concealed, pan(11))
    assert bench.metrics.counts("concealed.") == {"lost": 1}


def test_nothing_is_made_after_the_end() -> None:
    bench = Bench(None)
    bench.run(pan, 12)
    bench.chain.close()
    assert bench.chain.conceal(Fraction(12, 30)) is None


def test_prediction_stops_while_repeating_is_better() -> None:
    back_and_forth = (0.0, 4.0)
    bench = Bench(Rate(times=2), between="predict")
    frames = bench.run(lambda number: picture(moved=back_and_forth[number % 2]), 20)
    assert bench.chain.prediction_gain_db is not None
    assert bench.chain.prediction_gain_db < 0
    assert [frame.origin for frame in frames[-2:]] == [Origin.DECODED] * 2
    assert bench.metrics.counted("prediction.switched_off") == 1
    for number in range(20, 60):
        frames += bench.process(sent(pan(number), number))
        frames += bench.predicted()
    assert bench.chain.prediction_gain_db > 0
    assert frames[-1].origin is Origin.PREDICTED


@pytest.mark.parametrize("between", ["interpolate", "predict"])
def test_time_stamps_that_jump_or_run_back_make_no_frames(between: Between) -> None:
    bench = Bench(Rate(times=2), between=between)
    times = [0, 1, 2, 9000, 9001, 3, 4, 4, 5]
    frames: list[Frame] = []
    for number, time in enumerate(times):
        frames += bench.process(sent(pan(number), time))
        frames += bench.predicted()
    seen = [frame.time_s for frame in frames if frame.origin is not Origin.DECODED]
    assert all(time < Fraction(9002, 30) for time in seen)
    assert len(frames) < 2 * len(times)


def live(
    bench: Bench, count: int, *, until_ahead_ms: float, first: int = 0, coding_ms: float = 0.0
) -> list[Frame]:
    """Frames of a camera that come at their times; ``until_ahead_ms`` after each it is encoded, and
    comes its turn to be predicted from."""
    frames: list[Frame] = []
    for number in range(first, first + count):
        bench.clock.advance_ms(max(0.0, number * 1000 / 30 - bench.clock.now_ns() / 1e6))
        deadline_ns = bench.clock.now_ns() + 70_000_000
        frames += bench.process(sent(pan(number), number), deadline_ns=deadline_ns)
        frames += bench.predicted(after_ms=until_ahead_ms, coding_ms=coding_ms)
    return frames


def test_a_prediction_is_begun_only_where_it_is_done_before_the_next_real_frame_comes() -> None:
    bench = Bench(Rate(times=2), between="predict", takes_ms=12)
    frames = live(bench, 30, until_ahead_ms=18)
    assert sum(frame.origin is Origin.PREDICTED for frame in frames) >= 27
    bench.engine.takes_ms = 19
    frames = live(bench, 15, until_ahead_ms=18, first=30)
    # The first two are begun before it is known how long they take now.
    assert sum(frame.origin is Origin.PREDICTED for frame in frames) <= 3
    # They cost real frames nothing: no rung is lost, and they are back as soon as there is time.
    assert bench.ladder.rung.makes_frames
    bench.engine.takes_ms = 12
    frames = live(bench, 120, until_ahead_ms=18, first=45)
    # Three seconds after the last slow one.
    assert sum(frame.origin is Origin.PREDICTED for frame in frames) >= 35


def test_a_prediction_that_could_not_be_coded_in_time_is_not_made() -> None:
    bench = Bench(Rate(times=2), between="predict", takes_ms=8)
    for first, coding_ms, expected in ((0, 4, range(27, 31)), (30, 14, range(2))):
        frames = live(bench, 30, until_ahead_ms=15, first=first, coding_ms=coding_ms)
        assert sum(frame.origin is Origin.PREDICTED for frame in frames) in expected


def test_a_network_predicts_where_it_has_the_time_and_arithmetic_where_not() -> None:
    bench = Bench(Rate(times=2), between="predict", network_takes_ms=5)
    frames = live(bench, 30, until_ahead_ms=18)
    predicted = sum(frame.origin is Origin.PREDICTED for frame in frames)
    # The first one is made without it, to know how much time that leaves.
    assert bench.network.runs == predicted - 1 >= 26
    bench.network.takes_ms = 19
    frames = live(bench, 60, until_ahead_ms=18, first=30)
    assert sum(frame.origin is Origin.PREDICTED for frame in frames) >= 55
    # Begun before it is known how long it takes now.
    assert bench.network.runs - predicted <= 4


def test_of_several_predictions_those_are_made_that_are_done_in_time() -> None:
    bench = Bench(Rate(times=4), between="predict", takes_ms=8)
    live(bench, 20, until_ahead_ms=11)
    frames = live(bench, 1, until_ahead_ms=11, first=20)
    assert [frame.origin for frame in frames] == [Origin.DECODED] + [Origin.PREDICTED] * 2
    assert bench.clock.now_ns() / 1e9 <= 21 / 30


def test_the_costs_of_each_frame_made_around_real_ones_reach_the_ladder() -> None:
    bench = Bench(Rate(times=2), takes_ms=32)
    live(bench, 12, until_ahead_ms=1)
    assert not bench.ladder.rung.makes_frames


def test_what_stands_in_for_a_lost_frame_takes_no_rung() -> None:
    bench = Bench(Rate(times=2), takes_ms=1)
    live(bench, 12, until_ahead_ms=1)
    bench.engine.takes_ms = 32
    for number in range(13, 40, 2):
        assert bench.chain.conceal(Fraction(number - 1, 30)) is not None
        live(bench, 1, until_ahead_ms=1, first=number)
        bench.engine.takes_ms = 32 if number % 4 else 1
    assert bench.ladder.can_make(bench.clock.now_ns() + 40_000_000, size=(WIDTH, HEIGHT))
    assert bench.ladder.rung.makes_frames


def test_what_stands_in_takes_longer_than_a_frame_lasts_and_is_not_made_again() -> None:
    bench = Bench(None)
    live(bench, 12, until_ahead_ms=1)
    bench.engine.takes_ms = 40
    made = [bench.chain.conceal(Fraction(number, 30)) is not None for number in range(12, 16)]
    # One alone may have met a machine that stood still.
    assert made == [True, True, False, False]


def test_what_stands_in_lies_on_its_slot_and_there_only_once() -> None:
    bench = Bench(Rate(times=2))
    bench.run(pan, 12)
    concealed = bench.chain.conceal(Fraction(12, 30))
    assert concealed is not None
    assert (concealed.pts, concealed.time_base) == (24, Fraction(1, 60))
    assert bench.chain.conceal(Fraction(12, 30)) is None
    assert bench.metrics.counted("concealed.lost") == 1
    after = bench.process(sent(pan(13), 13))
    assert [frame.pts for frame in after] == [25, 26]


def test_motion_is_found_while_a_picture_is_enhanced_and_once() -> None:
    bench = Bench(Rate(times=2), takes_ms=7.0)
    bench.run(pan, 3)
    began_ns = bench.clock.now_ns()
    looked = bench.engine.takes_ms
    frames = bench.process(sent(pan(3), 3))
    assert [frame.origin for frame in frames] == [Origin.INTERPOLATED, Origin.DECODED]
    assert (bench.clock.now_ns() - began_ns) / 1e6 == looked, "one guide, found ahead and used"
    assert bench.metrics.timings()["interpolate"].as_dict()["max"] == looked, "what was waited for"
