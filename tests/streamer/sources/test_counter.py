from fractions import Fraction
from functools import cache
from itertools import pairwise

import av
import cv2
import numpy as np
import pytest

from streamer.frame import Plane
from streamer.sources.counter import Reading, burn, read
from streamer.sources.drawing import Planes
from streamer.sources.scene import Scene

WRITTEN = Reading(milliseconds=3_735_928_559, frame_number=1_234_567)


@cache
def scene() -> Scene:
    return Scene(seed=1, width=640, height=360, cut_s=Fraction(1, 5))


def noisy(width: int, height: int, *, seed: int = 0) -> Planes:
    rng = np.random.default_rng(seed)
    return (
        rng.integers(0, 256, (height, width), dtype=np.uint8),
        rng.integers(0, 256, (height // 2, width // 2), dtype=np.uint8),
        rng.integers(0, 256, (height // 2, width // 2), dtype=np.uint8),
    )


def marked(width: int, height: int, *, seed: int = 0) -> Planes:
    planes = noisy(width, height, seed=seed)
    burn(planes, milliseconds=WRITTEN.milliseconds, frame_number=WRITTEN.frame_number)
    return planes


def compressed(pictures: list[Planes], *, codec: str, options: dict[str, str]) -> list[Plane]:
    """Luma of the pictures after a trip through an encoder."""
    height, width = pictures[0][0].shape
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 30), Fraction(30)
    encoder.options = options
    packets = []
    for number, planes in enumerate(pictures):
        joined = np.concatenate([plane.reshape(-1) for plane in planes])
        frame = av.VideoFrame.from_ndarray(joined.reshape(-1, width), format="yuv420p")
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoder = av.CodecContext.create({"libx264": "h264", "libvpx": "vp8"}[codec], "r")
    assert isinstance(decoder, av.VideoCodecContext)
    frames = [frame for packet in packets for frame in decoder.decode(packet)]
    frames += decoder.decode(None)
    return [frame.to_ndarray()[:height].astype(np.uint8) for frame in frames]


@pytest.mark.parametrize(
    ("width", "height"), [(640, 360), (854, 480), (1920, 1080), (360, 640), (318, 240), (160, 96)]
)
def test_what_is_burnt_is_read_back_at_any_size(width: int, height: int) -> None:
    assert read(marked(width, height)[0]) == WRITTEN


def test_values_are_read_modulo_32_bits() -> None:
    planes = noisy(640, 360)
    burn(planes, milliseconds=2**40 + 5, frame_number=2**32 + 6)
    assert read(planes[0]) == Reading(milliseconds=5, frame_number=6)


def test_chroma_is_neutral_under_the_counter_and_untouched_elsewhere() -> None:
    before, after = noisy(640, 360), marked(640, 360)
    for untouched, plane in zip(before[1:], after[1:], strict=True):
        assert (plane[:8, :192] == 128).all()
        assert np.array_equal(plane[8:], untouched[8:])


def test_a_picture_too_small_for_it_is_refused() -> None:
    with pytest.raises(ValueError, match="158x96"):
        burn(noisy(158, 96), milliseconds=0, frame_number=0)
    with pytest.raises(ValueError, match="1280x30"):
        burn(noisy(1280, 30), milliseconds=0, frame_number=0)


@pytest.mark.parametrize("scale", [0.75, 1.5, 2, 3])
@pytest.mark.parametrize("size", [(640, 360), (160, 96)])
def test_it_survives_a_change_of_resolution(scale: float, size: tuple[int, int]) -> None:
    luma = marked(*size)[0]
    scaled = cv2.resize(luma, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    assert read(scaled.astype(np.uint8)) == WRITTEN


def test_it_survives_one_pixel_of_padding_or_cropping_on_any_side() -> None:
    luma = marked(640, 360)[0]
    for pad in (((1, 0), (0, 0)), ((0, 1), (0, 1)), ((0, 0), (1, 0)), ((1, 1), (1, 1))):
        assert read(np.pad(luma, pad)) == WRITTEN
    for crop in (luma[1:], luma[:, 1:], luma[:, :-1], luma[1:-1, 1:-1]):
        assert read(crop) == WRITTEN


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", {"preset": "ultrafast", "tune": "zerolatency", "crf": "35"}),
        # A negative speed is fixed; a positive one lets the load of the machine choose the quality.
        ("libvpx", {"b": "200k", "deadline": "realtime", "cpu-used": "-8", "lag-in-frames": "0"}),
    ],
)
def test_every_frame_reads_after_a_low_bitrate_encoder_and_enlarging(
    codec: str, options: dict[str, str]
) -> None:
    pictures = [scene().draw(Fraction(number, 30)) for number in range(16)]
    for number, planes in enumerate(pictures):
        burn(planes, milliseconds=40_000 + 33 * number, frame_number=number)
    decoded = compressed(pictures, codec=codec, options=options)
    expected = [Reading(milliseconds=40_000 + 33 * n, frame_number=n) for n in range(16)]
    assert [read(luma) for luma in decoded] == expected
    doubled = [
        cv2.resize(luma, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC) for luma in decoded
    ]
    assert [read(luma.astype(np.uint8)) for luma in doubled] == expected


def test_a_picture_without_it_reads_as_none() -> None:
    for shot in range(3):
        assert read(scene().draw(Fraction(shot, 5))[0]) is None
    assert read(noisy(640, 360)[0]) is None
    assert read(np.full((360, 640), 128, np.uint8)) is None
    assert read(np.zeros((8, 640), np.uint8)) is None


def test_each_flipped_block_is_noticed() -> None:
    luma = marked(640, 360)[0]
    for row in range(2):
        for column in range(48):
            damaged = luma.copy()
            block = damaged[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            block[:] = 36 if block[4, 4] > 128 else 186
            assert read(damaged) is None


def test_random_damage_never_gives_a_wrong_reading() -> None:
    luma = marked(640, 360)[0]
    rng = np.random.default_rng(7)
    refused = 0
    for _ in range(1000):
        damaged = luma.copy()
        for _ in range(int(rng.integers(1, 4))):
            top, left = rng.integers(0, 16), rng.integers(0, 384)
            height, width = rng.integers(1, 14), rng.integers(1, 90)
            patch = damaged[top : top + height, left : left + width]
            patch[:] = rng.choice([0, 36, 110, 186, 255]) + rng.integers(-20, 21) * rng.integers(
                0, 2
            )
        seen = read(damaged)
        assert seen in (None, WRITTEN)
        refused += seen is None
    assert 500 < refused < 1000


def test_many_flipped_blocks_at_once_never_give_a_wrong_reading() -> None:
    rng = np.random.default_rng(8)
    luma = marked(640, 360)[0]
    for _ in range(1000):
        damaged = luma.copy()
        flips = np.repeat(np.repeat(rng.random((2, 48)) < rng.uniform(0, 0.5), 8, 0), 8, 1)
        # The references stay: with them flipped the whole counter is refused, which is easy.
        flips[8:16, 128:160] = flips[8:16, 352:384] = False
        damaged[:16, :384][flips] = 222 - damaged[:16, :384][flips]
        assert read(damaged) in ((None,) if flips.any() else (WRITTEN,))


def test_the_blend_of_two_frames_has_no_reading_of_its_own() -> None:
    lumas = []
    for number in range(3, 6):
        planes = noisy(640, 360)
        burn(planes, milliseconds=33 * number, frame_number=number)
        lumas.append(planes[0])
    for first, second in pairwise(lumas):
        assert read(cv2.addWeighted(first, 0.5, second, 0.5, 0).astype(np.uint8)) is None
