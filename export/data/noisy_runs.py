"""Runs of noisy pictures, and what those were before: what denoising learns from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

from export.data.clips import Split
from export.data.made_once import made_of
from export.data.noise import draw_dimness, flicker, soil
from export.data.planes import Plane, Planes, crop_to_multiple
from export.data.resample import shrink, to_codes
from export.data.run_recipe import NoiseDataRecipe
from export.data.runs import MULTIPLE, Parts, RunCache, build_runs, cut_runs, stretches_of

VERSION = 1
"""Raise it when the making of runs changes, so that old caches are not read."""

OF_CLIPS, OF_IMAGES = (1.5, 2.0, 2.5), (1.0, 1.5, 2.0)
"""What pictures are shrunk by first. Clips were coded: that takes away what a codec did to them."""


def open_runs(
    split: Split, recipe: NoiseDataRecipe, *, folder: Path, report: Callable[[str], None]
) -> RunCache:
    """The cache for these clips and settings, made first when it is not there yet."""
    home = made_of(
        folder,
        "runs",
        settings={"version": VERSION, "recipe": asdict(recipe)},
        files=[*split.training, *split.images],
        make=lambda home: build_runs(_all_runs(split, recipe), recipe, home=home, report=report),
        report=report,
    )
    return RunCache(home)


def _all_runs(split: Split, recipe: NoiseDataRecipe) -> Iterator[tuple[str, Iterable[Parts]]]:
    for path, stretches, rng in stretches_of(split, recipe):
        factors = OF_IMAGES if path in split.images else OF_CLIPS
        yield path.name, _runs(stretches, factors, recipe, rng)


def _runs(
    stretches: list[list[Planes]],
    factors: tuple[float, ...],
    recipe: NoiseDataRecipe,
    rng: np.random.Generator,
) -> Iterator[Parts]:
    for stretch in stretches:
        factor = float(rng.choice(factors))
        dimness = draw_dimness(recipe, rng)
        room = [side - recipe.patch for side in shrunk_size(stretch[0], factor)]
        if min(room) < 0 or len(stretch) < recipe.run:
            continue
        clean = [shrunk(planes, factor) for planes in stretch]
        if dimness.flicker:
            clean = flicker(clean, dimness.flicker, rng)
        noisy = soil(clean, dimness, rng)
        yield from cut_runs(noisy, clean, recipe, rng)


def shrunk_size(planes: Planes, factor: float) -> tuple[int, int]:
    """Height and width of what ``shrunk`` gives."""
    height, width = (
        int(side / factor) // MULTIPLE * MULTIPLE for side in (planes.height, planes.width)
    )
    return height, width


def shrunk(planes: Planes, factor: float) -> Planes:
    """The picture at a smaller size, sides multiples of ``MULTIPLE``."""
    height, width = shrunk_size(planes, factor)
    if factor == 1.0:
        return crop_to_multiple(planes, MULTIPLE)

    def change(plane: Plane) -> Plane:
        part = 1 if plane.shape == planes.y.shape else 2
        return to_codes(shrink(plane, height=height // part, width=width // part, kernel="area"))

    return planes.map(change)
