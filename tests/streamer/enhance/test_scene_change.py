"""What is a cut, what only moves, and what stands still, on textures, drawn shots and real codecs."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.scene_change import coded
from streamer.enhance.scene_change import Change, SceneWatch
from streamer.frame import Plane
from streamer.sources.scene import Scene
from tests.streamer.pictures import texture

WIDTH, HEIGHT = 640, 360
Numbers = NDArray[Any]

CUT, FIRST, MOVED, STILL = Change.CUT, Change.FIRST, Change.MOVED, Change.STILL


def landscape(seed: int) -> Plane:
    """Four times what a picture shows, coarse and fine; the coarser, the stronger, as in nature."""
    numbers = np.random.default_rng(seed)
    total = np.zeros((2 * HEIGHT, 2 * WIDTH), np.float32)
    for octave in range(2, 8):
        coarse = numbers.normal(0, 1, (9 * 2**octave // 8, 2 ** (octave + 1)))
        grown = cv2.resize(coarse, (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_CUBIC)
        total += np.float32(80 / 1.6**octave) * grown
    return brightened(total, 1.0, 126)


@pytest.fixture(scope="module")
def place() -> Plane:
    return landscape(1)


@pytest.fixture(scope="module")
def shot(place: Plane) -> Plane:
    return view(place)


@pytest.fixture(scope="module")
def other() -> Plane:
    return view(landscape(2))


def view(place: Plane, x: int = 100, y: int = 100) -> Plane:
    return place[y : y + HEIGHT, x : x + WIDTH]


def seen(frames: Iterable[Plane]) -> list[Change]:
    watch = SceneWatch()
    return [watch.see(frame) for frame in frames]


def brightened(frame: Numbers, gain: float, offset: float | Numbers = 0.0) -> Plane:
    return np.asarray((frame * gain + offset).clip(0, 255), dtype=np.uint8)


def test_another_shot_is_a_cut_and_goes_on_from_there(shot: Plane, other: Plane) -> None:
    moved = np.roll(other, 4, axis=1)
    assert seen([shot, shot, other, moved, shot]) == [FIRST, STILL, CUT, MOVED, CUT]


def test_the_cuts_of_a_drawn_film_are_found_and_nothing_else() -> None:
    film = Scene(seed=4, width=WIDTH, height=HEIGHT, cut_s=Fraction(1, 3))
    changes = seen(film.draw(Fraction(n, 30))[0] for n in range(40))
    assert [n for n, change in enumerate(changes) if change is CUT] == [10, 20, 30]
    assert STILL not in changes


@pytest.mark.parametrize("step", [(2, 0), (30, 0), (60, 0), (20, 20), (0, -25)])
def test_a_pan_is_no_cut(place: Plane, step: tuple[int, int]) -> None:
    frames = [view(place, 100 + n * step[0], 150 + n * step[1]) for n in range(5)]
    assert seen(frames) == [FIRST, MOVED, MOVED, MOVED, MOVED]


def test_a_shaking_camera_in_the_dark_is_no_cut(place: Plane) -> None:
    numbers = np.random.default_rng(3)

    def frame() -> Plane:
        x, y = numbers.integers(80, 110, 2)
        return brightened(view(place, x, y), 0.2, 12 + numbers.normal(0, 6, (HEIGHT, WIDTH)))

    assert set(seen(frame() for _ in range(20))) == {FIRST, MOVED}


def test_a_cut_in_the_dark_is_a_cut(shot: Plane, other: Plane) -> None:
    numbers = np.random.default_rng(3)
    frames = [
        brightened(frame, 0.3, 12 + numbers.normal(0, 6, (HEIGHT, WIDTH)))
        for frame in (shot, shot, shot, other)
    ]
    assert seen(frames)[-1] is CUT


def test_what_is_laid_over_the_picture_is_no_cut(shot: Plane) -> None:
    titled, scored = shot.copy(), shot.copy()
    titled[300:340, 80:560] = 16
    cv2.putText(titled, "and so they went on", (100, 330), cv2.FONT_HERSHEY_DUPLEX, 1, 235, 2)
    scored[:50, 20:220] = 220
    assert seen([shot, titled, shot, scored]) == [FIRST, MOVED, MOVED, MOVED]


def test_something_large_that_comes_in_is_no_cut(shot: Plane, other: Plane) -> None:
    passing = [shot.copy() for _ in range(3)]
    for n, frame in enumerate(passing):
        width = 70 * (n + 1)
        frame[:, :width] = other[:, 210 - width : 210]
    assert seen([shot, *passing]) == [FIRST, MOVED, MOVED, MOVED]


@pytest.mark.parametrize("flash", [16, 235])
def test_nothing_is_blended_into_a_flash_or_out_of_it(shot: Plane, flash: int) -> None:
    flat, moved = np.full_like(shot, flash), np.roll(shot, 6, axis=1)
    assert seen([shot, flat, shot, moved]) == [FIRST, CUT, CUT, MOVED]


def test_a_flash_that_leaves_the_picture_to_be_seen_counts_as_one(shot: Plane) -> None:
    lit = brightened(shot, 1.0, 60)
    assert seen([shot, lit, shot, np.roll(shot, 6, axis=1)]) == [FIRST, CUT, CUT, MOVED]


def test_a_strobe_is_forgotten_when_it_ends(shot: Plane, other: Plane) -> None:
    dark = np.full_like(shot, 16)
    changes = seen([shot, dark] * 10 + [np.roll(shot, n, axis=1) for n in (0, 6, 12)] + [other])
    assert changes[1:20] == [CUT] * 19
    assert changes[20:] == [CUT, MOVED, MOVED, CUT]


def test_flicker_and_fades_are_no_cuts(shot: Plane) -> None:
    flicker = [brightened(shot, 1.0 + 0.1 * (n % 2)) for n in range(6)]
    assert set(seen(flicker)) == {FIRST, MOVED}
    fade = [brightened(shot.astype(np.float32) - 16, 1 - n / 16, 16) for n in range(14)]
    assert set(seen(fade)) == set(seen(fade[::-1])) == {FIRST, MOVED}


@pytest.mark.parametrize("shares", [[n / 30 for n in range(31)], [0, 0.15, 0.4, 0.65, 0.9]])
def test_a_dissolve_is_no_cut_even_a_quick_one(
    shot: Plane, other: Plane, shares: list[float]
) -> None:
    frames = [cv2.addWeighted(shot, 1 - share, other, share, 0) for share in shares]
    assert CUT not in seen(np.asarray(frame, dtype=np.uint8) for frame in frames)


@pytest.mark.parametrize("crf", [18, 23])
def test_the_noise_of_a_camera_that_stands_still_is_still(shot: Plane, crf: int) -> None:
    numbers = np.random.default_rng(5)
    noisy = [brightened(shot, 1.0, numbers.normal(0, 1.5, shot.shape)) for _ in range(20)]
    changes = seen(coded(iter(noisy), crf))
    # The first frames after a keyframe are still being refined.
    assert changes.count(STILL) >= 17
    assert CUT not in changes


def test_a_small_thing_that_moves_is_not_still(shot: Plane) -> None:
    frames = [shot.copy() for _ in range(4)]
    for n, frame in enumerate(frames):
        frame[100:106, 200 + n : 206 + n] = 235
    assert seen(frames) == [FIRST, MOVED, MOVED, MOVED]


def test_a_pan_too_slow_to_be_seen_from_frame_to_frame_adds_up() -> None:
    frames = [texture(width=320, height=180, moved=(0.02 * n, 0.0)) for n in range(24)]
    changes = seen(frames)
    assert changes[1] is STILL
    assert changes.count(MOVED) >= 2
    assert MOVED not in seen([frames[0], *[frames[1]] * 20])


def test_a_cut_after_duplicates_is_judged_by_the_frame_before_it(place: Plane) -> None:
    frames = [view(place, 100 + 8 * n) for n in range(30)]
    assert seen([frame for frame in frames for _ in range(2)]) == [
        FIRST,
        *[STILL, MOVED] * 29,
        STILL,
    ]


def test_another_size_is_a_cut(shot: Plane) -> None:
    half = np.ascontiguousarray(shot[::2, ::2])
    assert seen([shot, half, half, shot]) == [FIRST, CUT, STILL, CUT]


@pytest.mark.parametrize("size", [(2, 2), (8, 8), (16, 16), (18, 32), (33, 47), (90, 161)])
def test_pictures_of_any_size_can_be_watched(size: tuple[int, int]) -> None:
    numbers = np.random.default_rng(1)
    first, second = numbers.integers(0, 256, (2, *size), dtype=np.uint8)
    assert seen([first, first]) == [FIRST, STILL]
    assert seen([first, second])[1] in (MOVED, CUT)


def test_memory_that_is_used_again_changes_nothing_that_was_seen() -> None:
    frame = texture(width=64, height=48)
    watch = SceneWatch()
    lent = frame.copy()
    watch.see(lent)
    lent[:] = 0
    assert watch.see(frame) is STILL
