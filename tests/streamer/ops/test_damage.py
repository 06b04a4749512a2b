from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamer.frame import Gap, Packet
from streamer.ops.damage import (
    FORGOTTEN_AFTER,
    NO_VECTORS,
    LossMemory,
    coded_motion,
    made_up_rows,
)

START = b"\0\0\0\1"
WIDTH, HEIGHT = 64, 96
"""4x6 macroblocks."""

FIRST = START + b"\x41\x9a" + bytes([7] * 44)
"""A slice of 50 bytes with its start code, from macroblock 0 on: ue(v) of 0 is one bit, 1."""
FOURTH = START + b"\x41\x1a" + bytes([7] * 44)
"""From macroblock 12 on, the fourth row: ue(v) of 12 is 000 1101."""

PACKET = Packet(payload=b"", pts=0, dts=0, time_base=Fraction(1, 90_000), arrived_ns=0)


def vectors(*each: tuple[int, int, int, int, float, float]) -> NDArray[Any]:
    """Of (width, height, left, top, x, y) each, in quarters of a pixel as H.264 has them."""
    out = np.zeros(len(each), NO_VECTORS.dtype)
    for row, (w, h, left, top, x, y) in zip(out, each, strict=True):
        row["source"], row["w"], row["h"], row["motion_scale"] = -1, w, h, 4
        row["dst_x"], row["dst_y"] = left + w // 2, top + h // 2
        row["motion_x"], row["motion_y"] = round(4 * x), round(4 * y)
    return out


def concealed(first: int, last: int) -> NDArray[Any]:
    """One vector for each macroblock in these rows of macroblocks, and two in all others."""
    each = []
    for row in range(HEIGHT // 16):
        for column in range(WIDTH // 16):
            place = (16 * column, 16 * row, 1.0, 0.0)
            is_made_up = first <= row < last
            each += [(16, 16, *place)] if is_made_up else [(8, 16, *place), (8, 16, *place)]
    return vectors(*each)


def came(payload: bytes, *gaps: Gap) -> Packet:
    return replace(PACKET, payload=payload, gaps=gaps)


def test_damage_lasts_from_a_loss_to_the_next_whole_keyframe() -> None:
    memory = LossMemory()
    key, lost = replace(PACKET, is_keyframe=True), replace(PACKET, follows_loss=True)
    holed = came(b"", Gap(0, 0))
    told = [memory.see(one) for one in (key, PACKET, lost, PACKET, holed, PACKET, key, PACKET)]
    since = [one.pictures_since if one else None for one in told]
    assert since == [None, None, 0, 1, 0, 1, None, None]
    assert [one is not None and one.follows_loss for one in told].index(True) == 2
    assert memory.see(replace(key, follows_loss=True)) is None


def test_a_stream_without_keyframes_is_not_damaged_for_ever() -> None:
    memory = LossMemory()
    memory.see(replace(PACKET, follows_loss=True))
    told = [memory.see(PACKET) for _ in range(FORGOTTEN_AFTER + 5)]
    assert [one is not None for one in told] == [True] * FORGOTTEN_AFTER + [False] * 5


def test_vectors_are_laid_out_in_blocks_of_eight_pixels() -> None:
    told = vectors((16, 16, 0, 0, 2.5, -1.0), (8, 16, 16, 0, 4.0, 0.0), (16, 8, 32, 8, 0.0, 8.25))
    motion = coded_motion(told, width=WIDTH, height=HEIGHT)
    assert motion.vectors.shape == (HEIGHT // 8, WIDTH // 8, 2)
    assert motion.is_inter[:2].tolist() == [[1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 1, 0, 1, 1, 0, 0]]
    assert not motion.is_inter[2:].any()
    assert motion.vectors[1, 1].tolist() == [2.5, -1.0]
    assert motion.vectors[0, 2].tolist() == [4.0, 0.0]
    assert motion.vectors[1, 5].tolist() == [0.0, 8.25]


def test_vectors_into_later_pictures_and_outside_are_left_out() -> None:
    told = vectors((16, 16, 0, 0, 1.0, 1.0), (16, 16, WIDTH, HEIGHT, 1.0, 1.0))
    told["source"][0] = 1
    assert not coded_motion(told, width=WIDTH, height=HEIGHT).is_inter.any()


def test_a_gap_at_the_end_of_a_slice_costs_the_rows_up_to_the_next_one() -> None:
    # A third of the first slice's bytes came, so that about one of its three rows did.
    packet = came(FIRST + FOURTH, Gap(len(FIRST), 2 * len(FIRST)))
    assert made_up_rows(concealed(1, 3), packet, width=WIDTH, height=HEIGHT) == ((16, 48),)
    assert made_up_rows(concealed(2, 3), packet, width=WIDTH, height=HEIGHT) == ((32, 48),)


def test_rows_that_came_are_not_taken_for_made_up_where_all_moves_alike() -> None:
    packet = came(FIRST + FOURTH, Gap(len(FIRST) + len(FOURTH), len(FOURTH)))
    ((first, end),) = made_up_rows(concealed(0, 6), packet, width=WIDTH, height=HEIGHT)
    assert first >= 48
    assert end == HEIGHT
    # Nor in a picture of one slice, half of which came: one row is what the guess may be off by.
    packet = came(FIRST, Gap(len(FIRST), len(FIRST)))
    assert made_up_rows(concealed(0, 6), packet, width=WIDTH, height=HEIGHT) == ((32, HEIGHT),)


def test_slices_that_were_lost_at_the_front_cost_all_rows_before_the_first_that_came() -> None:
    packet = came(FOURTH, Gap(0, 0))
    assert made_up_rows(concealed(0, 3), packet, width=WIDTH, height=HEIGHT) == ((0, 48),)


def test_without_vectors_the_bytes_alone_say_what_was_lost() -> None:
    packet = came(FIRST, Gap(len(FIRST), len(FIRST)))
    assert made_up_rows(NO_VECTORS, packet, width=WIDTH, height=HEIGHT) == ((32, HEIGHT),)


@settings(max_examples=60, deadline=None)
@given(
    payload=st.lists(st.one_of(st.just(START), st.binary(max_size=12)), max_size=12).map(b"".join),
    gaps=st.lists(st.builds(Gap, st.integers(0, 150), st.integers(0, 5000)), max_size=4),
)
def test_whatever_arrives_gives_rows_inside_the_picture(payload: bytes, gaps: list[Gap]) -> None:
    for told in (NO_VECTORS, concealed(0, 6)):
        rows = made_up_rows(told, came(payload, *gaps), width=WIDTH, height=HEIGHT - 6)
        assert all(0 <= first < end <= HEIGHT - 6 for first, end in rows)
