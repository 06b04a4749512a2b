"""Clips become pairs: splits, kernels, codecs and the cache."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from export.data.clips import find_data, read_clip, read_image, read_provenance
from export.data.codec import Coding, round_trip
from export.data.degrade import Treatment, damage, draw_treatment
from export.data.patches import open_cache
from export.data.planes import Planes, from_i420, to_i420, upscale
from export.data.resample import KERNELS, shrink, weights
from export.data.stills import open_stills
from export.recipe import PairRecipe
from export.tasks.super_resolution import prepare
from export.validation import psnr_y
from streamer.errors import ConfigError
from tests.export.tiny import moving_picture, opened_at_once


def test_planes_survive_the_way_through_i420() -> None:
    planes = moving_picture(0, width=20, height=12, seed=0)
    again = from_i420(to_i420(planes))
    assert all(
        np.array_equal(getattr(planes, name), getattr(again, name)) for name in ("y", "u", "v")
    )


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel_keeps_a_flat_picture_flat(kernel: str) -> None:
    assert np.allclose(weights(97, 40, kernel).sum(axis=1), 1.0, atol=1e-5)
    flat = np.full((60, 90), 77, np.uint8)
    assert np.allclose(shrink(flat, height=30, width=45, kernel=kernel), 77.0, atol=1e-3)


def test_the_area_kernel_is_opencvs(noise: NDArray[np.uint8]) -> None:
    expected = cv2.resize(noise.astype(np.float32), (24, 18), interpolation=cv2.INTER_AREA)
    assert np.allclose(shrink(noise, height=18, width=24, kernel="area"), expected, atol=1e-3)


@pytest.mark.parametrize("kernel", KERNELS)
def test_no_kernel_moves_the_picture(kernel: str) -> None:
    ramp = np.tile(np.arange(64, dtype=np.uint8) * 3, (16, 1))
    shrunk = shrink(ramp, height=8, width=32, kernel=kernel)
    centres = (np.arange(32) + 0.5) * 2 - 0.5
    assert np.allclose(shrunk[:, 4:-4], (centres * 3)[None, 4:-4], atol=1e-3)


@pytest.mark.parametrize(
    "coding",
    [
        Coding(codec="libx264", quality=28),
        Coding(codec="libx265", quality=28),
        Coding(codec="libvpx", quality=30),
        Coding(codec="mjpeg", quality=6),
    ],
    ids=lambda coding: coding.codec,
)
def test_a_codec_damages_frames_but_keeps_their_number_and_order(coding: Coding) -> None:
    frames = [moving_picture(index, width=96, height=64, seed=1) for index in range(5)]
    coded = round_trip(frames, coding)
    assert len(coded) == len(frames)
    for index, frame in enumerate(frames):
        own = psnr_y(coded[index].y, frame.y, border=0)
        others = [psnr_y(coded[index].y, f.y, border=0) for f in frames if f is not frame]
        assert max(others) < own < 99.0


def test_treatments_are_drawn_in_the_recipes_shares(recipe: PairRecipe) -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_treatment(recipe.data, rng, scale=2) for _ in range(2000)]
    clean = sum(treatment.coding is None for treatment in drawn) / len(drawn)
    blurred = sum(treatment.blur_sigma > 0 for treatment in drawn) / len(drawn)
    assert clean == pytest.approx(recipe.data.clean_share, abs=0.04)
    assert blurred == pytest.approx(recipe.data.blur_share, abs=0.04)


def test_without_enlargement_a_codec_is_all_that_is_to_be_undone(recipe: PairRecipe) -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_treatment(recipe.data, rng, scale=1) for _ in range(2000)]
    clean = sum(treatment.coding is None for treatment in drawn) / len(drawn)
    assert clean == pytest.approx(recipe.data.clean_share, abs=0.04)
    # Otherwise an undamaged picture with noise or blur in it would be changed.
    assert not any(t.blur_sigma or t.gauss_sigma or t.poisson_gain for t in drawn)
    grainy = sum(treatment.grain_sigma > 0 for treatment in drawn) / len(drawn)
    assert grainy == pytest.approx(recipe.data.noise_share, abs=0.04)


def test_grain_is_in_the_original_as_in_what_is_coded() -> None:
    frames = [moving_picture(0, width=96, height=64, seed=0)]
    rng = np.random.default_rng(0)
    small, large = damage(frames, Treatment(grain_sigma=3.0), scale=1, rng=rng)
    assert np.array_equal(small[0].y, large[0].y)
    assert np.std(large[0].y.astype(float) - frames[0].y) == pytest.approx(3.0, abs=0.3)


def test_sharpening_shrinks_the_original_and_keeps_the_scale() -> None:
    frames = [moving_picture(0, width=160, height=128, seed=0)]
    rng = np.random.default_rng(0)
    small, large = damage(frames, Treatment(sharpening=1.5), scale=2, rng=rng)
    assert (large[0].height, large[0].width) == (84, 104)
    assert (small[0].height, small[0].width) == (42, 52)


def test_scenes_are_held_out_by_name(data_folder: Path) -> None:
    split = find_data(data_folder, validation=["beta"])
    assert [path.name for path in split.training] == ["alpha_1.mp4", "alpha_2.mp4"]
    assert [path.name for path in split.validation] == ["beta_1.mp4"]


def test_a_held_out_name_that_fits_no_clip_is_an_error(data_folder: Path) -> None:
    with pytest.raises(ConfigError, match="'gamma'"):
        find_data(data_folder, validation=["gamma"])


def test_clips_are_read_in_order_and_cut_to_a_multiple(data_folder: Path) -> None:
    frames = list(read_clip(data_folder / "train_video" / "alpha_1.mp4", multiple=12))
    assert len(frames) == 6
    assert (frames[0].height, frames[0].width) == (120, 156)
    expected = moving_picture(5, width=160, height=128, seed=0).y[:120, :156]
    assert psnr_y(frames[5].y, expected, border=0) > 30


def test_files_that_are_no_pictures_are_named(tmp_path: Path) -> None:
    clip, image = tmp_path / "broken.mp4", tmp_path / "broken.png"
    clip.write_bytes(b"not a clip")
    image.write_bytes(b"not an image")
    with pytest.raises(ConfigError, match=r"broken\.mp4"):
        list(read_clip(clip, multiple=2))
    with pytest.raises(ConfigError, match=r"broken\.png"):
        read_image(image, multiple=2)


def write_odd(path: Path, frames: list[Planes], *, width: int, height: int) -> None:
    """A lossless clip of the pictures' top left part with odd sides."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for planes in frames:
            frame = av.VideoFrame(width, height, "yuv420p")
            for ours, plane in zip((planes.y, planes.u, planes.v), frame.planes, strict=True):
                lines = np.zeros((plane.height, plane.line_size), np.uint8)
                lines[:, : plane.width] = ours[: plane.height, : plane.width]
                plane.update(lines.tobytes())
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_odd_sides_are_cut_and_not_scaled(tmp_path: Path) -> None:
    picture = moving_picture(0, width=64, height=48, seed=0)
    write_odd(tmp_path / "odd.mkv", [picture], width=61, height=47)
    (read,) = read_clip(tmp_path / "odd.mkv", multiple=2)
    assert np.array_equal(read.y, picture.y[:46, :60])
    assert np.array_equal(read.u, picture.u[:23, :30])
    assert np.array_equal(read.v, picture.v[:23, :30])


def test_what_is_too_small_for_any_picture_is_named(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "dot.png"), np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(ConfigError, match=r"dot\.png is 1x1, .* at least 2"):
        read_image(tmp_path / "dot.png", multiple=2)
    picture = moving_picture(0, width=4, height=2, seed=0)
    write_odd(tmp_path / "small.mkv", [picture], width=4, height=2)
    with pytest.raises(ConfigError, match=r"small\.mkv is 4x2, .* at least 4"):
        list(read_clip(tmp_path / "small.mkv", multiple=4))


def test_a_recording_that_ends_before_its_first_picture_is_named(tmp_path: Path) -> None:
    whole, begun = tmp_path / "whole.mkv", tmp_path / "begun.mkv"
    write_odd(whole, [moving_picture(0, width=64, height=48, seed=0)] * 3, width=64, height=48)
    blob = whole.read_bytes()
    cluster = b"\x1f\x43\xb6\x75"
    begun.write_bytes(blob[: blob.index(cluster) + 40])
    with pytest.raises(ConfigError, match=r"begun\.mkv holds no frames"):
        list(read_clip(begun, multiple=2))


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "train_video").mkdir()
    (tmp_path / "train_video" / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    with pytest.raises(ConfigError, match=r"gone\.mp4 is a link to nothing"):
        find_data(tmp_path, validation=[])


@pytest.mark.parametrize(("side", "usable"), [(5, 0), (40, 3)])
def test_pictures_too_small_for_a_patch_are_passed_over(
    data_folder: Path, recipe: PairRecipe, tmp_path: Path, side: int, usable: int
) -> None:
    split = find_data(data_folder, validation=["beta"])
    small = tmp_path / "small.png"
    assert cv2.imwrite(str(small), np.full((side, side, 3), 90, np.uint8))
    split = replace(split, training=split.training[:1], images=(small,))
    settings = replace(recipe.data, image_segments=2)
    with_it = open_cache(split, settings, scale=2, folder=tmp_path, report=print)
    without = open_cache(
        replace(split, images=()), settings, scale=2, folder=tmp_path, report=print
    )
    assert len(with_it) == len(without)
    assert len(open_stills(split, patch=16, scale=2, report=print)) == 6 + usable


def test_provenance_comes_from_the_folders_manifest(data_folder: Path) -> None:
    known = read_provenance(data_folder / "train_video")
    assert known["alpha_1.mp4"]["licence"] == "CC0-1.0"


def test_a_cache_is_made_once_and_gives_matching_pairs(
    data_folder: Path, tmp_path: Path, recipe: PairRecipe
) -> None:
    split = find_data(data_folder, validation=recipe.data.validation)
    spoken: list[str] = []
    for _ in range(2):
        cache = open_cache(split, recipe.data, scale=2, folder=tmp_path, report=spoken.append)
    assert len(spoken) == len(split.training)
    assert len(cache) == 2 * 3 * 6

    small_y, small_uv, large_y, large_uv = cache.sample(np.random.default_rng(0), 8)
    assert small_y.shape == (8, 24, 24)
    assert small_uv.shape == (8, 2, 12, 12)
    assert large_y.shape == (8, 48, 48)
    assert large_uv.shape == (8, 2, 24, 24)
    means = large_y.reshape(8, 24, 2, 24, 2).mean(axis=(2, 4))
    assert np.abs(means - small_y).mean() < 12


def test_two_trainings_that_begin_at_once_share_one_cache(
    data_folder: Path, tmp_path: Path, recipe: PairRecipe
) -> None:
    split = find_data(data_folder, validation=recipe.data.validation)
    caches, first, second = opened_at_once(
        lambda report: open_cache(split, recipe.data, scale=2, folder=tmp_path, report=report)
    )
    assert len(first) == len(split.training)
    assert second == [f"waits for {caches[0].folder.name}, which another run makes"]
    one, other = (cache.sample(np.random.default_rng(0), 8) for cache in caches)
    assert all(np.array_equal(*parts) for parts in zip(one, other, strict=True))


def test_the_training_base_is_the_hosts_bicubic(noise: NDArray[np.uint8]) -> None:
    rng = np.random.default_rng(0)
    small_uv = rng.integers(0, 256, (1, 2, 18, 24), dtype=np.uint8)
    large_y = rng.integers(0, 256, (1, 72, 96), dtype=np.uint8)
    large_uv = rng.integers(0, 256, (1, 2, 36, 48), dtype=np.uint8)
    _, luma, chroma = prepare((noise[None], small_uv, large_y, large_uv))

    base_y = cv2.resize(noise, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    base_v = cv2.resize(small_uv[0, 1], None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    assert np.allclose(luma[0, 0].numpy() * 219 + base_y, large_y[0], atol=1e-3)
    assert np.allclose(chroma[0, 1].numpy() * 224 + base_v, large_uv[0, 1], atol=1e-3)


def test_the_measured_base_is_the_hosts_bicubic() -> None:
    planes = moving_picture(0, width=32, height=24, seed=2)
    expected = cv2.resize(planes.u, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    assert np.array_equal(upscale(planes, 3).u, expected)
