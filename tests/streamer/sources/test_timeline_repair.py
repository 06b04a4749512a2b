import itertools
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.frame import RTP_TIME_BASE, Packet
from streamer.sources.timeline_repair import FARTHEST_S, JUMP_S, TimelineRepair

NS = 1_000_000_000
FRAME = 3000
"""Ticks of a picture at 30 fps."""

AUDIO_BASE = Fraction(1, 48_000)


def video(dts: int, arrived_s: float | Fraction, *, pts: int | None = None) -> Packet:
    return Packet(
        payload=b"",
        pts=dts if pts is None else pts,
        dts=dts,
        time_base=RTP_TIME_BASE,
        arrived_ns=round(arrived_s * NS),
    )


def audio(dts: int, arrived_s: float | Fraction) -> Packet:
    plain = video(dts, arrived_s)
    return replace(plain, stream="audio", time_base=AUDIO_BASE)


def run(repair: TimelineRepair, begin: int, count: int, *, at_s: float) -> list[Packet]:
    """``count`` pictures in time, whose stamps begin at ``begin``."""
    return [
        repair.repaired(video(begin + FRAME * number, at_s + number / 30))
        for number in range(count)
    ]


def test_a_steady_stream_is_left_as_it_is() -> None:
    repaired = run(TimelineRepair(), 12_345, 900, at_s=50)
    assert [packet.dts for packet in repaired] == [12_345 + FRAME * n for n in range(900)]
    assert [packet.pts for packet in repaired] == [packet.dts for packet in repaired]


def test_after_a_reconnect_the_gap_is_the_time_that_passed() -> None:
    repair = TimelineRepair()
    before = run(repair, 0, 30, at_s=100)
    repair.reconnected()
    after = run(repair, 777, 30, at_s=104.5)
    gap_s = after[0].time_s - before[-1].time_s
    assert abs(gap_s - (Fraction(45, 10) - Fraction(29, 30))) < Fraction(1, 100)
    assert [b.dts - a.dts for a, b in itertools.pairwise(after)] == [FRAME] * 29
    assert repair.repairs == 0


def test_a_jump_of_the_senders_clock_is_taken_out_of_video_and_audio_together() -> None:
    for jump_s in (-3600, 3600, 2.5):
        repair = TimelineRepair()
        out = []
        for number in range(120):
            at = number / 30
            moved_s = jump_s if number >= 60 else 0
            out.append(repair.repaired(video(round((at + moved_s) * 90_000), 9 + at)))
            # The sender's audio is a little late: its first packet after the jump is an old one.
            sound_s = at + (moved_s if number >= 62 else 0)
            out.append(repair.repaired(audio(round(sound_s * 48_000), 9 + at)))
        for stream in ("video", "audio"):
            times = [packet.time_s for packet in out if packet.stream == stream]
            steps = [b - a for a, b in itertools.pairwise(times)]
            assert all(0 < step < Fraction(1, 10) for step in steps), jump_s
        lag = [a.time_s - b.time_s for a, b in zip(out[::2], out[1::2], strict=True)]
        assert all(abs(one) < Fraction(1, 20) for one in lag), jump_s
        assert repair.repairs == 1


def test_time_stamps_that_wrap_go_on() -> None:
    repair = TimelineRepair()
    wrap = 1 << 33
    out = [
        repair.repaired(video((wrap - 30 * FRAME + FRAME * number) % wrap, number / 30))
        for number in range(60)
    ]
    steps = [b.dts - a.dts for a, b in itertools.pairwise(out)]
    assert all(abs(step - FRAME) < 5 for step in steps)


def test_a_stall_and_the_burst_after_it_are_no_jump() -> None:
    repair = TimelineRepair()
    before = run(repair, 0, 30, at_s=10)
    # Four seconds without the network, then all of it at once, then live again.
    burst = [repair.repaired(video(FRAME * (30 + n), 15)) for n in range(120)]
    after = run(repair, FRAME * 150, 60, at_s=15.03)
    every = [*before, *burst, *after]
    assert [packet.dts for packet in every] == [FRAME * n for n in range(210)]
    assert repair.repairs == 0


def test_a_sender_that_stays_far_behind_is_taken_to_now() -> None:
    repair = TimelineRepair()
    run(repair, 0, 30, at_s=0)
    after = run(repair, FRAME * 30, 300, at_s=5)
    assert repair.repairs == 1
    assert abs(after[-1].time_s - Fraction(5 + 299 / 30)) < Fraction(1, 10)


@pytest.mark.parametrize("ppm", [100, 1000, -1000])
def test_a_slow_drift_never_becomes_a_jump(ppm: int) -> None:
    repair = TimelineRepair()
    pace = 1 + Fraction(ppm, 1_000_000)
    for number in range(5000):  # 14 hours, a picture every ten seconds
        at_s = Fraction(10 * number)
        repair.repaired(video(round(at_s * pace * 90_000), at_s))
    assert repair.repairs == 0


def test_a_burst_from_before_the_connection_is_squeezed_to_two_seconds() -> None:
    repair = TimelineRepair()
    out = [repair.repaired(video(FRAME * n, 100)) for n in range(300)]
    out += run(repair, FRAME * 300, 300, at_s=100)
    dts = [packet.dts for packet in out]
    assert dts == sorted(set(dts))
    assert out[299].time_s - out[0].time_s < JUMP_S + Fraction(1, 10)
    assert out[-1].time_s - out[299].time_s > 9


def test_repeated_and_reversed_time_stamps_still_increase() -> None:
    repair = TimelineRepair()
    dts = [0, 3000, 3000, 3000, 2900, 6000, 6000, 9000]
    out = [repair.repaired(video(one, 10 + n / 30)) for n, one in enumerate(dts)]
    assert [packet.dts for packet in out] == [0, 3000, 3001, 3002, 3003, 6000, 6001, 9000]
    assert all(packet.pts >= packet.dts for packet in out)


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000])
def test_sound_that_was_heard_before_a_reconnect_has_times_of_its_own_in_mp4(rate_hz: int) -> None:
    """What comes over UDP counts in 1/90000, MP4 in samples."""
    repair = TimelineRepair()
    sounds = [replace(video(1920 * n, n / 47), stream="audio") for n in range(100)]
    out = [repair.repaired(sound) for sound in sounds]
    repair.reconnected()
    # 0.08 s of it lie before the picture that comes first.
    repair.repaired(video(7200, 100 / 47))
    out += [repair.repaired(replace(sound, arrived_ns=100 * NS // 47)) for sound in sounds[:40]]
    assert repair.repairs == 0
    samples = [round(packet.time_s * rate_hz) for packet in out]
    assert samples == sorted(set(samples))


def test_reordered_pictures_keep_their_distance_to_their_dts() -> None:
    repair = TimelineRepair()
    run(repair, 0, 3, at_s=0)
    repair.reconnected()
    out = [repair.repaired(video(FRAME * n, 3 + n / 30, pts=FRAME * (n + 2))) for n in range(9)]
    assert {packet.pts - packet.dts for packet in out} == {2 * FRAME}


def test_a_pts_far_from_its_dts_is_not_believed() -> None:
    repair = TimelineRepair()
    assert repair.repaired(video(0, 0, pts=90_000 * 3600)).pts == 0
    assert repair.repaired(video(3000, 0.03, pts=-90_000)).pts == 3000


Event = tuple[str, float, float, int, bool]

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["video", "video", "audio"]),
        # Seconds until it arrives; by how much its stamp steps; its reordering in ticks.
        st.one_of(
            st.just(0.0),
            st.floats(0, 0.2, allow_subnormal=False),
            st.floats(0, 20, allow_subnormal=False),
        ),
        st.one_of(
            st.floats(0, 0.1, allow_subnormal=False),
            st.floats(-5, 5, allow_subnormal=False),
            st.floats(-1e5, 1e5, allow_subnormal=False),
        ),
        st.integers(-9000, 90_000),
        st.booleans(),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(EVENTS)
def test_whatever_the_sender_does_time_increases_and_stays_near_the_clock(
    events: list[Event],
) -> None:
    repair = TimelineRepair()
    last: dict[str, Fraction] = {}
    arrived_s, media_s = 5.0, 0.0
    begin: Fraction | None = None
    for number, (stream, wait_s, step_s, reorder, is_reconnect) in enumerate(events):
        arrived_s += wait_s
        media_s += step_s
        if is_reconnect and number % 7 == 0:
            repair.reconnected()
        if stream == "video":
            ticks = round(media_s * 90_000)
            packet = repair.repaired(video(ticks, arrived_s, pts=ticks + reorder))
        else:
            packet = repair.repaired(audio(round(media_s * 48_000), arrived_s))
        dts_s = packet.dts * packet.time_base
        assert stream not in last or dts_s > last[stream]
        assert packet.pts >= packet.dts
        last[stream] = dts_s
        begin = begin if begin is not None else dts_s - Fraction(arrived_s)
        off_s = dts_s - Fraction(arrived_s) - begin
        # A tick for each packet that had to be squeezed in, and 200 ppm of following.
        slack_s = Fraction(len(events), 48_000) + Fraction(arrived_s) / 5000 + Fraction(1, 1000)
        assert -FARTHEST_S - slack_s <= off_s <= JUMP_S + slack_s
