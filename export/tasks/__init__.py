"""The tasks that networks are trained for, and the table that names them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from export.recipe import Recipe
from export.tasks.base import Task
from export.tasks.motion import open_motion
from export.tasks.runs import open_denoising, open_steadying
from export.tasks.super_resolution import open_super_resolution

Report = Callable[[str], None]

TASKS: dict[str, Callable[[Recipe, Path, Path, Report], Task]] = {
    "super_resolution": open_super_resolution,
    "interpolation": open_motion,
    "prediction": open_motion,
    "denoising": open_denoising,
    "steadying": open_steadying,
}


def open_task(recipe: Recipe, *, data: Path, cache: Path, report: Report) -> Task:
    """The recipe's task, its data found or made; raises ``ConfigError`` naming what is missing."""
    return TASKS[recipe.task](recipe, data, cache, report)
