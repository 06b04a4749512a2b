"""Denoising with the shipped network: drawn pictures with drawn noise, still, panned and cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.native import native
from kernels.native_denoise import LONGEST_SIDE
from streamer.frame import Planes
from streamer.infer.engine import Engine
from streamer.infer.native import NativeEngine
from streamer.infer.ort import OrtCpuEngine
from streamer.ops.follower import Follower, follow
from streamer.ops.following import Following
from tests.streamer.denoising_network import Tensor, cleaned, denoise, manifest, opened
from tests.streamer.noisy_pictures import (
    HEIGHT,
    WIDTH,
    drawn,
    noisy,
    panned,
    psnr,
    worst_psnr,
)
from tests.streamer.pictures import empty, noise, same


@pytest.fixture(params=["denoise-lite", "denoise-lite-int8"])
def each_engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    is_ours = request.param.endswith("int8")
    if is_ours and native() is None:
        pytest.skip("nothing is compiled for processors; run: python -m kernels.native_build")
    engine = (NativeEngine if is_ours else OrtCpuEngine)(manifest(request.param), threads=1)
    with closing(engine) as it:
        yield it


@pytest.fixture
def engine() -> Iterator[Engine]:
    with closing(opened()) as it:
        yield it


def run_over(it: Follower, pictures: Sequence[Planes], *, deviation: float) -> list[Planes]:
    """What each is made of with noise of its own."""
    return [
        cleaned(it, noisy(planes, deviation, seed=seed)) for seed, planes in enumerate(pictures)
    ]


def gap(ours: Planes, theirs: Planes) -> float:
    """Mean magnitude of the difference, in codes, of the plane with most."""
    pairs = zip(ours, theirs, strict=True)
    return max(float(np.abs(a.astype(int) - b).mean()) for a, b in pairs)


STILL = [drawn()] * 10
MOVING = [panned(n) for n in range(10)]


@pytest.mark.parametrize(
    ("pictures", "nearer"), [(STILL, 2.0), (MOVING, 1.5)], ids=["still", "pan"]
)
def test_noise_goes_over_ten_pictures(
    each_engine: Engine, pictures: list[Planes], nearer: float
) -> None:
    first, *_, last = run_over(denoise(each_engine), pictures, deviation=5)
    came = noisy(pictures[9], 5, seed=9)
    for seen, noised, wanted in zip(last, came, pictures[9], strict=True):
        assert psnr(seen, wanted) > psnr(noised, wanted) + nearer
    # What came before has part in it.
    assert worst_psnr(last, pictures[9]) > worst_psnr(first, pictures[0]) + 1


def test_what_is_clean_and_stands_stays_as_it_is(each_engine: Engine) -> None:
    for seen in run_over(denoise(each_engine), STILL, deviation=0):
        assert gap(seen, STILL[0]) < 0.5


def test_what_is_clean_and_moves_loses_little(each_engine: Engine) -> None:
    seen = run_over(denoise(each_engine), MOVING, deviation=0)
    assert gap(seen[-1], MOVING[-1]) < 1
    assert worst_psnr(seen[-1], MOVING[-1]) > 42


@pytest.mark.parametrize("deviation", [0.0, 5.0])
def test_a_cut_leaves_nothing_of_the_old_picture(each_engine: Engine, deviation: float) -> None:
    it, wanted = denoise(each_engine), drawn(seed=31)
    assert worst_psnr(STILL[0], wanted) < 20
    run_over(it, STILL, deviation=deviation)
    came = noisy(wanted, deviation, seed=50)
    # As if nothing had been before it.
    assert same(cleaned(it, came), cleaned(denoise(each_engine), came))
    for seed in range(51, 56):
        seen = cleaned(it, noisy(wanted, deviation, seed=seed))
    assert worst_psnr(seen, wanted) > (36 if deviation else 45)


@pytest.mark.parametrize("deviation", [0.0, 5.0])
def test_a_cut_in_luma_alone_or_in_colour_alone_is_seen(engine: Engine, deviation: float) -> None:
    other, wanted = drawn(seed=31), drawn()
    for scene in ((other[0], *wanted[1:]), (wanted[0], *other[1:])):
        it = denoise(engine)
        run_over(it, STILL, deviation=deviation)
        came = noisy(scene, deviation, seed=50)
        assert same(cleaned(it, came), cleaned(denoise(engine), came))


def test_a_thing_that_comes_up_is_not_held_back(engine: Engine) -> None:
    it = denoise(engine)
    before, after = (tuple(plane.copy() for plane in drawn()) for _ in range(2))
    box = np.s_[60:120, 100:200]
    after[0][box] = np.where(after[0][box] > 126, 40, 210)
    run_over(it, [(before[0], before[1], before[2])] * 5, deviation=3)
    came = noisy((after[0], after[1], after[2]), 3, seed=70)
    seen = cleaned(it, came)
    error = float(np.mean((seen[0][box].astype(float) - after[0][box]) ** 2)) ** 0.5
    assert error < 2 * 3


class Recorder:
    """A network that keeps what it is told, and gives nothing when asked not to."""

    def __init__(self, *fails: int) -> None:
        self.told: list[Tensor] = []
        self._fails = fails

    def __call__(self, followed: Tensor, change: NDArray[Any]) -> bool:
        self.told.append(followed[0].copy())
        if len(self.told) - 1 in self._fails:
            return False
        # A share of nothing: the picture stays.
        change[:, :6], change[:, 6:] = -128, 0
        return True

    @property
    def follows(self) -> list[bool]:
        """Whether each was told of one before."""
        return [bool(followed[6:].any()) for followed in self.told]


def test_where_the_network_gives_nothing_nothing_is_filled_and_the_next_follows_nothing() -> None:
    network = Recorder(2)
    it = Follower(network)
    for number in range(5):
        came, out = noisy(drawn(), 5, seed=number), empty(width=WIDTH, height=HEIGHT)
        was = tuple(plane.copy() for plane in out)
        assert it.make(came, out) == (number != 2)
        assert same(out, (was[0], was[1], was[2]) if number == 2 else came)
    assert network.follows == [False, True, True, False, True]


def test_what_came_is_what_the_network_is_told() -> None:
    network, came = Recorder(), noisy(drawn(), 5, seed=1)
    it = Follower(network)
    cleaned(it, came)
    cleaned(it, came)
    luma = (came[0].astype(np.float32) - 16) / 219
    for told in network.told:
        assert np.allclose(told[0], luma[::2, ::2], atol=1e-6)
        assert np.allclose(told[3], luma[1::2, 1::2], atol=1e-6)
        assert np.allclose(told[4], (came[1].astype(np.float32) - 128) / 224, atol=1e-6)
    assert not network.follows[1], "the same picture again does not differ"


def test_motion_is_found_between_pictures_as_they_came_and_leads_to_the_cleaned_one() -> None:
    told: list[Tensor] = []

    def spoils(followed: Tensor, change: NDArray[Any]) -> bool:
        """Adds what another motion would be found in, and too little for another scene."""
        told.append(followed.copy())
        change[:, :6] = -128
        change[:, 6:] = np.random.default_rng(len(told)).integers(-20, 20, change[:, 6:].shape)
        return True

    it, pictures = Follower(spoils), [noisy(panned(n), 3, seed=n) for n in range(4)]
    outs = [cleaned(it, came) for came in pictures]
    for n in range(1, 4):
        back = Following().back(pictures[n][0], pictures[n - 1][0])
        assert np.median(back, axis=(0, 1)) == pytest.approx([-1.5, 0.5], abs=0.1)
        expected = np.empty_like(told[n])
        follow(outs[n - 1], pictures[n], back, expected)
        np.testing.assert_array_equal(told[n], expected)


@pytest.mark.parametrize("way", ["reset", "size"])
def test_after_a_reset_or_another_size_nothing_is_followed(way: str, engine: Engine) -> None:
    it = denoise(engine)
    run_over(it, STILL[:4], deviation=5)
    if way == "reset":
        it.reset()
    else:
        run_over(it, [drawn(width=64, height=48)] * 2, deviation=5)
    expected = run_over(denoise(engine), MOVING[:3], deviation=5)
    for seen, one in zip(run_over(it, MOVING[:3], deviation=5), expected, strict=True):
        assert same(seen, one)


@pytest.mark.parametrize(("width", "height"), [(2, 2), (30, 64), (16, 200), (46, 34), (130, 66)])
def test_pictures_of_any_even_size_are_cleaned(width: int, height: int, engine: Engine) -> None:
    wanted = drawn(width=width, height=height)
    for seen in run_over(denoise(engine), [wanted] * 4, deviation=3):
        assert [plane.shape for plane in seen] == [plane.shape for plane in wanted]
        # Noise alone is 2.4 codes away on the mean.
        assert gap(seen, wanted) < 4


def test_rows_that_lie_apart_are_the_same_picture(engine: Engine) -> None:
    ours, theirs = denoise(engine), denoise(engine)
    for seed in range(3):
        apart = noise(width=96, height=64, seed=seed, padding=7)
        y, u, v = (np.ascontiguousarray(plane) for plane in apart)
        assert same(cleaned(ours, apart), cleaned(theirs, (y, u, v)))


@pytest.mark.parametrize("sides", [(LONGEST_SIDE, 2), (LONGEST_SIDE + 2, 2), (2, LONGEST_SIDE + 2)])
def test_pictures_too_large_for_it_are_left_alone(sides: tuple[int, int], engine: Engine) -> None:
    width, height = sides
    it = denoise(engine)
    for seed in range(2):
        came = noise(width=width, height=height, seed=seed)
        assert it.make(came, empty(width=width, height=height)) == (max(sides) <= LONGEST_SIDE)
    assert same(cleaned(it, STILL[0]), cleaned(denoise(engine), STILL[0])), "and it begins anew"
