from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from streamer.rtp.bits import BitReader, BitWriter, escape, unescape
from streamer.rtp.h264_missing import MOST, MissingPictures
from tests.streamer.rtp.h264_streams import Coding, Fed, arrived, coded, decoded, made_whole

WRAP = 16
"""Where libx264's frame numbers begin anew."""

CODINGS = {
    "baseline": Coding(profile="Baseline", is_cabac=False),
    "main, arithmetic coder": Coding(profile="Main"),
    "main, weights and references": Coding(profile="Main", parameters="weightp=2:ref=4"),
    "high": Coding(),
    "high, lengths": Coding(is_cabac=False),
    "high, four slices": Coding(slices=4),
    "high, four slices, lengths": Coding(slices=4, is_cabac=False),
    "slices tell the order": Coding(tells_order=True),
    "slices tell the order, lengths": Coding(tells_order=True, is_cabac=False, slices=3),
    "cropped, odd count": Coding(width=328, height=180),
    "one macroblock": Coding(width=16, height=16),
    "full HD": Coding(width=1920, height=1080, count=22),
    "refreshed without keyframes": Coding(width=640, height=64, parameters="intra-refresh=1"),
    "no deblocking": Coding(parameters="no-deblock=1"),
    "ten bits, 4:2:2": Coding(pix_fmt="yuv422p10le"),
    "4:4:4": Coding(pix_fmt="yuv444p"),
    "grey": Coding(pix_fmt="gray"),
}
LOST = (WRAP - 1, WRAP, WRAP + 1)


@pytest.mark.parametrize("coding", CODINGS.values(), ids=CODINGS)
def test_what_stands_for_a_missing_picture_is_the_one_before_to_the_bit(coding: Coding) -> None:
    fed = made_whole(arrived(coding, LOST))
    assert [pts for pts, _ in fed].count(-1) == 1
    assert len(fed) == coding.count
    seen = decoded(fed)
    assert seen.complaints == ()
    assert [pts for pts, _ in seen.pictures] == [pts for pts, _ in fed]
    for (pts, picture), (_, before) in zip(seen.pictures[1:], seen.pictures, strict=False):
        assert (picture == before).all() == (pts < 0)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg program")
@pytest.mark.parametrize("coding", CODINGS.values(), ids=CODINGS)
def test_another_decoder_takes_it_as_well(coding: Coding, tmp_path: Path) -> None:
    stream = tmp_path / "stream.h264"
    stream.write_bytes(b"".join(unit for _, unit in made_whole(arrived(coding, LOST))))
    command = ["ffmpeg", "-v", "warning", "-i", str(stream), "-f", "framemd5", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    hashes = [line.split(",")[-1] for line in done.stdout.splitlines() if line[0] != "#"]
    assert len(hashes) == coding.count
    is_repeated = [one == before for one, before in zip(hashes[1:], hashes, strict=False)]
    assert [1 + number for number, same in enumerate(is_repeated) if same] == list(LOST)


@pytest.mark.parametrize("count", range(1, MOST + 4))
def test_every_picture_that_comes_after_a_loss_is_shown(count: int) -> None:
    came = arrived(Coding(), range(12, 12 + count))
    seen = decoded(made_whole(came))
    assert seen.real == [number for number, _ in came]
    assert seen.complaints == ()


def test_alone_libav_leaves_pictures_out_where_numbers_begin_anew() -> None:
    """Why all this is done; once it fails, it need not be done any more."""
    came = arrived(Coding(), LOST)
    assert len(decoded(came).real) < len(came) - 8


@pytest.mark.parametrize("lost", [(30,), (29, 30), (28, 29, 30, 31, 32)])
@pytest.mark.parametrize(
    "coding",
    [
        Coding(keyframes=(30,)),
        Coding(keyframes=(30,), tells_order=True),
        Coding(keyframes=(30,), width=1280, height=32, parameters="intra-refresh=1"),
        Coding(
            keyframes=(30,), width=1280, height=32, parameters="intra-refresh=1", tells_order=True
        ),
    ],
)
def test_what_comes_after_a_lost_keyframe_is_shown(coding: Coding, lost: tuple[int, ...]) -> None:
    came = arrived(coding, lost)
    seen = decoded(made_whole(came))
    assert seen.real == [number for number, _ in came]
    assert seen.complaints == ()


def test_where_nothing_is_missing_nothing_is_added() -> None:
    came = arrived(Coding(keyframes=(20,)), ())
    assert made_whole(came) == came
    missing = MissingPictures()
    # A sender that counts wrongly has not lost anything.
    jumping = [missing.before(unit, follows_loss=False) for _, unit in came[::3]]
    assert jumping == [[]] * len(jumping)


@pytest.mark.parametrize(
    "coding",
    [
        Coding(parameters="bframes=2:b-adapt=0"),
        Coding(parameters="interlaced=1"),
        Coding(parameters="bframes=3:b-adapt=0:b-pyramid=normal:keyint=8"),
    ],
)
def test_streams_of_another_kind_are_left_alone(coding: Coding) -> None:
    came = arrived(coding, (18, 19, 20, 30))
    assert made_whole(came) == came


def test_numbers_that_may_be_left_out_are_not_missing() -> None:
    layered = [(number, _allowing_gaps(unit)) for number, unit in arrived(Coding(), LOST)]
    assert decoded(layered).complaints == ()
    assert made_whole(layered) == layered


def test_a_picture_that_goes_on_after_a_loss_is_not_missing() -> None:
    units = coded(Coding(slices=4))
    missing = MissingPictures()
    for unit in units[:6]:
        missing.before(unit, follows_loss=False)
    last_slice = units[5][units[5].rfind(b"\0\0\1") - 1 :]
    assert missing.before(last_slice, follows_loss=True) == []
    assert missing.before(units[6], follows_loss=True) == []


def test_nothing_that_arrives_does_harm() -> None:
    random_ = random.Random(11)
    codings = (Coding(), Coding(is_cabac=False, slices=3), Coding(tells_order=True))
    units = [unit for coding in codings for unit in coded(coding)[:20]]
    missing = MissingPictures()
    for _ in range(4000):
        unit = bytearray(random_.choice(units)[: random_.choice((8, 40, 60, 200))])
        for _ in range(random_.randrange(4)):
            unit[random_.randrange(len(unit))] = random_.randrange(256)
        found = missing.before(bytes(unit), follows_loss=True)
        assert len(found) <= MOST + 1
        assert all(len(one) < 10_000 for one in found)


def test_signed_and_unsigned_numbers_come_back_as_written() -> None:
    writer = BitWriter()
    for value in range(300):
        writer.ue(value)
        writer.se(value)
        writer.se(-value)
    reader = BitReader(writer.as_bytes())
    assert [(reader.ue(), reader.se(), reader.se()) for _ in range(300)] == [
        (value, value, -value) for value in range(300)
    ]
    assert reader.left < 8


@pytest.mark.parametrize("data", [b"\0\0\0\0\0\0", b"\0\0\1\0\0\2\0\0\3", b"\1\0\0\3\0\0\4\0\0"])
def test_no_start_code_is_left_in_an_escaped_unit(data: bytes) -> None:
    escaped = escape(data)
    assert not any(escaped.find(bytes((0, 0, last))) >= 0 for last in range(3))
    assert unescape(escaped) == data


def _allowing_gaps(unit: bytes) -> bytes:
    """The same with gaps_in_frame_num_value_allowed_flag, of a stream in High that tells no order."""
    begin = unit.find(b"\0\0\1\x67") + 3
    if begin < 3:
        return unit
    end = unit.find(b"\0\0\1", begin)
    payload = unescape(unit[begin:end])
    reader = BitReader(payload)
    # Header, profile, constraints and level; number, chroma, depths; flags; numbers; references.
    reader.bits(32)
    for _ in range(4):
        reader.ue()
    reader.bits(2)
    for _ in range(3):
        reader.ue()
    at = reader.position
    assert reader.bits(1) == 0
    changed = bytearray(payload)
    changed[at // 8] |= 0x80 >> at % 8
    return unit[:begin] + escape(bytes(changed)) + unit[end:]


def test_the_parameter_sets_may_come_anew_and_differ() -> None:
    first, second = Coding(count=20), Coding(count=40, tells_order=True, width=192, is_cabac=False)
    came: list[Fed] = [*arrived(first, ()), *((20 + n, u) for n, u in arrived(second, (17, 18)))]
    seen = decoded(made_whole(came))
    assert seen.real == [number for number, _ in came]
    assert seen.complaints == ()
