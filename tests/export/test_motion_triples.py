"""Triples in a cache: made once, always the same, and changed with what is told of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from export.data.clips import Split, find_data
from export.data.motion_recipe import MotionDataRecipe
from export.data.motion_triples import TRIPLES, Patch, TripleCache, Triples, open_triples
from export.motion_inputs import network_inputs
from streamer.errors import ConfigError
from streamer.ops.motion import FlowEstimator, half
from tests.export.tiny import moving_texture, opened_at_once, write_clips

Bytes = NDArray[np.uint8]

SMALL = MotionDataRecipe(
    validation=("beta",),
    patch=64,
    longest_sides=(160,),
    segments_per_clip=4,
    segment_frames=7,
    triples_per_segment=4,
    max_skip=1,
    coded_share=0.5,
    noise_share=0.5,
    scenes=0,
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("motion"), frames=12)


def open_small(
    folder: Path,
    clips: Path,
    recipe: MotionDataRecipe = SMALL,
    *,
    task: str = "interpolation",
    spoken: list[str] | None = None,
) -> TripleCache:
    split = find_data(clips, validation=recipe.validation)
    report = (lambda line: None) if spoken is None else spoken.append
    return open_triples(split, recipe, task=task, folder=folder, report=report)


def test_a_cache_of_triples_is_made_once(clips: Path, tmp_path: Path) -> None:
    spoken: list[str] = []
    for _ in range(2):
        cache = open_small(tmp_path, clips, spoken=spoken)
    assert [line.split(": ")[1] for line in spoken] == ["alpha_1.mp4", "alpha_2.mp4"]
    contents = json.loads((cache.folder / "contents.json").read_text())
    assert [name for name, _ in contents["files"]] == ["alpha_1.mp4", "alpha_2.mp4"]
    assert len(cache) > 8
    triples = cache.sample(np.random.default_rng(0), 16, 48)
    assert triples.luma.shape == (16, 3, 48, 48)
    assert triples.luma.dtype == np.uint8
    assert triples.pictures.shape == (16, 6, 24, 24)
    assert triples.motion.shape == (16, 5, 12, 12)
    assert triples.guide.shape == (16, 6, 12, 12)
    assert all(part.dtype == np.float32 for part in triples[1:])


def test_other_images_make_another_cache_where_scenes_are_made_of_them(
    clips: Path, tmp_path: Path
) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (640, 640, 3), np.uint8)
    images = tmp_path / "one.png", tmp_path / "two.png"
    assert all(cv2.imwrite(str(image), picture) for image in images)
    split = find_data(clips, validation=SMALL.validation)
    caches = [
        open_triples(
            replace(split, images=images[:count]),
            replace(SMALL, segments_per_clip=1, scenes=scenes),
            task="interpolation",
            folder=tmp_path,
            report=lambda line: None,
        ).folder
        for scenes in (0, 1)
        for count in (1, 2)
    ]
    assert caches[0] == caches[1]
    assert len(set(caches)) == 3


@pytest.mark.parametrize("task", TRIPLES)
def test_what_is_wanted_lies_between_or_after(clips: Path, tmp_path: Path, task: str) -> None:
    for first, second, wanted in TRIPLES[task]:
        assert 0 <= first < second <= 4
        is_between = first < wanted < second
        assert is_between == (task == "interpolation")
        assert is_between or second < wanted <= 4
    triples = open_small(tmp_path, clips, task=task).sample(np.random.default_rng(0), 16, 64)
    times = triples.motion[:, 4]
    assert (times == times[:, :1, :1]).all()
    assert ((times > 0) & (times < 1)).all() if task == "interpolation" else (times > 1).all()


def test_only_damaged_pictures_differ_from_what_they_were(clips: Path, tmp_path: Path) -> None:
    # A camera that stands: where nothing is damaged, what moves evenly is between its neighbours.
    shares = {"camera_share": 0.0, "coded_share": 0.0, "noise_share": 0.0}
    differences = []
    for damage in ({}, {"noise_share": 1.0}):
        recipe = replace(SMALL, **{**shares, **damage})  # type: ignore[arg-type]
        luma = open_small(tmp_path, clips, recipe).sample(np.random.default_rng(1), 16, 64).luma
        grain = cv2.Laplacian(luma[:, 0].reshape(-1, 64), cv2.CV_32F).std()
        clean = cv2.Laplacian(luma[:, 2].reshape(-1, 64), cv2.CV_32F).std()
        differences.append(grain / clean)
    assert differences[0] == pytest.approx(1.0, abs=0.1)
    assert differences[1] > 1.5


def test_samples_follow_from_the_seed_and_other_settings_go_elsewhere(
    clips: Path, tmp_path: Path
) -> None:
    cache = open_small(tmp_path, clips)
    one, same = (cache.sample(np.random.default_rng(4), 8, 32) for _ in range(2))
    again = open_small(tmp_path / "again", clips).sample(np.random.default_rng(4), 8, 32)
    for name in Triples._fields:
        for other in (same, again):
            assert np.array_equal(getattr(one, name), getattr(other, name))
    assert open_small(tmp_path, clips, replace(SMALL, seed=2)).folder != cache.folder
    assert open_small(tmp_path, clips, task="prediction").folder != cache.folder


def patch_of(first: Bytes, second: Bytes, time: float) -> Patch:
    """A whole picture as a patch; the one that is wanted plays no part."""
    packed = network_inputs()
    small = half(first), half(second)
    packed.fill(small, FlowEstimator().between(*small), time)
    pictures, motion, guide = (packed.arrays[name][0] for name in ("pictures", "motion", "guide"))
    return Patch(
        luma=np.stack([first, second, first]),
        warped=pictures[:4],
        maps=np.concatenate([motion[:4], guide]),
        time=time,
    )


@pytest.mark.parametrize("change", ["mirrored", "upside_down", "turned", "reversed"])
def test_a_changed_patch_is_that_of_changed_pictures(change: str) -> None:
    first, second = (moving_texture(n, width=128, height=128, seed=4).y for n in (0, 2))
    patch = getattr(patch_of(first, second, 0.25), change)()
    expected = patch_of(patch.luma[0], patch.luma[1], patch.time)
    assert patch.time == (0.75 if change == "reversed" else 0.25)
    # The search does not err in the same way everywhere; edges are guesses.
    for one, other in ((patch.warped, expected.warped), (patch.maps, expected.maps)):
        apart = np.abs(one - other)[:, 8:-8, 8:-8]
        assert np.median(apart, axis=(1, 2)).max() < 0.05
    seen, wanted = patch.inputs(), expected.inputs()
    for name in Triples._fields:
        assert getattr(seen, name).shape == getattr(wanted, name).shape
    speeds = np.median(patch.maps[:, 8:-8, 8:-8], axis=(1, 2))
    # Five pixels right and three up, in cells of four.
    across, down = {"mirrored": (-1, 1), "upside_down": (1, -1), "reversed": (-1, -1)}.get(
        change, (1, 1)
    )
    wanted_speed = (1.25 * across, -0.75 * down)
    if change == "turned":
        wanted_speed = wanted_speed[1], wanted_speed[0]
    assert np.allclose(speeds[:4], [*wanted_speed, *wanted_speed], atol=0.05)


def test_the_largest_crop_is_the_whole_patch(clips: Path, tmp_path: Path) -> None:
    cache = open_small(tmp_path, clips)
    assert cache.sample(np.random.default_rng(0), 2, 64).luma.shape == (2, 3, 64, 64)
    for crop in (68, 30):
        with pytest.raises(ConfigError, match=f"crop is {crop}"):
            cache.sample(np.random.default_rng(0), 2, crop)


def test_an_interrupted_cache_is_made_again(clips: Path, tmp_path: Path) -> None:
    cache = open_small(tmp_path, clips)
    (cache.folder / "contents.json").unlink()
    (cache.folder / "luma.npy").write_bytes(b"half")
    assert len(open_small(tmp_path, clips)) == len(cache)


def test_two_trainings_that_begin_at_once_share_one_cache(clips: Path, tmp_path: Path) -> None:
    split = find_data(clips, validation=SMALL.validation)
    caches, first, second = opened_at_once(
        lambda report: open_triples(
            split, SMALL, task="interpolation", folder=tmp_path, report=report
        )
    )
    assert len(first) == len(split.training)
    assert second == [f"waits for {caches[0].folder.name}, which another run makes"]
    one, other = (cache.sample(np.random.default_rng(0), 8, 48).luma for cache in caches)
    assert np.array_equal(one, other)


def test_a_corrupt_clip_is_named(clips: Path, tmp_path: Path) -> None:
    broken = tmp_path / "gamma_1.mp4"
    broken.write_bytes(b"not a clip")
    split = find_data(clips, validation=["beta"])
    split = Split(training=(*split.training, broken), validation=(), images=())
    with pytest.raises(ConfigError, match=r"gamma_1\.mp4"):
        open_triples(split, SMALL, task="prediction", folder=tmp_path, report=lambda line: None)


def test_a_folder_without_clips_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no training clips"):
        open_small(tmp_path / "cache", tmp_path)


def test_clips_too_small_for_a_patch_say_so(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lower data\.patch"):
        open_small(tmp_path, clips, replace(SMALL, patch=136, longest_sides=(160,)))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("patch", 36),
        ("longest_sides", ()),
        ("longest_sides", (100,)),
        ("segment_frames", 4),
        ("camera_share", 1.5),
        ("max_skip", 0),
        ("scenes", -1),
    ],
)
def test_impossible_settings_are_named(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"data\.{key}"):
        MotionDataRecipe(**{key: value})  # type: ignore[arg-type]
