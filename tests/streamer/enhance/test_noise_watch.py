"""What is taken for noise: drawn noise of known strength, drawn detail, and what codecs leave."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from streamer.enhance import noise_watch
from streamer.enhance.noise_watch import CALM, LOOKS, NOISY, REPEATS, STEP, NoiseWatch
from streamer.frame import Plane
from streamer.ops.following import Following
from tests.streamer.noisy_pictures import HEIGHT, PAN, WIDTH, grain, with_noise
from tests.streamer.pictures import texture

Draw = Callable[[int, tuple[float, float]], Plane]

STILL = (0.0, 0.0)


def deviation(now: Plane, before: Plane) -> float:
    return noise_watch.deviation(now, before, Following())


def soft(number: int, by: tuple[float, float]) -> Plane:
    return texture(width=WIDTH, height=HEIGHT, moved=(number * by[0], number * by[1]))


def ramp(number: int, by: tuple[float, float]) -> Plane:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    codes = 40 + 0.4 * (columns - number * by[0]) + 0.2 * (rows - number * by[1])
    whole: Plane = np.rint(codes).astype(np.uint8)
    return whole


def sky_over_grain(number: int, by: tuple[float, float]) -> Plane:
    luma = grain(number, by)
    luma[: HEIGHT // 2] = 120
    return luma


def thing_on_grain(number: int, by: tuple[float, float]) -> Plane:
    """Detail everywhere, of which half moves."""
    luma = grain(0)
    luma[:, : WIDTH // 2] = grain(number, by)[:, : WIDTH // 2]
    return luma


def measured(draw: Draw, by: tuple[float, float], noise: float) -> float:
    return deviation(*(with_noise(draw(number, by), noise, seed=number) for number in (1, 0)))


@pytest.mark.parametrize("noise", [1.5, 3.0, 8.0])
@pytest.mark.parametrize(
    ("draw", "by"),
    [
        (soft, STILL),
        (soft, PAN),
        (soft, (0.5, 0.25)),
        (ramp, STILL),
        (ramp, PAN),
        (grain, STILL),
        (sky_over_grain, STILL),
        (sky_over_grain, PAN),
        (thing_on_grain, PAN),
    ],
)
def test_noise_is_measured_on_what_stands_moves_or_is_full_of_detail(
    draw: Draw, by: tuple[float, float], noise: float
) -> None:
    assert measured(draw, by, noise) == pytest.approx(noise, rel=0.25)


@pytest.mark.parametrize(
    ("draw", "by"),
    [
        (soft, STILL),
        (soft, PAN),
        (soft, (0.5, 0.25)),
        (ramp, PAN),
        (grain, STILL),
        (sky_over_grain, PAN),
        (thing_on_grain, PAN),
    ],
)
def test_what_is_clean_is_below_what_counts_as_calm(draw: Draw, by: tuple[float, float]) -> None:
    assert measured(draw, by, 0) < CALM


@pytest.mark.parametrize("draw", [grain, soft])
@pytest.mark.parametrize("noise", [0, 1.5, 3.0])
def test_detail_everywhere_that_moves_everywhere_is_told_from_noise(
    draw: Draw, noise: float
) -> None:
    """As where a camera pans over a lawn: every block changes, and every block has detail."""
    read = measured(draw, PAN, noise)
    assert read < CALM if noise == 0 else 0.75 * noise < read < 1.25 * noise + 2


def test_noise_is_read_where_it_is_not_cut_off() -> None:
    luma = soft(0, STILL)
    luma[:, : WIDTH * 3 // 5] = 255
    luma[: HEIGHT // 3] = 0
    pair = (with_noise(luma, 3, seed=seed) for seed in (1, 2))
    assert deviation(*pair) == pytest.approx(3, rel=0.25)


@pytest.mark.parametrize("code", [0, 16, 250, 255])
def test_a_picture_that_is_black_or_white_all_over_tells_nothing(code: int) -> None:
    pair = (with_noise(np.full((HEIGHT, WIDTH), code, np.uint8), 3, seed=seed) for seed in (1, 2))
    assert deviation(*pair) == 0


@pytest.mark.parametrize("size", [(2, 2), (7, 400), (400, 7), (8, 8), (24, 40)])
def test_in_a_tiny_picture_there_is_no_room_to_tell(size: tuple[int, int]) -> None:
    pair = [with_noise(np.full(size, 120, np.uint8), 8, seed=seed) for seed in (1, 2)]
    assert deviation(*pair) == 0
    assert not watched(pair * 20).is_noisy


def test_what_is_left_over_beside_whole_blocks_is_left_out() -> None:
    one, two = (with_noise(soft(0, STILL), 3, seed=seed) for seed in (1, 2))
    beside = [np.full((HEIGHT + 7, WIDTH + 5), 120, np.uint8) for _ in range(2)]
    for padded, luma in zip(beside, (one, two), strict=True):
        padded[:HEIGHT, :WIDTH] = luma
    assert deviation(*beside) == deviation(one, two)


def watched(lumas: Iterable[Plane], watch: NoiseWatch | None = None) -> NoiseWatch:
    watch = watch or NoiseWatch()
    for luma in lumas:
        watch.see(luma)
    return watch


def flat(noise: float, count: int, *, height: int = 96, width: int = 160) -> list[Plane]:
    even = np.full((height, width), 120, np.uint8)
    lumas = [with_noise(even, noise, seed=seed) for seed in range(count)]
    for number, luma in enumerate(lumas):
        # No two are the same.
        luma[0, number % width] ^= 1
    return lumas


def test_one_look_is_not_enough() -> None:
    watch = NoiseWatch()
    seen = []
    for luma in flat(5, LOOKS + 1):
        seen.append(watch.is_noisy)
        watch.see(luma)
    assert not any(seen)
    assert watch.is_noisy
    assert watch.deviation == pytest.approx(5, rel=0.25)


LONG = (LOOKS + 2) * (STEP + 1)
"""Pictures after which all looks are new."""


def test_it_begins_with_more_noise_than_it_ends_with() -> None:
    between = (NOISY + CALM) / 2
    # Rounded to codes and measured by the calmest blocks, drawn noise is not what is read.
    strengths = np.linspace(0.3, 1.2, 181)
    reads = [deviation(*flat(float(noise), 2)) for noise in strengths]
    noise = float(strengths[int(np.abs(np.array(reads) - between).argmin())])
    some = flat(noise, LONG)
    calm, noisy = NoiseWatch(), watched(flat(3, LONG))
    assert noisy.is_noisy
    for watch in (calm, noisy):
        watched(some, watch)
        assert CALM < watch.deviation < NOISY
    assert noisy.is_noisy
    assert not calm.is_noisy
    assert not watched(flat(0, LONG), noisy).is_noisy


def test_one_picture_that_stands_out_changes_nothing() -> None:
    lumas = flat(0, 4 * STEP)
    for at in range(len(lumas)):
        spoilt = list(lumas)
        spoilt[at] = with_noise(lumas[at], 20, seed=99)
        watch = NoiseWatch()
        for luma in spoilt:
            watch.see(luma)
            assert not watch.is_noisy


def test_a_cut_is_no_noise() -> None:
    scenes = [texture(width=160, height=96, seed=seed) for seed in range(4)]
    watch = NoiseWatch()
    for number in range(60):
        watch.see(scenes[number // 4 % 4])
        assert not watch.is_noisy


def test_a_picture_that_is_repeated_says_nothing() -> None:
    """Film comes as video with every fifth picture twice, other things with each of them so."""
    lumas = flat(5, 200)
    twice = [lumas[n - n // 5] for n in range(200)]
    watch = watched(twice[: 2 * LONG])
    assert watch.is_noisy
    for luma in twice[2 * LONG :]:
        watch.see(luma)
        assert watch.is_noisy
    assert not watched([lumas[0]] * LONG).is_noisy
    for times in (2, REPEATS + 1):
        assert watched([luma for luma in lumas[:LONG] for _ in range(times)]).is_noisy
    # But it stands in the end.
    assert not watched([lumas[0]] * (LONG + REPEATS), watch).is_noisy


def test_another_size_begins_the_looks_anew_but_changes_no_verdict() -> None:
    watch = watched(flat(5, LONG))
    small = flat(0, LONG, height=64, width=96)
    watched(small[:2], watch)
    assert watch.is_noisy
    assert not watched(small, watch).is_noisy


def test_looks_at_another_size_are_not_mixed_with_those_before() -> None:
    watch = watched(flat(5, LOOKS))
    assert watch.deviation > 4
    assert watched(flat(0, 2, height=64, width=96), watch).deviation == 0


def test_a_picture_that_follows_one_that_was_left_out_is_compared_with_none() -> None:
    watch = watched(flat(0, 2))
    watch.reset()
    watched(flat(5, 1), watch)
    assert watch.deviation == 0


def coded(codec: str, lumas: list[Plane], **options: str) -> list[Plane]:
    """The lumas once through a real encoder and its decoder."""
    height, width = lumas[0].shape
    is_jpeg = codec == "mjpeg"
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height = width, height
    encoder.pix_fmt = "yuvj420p" if is_jpeg else "yuv420p"
    encoder.time_base = Fraction(1, 30)
    encoder.options = options
    if is_jpeg:
        encoder.flags |= 2  # AV_CODEC_FLAG_QSCALE
        encoder.global_quality = 5 * 118  # FF_QP2LAMBDA
    decoder: Any = av.CodecContext.create("mjpeg" if is_jpeg else "h264", "r")
    packets, seen = [], []
    for number, luma in enumerate(lumas):
        chroma = np.full((height // 2, width), 128, np.uint8)
        frame = av.VideoFrame.from_ndarray(np.vstack([luma, chroma]), format="yuv420p")
        if is_jpeg:
            frame = frame.reformat(format="yuvj420p", src_color_range=2, dst_color_range=2)
        frame.pts = number
        packets += encoder.encode(frame)
    for packet in [*packets, *encoder.encode(None)]:
        seen += decoder.decode(packet)
    seen += decoder.decode(None)
    return [np.ascontiguousarray(frame.to_ndarray()[:height, :width]) for frame in seen]


@pytest.mark.parametrize(
    ("draw", "by"), [(soft, STILL), (ramp, PAN), (sky_over_grain, PAN), (thing_on_grain, PAN)]
)
def test_noise_that_a_codec_kept_is_seen_and_what_it_took_away_is_not(
    draw: Draw, by: tuple[float, float]
) -> None:
    came = [with_noise(draw(number, by), 5, seed=number) for number in range(2 * STEP)]
    kept = coded("mjpeg", came)
    taken = coded("libx264", came, crf="28", preset="veryfast")
    assert len(kept) == len(taken) == len(came)
    assert watched(came).is_noisy
    assert watched(kept).is_noisy
    assert not watched(taken).is_noisy


def test_what_a_codec_does_to_detail_everywhere_that_moves_everywhere_is_no_noise() -> None:
    """No block is without its errors, but they move with what they are of."""
    came = [soft(number, PAN) for number in range(2 * STEP)]
    assert not watched(came).is_noisy
    assert not watched(coded("libx264", came, crf="28", preset="veryfast")).is_noisy
