"""Denoising as the training loop sees it: runs of pictures taken in a dim room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from export.data.clips import find_data
from export.data.noisy_runs import open_runs
from export.denoise_judge import noisy_runs
from export.recipe import DenoiseRecipe, Recipe
from export.tasks.base import Task
from export.tasks.runs import RunTask


def open_denoising(recipe: Recipe, data: Path, cache: Path, report: Callable[[str], None]) -> Task:
    """Noisy runs of the training clips and images."""
    assert isinstance(recipe, DenoiseRecipe)
    split = find_data(data, validation=recipe.data.validation)
    runs = open_runs(split, recipe.data, folder=cache, report=report)
    report(f"{len(runs)} runs in {runs.folder}")
    return RunTask(recipe, runs, noisy_runs(split.validation))
