"""What a data folder may hold, and what is said of one that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.quality.material import (
    Kind,
    find_items,
    read_frames,
    read_picture,
    read_triplet,
    shrink_to_fit,
)
from streamer.errors import ConfigError
from tests.benchmarks.drawn import coloured, panned, texture, write_clip, write_picture

ALL = tuple(Kind)


def found(folder: Path, *prefixes: str, limit: int | None = None) -> list[str]:
    return [i.name for i in find_items(folder, kinds=ALL, prefixes=prefixes, limit=limit)]


def test_pictures_clips_and_nested_triplets_are_told_apart(tmp_path: Path) -> None:
    write_picture(tmp_path / "still.png", texture(32, 32))
    write_clip(tmp_path / "clip.mkv", [panned(0)])
    for name in ("im0", "gt", "im1"):
        write_picture(tmp_path / "scene" / "deep" / f"{name}.png", texture(32, 32))
    write_picture(tmp_path / "scene" / "unrelated.png", texture(32, 32))
    (tmp_path / "notes.txt").write_text("nothing to see")
    items = find_items(tmp_path, kinds=ALL, prefixes=(), limit=None)
    kinds = {item.name: item.kind for item in items}
    assert kinds == {"still": Kind.STILL, "clip": Kind.CLIP, "scene/deep": Kind.TRIPLET}
    assert {item.group for item in items} == {tmp_path.name}


@pytest.mark.parametrize(
    "names", [("im0", "gt", "im1"), ("im1", "im2", "im3"), ("frame_00", "frame_01_gt", "frame_02")]
)
def test_a_triplet_is_read_in_order_of_time(tmp_path: Path, names: tuple[str, ...]) -> None:
    for seed, name in enumerate(names):
        write_picture(tmp_path / f"{name}.png", coloured(32, 40, seed=10 * seed + 1))
    (item,) = find_items(tmp_path, kinds=ALL, prefixes=(), limit=None)
    for seed, picture in enumerate(read_triplet(item)):
        assert (picture == coloured(32, 40, seed=10 * seed + 1)).all()


def test_a_limit_spreads_over_the_folder_and_prefixes_choose(tmp_path: Path) -> None:
    for name in ("a1", "a2", "b1", "b2", "c1"):
        write_picture(tmp_path / f"{name}.png", texture(32, 32))
    assert found(tmp_path, limit=3) == ["a1", "b1", "c1"]
    assert found(tmp_path, limit=9) == ["a1", "a2", "b1", "b2", "c1"]
    assert found(tmp_path, "b", "a2") == ["a2", "b1", "b2"]
    with pytest.raises(ConfigError, match="starts with 'z'"):
        found(tmp_path, "a", "z")


def test_a_folder_without_anything_usable_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing to see")
    with pytest.raises(ConfigError, match="holds no picture, clip or triplet"):
        found(tmp_path)
    with pytest.raises(ConfigError, match="is not a folder"):
        found(tmp_path / "nowhere")


def test_a_folder_of_another_kind_says_which(tmp_path: Path) -> None:
    write_picture(tmp_path / "still.png", texture(32, 32))
    with pytest.raises(ConfigError, match="holds pictures, this task takes clips or triplets"):
        find_items(tmp_path, kinds=(Kind.CLIP, Kind.TRIPLET), prefixes=(), limit=None)


@pytest.mark.parametrize("blob", [b"", b"\x89PNG\r\n\x1a\n and then nothing", b"no picture"])
def test_a_damaged_picture_is_named(tmp_path: Path, blob: bytes) -> None:
    (tmp_path / "broken.png").write_bytes(blob)
    with pytest.raises(ConfigError, match=r"broken\.png"):
        read_picture(tmp_path / "broken.png")


def test_a_grey_picture_stays_grey_and_a_coloured_one_is_rgb(tmp_path: Path) -> None:
    grey, rgb = texture(32, 40), coloured(32, 40)
    assert (read_picture(write_picture(tmp_path / "grey.png", grey)) == grey).all()
    assert (read_picture(write_picture(tmp_path / "rgb.png", rgb)) == rgb).all()


def test_a_tiny_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tiny\.png is 20x40"):
        read_picture(write_picture(tmp_path / "tiny.png", texture(40, 20)))


@pytest.mark.parametrize("blob", [b"", b"no clip at all" * 50])
def test_a_damaged_clip_is_named(tmp_path: Path, blob: bytes) -> None:
    (tmp_path / "broken.mp4").write_bytes(blob)
    (item,) = find_items(tmp_path, kinds=ALL, prefixes=(), limit=None)
    with pytest.raises(ConfigError, match=r"broken\.mp4"):
        read_frames(item, limit=3)


def test_a_clip_is_read_as_it_was_written(tmp_path: Path) -> None:
    frames = [panned(index) for index in range(4)]
    write_clip(tmp_path / "clip.mkv", frames)
    (item,) = find_items(tmp_path, kinds=ALL, prefixes=(), limit=None)
    seen = read_frames(item, limit=3)
    assert len(seen) == 3
    assert all(
        (s.y == f[0]).all() and (s.u == f[1]).all() for s, f in zip(seen, frames, strict=False)
    )


def test_the_longer_side_is_shrunk_and_sides_stay_even() -> None:
    y, u, v = shrink_to_fit(panned(0, height=96, width=130), 50)
    assert y.shape == (36, 50)
    assert u.shape == v.shape == (18, 25)
    assert shrink_to_fit((y, u, v), 50)[0] is y
