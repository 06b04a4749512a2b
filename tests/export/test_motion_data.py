"""Motion data: exact truth of made-up scenes, cameras that move over clips, triples in a cache."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from export.data.clips import find_data
from export.data.motion import SceneSource, open_scenes
from export.data.motion_camera import Camera
from export.data.motion_clips import without_repeats
from export.data.motion_layers import Layer
from export.data.motion_paths import Path as LayerPath
from export.data.motion_paths import Wobble, placed
from export.data.motion_recipe import SceneRecipe
from export.data.motion_scene import Scene
from export.data.motion_shapes import Overlay, draw_overlay
from export.data.planes import Planes
from streamer.errors import ConfigError
from streamer.ops.motion import FlowEstimator
from tests.export.tiny import write_clips

Bytes = NDArray[np.uint8]

PURE = SceneRecipe(blur_share=0, flicker_share=0, overlay_share=0, noise_share=0, coded_share=0)


def textured(seed: int, side: int = 256) -> Bytes:
    """Smooth noise with detail at several sizes, as photographs have."""
    rng = np.random.default_rng(seed)
    total = np.full((side, side), 126.0)
    for cells, strength in ((6, 45.0), (16, 20.0), (40, 10.0)):
        coarse = rng.standard_normal((cells, cells))
        total += strength * cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return total.clip(16, 235).astype(np.uint8)


@pytest.fixture(scope="module")
def pictures() -> list[Bytes]:
    return [textured(seed) for seed in range(4)]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("motion"), frames=12)


def warped(picture: Bytes, flow: NDArray[np.float32]) -> Bytes:
    height, width = picture.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    places = (x + flow[..., 0], y + flow[..., 1])
    return np.asarray(cv2.remap(picture, *places, cv2.INTER_CUBIC), dtype=np.uint8)


def psnr(one: Bytes, other: Bytes, where: NDArray[np.bool_]) -> float:
    error = (one.astype(np.float64) - other)[where]
    return float(10 * np.log10(255**2 / max(1e-9, float((error**2).mean()))))


@pytest.mark.parametrize("wobble_share", [0.0, 1.0], ids=["rigid", "bent"])
def test_the_truth_warps_one_picture_onto_the_other(
    pictures: list[Bytes], wobble_share: float
) -> None:
    source = SceneSource(pictures, replace(PURE, wobble_share=wobble_share, still_share=0.0))
    runs = source.sample(
        np.random.default_rng(1), 12, 128, times=(0.0, 0.4, 1.0), pairs=((1, 0), (1, 2))
    )
    right, wrong = [], []
    for clean, flows, visibles in zip(runs.clean, runs.flow, runs.visible, strict=True):
        for other, flow, visible in zip((0, 2), flows, visibles, strict=True):
            assert visible.mean() > 0.3
            right.append(psnr(warped(clean[other], flow), clean[1], visible))
            wrong.append(psnr(warped(clean[other], -flow), clean[1], visible))
    assert min(right) > 35
    assert np.median(wrong) < np.median(right) - 12


def test_what_is_not_visible_cannot_be_warped(pictures: list[Bytes]) -> None:
    source = SceneSource(pictures, replace(PURE, max_speed=24.0, still_share=0.0))
    runs = source.sample(np.random.default_rng(2), 12, 128, times=(0.0, 2.0), pairs=((0, 1),))
    seen, hidden = [], []
    for clean, flow, visible in zip(runs.clean, runs.flow, runs.visible, strict=True):
        again = warped(clean[1], flow[0])
        seen.append(psnr(again, clean[0], visible[0]))
        hidden.append(psnr(again, clean[0], ~visible[0]))
    assert np.median(hidden) < np.median(seen) - 10


def box_scene(velocity: tuple[float, float] = (6.0, 0.0)) -> Scene:
    """A dark square of 16 pixels at (24, 24) at time 0 that moves over a standing bright wall."""
    still = LayerPath(base=np.eye(3), pivot=(0.0, 0.0))
    wall = Layer(luma=np.full((64, 64), 200, np.uint8), outline=None, path=still)
    outline = np.zeros((24, 24), np.uint8)
    outline[4:20, 4:20] = 255
    base = placed(texture=(4.0, 4.0), angle=0.0, size=1.0)
    path = LayerPath(base=base, pivot=(24.0, 24.0), velocity=velocity)
    box = Layer(luma=np.full((24, 24), 40, np.uint8), outline=outline, path=path)
    return Scene(size=(64, 64), layers=(wall, box))


def test_a_hand_made_box_hides_what_it_should() -> None:
    scene = box_scene()
    before, after = scene.picture(0.0), scene.picture(1.0)
    assert set(np.unique(before)) == {40, 200}
    assert np.array_equal(np.argwhere(before == 40).min(axis=0), [24, 24])
    assert np.array_equal(np.argwhere(after == 40).min(axis=0), [24, 30])

    flow, visible = scene.flow(1.0, 0.0)
    expected = np.zeros((64, 64, 2), np.float32)
    expected[24:40, 30:46] = (-6.0, 0.0)
    assert np.allclose(flow, expected, atol=1e-4)
    hidden_before = np.zeros((64, 64), bool)
    hidden_before[24:40, 24:30] = True
    assert np.array_equal(visible, ~hidden_before)

    leaves = scene.flow(0.0, 8.0)
    assert not leaves.visible[24:40, 24:40].any()


def test_an_outline_never_reaches_the_edge_of_its_texture(pictures: list[Bytes]) -> None:
    from export.data.motion_shapes import draw_outline

    rng = np.random.default_rng(0)
    outlines = [draw_outline(40, 56, rng) for _ in range(40)]
    edges = [np.concatenate([o[0], o[-1], o[:, 0], o[:, -1]]) for o in outlines]
    assert not any(edge.any() for edge in edges)
    assert np.mean([outline.mean() / 255 for outline in outlines]) > 0.25


def test_a_wobble_is_followed_to_a_hundredth_of_a_pixel() -> None:
    wobble = Wobble(
        amplitude=(4.0, 3.0), wavelength=(160.0, 120.0), rate=(1.0, -0.7), phase=(0.3, 2.0)
    )
    base = placed(texture=(80.0, 80.0), angle=0.3, size=1.2)
    path = LayerPath(
        base=base, pivot=(60.0, 60.0), velocity=(5.0, -3.0), turn=0.03, zoom=0.02, wobble=wobble
    )
    box = slice(0, 128), slice(0, 128)
    flow, here = path.flow(0.5, 2.0, box), path.reading(0.5, box)
    there = path.reading(2.0, (slice(-64, 256), slice(-64, 256)))
    x, y = np.meshgrid(np.arange(128, dtype=np.float32), np.arange(128, dtype=np.float32))
    landed = cv2.remap(there, x + flow[..., 0] + 64, y + flow[..., 1] + 64, cv2.INTER_LINEAR)
    assert np.abs(landed - here).max() < 0.05


def test_overlays_stand_still_and_hide_motion() -> None:
    overlay = Overlay(np.full((64, 64), 220, np.uint8), np.zeros((64, 64), np.uint8))
    overlay.alpha[10:20, 5:60] = 255
    overlay.alpha[50:60, 5:60] = 128
    scene = replace(box_scene((6.0, 3.0)), overlay=overlay, flicker=0.1, flicker_rate=1.0)
    for time in (-1.0, 0.3, 2.0):
        assert (scene.picture(time)[10:20, 5:60] == 220).all()
    flow, visible = scene.flow(0.5, 1.5)
    assert not flow[10:20, 5:60].any()
    assert visible[10:20, 5:60].all()
    assert not visible[50:60, 5:60].any()


def test_random_overlays_hold_something_and_let_the_rest_through() -> None:
    rng = np.random.default_rng(5)
    pictures = rng.integers(16, 236, (3, 96, 128), dtype=np.uint8)
    for _ in range(30):
        overlay = draw_overlay(96, 128, rng)
        through = overlay.alpha == 0
        over = overlay.over(pictures)
        assert np.array_equal(over[:, through], pictures[:, through])
    opaque = overlay.alpha == 255
    assert np.array_equal(over[0][opaque], over[2][opaque])


def test_motion_blur_smears_along_the_motion_only() -> None:
    sharp = box_scene()
    blurred = replace(sharp, exposure=1.0, instants=8).picture(0.0)
    assert len(np.unique(blurred[30])) > 4
    assert np.array_equal(np.unique(blurred[:, 32]), [40, 200])


def test_scenes_follow_from_the_seed(pictures: list[Bytes]) -> None:
    source = SceneSource(pictures, SceneRecipe())
    one, same, other = (source.sample(np.random.default_rng(seed), 6, 64) for seed in (7, 7, 8))
    assert np.array_equal(one.seen, same.seen)
    assert np.array_equal(one.clean, same.clean)
    assert np.array_equal(one.flow, same.flow)
    assert np.array_equal(one.visible, same.visible)
    assert not np.array_equal(one.clean, other.clean)
    assert one.seen.shape == one.clean.shape == (6, 5, 64, 64)
    assert one.flow.shape == (6, 2, 64, 64, 2)


def test_noise_and_codec_touch_only_what_is_seen(pictures: list[Bytes]) -> None:
    recipes = (replace(PURE, noise_share=1.0), replace(PURE, coded_share=1.0), PURE)
    for recipe in recipes:
        runs = SceneSource(pictures, recipe).sample(np.random.default_rng(3), 2, 64)
        assert np.array_equal(runs.seen, runs.clean) == (recipe is PURE)
        assert np.abs(runs.seen.astype(int) - runs.clean).mean() < 8


def test_pictures_too_small_for_scenes_say_so(clips: Path) -> None:
    split = find_data(clips, validation=["beta"])
    with pytest.raises(ConfigError, match="large enough"):
        open_scenes(split, PURE, report=lambda line: None)


def test_a_camera_moves_evenly_over_a_still_picture(pictures: list[Bytes]) -> None:
    grey = np.full((128, 128), 128, np.uint8)
    frames = [Planes(pictures[0], grey, grey)] * 5
    moved = 0
    for seed in range(12):
        camera = Camera.draw(frames[0], 5, patch=96, rng=np.random.default_rng(seed))
        assert camera is not None
        seen = camera.see(frames)
        assert {(planes.height, planes.width) for planes in seen} == {camera.size}
        assert min(camera.size) > 96
        if camera.zoom or camera.turn:
            continue
        moved += 1
        for before, after in ((0, 1), (3, 4)):
            flow = FlowEstimator().to(seen[before].y, seen[after].y)
            found = np.median(flow[16:-16, 16:-16], axis=(0, 1))
            # What the camera shows goes the other way.
            assert np.allclose(found, [-camera.step[1], -camera.step[0]], atol=0.1)
    assert moved > 2


def test_a_picture_without_room_has_no_camera(pictures: list[Bytes]) -> None:
    small = Planes(pictures[0][:100, :100], *[np.full((50, 50), 128, np.uint8)] * 2)
    assert Camera.draw(small, 5, patch=96, rng=np.random.default_rng(0)) is None


def window(picture: Bytes, step: int) -> Planes:
    grey = np.full((40, 48), 128, np.uint8)
    return Planes(picture[40:120, 40 + 3 * step : 136 + 3 * step].copy(), grey, grey)


def test_inserted_repeats_are_left_out(pictures: list[Bytes]) -> None:
    frames = [window(pictures[0], step) for step in (0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 7)]
    kept, is_uneven = without_repeats(frames)
    assert [id(planes) for planes in kept] == [id(frames[i]) for i in (0, 1, 3, 4, 6, 7, 9, 10)]
    assert not is_uneven.any()


def test_a_step_across_a_missing_frame_is_marked(pictures: list[Bytes]) -> None:
    frames = [window(pictures[0], step) for step in (0, 1, 2, 3, 3, 6, 7, 8, 9)]
    kept, is_uneven = without_repeats(frames)
    assert len(kept) == 8
    assert np.flatnonzero(is_uneven).tolist() == [3]


def test_frames_that_all_stand_are_all_kept(pictures: list[Bytes]) -> None:
    kept, is_uneven = without_repeats([window(pictures[0], 0)] * 6)
    assert len(kept) == 6
    assert not is_uneven.any()
