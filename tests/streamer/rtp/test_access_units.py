import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.rtp.access_units import PictureAssembler, Release
from streamer.rtp.h264 import H264Unpacker
from streamer.rtp.unit import MAX_UNIT_BYTES, AccessUnit, TrackFormat
from tests.streamer.rtp.sending import START, Sender
from tests.streamer.rtp.test_h264 import DELIMITER, IDR, INTER, PPS, SPS, pictures

FORMAT = TrackFormat(codec="h264", clock_rate=90_000, payload_type=96)
SECOND_SLICE = b"\x41\x1a\x24\x6c"
"""first_mb_in_slice is not 0."""


class Assembly:
    """An assembler, and what it gave at which packet."""

    def __init__(self) -> None:
        self.assembler = PictureAssembler(H264Unpacker(FORMAT))
        self.units: list[AccessUnit] = []
        self.packets = 0

    def send(
        self, payload: bytes, *, timestamp: int, marker: bool, lost: int = 0
    ) -> list[AccessUnit]:
        sender = Sender()
        sender.send(payload, marker=marker)
        self.packets += 1
        new = self.assembler.push(
            sender.sent[0], timestamp=timestamp, lost_before=lost, arrived_ns=self.packets
        )
        self.units += new
        return new

    def release(self) -> Release:
        return self.assembler.release

    def picture(self, timestamp: int, *payloads: bytes, marks: str = "last") -> int:
        """Send a picture; how many units came out before its time was over."""
        count = 0
        for index, payload in enumerate(payloads):
            is_last = index == len(payloads) - 1
            marker = marks == "every" or (marks == "last" and is_last)
            new = self.send(payload, timestamp=timestamp, marker=marker)
            count += sum(unit.timestamp == timestamp for unit in new)
        return count


def test_a_marked_picture_leaves_at_its_marker() -> None:
    assembly = Assembly()
    assert assembly.picture(0, SPS, PPS, IDR) == 1
    assert [assembly.picture(3000 * n, INTER, SECOND_SLICE) for n in range(1, 5)] == [1] * 4


def test_an_unmarked_picture_leaves_when_the_next_one_begins() -> None:
    assembly = Assembly()
    assert assembly.picture(0, SPS, PPS, IDR, marks="never") == 0
    for n in range(1, 5):
        assert assembly.picture(3000 * n, INTER, SECOND_SLICE, marks="never") == 0
        assert len(assembly.units) == n
    assert not any(unit.follows_loss for unit in assembly.units)
    # The time it was held for is not the network's.
    assert [unit.arrived_ns for unit in assembly.units] == [3, 5, 7, 9]


def test_a_clock_that_stands_still_does_not_join_pictures() -> None:
    assembly = Assembly()
    for _ in range(5):
        assembly.picture(0, DELIMITER, INTER, SECOND_SLICE, marks="never")
    whole = START.join([b"", DELIMITER, INTER, SECOND_SLICE])
    assert [unit.payload for unit in assembly.units] == [whole] * 4


def test_a_sender_that_marks_every_nal_of_one_slice_pictures_is_not_delayed_for_long() -> None:
    assembly = Assembly()
    at_once = [assembly.picture(0, SPS, PPS, IDR, marks="every")]
    at_once += [assembly.picture(3000 * n, INTER, marks="every") for n in range(1, 20)]
    # Its marked parameter sets make it suspect until eight pictures have shown one mark each.
    assert at_once[:8] == [0] * 8
    assert at_once[9:] == [1] * 11
    assert all(not unit.follows_loss for unit in assembly.units)
    assert assembly.picture(60_000, SPS, PPS, IDR, marks="every") == 1


def test_a_sender_that_marks_every_slice_never_gives_half_a_picture() -> None:
    assembly = Assembly()
    assembly.picture(0, SPS, PPS, IDR, b"\x65\x11\x84", marks="every")
    for n in range(1, 40):
        assembly.picture(3000 * n, INTER, SECOND_SLICE, SECOND_SLICE, marks="every")
    whole = START.join([b"", INTER, SECOND_SLICE, SECOND_SLICE])
    assert [unit.payload for unit in assembly.units[1:]] == [whole] * 38
    assert not any(unit.follows_loss for unit in assembly.units)


def test_a_sender_that_begins_to_mark_every_slice_is_found_out_and_forgiven() -> None:
    assembly = Assembly()
    assembly.picture(0, SPS, PPS, IDR)
    for n in range(1, 5):
        assert assembly.picture(3000 * n, INTER, SECOND_SLICE) == 1
    # The first such picture is cut, and the next one says so; all later ones are whole.
    for n in range(5, 10):
        assembly.picture(3000 * n, INTER, SECOND_SLICE, marks="every")
    assert assembly.release() is Release.NEXT
    last = [(unit.timestamp, unit.follows_loss) for unit in assembly.units[5:]]
    assert last == [(15_000, False), (18_000, True), (21_000, False), (24_000, False)]
    # Then it marks as the RFC says: believed after four times as many pictures as at first.
    at_once = [assembly.picture(3000 * n, INTER, SECOND_SLICE) for n in range(10, 50)]
    assert at_once == [0] * 32 + [1] * 8
    assert assembly.release() is Release.MARKER


def test_each_relapse_is_forgiven_later() -> None:
    assembly = Assembly()
    n = 0
    waits = []
    for _ in range(3):
        assembly.picture(3000 * n, INTER, SECOND_SLICE, marks="every")
        waits.append(0)
        while True:
            n += 1
            if assembly.picture(3000 * n, INTER, SECOND_SLICE):
                break
            waits[-1] += 1
        n += 1
    assert waits == [32, 128, 512]


def test_a_marker_on_the_first_fragments_ends_nothing() -> None:
    assembly = Assembly()
    assembly.picture(0, SPS, PPS, IDR)
    parts = (b"\x7c\x81\x9a", b"\x7c\x01\x24", b"\x7c\x41\x6c")
    assert assembly.picture(3000, *parts, marks="every") == 1
    assert assembly.units[-1].payload == START + b"\x61\x9a\x24\x6c"


def test_what_comes_before_the_first_beginning_is_left_out() -> None:
    assembly = Assembly()
    assembly.picture(0, SECOND_SLICE, SECOND_SLICE)
    assembly.picture(3000, INTER)
    assert [(unit.timestamp, unit.follows_loss) for unit in assembly.units] == [(3000, True)]
    assert assembly.assembler.refused == 1


def test_a_gap_between_pictures_is_marked_and_costs_none() -> None:
    assembly = Assembly()
    assembly.picture(0, SPS, PPS, IDR)
    assembly.send(INTER, timestamp=6000, marker=True, lost=3)
    assembly.send(INTER, timestamp=9000, marker=True)
    assert [unit.follows_loss for unit in assembly.units] == [False, True, False]


def test_a_lost_marker_damages_its_picture_which_leaves_before_the_next() -> None:
    assembly = Assembly()
    assembly.picture(0, SPS, PPS, IDR)
    assembly.send(INTER, timestamp=3000, marker=False)
    assembly.send(INTER, timestamp=6000, marker=True, lost=1)
    found = [(unit.timestamp, unit.follows_loss, unit.is_damaged) for unit in assembly.units]
    assert found == [(0, False, False), (3000, False, True), (6000, True, False)]


def test_a_picture_with_a_gap_leaves_at_its_marker_with_what_came() -> None:
    assembly = Assembly()
    assembly.picture(0, SPS, PPS, IDR)
    assembly.send(INTER, timestamp=3000, marker=False)
    (unit,) = assembly.send(SECOND_SLICE, timestamp=3000, marker=True, lost=2)
    assert unit.payload == START + INTER + START + SECOND_SLICE
    assert (unit.is_damaged, unit.follows_loss) == (True, False)
    assert assembly.assembler.refused == 1
    (after,) = assembly.send(INTER, timestamp=6000, marker=True)
    assert (after.is_damaged, after.follows_loss) == (False, True)


def test_of_a_slice_with_a_gap_its_beginning_is_kept_and_its_end_left_out() -> None:
    assembly = Assembly()
    assembly.picture(0, SPS, PPS, IDR)
    assembly.send(b"\x7c\x81\x9a", timestamp=3000, marker=False)
    assembly.send(b"\x7c\x01\x24", timestamp=3000, marker=False)
    assembly.send(b"\x7c\x01\x25", timestamp=3000, marker=False, lost=1)
    assembly.send(b"\x7c\x41\x26", timestamp=3000, marker=False)
    (unit,) = assembly.send(SECOND_SLICE, timestamp=3000, marker=True)
    assert unit.payload == START + b"\x61\x9a\x24" + START + SECOND_SLICE
    assert unit.is_damaged


def test_what_came_of_a_slice_behind_a_gap_counts_as_missing() -> None:
    assembly = Assembly()
    assembly.picture(0, SPS, PPS, IDR)
    assembly.send(b"\x7c\x81\x9a" + bytes(97), timestamp=3000, marker=False)
    assembly.send(b"\x7c\x01" + bytes(98), timestamp=3000, marker=False, lost=2)
    for _ in range(500):
        assembly.send(b"\x7c\x01" + bytes(98), timestamp=3000, marker=False)
    (unit,) = assembly.send(b"\x7c\x41" + bytes(98), timestamp=3000, marker=True, lost=1)
    (gap,) = unit.gaps
    assert gap.at == len(unit.payload) == 103
    assert gap.missing_bytes == pytest.approx(505 * 100, rel=0.02)


def test_a_picture_whose_beginning_was_lost_keeps_its_later_slices() -> None:
    assembly = Assembly()
    assembly.picture(0, SPS, PPS, IDR)
    assembly.send(b"\x7c\x41\x26", timestamp=3000, marker=False, lost=2)
    (unit,) = assembly.send(SECOND_SLICE, timestamp=3000, marker=True)
    assert unit.payload == START + SECOND_SLICE
    assert (unit.is_damaged, unit.follows_loss) == (True, True)


def test_a_picture_of_which_no_slice_began_is_refused_at_its_marker() -> None:
    assembly = Assembly()
    assembly.picture(0, SPS, PPS, IDR)
    assert assembly.send(b"\x7c\x41\x26", timestamp=3000, marker=True, lost=2) == []
    assert assembly.assembler.refused == 1
    (after,) = assembly.send(INTER, timestamp=6000, marker=True)
    assert after.follows_loss
    # The sender marks as it should: nothing is held back for it.
    assert assembly.release() is Release.MARKER


def test_half_a_parameter_set_is_left_out() -> None:
    assembly = Assembly()
    assembly.picture(0, SPS, PPS, IDR)
    fragment = bytes((0x7C, 0x80 | SPS[0] & 0x1F)) + SPS[1:6]
    assembly.send(fragment, timestamp=3000, marker=False)
    (unit,) = assembly.send(INTER, timestamp=3000, marker=True, lost=1)
    assert unit.payload == START + INTER
    assert unit.is_damaged


def test_a_damaged_keyframe_has_its_parameter_sets_and_is_none() -> None:
    assembly = Assembly()
    assembly.picture(0, SPS, PPS, IDR)
    assembly.send(IDR, timestamp=3000, marker=False, lost=1)
    (unit,) = assembly.send(b"\x65\x11\x84", timestamp=3000, marker=True, lost=1)
    assert unit.payload.startswith(START + SPS + START + PPS + START + IDR)
    assert (unit.is_damaged, unit.is_keyframe) == (True, False)


def test_before_the_first_whole_picture_nothing_damaged_leaves() -> None:
    assembly = Assembly()
    for n in range(3):
        assembly.send(INTER, timestamp=3000 * n, marker=False, lost=n)
        assert assembly.send(SECOND_SLICE, timestamp=3000 * n, marker=True, lost=1) == []
    assert assembly.assembler.refused == 3


def test_a_sender_that_began_anew_leaves_nothing_half() -> None:
    assembly = Assembly()
    assembly.picture(0, SPS, PPS, IDR)
    assembly.send(INTER, timestamp=3000, marker=False)
    assembly.assembler.restart()
    assembly.send(INTER, timestamp=3000, marker=True)
    assert assembly.units[-1].payload == START + INTER
    assert assembly.units[-1].follows_loss


@pytest.mark.parametrize("part", [1400, 1], ids=["large parts", "tiny parts"])
def test_a_picture_without_end_is_refused_and_its_memory_freed(part: int) -> None:
    assembly = Assembly()
    assembly.picture(0, SPS, PPS, IDR)
    tracemalloc.start()
    assembly.send(b"\x7c\x81\x9a" + bytes(part), timestamp=3000, marker=False)
    middle = b"\x7c\x01" + bytes(part)
    for _ in range(1 + MAX_UNIT_BYTES // part if part > 1 else 70_000):
        assembly.send(middle, timestamp=3000, marker=False)
    left_bytes, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 2 * MAX_UNIT_BYTES
    assert left_bytes < 100_000
    assembly.send(INTER, timestamp=6000, marker=True)
    assert assembly.assembler.refused == 1
    assert assembly.units[-1].follows_loss


def test_units_before_any_picture_do_not_pile_up() -> None:
    assembly = Assembly()
    for n in range(3000):
        assembly.send(b"\x06\x05" + bytes(4000), timestamp=3000 * n, marker=False)
    assert assembly.units == []
    assert assembly.assembler.refused >= 1


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    styles=st.lists(st.sampled_from(["last", "never", "every"]), min_size=1, max_size=6),
)
def test_whatever_a_sender_does_with_markers_only_the_change_itself_costs_a_picture(
    seed: int, styles: list[str]
) -> None:
    """Each change to marking every slice may cut one picture, and the next one says so."""
    rng = random.Random(seed)
    assembly = Assembly()
    made = pictures(rng, 10 * len(styles), slices=(2, 4), delimiters=False)
    for index, picture in enumerate(made):
        assembly.picture(3000 * index, *picture.nals, marks=styles[index // 10])
    assembly.units += assembly.assembler.flush()
    units = {unit.timestamp // 3000: unit for unit in assembly.units}
    assert sorted(units) == list(range(len(made)))
    cut = [n for n, picture in enumerate(made) if units[n].payload != picture.payload]
    assert len(cut) <= styles.count("every")
    for n in cut:
        assert n + 1 == len(made) or units[n + 1].follows_loss
