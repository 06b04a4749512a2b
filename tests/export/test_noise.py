"""A dim room in numbers: noise of the strength that is asked for, and nothing where nothing is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from export.data.codec import round_trip, x264
from export.data.noise import Dimness, draw_camera_coding, draw_dimness, flicker, soil
from export.data.planes import Plane, Planes
from export.data.run_recipe import NoiseDataRecipe
from export.validation import psnr_y
from tests.export.tiny import coloured_texture

Floats = NDArray[np.float64]


def even(code: int = 110, *, width: int = 320, height: int = 240) -> Planes:
    """A picture of one brightness and no colour."""
    grey = np.full((height // 2, width // 2), 128, np.uint8)
    return Planes(np.full((height, width), code, np.uint8), grey, grey)


def soiled(planes: Planes, dimness: Dimness, *, seed: int = 0) -> Planes:
    (seen,) = soil([planes], dimness, np.random.default_rng(seed))
    return seen


def errors(seen: Planes, planes: Planes) -> tuple[Floats, Floats, Floats]:
    def error(one: Plane, other: Plane) -> Floats:
        return one.astype(np.float64) - other

    return error(seen.y, planes.y), error(seen.u, planes.u), error(seen.v, planes.v)


def of_neighbours(error: Floats) -> float:
    """How much an error says of the one beside it."""
    return float(np.corrcoef(error[:, 1:].ravel(), error[:, :-1].ravel())[0, 1])


@pytest.mark.parametrize("smooth_sigma", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("gauss_sigma", [2.0, 5.0])
def test_noise_has_the_deviation_that_is_asked_for_white_or_smooth(
    gauss_sigma: float, smooth_sigma: float
) -> None:
    planes = even()
    dimness = Dimness(gauss_sigma=gauss_sigma, chroma_gain=0.5, smooth_sigma=smooth_sigma)
    y, u, v = errors(soiled(planes, dimness), planes)
    # Rounding to whole codes adds a twelfth to the variance.
    assert y.std() == pytest.approx(np.hypot(gauss_sigma, 12**-0.5), rel=0.02)
    for chroma in (u, v):
        assert chroma.std() == pytest.approx(np.hypot(0.5 * gauss_sigma, 12**-0.5), rel=0.03)
    assert abs(y.mean()) < 0.1
    assert not np.array_equal(u, v)
    if smooth_sigma in (0.0, 1.0):
        assert abs(of_neighbours(y)) < 0.02 if not smooth_sigma else of_neighbours(y) > 0.5


def test_light_of_few_photons_is_noisier_the_brighter_it_is() -> None:
    planes = even()
    for stripe, code in enumerate((40, 120, 200)):
        planes.y[80 * stripe : 80 * (stripe + 1)] = code
    y, u, _ = errors(soiled(planes, Dimness(poisson_gain=0.1, chroma_gain=0.5)), planes)
    variances = [y[80 * stripe : 80 * (stripe + 1)].var() - 1 / 12 for stripe in range(3)]
    assert variances == pytest.approx([4.0, 12.0, 20.0], rel=0.04)
    of_chroma = [u[40 * stripe + 1 : 40 * stripe + 39].var() - 1 / 12 for stripe in range(3)]
    assert of_chroma == pytest.approx([1.0, 3.0, 5.0], rel=0.08)


def test_both_kinds_of_noise_add_up_as_variances() -> None:
    planes = even(100)
    y, _, _ = errors(soiled(planes, Dimness(gauss_sigma=3.0, poisson_gain=0.07)), planes)
    assert y.var() == pytest.approx(9 + 7 + 1 / 12, rel=0.03)


def test_noise_follows_from_the_seed_and_is_another_in_each_picture() -> None:
    dimness = Dimness(gauss_sigma=4.0, smooth_sigma=0.5)
    one, again, other = (
        soil([even(), even()], dimness, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    for first, second in zip(one, again, strict=True):
        assert all(np.array_equal(*pair) for pair in zip(*map(parts, (first, second)), strict=True))
    assert not np.array_equal(one[0].y, other[0].y)
    apart = np.corrcoef([picture.y.ravel().astype(float) for picture in one])[0, 1]
    assert abs(apart) < 0.02


def parts(planes: Planes) -> tuple[Plane, Plane, Plane]:
    return planes.y, planes.u, planes.v


def test_where_nothing_is_asked_pictures_stay_as_they_are() -> None:
    frames = [coloured_texture(n, width=64, height=48, seed=1) for n in range(3)]
    kept = [planes.map(np.copy) for planes in frames]
    seen = soil(frames, Dimness(smooth_sigma=1.0), np.random.default_rng(0))
    for planes, before in zip(seen, kept, strict=True):
        assert all(np.array_equal(*pair) for pair in zip(parts(planes), parts(before), strict=True))


def test_noise_is_added_to_a_copy() -> None:
    planes = even()
    soiled(planes, Dimness(gauss_sigma=5.0))
    assert (planes.y == 110).all()
    assert (planes.u == 128).all()


def test_a_codec_comes_after_the_noise_and_keeps_the_order() -> None:
    frames = [coloured_texture(n, width=96, height=64, seed=1) for n in range(4)]
    sent, received = (
        soil(frames, Dimness(gauss_sigma=3.0, coding=coding), np.random.default_rng(0))
        for coding in (None, x264(28))
    )
    for seen, expected in zip(received, round_trip(sent, x264(28)), strict=True):
        assert all(np.array_equal(*pair) for pair in zip(parts(seen), parts(expected), strict=True))
    for number, planes in enumerate(received):
        near = [psnr_y(planes.y, frame.y, border=0) for frame in frames]
        assert np.argmax(near) == number
        assert not np.array_equal(planes.y, sent[number].y)


def test_flicker_changes_the_brightness_of_whole_pictures_alone() -> None:
    planes = coloured_texture(0, width=64, height=48, seed=1)
    planes.y[:4], planes.y[-4:] = 16, 200
    seen = flicker([planes] * 400, 0.02, np.random.default_rng(0))
    gains = []
    for one in seen:
        gain = (one.y[-1, 0] - 16) / 184
        expected = 16 + gain * (planes.y.astype(float) - 16)
        # All pixels alike, but for the rounding of each and of the gain.
        assert np.abs(one.y - expected).max() < 1.2
        assert (one.y[:4] == 16).all()
        assert np.array_equal(one.u, planes.u)
        assert np.array_equal(one.v, planes.v)
        gains.append(gain)
    assert np.mean(gains) == pytest.approx(1.0, abs=0.004)
    assert np.std(gains) == pytest.approx(0.02, rel=0.1)


def test_what_is_drawn_has_the_shares_of_the_recipe() -> None:
    recipe = NoiseDataRecipe(
        noise_share=0.6, smooth_noise_share=0.3, coded_share=0.5, flicker_share=0.2
    )
    rng = np.random.default_rng(0)
    drawn = [draw_dimness(recipe, rng) for _ in range(3000)]
    noisy = [one for one in drawn if one.gauss_sigma]
    assert len(noisy) / len(drawn) == pytest.approx(0.6, abs=0.03)
    assert all(bool(one.poisson_gain) == bool(one.gauss_sigma) for one in drawn)
    assert np.mean([one.smooth_sigma > 0 for one in noisy]) == pytest.approx(0.3, abs=0.03)
    assert np.mean([one.coding is not None for one in drawn]) == pytest.approx(0.5, abs=0.03)
    assert np.mean([one.flicker > 0 for one in drawn]) == pytest.approx(0.2, abs=0.03)
    # Weak noise is likelier than strong one: of u to the power of 1.5 the mean is 0.4.
    assert np.mean([one.gauss_sigma for one in noisy]) == pytest.approx(4.0, abs=0.2)
    assert max(one.gauss_sigma for one in noisy) < 10
    assert max(one.poisson_gain for one in noisy) < 0.1
    assert all(0.3 <= one.chroma_gain <= 1.2 for one in drawn)
    assert all(0.3 <= one.smooth_sigma <= 1.0 for one in drawn if one.smooth_sigma)
    assert all(0.005 <= one.flicker <= 0.02 for one in drawn if one.flicker)


@pytest.mark.parametrize("name", ["noise", "coded", "flicker"])
def test_shares_of_nothing_and_all_are_kept(name: str) -> None:
    nothing = NoiseDataRecipe(noise_share=0.0, coded_share=0.0, flicker_share=0.0)
    rng = np.random.default_rng(0)
    for share in (0.0, 1.0):
        recipe = replace(nothing, **{f"{name}_share": share})  # type: ignore[arg-type]
        drawn = [draw_dimness(recipe, rng) for _ in range(200)]
        expected = dict.fromkeys(("noise", "coded", "flicker"), 0.0) | {name: share}
        assert expected == {
            "noise": np.mean([one.gauss_sigma > 0 for one in drawn]),
            "coded": np.mean([one.coding is not None for one in drawn]),
            "flicker": np.mean([one.flicker > 0 for one in drawn]),
        }


def test_cameras_send_four_codecs_in_their_shares() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_camera_coding(rng) for _ in range(3000)]
    counted = Counter(coding.codec for coding in drawn)
    for codec, share in {"libx264": 0.5, "mjpeg": 0.3, "libvpx": 0.1, "libx265": 0.1}.items():
        assert counted[codec] / len(drawn) == pytest.approx(share, abs=0.03)
    qualities = {
        codec: [coding.quality for coding in drawn if coding.codec == codec] for codec in counted
    }
    assert (min(qualities["libx264"]), max(qualities["libx264"])) == (12, 33)
    assert (min(qualities["mjpeg"]), max(qualities["mjpeg"])) == (2, 12)
