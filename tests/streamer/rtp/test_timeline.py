import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.rtp.timeline import ClockReading, Timeline

MS = 1_000_000
SECOND = 1_000_000_000
RATES = {"video": 90_000, "audio": 8000}


@dataclass
class Camera:
    """Pictures every 40 ms and sound every 20 ms, captured together, sent with a delay each."""

    timeline: Timeline = field(default_factory=lambda: Timeline(RATES))
    start: dict[str, int] = field(default_factory=lambda: {"video": 5_000_000, "audio": 900})
    """Timestamps at capture time 0."""
    delay_ms: dict[str, int] = field(default_factory=lambda: {"video": 60, "audio": 60})
    wall_ns: int = 1_700_000_000 * SECOND
    """The camera's clock at capture time 0."""
    places: list[tuple[str, float, float]] = field(default_factory=list)
    """Track, capture time and place on the timeline, in ms."""

    def timestamp(self, track: str, ms: float) -> int:
        return self.start[track] + round(ms * RATES[track] / 1000)

    def send(self, track: str, ms: float, *, late_ms: float = 0) -> int:
        arrived_ns = round((ms + self.delay_ms[track] + late_ms) * MS)
        pts = self.timeline.pts(track, self.timestamp(track, ms), arrived_ns)
        self.places.append((track, ms, pts * 1000 / RATES[track]))
        return pts

    def report(self, track: str, ms: float) -> None:
        reading = ClockReading(
            timestamp=self.timestamp(track, ms),
            ntp_ns=self.wall_ns + round(ms * MS),
            arrived_ns=round(ms * MS),
        )
        self.timeline.on_clock_reading(track, reading)

    def run(self, start_ms: int, end_ms: int) -> None:
        for ms in range(start_ms, end_ms, 20):
            if ms % 40 == 0:
                self.send("video", ms)
            self.send("audio", ms)

    def apart_ms(self) -> float:
        """How much later the newest sound is placed than pictures captured with it."""
        at = {track: (place - ms) for track, ms, place in self.places}
        return at["audio"] - at["video"]

    def of(self, track: str) -> Iterator[float]:
        return (place for name, _, place in self.places if name == track)


def test_tracks_that_arrive_together_lie_together_from_zero() -> None:
    camera = Camera()
    camera.run(0, 1000)
    assert camera.places[0] == ("video", 0, 0.0)
    assert camera.apart_ms() == pytest.approx(0, abs=0.2)
    assert camera.timeline.statistics.alignment == "arrival"
    assert camera.timeline.statistics.steps == 0


def test_timestamps_that_wrap_go_on() -> None:
    # What the receiver gives is unwrapped; the steps are what counts.
    camera = Camera(start={"video": 2**32 - 4000, "audio": 2**32 - 400})
    camera.run(0, 400)
    steps = [b - a for a, b in itertools.pairwise(camera.of("video"))]
    assert steps == pytest.approx([40] * 9)


def test_sender_reports_put_right_what_arrival_got_wrong() -> None:
    camera = Camera(delay_ms={"video": 300, "audio": 60})
    camera.run(0, 5000)
    # The picture came 240 ms later than its sound, so both are that far apart.
    assert camera.apart_ms() == pytest.approx(-240, abs=1)
    camera.report("video", 5000)
    camera.run(5000, 5400)
    assert camera.apart_ms() == pytest.approx(-240, abs=1)
    camera.report("audio", 5400)
    camera.run(5400, 5800)
    assert camera.apart_ms() == pytest.approx(0, abs=1)
    assert camera.timeline.statistics.alignment == "sender reports"
    assert camera.timeline.statistics.steps == 1
    assert camera.timeline.statistics.audio_moved_ns == pytest.approx(240 * MS, abs=MS)


def test_the_picture_never_jumps_when_the_sound_is_moved() -> None:
    camera = Camera(delay_ms={"video": 60, "audio": 400})
    camera.run(0, 1000)
    camera.report("audio", 1000)
    camera.report("video", 1000)
    camera.run(1000, 3000)
    video = list(camera.of("video"))
    assert [b - a for a, b in itertools.pairwise(video)] == pytest.approx([40] * 74)
    # The sound had to go back 340 ms: at half speed, never backwards.
    audio = list(camera.of("audio"))
    steps = [b - a for a, b in itertools.pairwise(audio)]
    assert min(steps) > 9
    assert camera.apart_ms() == pytest.approx(0, abs=1.5)


def test_clocks_that_drift_apart_are_followed_by_slewing() -> None:
    camera = Camera()
    camera.run(0, 1000)
    for second in range(1, 30):
        camera.report("video", second * 1000)
        # The sound card runs 1000 ppm slow: each second it is another millisecond behind.
        camera.start["audio"] -= 8
        camera.report("audio", second * 1000)
        camera.run(second * 1000, second * 1000 + 1000)
    assert abs(camera.apart_ms()) < 7
    assert camera.timeline.statistics.steps == 0
    assert camera.timeline.statistics.audio_moved_ns > 20 * MS


@pytest.mark.parametrize("before_ms", [0, 200])
def test_the_start_of_play_aligns_until_reports_come(before_ms: int) -> None:
    start = {"video": 2**32 + 5000, "audio": 2**32 - 900}
    camera = Camera(delay_ms={"video": 300, "audio": 60}, start=start)
    camera.run(0, before_ms)
    camera.timeline.begin("video", 5000)
    camera.timeline.begin("audio", 2**32 - 900)
    camera.run(before_ms, 800)
    assert camera.timeline.statistics.alignment == "rtp-info"
    assert camera.apart_ms() == pytest.approx(0, abs=1)


def test_a_start_of_play_that_lies_nowhere_near_is_left_out() -> None:
    camera = Camera()
    camera.timeline.begin("video", 0)
    camera.timeline.begin("audio", 3_000_000_000)
    camera.run(0, 400)
    assert camera.timeline.statistics.alignment == "arrival"
    assert camera.apart_ms() == pytest.approx(0, abs=1)


def test_reports_that_put_the_tracks_absurdly_far_apart_are_not_believed() -> None:
    camera = Camera()
    camera.run(0, 1000)
    camera.report("video", 1000)
    camera.wall_ns += 3600 * SECOND
    camera.report("audio", 1000)
    camera.run(1000, 2000)
    assert camera.apart_ms() == pytest.approx(0, abs=1)
    assert camera.timeline.statistics.alignment == "arrival"


def test_a_camera_whose_wall_clock_is_set_keeps_its_sound_in_place() -> None:
    camera = Camera()
    camera.run(0, 1000)
    for track in RATES:
        camera.report(track, 1000)
    camera.wall_ns += 3 * SECOND
    camera.report("audio", 2000)
    camera.run(1000, 5000)
    assert camera.apart_ms() == pytest.approx(0, abs=1)
    camera.report("video", 5000)
    camera.run(5000, 6000)
    assert camera.apart_ms() == pytest.approx(0, abs=1)
    assert camera.timeline.statistics.steps == 0
    assert camera.timeline.statistics.alignment == "sender reports"


def test_one_track_whose_clock_moved_for_good_is_believed_in_the_end() -> None:
    camera = Camera()
    camera.run(0, 1000)
    for track in RATES:
        camera.report(track, 1000)
    camera.wall_ns += 400 * MS
    for second in range(2, 5):
        camera.report("audio", second * 1000)
    camera.run(1000, 3000)
    assert camera.apart_ms() == pytest.approx(400, abs=1)


def test_a_burst_of_old_pictures_at_the_start_does_not_pull_the_sound_along() -> None:
    camera = Camera()
    # A server sends the two seconds since its last keyframe at once, then goes on live.
    for ms in range(0, 2000, 40):
        camera.send("video", ms, late_ms=2000 - ms)
    camera.run(2000, 4000)
    assert camera.apart_ms() == pytest.approx(0, abs=1)
    video = list(camera.of("video"))
    assert [b - a for a, b in itertools.pairwise(video)] == pytest.approx([40] * 99)


def test_sound_that_begins_within_the_burst_is_put_in_place_after_it() -> None:
    camera = Camera()
    camera.send("video", 0, late_ms=2000)
    camera.send("audio", 2000)
    for ms in range(40, 2000, 40):
        camera.send("video", ms, late_ms=2000 - ms)
    camera.run(2020, 6000)
    # By arrival alone no better is promised; lip-sync is noticed from about 45 ms.
    assert abs(camera.apart_ms()) <= 30


def test_a_stalled_line_moves_nothing() -> None:
    camera = Camera()
    camera.run(0, 1000)
    for ms in range(1000, 6000, 20):
        if ms % 40 == 0:
            camera.send("video", ms, late_ms=6000 - ms)
        camera.send("audio", ms, late_ms=6000 - ms)
    camera.run(6000, 7000)
    assert camera.apart_ms() == pytest.approx(0, abs=1)
    assert camera.timeline.statistics.jumps == 0
    assert max(camera.of("video")) == pytest.approx(6960, abs=1)


@pytest.mark.parametrize("moved", [-4_000_000, 4_000_000, 2**31 - 5])
def test_a_clock_that_begins_anew_is_tied_on_by_arrival(moved: int) -> None:
    camera = Camera()
    camera.run(0, 1000)
    for track in RATES:
        camera.report(track, 1000)
    for track in RATES:
        camera.start[track] += moved
    camera.run(1000, 3000)
    for track in RATES:
        places = list(camera.of(track))
        assert places == sorted(places)
        assert places[-1] == pytest.approx(2980, abs=60)
    assert camera.timeline.statistics.jumps == 2
    assert abs(camera.apart_ms()) < 60
    for track in RATES:
        camera.report(track, 3000)
    camera.run(3000, 4000)
    assert camera.apart_ms() == pytest.approx(0, abs=11)


@pytest.mark.parametrize("wall_s", [0, 5])
@pytest.mark.parametrize("moved_s", [-5, 5])
@pytest.mark.parametrize("track", ["video", "audio"])
def test_sound_stays_with_its_picture_when_one_clock_begins_anew(
    track: str, moved_s: int, wall_s: int
) -> None:
    """As of a camera that restarts its encoder, or takes the times of pictures from its wall clock."""
    camera = Camera()
    for second in range(0, 40, 5):
        if second == 15:
            camera.start[track] += moved_s * RATES[track]
            camera.wall_ns += wall_s * SECOND
        for ms in range(second * 1000, second * 1000 + 5000, 500):
            camera.run(ms, ms + 500)
            assert abs(camera.apart_ms()) < 45
            for name in RATES:
                if ms == second * 1000 + (500 if name == "video" else 2500):
                    camera.report(name, ms + 500)
    assert camera.timeline.statistics.jumps == 1
    assert camera.timeline.statistics.alignment == "sender reports"


@pytest.mark.parametrize("aligned", ["arrival", "rtp-info", "sender reports"])
@pytest.mark.parametrize("pause_ms", [600, 3_000, 14_000])
def test_sound_whose_clock_stood_still_in_a_pause_goes_on_with_its_picture(
    pause_ms: int, aligned: str
) -> None:
    """As in Chromium while no microphone is there: it counts what it sends, and reports every 5 s."""
    camera = Camera()
    if aligned == "rtp-info":
        camera.timeline.begin("video", camera.start["video"])
        camera.timeline.begin("audio", camera.start["audio"])
    camera.run(0, 1_000)
    if aligned == "sender reports":
        camera.report("video", 1_000)
        camera.report("audio", 1_000)
    camera.run(1_000, 6_000)
    assert camera.timeline.statistics.alignment == aligned
    end_ms = 6_000 + pause_ms
    for ms in range(6_000, end_ms, 40):
        camera.send("video", ms)
    camera.start["audio"] -= pause_ms * RATES["audio"] // 1_000
    camera.run(end_ms, end_ms + 1_200)
    assert camera.apart_ms() == pytest.approx(0, abs=1)
    if aligned == "sender reports":
        camera.report("video", end_ms + 1_200)
        camera.report("audio", end_ms + 1_200)
    camera.run(end_ms + 1_200, end_ms + 2_400)
    assert camera.apart_ms() == pytest.approx(0, abs=1)
    audio = list(camera.of("audio"))
    assert min(b - a for a, b in itertools.pairwise(audio)) > 9


def test_sound_that_is_sent_a_second_at_a_time_stays_in_place() -> None:
    camera = Camera()
    for second in range(10):
        for ms in range(1_000 * second, 1_000 * second + 1_000, 40):
            camera.send("video", ms)
        for ms in range(1_000 * second, 1_000 * second + 1_000, 20):
            camera.send("audio", ms, late_ms=1_000 * second + 1_000 - ms)
    audio = list(camera.of("audio"))
    steps = [b - a for a, b in itertools.pairwise(audio[100:])]
    assert steps == pytest.approx([20] * len(steps), abs=0.5)
    assert camera.timeline.statistics.jumps == 0


def test_pictures_in_decoding_order_keep_their_places() -> None:
    timeline = Timeline({"video": 90_000})
    shown = [0, 4, 2, 1, 3, 8, 6, 5, 7]
    places = [timeline.pts("video", 3600 * n, 40 * MS * i) for i, n in enumerate(shown)]
    assert places == [3600 * n for n in shown]
    assert timeline.statistics.jumps == 0


def test_sound_alone_is_its_own_master() -> None:
    timeline = Timeline({"audio": 48_000})
    assert [timeline.pts("audio", 960 * n, 20 * MS * n) for n in range(5)] == [
        960 * n for n in range(5)
    ]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["video", "audio"]),
            st.integers(-(2**33), 2**33) | st.integers(0, 10_000),
            st.integers(0, 5000),
            st.integers(0, 2**63) | st.none(),
        ),
        max_size=40,
    )
)
def test_no_clock_however_mad_makes_sound_go_back(
    steps: list[tuple[str, int, int, int | None]],
) -> None:
    timeline = Timeline(RATES)
    now_ns = 0
    last = -(2**70)
    for track, timestamp, wait_ms, ntp_ns in steps:
        now_ns += wait_ms * MS
        if ntp_ns is not None:
            reading = ClockReading(timestamp=timestamp, ntp_ns=ntp_ns, arrived_ns=now_ns)
            timeline.on_clock_reading(track, reading)
        place = timeline.pts(track, timestamp, now_ns)
        if track == "audio":
            assert place > last
            last = place
