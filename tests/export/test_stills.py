"""Pairs without damage: sharp pictures and what a plain bicubic shrink leaves of them."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from export.data.clips import Split, find_data
from export.data.planes import Planes, upscale_plane
from export.data.stills import Still, StillPairs, open_stills, shrink_picture
from export.train import Place, train
from export.validation import psnr_y
from streamer.clock import ManualClock
from streamer.errors import ConfigError
from tests.export.tiny import tiny_clean_recipe
from tests.streamer.pictures import texture

Bytes = NDArray[np.uint8]


@pytest.fixture(scope="module")
def folder(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny clips and one colourful image, whose channels differ, soft enough to shrink twice."""
    folder = tmp_path_factory.mktemp("stills")
    shutil.copytree(data_folder / "train_video", folder / "train_video")
    (folder / "train_images").mkdir()
    channels = [texture(width=42, height=34, seed=seed) for seed in range(3)]
    image = cv2.resize(np.stack(channels, axis=-1), None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(folder / "train_images" / "image.png"), image)
    return folder


@pytest.fixture
def split(folder: Path) -> Split:
    return find_data(folder, validation=["beta"])


def stills(split: Split, *, patch: int = 24, scale: int = 2) -> StillPairs:
    return open_stills(split, patch=patch, scale=scale, report=lambda _: None)


def gains_db(small: Bytes, large: Bytes, *, scale: int) -> tuple[float, float]:
    """PSNR of the upscaled picture, and the best one of it shifted by two pixels."""
    enlarged = upscale_plane(np.ascontiguousarray(small), scale)
    shifts = [(2, 0), (-2, 0), (0, 2), (0, -2)]
    shifted = [psnr_y(np.roll(enlarged, by, (0, 1)), large, border=6) for by in shifts]
    return psnr_y(enlarged, large, border=6), max(shifted)


@pytest.mark.parametrize("scale", [2, 3])
def test_both_pictures_of_a_pair_show_the_same_place(split: Split, scale: int) -> None:
    only_images = replace(split, training=())
    pairs = stills(only_images, patch=20, scale=scale)
    seen = []
    # Enough draws for every way of turning and mirroring.
    for seed in range(24):
        small_y, small_uv, large_y, large_uv = pairs.sample(np.random.default_rng(seed), 2)
        assert large_y.shape == (2, 20 * scale, 20 * scale)
        seen += [gains_db(*pair, scale=scale) for pair in zip(small_y, large_y, strict=True)]
        for n in (0, 1):
            chroma = zip(small_uv[:, n], large_uv[:, n], strict=True)
            seen += [gains_db(*pair, scale=scale) for pair in chroma]
    aligned, shifted = np.array(seen).T
    assert aligned.min() > 34
    assert (aligned - shifted).min() > 4


def test_pairs_follow_from_the_seed(split: Split) -> None:
    first, again, other = (
        stills(split).sample(np.random.default_rng(seed), 4) for seed in (5, 5, 6)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[2], other[2])


def test_pairs_are_cut_where_there_is_detail() -> None:
    flat = np.full((192, 192), 120, np.uint8)
    flat[:, 144:] = texture(width=48, height=192, seed=1)
    grey = np.full((96, 96), 128, np.uint8)
    large = Planes(flat, grey, grey)
    pairs = StillPairs([Still(shrink_picture(large, 2), large)], patch=16, scale=2)
    cut = pairs.sample(np.random.default_rng(2), 200)[2]
    # 0.29 of all places show some of it, and of three at least one mostly does.
    assert 0.5 < np.mean(np.ptp(cut, axis=(1, 2)) > 0) < 0.8


def test_an_image_is_learnt_from_at_eight_sizes_and_a_clip_from_its_frames(split: Split) -> None:
    spoken: list[str] = []
    pairs = open_stills(split, patch=24, scale=2, report=spoken.append)
    assert len(pairs) == 8 + 6 * len(split.training)
    assert spoken == ["20 pictures in memory"]


def test_pictures_smaller_than_a_patch_are_left_out(split: Split) -> None:
    # The image at 136 to 97 rows holds 96 pixels; smaller sizes and frames at half do not.
    assert len(stills(split, patch=48)) == 4


def test_a_patch_larger_than_every_picture_is_an_error(split: Split) -> None:
    with pytest.raises(ConfigError) as refusal:
        stills(split, patch=100)
    assert str(refusal.value) == (
        "no picture is large enough for patches of 200 pixels: lower data.patch or add larger ones"
    )


def test_held_out_clips_are_not_even_opened(folder: Path, tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt"
    shutil.copytree(folder, spoilt)
    (spoilt / "train_video" / "beta_1.mp4").write_bytes(b"no clip")
    assert len(stills(find_data(spoilt, validation=["beta"]))) == 20
    with pytest.raises(ConfigError, match=r"beta_1\.mp4 cannot be decoded"):
        stills(find_data(spoilt, validation=["alpha_1"]))


def test_a_clean_recipe_trains_and_is_judged_on_undamaged_pictures(
    folder: Path, tmp_path: Path
) -> None:
    spoken: list[str] = []
    place = Place(data=folder, cache=tmp_path / "cache", work=tmp_path / "run", log_every=5)
    network = train(tiny_clean_recipe(), place, clock=ManualClock(), report=spoken.append)
    assert all(bool(value.isfinite().all()) for value in network.state_dict().values())
    assert spoken[0] == "20 pictures in memory"
    assert [line.split()[0] for line in spoken[1:]] == ["5/10", "10/10", "10"]
    assert re.fullmatch(r"10 clean [\d.]+ -> [\d.]+ \([+-][\d.]+ dB\)", spoken[-1])
    assert not place.cache.exists()
