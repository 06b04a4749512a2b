"""Runs in a cache: what noisy pictures were, where things came from, and eight ways to turn both."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from export.data.clips import Split, find_data
from export.data.noisy_runs import OF_CLIPS, open_runs, shrunk
from export.data.planes import Planes
from export.data.run_recipe import NoiseDataRecipe
from export.data.runs import NAMES, RunCache, Runs
from export.networks.super_resolution import pack, unpack
from export.tasks.runs import brought
from streamer.errors import ConfigError
from tests.export.tiny import (
    STEP,
    coloured_texture,
    opened_at_once,
    tiny_denoise_recipe,
    write_clips,
)

SMALL = tiny_denoise_recipe(data={"segments_per_clip": 2, "run": 3}).data
UNDAMAGED = replace(SMALL, noise_share=0.0, coded_share=0.0, flicker_share=0.0)

Bytes = NDArray[np.uint8]
WAYS = list(itertools.product(range(4), (False, True)))
"""Quarters to the left, and whether the result is mirrored then."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("noisy")
    return write_clips(folder, frames=12, first_seed=1, picture=coloured_texture)


@pytest.fixture(scope="module")
def undamaged(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> RunCache:
    return open_small(tmp_path_factory.mktemp("undamaged"), clips, UNDAMAGED)


def open_small(
    folder: Path,
    clips: Path,
    recipe: NoiseDataRecipe = SMALL,
    *,
    spoken: list[str] | None = None,
) -> RunCache:
    split = find_data(clips, validation=recipe.validation)
    report = (lambda line: None) if spoken is None else spoken.append
    return open_runs(split, recipe, folder=folder, report=report)


def stored(cache: RunCache) -> Runs:
    """All runs, as they were made."""
    return Runs(**{name: np.load(cache.folder / f"{name}.npy") for name in NAMES})


def followed(
    pictures: tuple[Bytes, Bytes], back: NDArray[np.float16], *, step: int = 0
) -> Pictures:
    """Pictures of runs, brought to where things are in the one after, in code values."""
    y, uv = (torch.from_numpy(np.ascontiguousarray(part[:, step])) for part in pictures)
    flow = torch.from_numpy(np.ascontiguousarray(back[:, step])).float()
    luma, chroma = unpack(brought(pack(y[:, None], uv), flow), scale=1)
    return luma[:, 0].numpy() * 219 + 16, chroma.numpy() * 224 + 128


Pictures = tuple[NDArray[np.float32], NDArray[np.float32]]


def test_a_cache_of_runs_is_made_once(clips: Path, tmp_path: Path) -> None:
    spoken: list[str] = []
    for _ in range(2):
        cache = open_small(tmp_path, clips, spoken=spoken)
    # Two clips, two stretches of each, six places in each of these.
    assert spoken == ["runs 12: alpha_1.mp4", "runs 24: alpha_2.mp4"]
    assert len(cache) == 24
    contents = json.loads((cache.folder / "contents.json").read_text())
    assert [name for name, _ in contents["files"]] == ["alpha_1.mp4", "alpha_2.mp4"]
    runs = cache.sample(np.random.default_rng(0), 5)
    assert runs.noisy_y.shape == runs.clean_y.shape == (5, 3, 32, 32)
    assert runs.noisy_uv.shape == runs.clean_uv.shape == (5, 3, 2, 16, 16)
    assert runs.back.shape == (5, 2, 16, 16, 2)
    kinds = [getattr(runs, name).dtype for name in NAMES]
    assert kinds == [np.uint8] * 4 + [np.float16]


def test_runs_follow_from_the_seed_and_other_settings_go_elsewhere(
    clips: Path, tmp_path: Path
) -> None:
    cache = open_small(tmp_path, clips)
    one, same = (cache.sample(np.random.default_rng(4), 8) for _ in range(2))
    again = open_small(tmp_path / "again", clips).sample(np.random.default_rng(4), 8)
    for name in NAMES:
        for other in (same, again):
            assert np.array_equal(getattr(one, name), getattr(other, name))
    reseeded = open_small(tmp_path, clips, replace(SMALL, seed=2))
    assert reseeded.folder != cache.folder
    assert not np.array_equal(stored(reseeded).clean_y, stored(cache).clean_y)


def test_without_noise_and_codec_pictures_are_what_they_were(undamaged: RunCache) -> None:
    runs = stored(undamaged)
    assert np.array_equal(runs.noisy_y, runs.clean_y)
    assert np.array_equal(runs.noisy_uv, runs.clean_uv)
    # Neither is empty, nor the same picture all the time.
    assert runs.clean_y.std() > 10
    assert runs.clean_uv.std() > 10
    assert np.abs(np.diff(runs.clean_y.astype(int), axis=1)).mean() > 2


def test_noise_is_in_what_arrives_and_not_in_what_it_was(clips: Path, tmp_path: Path) -> None:
    runs = stored(open_small(tmp_path, clips, replace(UNDAMAGED, noise_share=1.0)))
    noisy, clean = runs.noisy_y.astype(float), runs.clean_y.astype(float)
    # What each is beside is its own picture, not its neighbour in time.
    own, others = np.abs(noisy - clean).mean(), np.abs(noisy - np.roll(clean, 1, axis=1)).mean()
    assert 1 < own < 0.7 * others
    assert abs((noisy - clean).mean()) < 0.2
    grain = [cv2.Laplacian(part[:, 0].reshape(-1, 32), cv2.CV_64F).std() for part in (noisy, clean)]
    assert grain[0] > 1.2 * grain[1]
    assert 1 < np.abs(runs.noisy_uv.astype(float) - runs.clean_uv).mean() < 10


def standing(index: int, *, width: int, height: int, seed: int) -> Planes:
    """The same picture all the time."""
    del index
    return coloured_texture(0, width=width, height=height, seed=seed)


def test_flicker_is_how_things_are(tmp_path: Path) -> None:
    clips = write_clips(tmp_path, frames=6, picture=standing)
    wavering = []
    for share in (0.0, 1.0):
        recipe = replace(UNDAMAGED, flicker_share=share)
        runs = stored(open_small(tmp_path / "cache", clips, recipe))
        assert np.array_equal(runs.noisy_y, runs.clean_y)
        assert np.array_equal(runs.noisy_uv, runs.clean_uv)
        wavering.append(np.abs(np.diff(runs.clean_y.mean(axis=(2, 3)), axis=1)).mean())
    # Of about 110 codes above black at least half a percent.
    assert wavering[0] < 0.1
    assert wavering[1] > 0.5


def test_motion_leads_back_to_where_things_were(undamaged: RunCache) -> None:
    runs = stored(undamaged)
    speeds = np.median(runs.back.astype(float), axis=(1, 2, 3))
    # Things go right and up, so they come from the left and from below. In pixels of half of what
    # was shrunk by 1.5 to 2.5.
    for axis, step in enumerate(STEP):
        expected = [-step / factor / 2 for factor in OF_CLIPS]
        apart = np.abs(speeds[:, axis, None] - expected).min(axis=1)
        assert apart.max() < 0.1
    seen, wanted = followed((runs.clean_y, runs.clean_uv), runs.back), runs.clean_y[:, 1]
    there = np.abs(seen[0] - wanted)[:, 8:-8, 8:-8].mean()
    stood = np.abs(runs.clean_y[:, 0].astype(float) - wanted)[:, 8:-8, 8:-8].mean()
    wrong = followed((runs.clean_y, runs.clean_uv), -runs.back)[0]
    assert there < 0.3 * stood < 0.3 * np.abs(wrong - wanted)[:, 8:-8, 8:-8].mean()
    of_colour = [
        np.abs(picture - runs.clean_uv[:, 1])[..., 4:-4, 4:-4].mean()
        for picture in (seen[1], runs.clean_uv[:, 0].astype(float))
    ]
    assert of_colour[0] < 0.3 * of_colour[1]


def swaying(index: int, *, width: int, height: int, seed: int) -> Planes:
    """The left stands; the right goes on by one step and back again."""
    standing, moved = (
        coloured_texture(n, width=width, height=height, seed=seed) for n in (0, 2 * (index % 2))
    )
    for plane, other in ((standing.y, moved.y), (standing.u, moved.u), (standing.v, moved.v)):
        plane[:, plane.shape[1] // 2 :] = other[:, plane.shape[1] // 2 :]
    return standing


def test_motion_is_that_of_the_place_and_the_picture(tmp_path: Path) -> None:
    clips = write_clips(tmp_path, frames=12, first_seed=1, picture=swaying)
    recipe = replace(UNDAMAGED, segments_per_clip=1, segment_frames=12, patches_per_segment=40)
    runs = stored(open_small(tmp_path / "cache", clips, recipe))
    clean = runs.clean_y.astype(float)
    for step in (0, 1):
        seen, _ = followed((runs.clean_y, runs.clean_uv), runs.back, step=step)
        there, stood = (
            np.abs(picture - clean[:, step + 1])[:, 8:-8, 8:-8].mean(axis=(1, 2))
            for picture in (seen, clean[:, step])
        )
        moves, stands = stood > 0.7 * stood.max(), stood < 1
        assert min(moves.sum(), stands.sum()) > 5
        # Flow leads a little beyond what moves.
        assert there[stands].mean() < 0.02 * stood[moves].mean()
        assert there[moves].mean() < 0.3 * stood[moves].mean()
        # It goes to and fro.
        across = np.median(runs.back[moves, step, ..., 0], axis=(1, 2))
        assert min((across > 0.3).sum(), (across < -0.3).sum()) > 2


def turned(picture: NDArray[Any], *, turns: int, is_mirrored: bool) -> NDArray[Any]:
    """The pictures in the last two axes, a quarter to the left at a time, then left for right."""
    for _ in range(turns):
        picture = picture.swapaxes(-1, -2)[..., ::-1, :]
    return picture[..., ::-1] if is_mirrored else picture


def samples(cache: RunCache, made: Runs) -> Iterator[tuple[tuple[int, bool], int, Runs]]:
    """Which way a sample was turned, and which of the runs it is."""
    for seed in range(60):
        runs = cache.sample(np.random.default_rng(seed), 1)
        found = [
            (way, number)
            for way in WAYS
            for number, picture in enumerate(turned(made.noisy_y, turns=way[0], is_mirrored=way[1]))
            if np.array_equal(picture, runs.noisy_y[0])
        ]
        ((way, number),) = {way: (way, number) for way, number in found}.values()
        yield way, number, runs


def test_all_eight_ways_turn_pictures_and_motion_alike(undamaged: RunCache) -> None:
    made, seen = stored(undamaged), set()
    for (turns, is_mirrored), number, runs in samples(undamaged, made):
        seen.add((turns, is_mirrored))
        alone = Runs(**{name: getattr(made, name)[number : number + 1] for name in NAMES})
        for name in NAMES[:4]:
            expected = turned(getattr(alone, name), turns=turns, is_mirrored=is_mirrored)
            assert np.array_equal(getattr(runs, name), expected)
        # Moved first and turned after is as turned first and moved after.
        before = followed((alone.noisy_y, alone.noisy_uv), alone.back)
        after = followed((runs.noisy_y, runs.noisy_uv), runs.back)
        for moved, expected in zip(after, before, strict=True):
            wanted = turned(expected, turns=turns, is_mirrored=is_mirrored)
            np.testing.assert_allclose(moved, wanted, atol=0.01)
        assert np.abs(after[0] - runs.noisy_y[:, 0]).mean() > 1
    assert seen == set(WAYS)


def test_images_become_runs_through_a_window(clips: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "train_images").mkdir(parents=True)
    (data / "train_video").symlink_to(clips / "train_video")
    picture = coloured_texture(0, width=320, height=240, seed=7).y
    cv2.imwrite(str(data / "train_images" / "still.png"), picture)
    spoken: list[str] = []
    recipe = replace(UNDAMAGED, image_segments=6, patches_per_segment=3)
    runs = stored(open_small(tmp_path / "cache", data, recipe, spoken=spoken))
    assert spoken[-1] == "runs 30: still.png"
    assert np.array_equal(runs.noisy_y, runs.clean_y)
    moves = np.abs(np.diff(runs.clean_y[-18:].astype(int), axis=1)).mean(axis=(1, 2, 3))
    assert moves.max() > 1
    # As if there were none.
    assert len(open_small(tmp_path / "cache", data, UNDAMAGED)) == 24


@pytest.mark.parametrize("factor", [1.0, 1.5, 2.5])
def test_shrunk_pictures_have_sides_that_can_be_halved_twice(factor: float) -> None:
    planes = shrunk(coloured_texture(0, width=166, height=130, seed=1), factor)
    assert planes.y.shape == {1.0: (128, 164), 1.5: (84, 108), 2.5: (52, 64)}[factor]
    assert planes.u.shape == planes.v.shape == (planes.height // 2, planes.width // 2)


@pytest.mark.parametrize("change", [{"run": 16, "segment_frames": 16}, {"patch": 128}], ids=str)
def test_clips_too_short_or_too_small_say_so_and_leave_nothing(
    clips: Path, tmp_path: Path, change: dict[str, int]
) -> None:
    recipe = replace(SMALL, **change)  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as refusal:
        open_small(tmp_path, clips, recipe)
    assert str(refusal.value) == (
        f"no clip is long and large enough for {recipe.run} patches of {recipe.patch} pixels: lower "
        "data.run or data.patch, or add other clips"
    )
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_a_picture_of_a_few_pixels_is_passed_over(clips: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "train_images").mkdir(parents=True)
    (data / "train_video").symlink_to(clips / "train_video")
    cv2.imwrite(str(data / "train_images" / "dot.png"), np.full((6, 6, 3), 90, np.uint8))
    recipe = replace(SMALL, image_segments=4)
    assert len(open_small(tmp_path / "cache", data, recipe)) == 24


def test_nothing_is_left_of_a_building_that_was_broken_off(clips: Path, tmp_path: Path) -> None:
    split = find_data(clips, validation=SMALL.validation)

    def interrupt(line: str) -> None:
        raise KeyboardInterrupt(line)

    with pytest.raises(KeyboardInterrupt, match=r"runs 12: alpha_1\.mp4"):
        open_runs(split, SMALL, folder=tmp_path, report=interrupt)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]
    assert len(open_small(tmp_path, clips)) == 24


def test_two_trainings_that_begin_at_once_share_one_cache(clips: Path, tmp_path: Path) -> None:
    split = find_data(clips, validation=SMALL.validation)
    caches, first, second = opened_at_once(
        lambda report: open_runs(split, SMALL, folder=tmp_path, report=report)
    )
    assert len(first) == len(split.training)
    assert second == [f"waits for {caches[0].folder.name}, which another run makes"]
    one, other = (cache.sample(np.random.default_rng(0), 8).noisy_y for cache in caches)
    assert np.array_equal(one, other)


def test_a_corrupt_clip_is_named(clips: Path, tmp_path: Path) -> None:
    broken = tmp_path / "gamma_1.mp4"
    broken.write_bytes(b"not a clip")
    split = find_data(clips, validation=["beta"])
    split = Split(training=(*split.training, broken), validation=(), images=())
    with pytest.raises(ConfigError, match=r"gamma_1\.mp4"):
        open_runs(split, SMALL, folder=tmp_path, report=lambda line: None)
