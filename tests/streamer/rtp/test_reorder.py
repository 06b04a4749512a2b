import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from streamer.rtp.packet import RtpPacket
from streamer.rtp.reorder import Ordered, Reorder

MS = 1_000_000


def packet(sequence: int, *, ssrc: int = 1) -> RtpPacket:
    return RtpPacket(96, sequence & 0xFFFF, 0, ssrc, False, b"x")


def numbers(ready: list[Ordered]) -> list[tuple[int, int]]:
    return [(item.packet.sequence, item.lost_before) for item in ready]


def test_packets_in_order_pass_at_once_over_the_wrap() -> None:
    reorder = Reorder(max_wait_ns=20 * MS)
    for sequence in (65_534, 65_535, 0, 1):
        assert numbers(reorder.push(packet(sequence), 0)) == [(sequence, 0)]
    assert reorder.next_due_ns is None


def test_a_gap_is_waited_for_and_filled() -> None:
    reorder = Reorder(max_wait_ns=20 * MS)
    reorder.push(packet(10), 0)
    assert reorder.push(packet(12), 1 * MS) == []
    assert reorder.next_due_ns == 21 * MS
    assert reorder.due(20 * MS) == []
    assert numbers(reorder.push(packet(11), 20 * MS)) == [(11, 0), (12, 0)]
    assert (reorder.lost, reorder.reordered) == (0, 1)
    assert reorder.next_due_ns is None


def test_a_gap_is_given_up_when_its_time_is_over() -> None:
    reorder = Reorder(max_wait_ns=20 * MS)
    reorder.push(packet(10), 0)
    reorder.push(packet(15), 5 * MS)
    reorder.push(packet(13), 6 * MS)
    reorder.push(packet(16), 7 * MS)
    assert numbers(reorder.due(25 * MS)) == [(13, 2), (15, 1), (16, 0)]
    assert reorder.lost == 3
    # What comes after all is too late, and is not taken for a second copy.
    assert reorder.push(packet(11), 26 * MS) == []
    assert reorder.push(packet(16), 26 * MS) == []
    assert (reorder.discarded, reorder.duplicated) == (1, 1)


def test_after_a_packet_that_came_too_late_gaps_are_waited_for_longer() -> None:
    reorder = Reorder(max_wait_ns=20 * MS, longest_wait_ns=50 * MS)
    reorder.push(packet(10), 0)
    reorder.push(packet(12), 5 * MS)
    # A second copy says nothing of the line's order.
    reorder.push(packet(10), 6 * MS)
    assert reorder.next_due_ns == 25 * MS
    assert numbers(reorder.due(25 * MS)) == [(12, 1)]
    reorder.push(packet(11), 30 * MS)
    reorder.push(packet(14), 40 * MS)
    assert reorder.next_due_ns == 90 * MS
    assert numbers(reorder.push(packet(13), 85 * MS)) == [(13, 0), (14, 0)]


def test_over_tcp_nothing_waits() -> None:
    reorder = Reorder(max_wait_ns=0)
    reorder.push(packet(10), 0)
    assert numbers(reorder.push(packet(13), 0)) == [(13, 2)]
    assert reorder.next_due_ns is None


def test_no_more_than_max_packets_wait() -> None:
    reorder = Reorder(max_wait_ns=10**12, max_packets=3)
    reorder.push(packet(0), 0)
    waiting = [reorder.push(packet(sequence), 0) for sequence in (2, 4, 5)]
    assert waiting == [[], [], []]
    assert numbers(reorder.push(packet(7), 0)) == [(2, 1)]


def test_duplicates_are_dropped_wherever_the_first_one_is() -> None:
    reorder = Reorder(max_wait_ns=20 * MS)
    reorder.push(packet(1), 0)
    assert reorder.push(packet(1), 0) == []
    reorder.push(packet(3), 0)
    assert reorder.push(packet(3), 0) == []
    assert reorder.duplicated == 2


def test_another_source_is_followed_at_its_second_packet_and_loses_none() -> None:
    reorder = Reorder(max_wait_ns=20 * MS)
    reorder.push(packet(100), 0)
    reorder.push(packet(102), 0)
    assert reorder.push(packet(7, ssrc=2), MS) == []
    ready = reorder.push(packet(8, ssrc=2), MS)
    assert numbers(ready) == [(102, 1), (7, 0), (8, 0)]
    assert [item.is_restart for item in ready] == [False, True, False]
    assert (reorder.ssrc, reorder.restarts) == (2, 1)


def test_a_jump_of_the_sequence_is_followed_even_out_of_order() -> None:
    reorder = Reorder(max_wait_ns=20 * MS)
    reorder.push(packet(100), 0)
    assert reorder.push(packet(40_001), MS) == []
    ready = reorder.push(packet(40_000), MS)
    assert numbers(ready) == [(40_000, 0), (40_001, 0)]
    assert ready[0].is_restart


def test_stray_packets_of_another_source_change_nothing() -> None:
    reorder = Reorder(max_wait_ns=20 * MS)
    for sequence in range(50):
        assert numbers(reorder.push(packet(sequence), 0)) == [(sequence, 0)]
        assert reorder.push(packet(9000 + sequence, ssrc=5), 0) == []
    assert reorder.restarts == 0


def test_a_long_outage_is_a_new_beginning_not_a_stall() -> None:
    reorder = Reorder(max_wait_ns=20 * MS)
    reorder.push(packet(0), 0)
    for sequence in range(30_000, 30_010):
        reorder.push(packet(sequence), 10**10)
    assert numbers(reorder.push(packet(30_010), 10**10)) == [(30_010, 0)]


@given(
    st.integers(0, 65_535),
    st.integers(1, 200),
    st.floats(0, 0.5, allow_subnormal=False),
    st.floats(0, 0.2, allow_subnormal=False),
    st.integers(0, 30),
    st.integers(0, 2**32),
)
def test_any_order_within_the_bound_comes_out_sorted_with_every_gap_counted(
    first: int, count: int, loss: float, twice: float, late_ms: int, seed: int
) -> None:
    rng = random.Random(seed)
    reorder = Reorder(max_wait_ns=late_ms * MS)
    kept = [0] + [index for index in range(1, count) if rng.random() >= loss]
    arriving = [(index + (rng.uniform(0, late_ms) if index else 0.0), index) for index in kept]
    # Copies come at once, within the bound too.
    arriving += [(at, index) for at, index in arriving if rng.random() < twice]
    arriving.sort()
    ready: list[Ordered] = []
    for at_ms, index in arriving:
        now_ns = round(at_ms * MS)
        ready += reorder.due(now_ns - 1)
        ready += reorder.push(packet(first + index), now_ns)
        assert reorder.next_due_ns is None or reorder.next_due_ns > now_ns
    ready += reorder.flush()
    assert [item.packet.sequence for item in ready] == [(first + i) & 0xFFFF for i in kept]
    steps = [b - a - 1 for a, b in itertools.pairwise(kept)]
    assert [item.lost_before for item in ready] == [0, *steps]
    assert reorder.lost == sum(steps)
    assert reorder.duplicated == len(arriving) - len(kept)
    assert reorder.discarded == 0


@given(
    st.lists(st.tuples(st.integers(0, 65_535), st.integers(1, 2), st.integers(0, 50)), max_size=80)
)
def test_any_sequence_at_all_keeps_the_promises(steps: list[tuple[int, int, int]]) -> None:
    reorder = Reorder(max_wait_ns=20 * MS, max_packets=8)
    now_ns = 0
    given_out = 0
    for sequence, ssrc, wait_ms in steps:
        now_ns += wait_ms * MS
        given_out += len(reorder.due(now_ns))
        given_out += len(reorder.push(packet(sequence, ssrc=ssrc), now_ns))
        assert reorder.next_due_ns is None or reorder.next_due_ns > now_ns
    given_out += len(reorder.flush())
    # At most one packet, a possible new beginning, is still undecided.
    assert 0 <= len(steps) - given_out - reorder.duplicated - reorder.discarded <= 1
