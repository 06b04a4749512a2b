"""Runs of pictures that were shrunk, coded and enlarged again by a network: what steadying learns from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from export.data.clips import Split
from export.data.degrade import damage, draw_treatment
from export.data.extremes import with_extremes_all_along
from export.data.made_once import made_of
from export.data.planes import Planes
from export.data.run_recipe import EnlargedDataRecipe
from export.data.runs import Parts, RunCache, build_runs, cut_runs, stretches_of

VERSION = 1
"""Raise it when the making of runs changes, so that old caches are not read."""

SCALE = 2

Enlarge = Callable[[Planes], Planes]


def open_enlarged(
    split: Split,
    recipe: EnlargedDataRecipe,
    networks: Mapping[str, Enlarge],
    *,
    folder: Path,
    report: Callable[[str], None],
) -> RunCache:
    """The cache for these clips, settings and networks, made first when it is not there yet.

    ``networks`` enlarge by ``SCALE``, one of them each stretch; their names are their hashes.
    """
    home = made_of(
        folder,
        "enlarged",
        settings={"version": VERSION, "recipe": asdict(recipe), "networks": sorted(networks)},
        files=[*split.training, *split.images],
        make=lambda home: build_runs(
            _all_runs(split, recipe, [networks[name] for name in sorted(networks)]),
            recipe,
            home=home,
            report=report,
        ),
        report=report,
    )
    return RunCache(home)


def _all_runs(
    split: Split, recipe: EnlargedDataRecipe, networks: list[Enlarge]
) -> Iterator[tuple[str, Iterable[Parts]]]:
    for path, stretches, rng in stretches_of(split, recipe):
        yield path.name, _runs(stretches, recipe, networks, rng)


def _runs(
    stretches: list[list[Planes]],
    recipe: EnlargedDataRecipe,
    networks: list[Enlarge],
    rng: np.random.Generator,
) -> Iterator[Parts]:
    for stretch in stretches:
        treatment = draw_treatment(recipe, rng, scale=SCALE)
        enlarge = networks[int(rng.integers(len(networks)))]
        least = min(stretch[0].height, stretch[0].width) / treatment.sharpening
        # Sides are cut to what can be halved twice.
        if least < recipe.patch + 2 * SCALE or len(stretch) < recipe.run:
            continue
        stretch = with_extremes_all_along(stretch, rng, share=recipe.extremes_share)
        small, clean = damage(stretch, treatment, scale=SCALE, rng=rng)
        yield from cut_runs([enlarge(planes) for planes in small], clean, recipe, rng)
