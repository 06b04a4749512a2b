"""Recipes: everything that decides what a training run produces, read from one TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from streamer.errors import ConfigError

Section = TypeVar("Section")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRecipe:
    """Size of a super-resolution network; ``nano``, ``lite`` and ``full`` differ only here."""

    scale: int = 2
    channels: int = 32
    depth: int = 4
    expansion: int = 128

    def __post_init__(self) -> None:
        _check("network.scale", self.scale, 1, 4)
        _check("network.channels", self.channels, 1, 512)
        _check("network.depth", self.depth, 1, 64)
        _check("network.expansion", self.expansion, 1, 4096)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRecipe:
    """How clips and images become pairs of damaged and original patches."""

    validation: tuple[str, ...] = ()
    """Clips whose name starts with one of these are held out of training."""
    patch: int = 64
    """Edge of a patch of the small picture, in luma pixels."""
    passes: int = 2
    segments_per_clip: int = 8
    segment_frames: int = 12
    sampled_frames: int = 4
    patches_per_frame: int = 14
    image_segments: int = 3
    blur_share: float = 0.15
    """Segments blurred before they are shrunk; many make the network sharpen what was soft."""
    noise_share: float = 0.2
    """Segments with sensor noise."""
    clean_share: float = 0.2
    """Segments that no codec touches."""
    seed: int = 1

    def __post_init__(self) -> None:
        _check("data.patch", self.patch, 16, 512)
        if self.patch % 2:
            raise ConfigError(f"data.patch is {self.patch}, it must be even")
        _check("data.passes", self.passes, 1, 100)
        _check("data.segment_frames", self.segment_frames, 2, 64)
        _check("data.sampled_frames", self.sampled_frames, 1, self.segment_frames)
        _check("data.segments_per_clip", self.segments_per_clip, 1, 1000)
        _check("data.patches_per_frame", self.patches_per_frame, 1, 1000)
        _check("data.image_segments", self.image_segments, 0, 1000)
        for share in ("blur_share", "noise_share", "clean_share"):
            _check(f"data.{share}", getattr(self, share), 0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRecipe:
    """How the weights are found."""

    iterations: int
    batch: int = 16
    learning_rate: float = 1e-3
    warmup: int = 500
    weight_decay: float = 0.0
    ema: float = 0.999
    chroma_weight: float = 0.25
    spectral_weight: float = 0.05
    seed: int = 1

    def __post_init__(self) -> None:
        _check("train.iterations", self.iterations, 1, 10**9)
        _check("train.batch", self.batch, 1, 4096)
        _check("train.learning_rate", self.learning_rate, 0.0, 1.0)
        _check("train.ema", self.ema, 0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One training run, and the name of the model that comes out of it."""

    name: str
    task: str = "super_resolution"
    variant: str
    training: str
    network: NetworkRecipe
    data: DataRecipe = field(default_factory=DataRecipe)
    train: TrainRecipe

    def __post_init__(self) -> None:
        if self.task != "super_resolution":
            raise ConfigError(f"task is {self.task!r}, only 'super_resolution' can be trained")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


SECTIONS = {"network": NetworkRecipe, "data": DataRecipe, "train": TrainRecipe}


def read_recipe(path: Path) -> Recipe:
    """The recipe at ``path``; raises ``ConfigError`` naming the file and the key at fault."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"recipe {path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ConfigError(f"recipe {path.name} is not valid TOML ({error})") from error
    try:
        return recipe_from(raw)
    except ConfigError as error:
        raise ConfigError(f"recipe {path.name}: {error}") from error


def recipe_from(raw: Mapping[str, Any]) -> Recipe:
    """The recipe that nested tables describe; unknown and missing keys raise ``ConfigError``."""
    top = dict(raw)
    for name, section in SECTIONS.items():
        if name in top:
            top[name] = _section(section, top[name], prefix=f"{name}.")
    return _section(Recipe, top, prefix="")


def _section(kind: type[Section], values: object, *, prefix: str) -> Section:
    if not isinstance(values, Mapping):
        raise ConfigError(f"[{prefix.rstrip('.')}] must be a table")
    hints = get_type_hints(kind)
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"unknown key {prefix}{key}; known are {', '.join(known)}")
        _check_type(prefix + key, value, hints[key])
    ready = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    try:
        return kind(**ready)
    except TypeError as error:
        missing = str(error).rpartition(":")[2].strip()
        raise ConfigError(f"missing key {prefix}{missing}") from error


def _check_type(key: str, value: object, hint: object) -> None:
    if hint in (int, float):
        allowed: tuple[type, ...] = (int,) if hint is int else (int, float)
        if isinstance(value, bool) or not isinstance(value, allowed):
            raise ConfigError(f"{key} is {value!r}, it must be a number")
    elif hint is str and not isinstance(value, str):
        raise ConfigError(f"{key} is {value!r}, it must be text")
    elif hint == tuple[str, ...] and not isinstance(value, list | tuple):
        raise ConfigError(f"{key} is {value!r}, it must be a list of names")


def _check(key: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{key} is {value}, allowed is {low} to {high}")
