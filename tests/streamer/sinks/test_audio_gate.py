from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from streamer.clock import ManualClock
from streamer.frame import Packet
from streamer.sinks.audio_gate import AudioGate

LONGEST_MS = 580  # a budget of 80 ms and half a second


def sound(pts_ms: int, clock: ManualClock) -> Packet:
    return Packet(
        payload=b"x",
        pts=pts_ms,
        dts=pts_ms,
        time_base=Fraction(1, 1000),
        arrived_ns=clock.now_ns(),
        stream="audio",
    )


def gate(clock: ManualClock, *, max_waiting: int = 512) -> AudioGate:
    return AudioGate(budget_ms=80.0, clock=clock, max_waiting=max_waiting)


def times(packets: list[Packet]) -> list[int]:
    return [packet.pts for packet in packets]


def test_sound_waits_for_the_picture_of_its_moment() -> None:
    clock = ManualClock()
    audio = gate(clock)
    assert [audio.put(sound(ms, clock)) for ms in (0, 20, 40, 60)] == [[], [], [], []]
    assert times(audio.video_sent(Fraction(33, 1000))) == [0, 20]
    assert times(audio.video_sent(Fraction(67, 1000))) == [40, 60]
    assert audio.next_due_ns is None


def test_sound_that_is_late_already_leaves_at_once() -> None:
    clock = ManualClock()
    audio = gate(clock)
    audio.video_sent(Fraction(1))
    assert times(audio.put(sound(980, clock))) == [980]
    assert times(audio.put(sound(1020, clock))) == []


def test_sound_does_not_wait_for_a_picture_that_does_not_come() -> None:
    clock = ManualClock()
    audio = gate(clock)
    audio.put(sound(0, clock))
    clock.advance_ms(20)
    audio.put(sound(20, clock))
    assert audio.next_due_ns == LONGEST_MS * 1_000_000
    assert audio.due(LONGEST_MS * 1_000_000 - 1) == []
    assert times(audio.due(LONGEST_MS * 1_000_000)) == [0]
    assert audio.next_due_ns == (LONGEST_MS + 20) * 1_000_000


def test_while_no_picture_comes_each_new_sound_pushes_out_what_is_due() -> None:
    clock = ManualClock()
    audio = gate(clock)
    audio.put(sound(0, clock))
    clock.advance_ms(LONGEST_MS)
    assert times(audio.put(sound(LONGEST_MS, clock))) == [0]


def test_too_much_sound_loses_the_oldest_and_says_so() -> None:
    clock = ManualClock()
    audio = gate(clock, max_waiting=3)
    for ms in (0, 20, 40, 60, 80):
        audio.put(sound(ms, clock))
    assert audio.dropped == 2
    left = audio.flush()
    assert times(left) == [40, 60, 80]
    assert [packet.follows_loss for packet in left] == [True, False, False]


def test_a_source_that_starts_over_takes_its_sound_with_it() -> None:
    clock = ManualClock()
    audio = gate(clock)
    audio.video_sent(Fraction(100))
    audio.video_sent(Fraction(0))
    assert audio.put(sound(20, clock)) == []
    assert times(audio.video_sent(Fraction(1, 30))) == [20]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=200))
def test_nothing_is_lost_twice_or_out_of_order(steps: list[tuple[bool, int]]) -> None:
    clock = ManualClock()
    audio = gate(clock, max_waiting=16)
    left: list[int] = []
    put = 0
    picture_ms = 0
    for is_sound, ms in steps:
        clock.advance_ms(ms)
        if is_sound:
            left += times(audio.put(sound(put * 20, clock)))
            put += 1
        else:
            picture_ms += ms
            left += times(audio.video_sent(Fraction(picture_ms, 1000)))
        left += times(audio.due(clock.now_ns()))
        assert audio.depth <= 16
        assert audio.next_due_ns is None or audio.next_due_ns > clock.now_ns()
    left += times(audio.flush())
    assert left == sorted(set(left))
    assert len(left) + audio.dropped == put
