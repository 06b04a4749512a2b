"""Steadying as the training loop sees it: runs of pictures that a network enlarged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from export.data.clips import find_data
from export.data.enlarged_runs import open_enlarged
from export.recipe import Recipe, SteadyRecipe
from export.steady_judge import enlarged_runs, enlarging
from export.tasks.base import Task
from export.tasks.runs import RunTask


def open_steadying(recipe: Recipe, data: Path, cache: Path, report: Callable[[str], None]) -> Task:
    """Runs of the training clips and images, enlarged by what ships for live pictures."""
    assert isinstance(recipe, SteadyRecipe)
    split = find_data(data, validation=recipe.data.validation)
    runs = open_enlarged(split, recipe.data, enlarging(), folder=cache, report=report)
    report(f"{len(runs)} runs in {runs.folder}")
    return RunTask(recipe, runs, enlarged_runs(split.validation))
