"""Training pairs without damage: sharp pictures, shrunk by MATLAB's bicubic, cut anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.data.clips import Split, read_clip, read_image
from export.data.degrade import sharpen
from export.data.patches import Pair, detail, turn
from export.data.planes import Planes, crop
from export.data.resample import shrink, to_codes
from streamer.errors import ConfigError

IMAGE_FACTORS = (1.0, 1.12, 1.25, 1.4, 1.6, 1.8, 2.0, 2.5)
"""Images are also learnt from at smaller sizes, where the same scene holds finer detail."""

CLIP_FACTOR = 2.0
"""Frames of clips are soft from their codec; at half size they are sharp."""

CLIP_FRAMES = 8

CANDIDATES = 3
"""Places looked at for each pair; the most detailed one is taken."""


@dataclass(frozen=True, slots=True)
class Still:
    """A picture and what the shrinking made of it."""

    small: Planes
    large: Planes


class StillPairs:
    """Read side, kept in memory: ``sample`` cuts a batch at random places."""

    def __init__(self, stills: list[Still], *, patch: int, scale: int) -> None:
        self._stills, self._patch, self._scale = stills, patch, scale
        sizes = np.array([still.small.height * still.small.width for still in stills], float)
        self._share = sizes / sizes.sum()

    def __len__(self) -> int:
        return len(self._stills)

    def sample(self, rng: np.random.Generator, count: int) -> Pair:
        """``count`` random pairs, all turned or mirrored alike by one of eight ways."""
        chosen, corners = self.places(rng, count)
        pairs = [
            self._cut(self._stills[index], *corner)
            for index, corner in zip(chosen, corners.tolist(), strict=True)
        ]
        turns, is_mirrored = int(rng.integers(4)), bool(rng.integers(2))
        small_y, small_uv, large_y, large_uv = (
            turn(np.stack(part), turns=turns, is_mirrored=is_mirrored)
            for part in zip(*pairs, strict=True)
        )
        return small_y, small_uv, large_y, large_uv

    def places(
        self, rng: np.random.Generator, count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Numbers of ``count`` pictures, and (count, 2) top and left of a patch in each small one."""
        chosen = rng.choice(len(self._stills), count, p=self._share)
        return chosen, np.array([self._corner(self._stills[index], rng) for index in chosen])

    def _corner(self, still: Still, rng: np.random.Generator) -> tuple[int, int]:
        rows, columns = ((side - self._patch) // 2 + 1 for side in still.small.y.shape)
        corners = [
            (2 * int(rng.integers(rows)), 2 * int(rng.integers(columns))) for _ in range(CANDIDATES)
        ]
        edge, scale = self._patch * self._scale, self._scale
        return max(
            corners,
            key=lambda at: detail(still.large.y[at[0] * scale :, at[1] * scale :][:edge, :edge]),
        )

    def _cut(self, still: Still, top: int, left: int) -> tuple[NDArray[np.uint8], ...]:
        patch, scale = self._patch, self._scale
        edge = patch * scale
        near = crop(still.small, top=top, left=left, height=patch, width=patch)
        far = crop(still.large, top=top * scale, left=left * scale, height=edge, width=edge)
        return near.y, np.stack([near.u, near.v]), far.y, np.stack([far.u, far.v])


def open_stills(
    split: Split, *, patch: int, scale: int, report: Callable[[str], None]
) -> StillPairs:
    """All images at several sizes and some frames of every training clip, with their small ones.

    Raises ``ConfigError`` when none is large enough for a patch.
    """
    stills = [
        Still(shrink_picture(large, scale), large)
        for large in _pictures(split, scale, least=patch * scale)
    ]
    if not stills:
        raise ConfigError(
            f"no picture is large enough for patches of {patch * scale} pixels: "
            "lower data.patch or add larger ones"
        )
    report(f"{len(stills)} pictures in memory")
    return StillPairs(stills, patch=patch, scale=scale)


def shrink_picture(large: Planes, scale: int) -> Planes:
    """Every plane shrunk by the antialiased bicubic kernel (a = -0.5) and rounded."""

    def change(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = plane.shape[0] // scale, plane.shape[1] // scale
        return to_codes(shrink(plane, height=height, width=width, kernel="bicubic"))

    return large.map(change)


def _pictures(split: Split, scale: int, *, least: int) -> Iterator[Planes]:
    """Those whose sides have at least so many pixels."""
    for path in split.images:
        image = read_image(path, multiple=2 * scale)
        shorter = min(image.height, image.width)
        for factor in (factor for factor in IMAGE_FACTORS if shorter / factor >= least):
            yield sharpen(image, factor, multiple=2 * scale)
    for path in split.training:
        frames = list(read_clip(path, multiple=2 * scale))
        if min(frames[0].height, frames[0].width) / CLIP_FACTOR < least:
            continue
        for index in np.linspace(0, len(frames) - 1, min(CLIP_FRAMES, len(frames))).astype(int):
            yield sharpen(frames[index], CLIP_FACTOR, multiple=2 * scale)
