"""Checkpoints of a training run: written whole or not at all, refused when they do not fit."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from export.recipe import Recipe, recipe_from
from streamer.errors import ConfigError

State = dict[str, Any]

FREE = ("iterations", "residual_limit")
"""Settings that may differ from the checkpoint's: how long to train, and what no weight depends on."""

UNREADABLE = (OSError, EOFError, RuntimeError, LookupError, ValueError, TypeError, AttributeError)
"""What torch raises on foreign bytes, depending on where they stop making sense."""


def checkpoint_path(work: Path, recipe: Recipe) -> Path:
    """Where a run of ``recipe`` keeps its state."""
    return work / f"{recipe.name}.ckpt"


def write_checkpoint(path: Path, state: State) -> None:
    """Replaces the file in one step, so that a killed run leaves the previous one intact.

    Raises ``ConfigError`` where it cannot be written, as on a full disk.
    """
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, partial)
    except (OSError, RuntimeError) as error:  # torch says RuntimeError of a full disk
        partial.unlink(missing_ok=True)
        raise ConfigError(
            f"{path} could not be written, what was there is as it was; make room there, see that it may "
            "be written, and run the same again"
        ) from error
    os.replace(partial, path)


def read_checkpoint(path: Path, recipe: Recipe) -> State:
    """The state at ``path``; raises ``ConfigError`` unless it is of this very recipe.

    Only what is ``FREE`` may differ: other ``train.iterations`` stretch or shorten the schedule.
    """
    state = _read(path)
    _compare(
        path,
        state,
        recipe,
        sections=("name", "task", "training", "network", "data", "train"),
        remedy="choose another --work folder or remove the file",
    )
    return state


def read_start(path: Path, recipe: Recipe) -> State:
    """The state at ``path`` as a start for other training of the same network.

    One that is the same but for its scale will do: all of its layers but the last fit.
    """
    state = _read(path)
    check_start(path, state, recipe)
    return state


def check_start(path: Path, state: State, recipe: Recipe, *, free: Sequence[str] = ()) -> None:
    """Raises ``ConfigError`` naming ``path`` where a state of it is no start for the recipe.

    That is of another network, of which only ``free`` may differ, or from runs that may have learnt
    from what the recipe holds out.
    """
    _compare(
        path,
        state,
        recipe,
        sections=("task", "network"),
        ignored=(*FREE, "scale", *free),
        remedy="name other weights with --start-from, or begin without any",
    )
    for run in (state["recipe"], *state.get("earlier", [])):
        held_out = run.get("data", {}).get("validation")
        if held_out is None:
            # Runs noted before that was told.
            continue
        learnt = [name for name in recipe.data.validation if not name.startswith(tuple(held_out))]
        if learnt:
            raise ConfigError(
                f"{path.name} comes from a run that may have learnt from {', '.join(learnt)}, by which "
                f"{recipe.name} is judged; that run held out {', '.join(held_out) or 'nothing'}: hold "
                "out no more than that in data.validation, or start from other weights"
            )


def _read(path: Path) -> State:
    try:
        # torch writes a sum of each part and does not look at it: damaged weights would go on.
        with zipfile.ZipFile(path) as parts:
            if (damaged := parts.testzip()) is not None:
                raise ValueError(damaged)
        state: State = torch.load(path, map_location="cpu", weights_only=True)
        if not {"recipe", "iteration", "network", "average"} <= state.keys():
            raise KeyError("recipe")
    except (*UNREADABLE, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise ConfigError(
            f"{path} is not a checkpoint of this program, or damaged; name another file, or remove "
            "it to begin anew"
        ) from error
    return state


def _compare(
    path: Path,
    state: State,
    recipe: Recipe,
    *,
    sections: Sequence[str],
    remedy: str,
    ignored: Sequence[str] = FREE,
) -> None:
    theirs, ours = _with_defaults(state["recipe"]), recipe.as_dict()
    for section in sections:
        if _without(theirs.get(section), ignored) != _without(ours[section], ignored):
            raise ConfigError(
                f"{path.name} belongs to another network or recipe ([{section}] is "
                f"{theirs.get(section)!r} there, {ours[section]!r} here); {remedy}"
            )


def _with_defaults(raw: dict[str, Any]) -> dict[str, Any]:
    """The recipe as today's program reads it, so that a new key does not orphan old runs."""
    try:
        return recipe_from(raw).as_dict()
    except ConfigError:
        return raw


def _without(section: object, ignored: Sequence[str]) -> object:
    if isinstance(section, dict):
        return {key: value for key, value in section.items() if key not in ignored}
    return section
