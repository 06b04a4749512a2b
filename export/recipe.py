"""Recipes: everything that decides what a training run produces, read from one TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from export.data.bounds import LARGEST_SEED, check_range
from export.data.motion_recipe import MotionDataRecipe
from export.data.run_recipe import EnlargedDataRecipe, NoiseDataRecipe, RunDataRecipe
from streamer.errors import ConfigError

Section = TypeVar("Section")

FOLDER = Path(__file__).parent / "recipes"

SECTIONS = ("network", "data", "train")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRecipe:
    """Size of a super-resolution network; ``nano``, ``lite`` and ``full`` differ only here."""

    scale: int = 2
    channels: int = 32
    depth: int = 4
    expansion: int = 128
    long_skip: bool = False
    sees_contrast: bool = False
    """Whether the first layer sees differences between neighbours only, enlarged."""
    residual_gain: float = 1.0
    """What one unit of the last layer is worth, as a share of the range of code values. Where little
    is to be corrected, one step of the optimizer is more than all of it: then it must be small."""
    residual_limit: float = 0.0
    """By how many code values at most the shipped network changes the plain upscale; 0: any number.
    It bounds the harm to sharp pictures that were hardly coded. Training does not see it, so it
    belongs to no checkpoint."""

    def __post_init__(self) -> None:
        check_range("network.scale", self.scale, 1, 4)
        check_range("network.channels", self.channels, 1, 512)
        check_range("network.depth", self.depth, 1, 64)
        check_range("network.expansion", self.expansion, 1, 4096)
        check_range("network.residual_gain", self.residual_gain, 1e-4, 1.0)
        check_range("network.residual_limit", self.residual_limit, 0.0, 255.0)
        if 0.0 < self.residual_limit < 1.0:
            raise ConfigError(
                f"network.residual_limit is {self.residual_limit}, it must be 0 or at least 1"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionNetworkRecipe:
    """Size of an interpolation or prediction network."""

    channels: tuple[int, ...] = (32, 48)
    """At an eighth and at a sixteenth of the picture."""
    depth: int = 1
    """Convolutions in a row at the finer size, going down and coming back; one more at the coarser."""

    def __post_init__(self) -> None:
        if len(self.channels) != 2:
            raise ConfigError(f"network.channels is {list(self.channels)}, it must be two numbers")
        for channels in self.channels:
            check_range("network.channels", channels, 1, 512)
        check_range("network.depth", self.depth, 1, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class DenoiserRecipe:
    """Size of a network for denoising or steadying."""

    channels: int = 16
    depth: int = 3
    expansion: int = 64

    def __post_init__(self) -> None:
        check_range("network.channels", self.channels, 1, 512)
        check_range("network.depth", self.depth, 1, 64)
        check_range("network.expansion", self.expansion, 1, 4096)


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
    """Segments with sensor noise; the original's own where nothing is enlarged, else taken away."""
    clean_share: float = 0.2
    """Segments that no codec touches."""
    seed: int = 1

    def __post_init__(self) -> None:
        check_range("data.patch", self.patch, 16, 512)
        if self.patch % 2:
            raise ConfigError(f"data.patch is {self.patch}, it must be even")
        check_range("data.passes", self.passes, 1, 100)
        check_range("data.segment_frames", self.segment_frames, 2, 64)
        check_range("data.sampled_frames", self.sampled_frames, 1, self.segment_frames)
        check_range("data.segments_per_clip", self.segments_per_clip, 1, 1000)
        check_range("data.patches_per_frame", self.patches_per_frame, 1, 1000)
        check_range("data.image_segments", self.image_segments, 0, 1000)
        check_range("data.seed", self.seed, 0, LARGEST_SEED)
        for share in ("blur_share", "noise_share", "clean_share"):
            check_range(f"data.{share}", getattr(self, share), 0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRecipe:
    """How the weights are found, whatever the network."""

    iterations: int
    batch: int = 16
    learning_rate: float = 1e-3
    warmup: int = 500
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    """Largest norm of all gradients together; 0 leaves them. A deep stack of ReLUs dies without."""
    ema: float = 0.999
    seed: int = 1
    bfloat16: bool = False
    """Convolve in bfloat16 on a CPU too, as GPUs always do: half the time where it has instructions for
    that, several times as long elsewhere."""

    def __post_init__(self) -> None:
        check_range("train.iterations", self.iterations, 1, 10**9)
        check_range("train.batch", self.batch, 1, 4096)
        check_range("train.learning_rate", self.learning_rate, 0.0, 1.0)
        check_range("train.warmup", self.warmup, 0, 10**9)
        check_range("train.weight_decay", self.weight_decay, 0.0, 1.0)
        check_range("train.clip_norm", self.clip_norm, 0.0, 1e9)
        check_range("train.ema", self.ema, 0.0, 1.0)
        check_range("train.seed", self.seed, 0, LARGEST_SEED)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTrainRecipe(TrainRecipe):
    """Training of super-resolution: weights of what is added to the luma distance."""

    chroma_weight: float = 0.25
    spectral_weight: float = 0.05
    floor_codes: float = 0.0
    """0: the Charbonnier distance. Otherwise the squared error as a share of what it is without the
    network, patch by patch, which is what PSNR gains; this many code values on top, so that patches
    without any damage count too."""
    extremes_share: float = 0.0
    """Of the pairs: so many are stretched to full range, and as many get a black bar."""

    def __post_init__(self) -> None:
        TrainRecipe.__post_init__(self)
        check_range("train.chroma_weight", self.chroma_weight, 0.0, 1000.0)
        check_range("train.spectral_weight", self.spectral_weight, 0.0, 1000.0)
        check_range("train.floor_codes", self.floor_codes, 0.0, 255.0)
        check_range("train.extremes_share", self.extremes_share, 0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionTrainRecipe(TrainRecipe):
    """Training of interpolation and prediction."""

    crop: int = 256
    """Edge of a training picture in luma pixels, a multiple of 16."""

    def __post_init__(self) -> None:
        # Named, because slots and super() without arguments do not go together.
        TrainRecipe.__post_init__(self)
        check_range("train.crop", self.crop, 32, 512)
        if self.crop % 16:
            raise ConfigError(f"train.crop is {self.crop}, it must be a multiple of 16")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTrainRecipe(TrainRecipe):
    """Training of denoising and steadying: the squared error as a share of that of what arrives, run by
    run."""

    chroma_weight: float = 0.25
    floor_codes: float = 1.0
    """So many code values are added to what arrives, so that runs without any noise count too."""
    cut_share: float = 0.05
    """Pictures before which another run's was seen, as after a cut."""

    def __post_init__(self) -> None:
        TrainRecipe.__post_init__(self)
        check_range("train.chroma_weight", self.chroma_weight, 0.0, 1000.0)
        check_range("train.floor_codes", self.floor_codes, 0.1, 255.0)
        check_range("train.cut_share", self.cut_share, 0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One training run, and the name of the model that comes out of it."""

    name: str
    task: str = "super_resolution"
    variant: str
    training: str
    network: NetworkRecipe | MotionNetworkRecipe | DenoiserRecipe
    data: DataRecipe | MotionDataRecipe | RunDataRecipe
    train: TrainRecipe

    @property
    def scale(self) -> int:
        """How much larger the result is than the input; made frames are as large as theirs."""
        return 1

    @property
    def uses_images(self) -> bool:
        """Whether the images of the data folder are learnt from."""
        return True

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRecipe(Recipe):
    """Super-resolution: from pairs of small and large patches."""

    network: NetworkRecipe
    data: DataRecipe = field(default_factory=DataRecipe)
    train: PairTrainRecipe

    @property
    def scale(self) -> int:
        return self.network.scale

    @property
    def uses_images(self) -> bool:
        return self.training == "clean" or self.data.image_segments > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionRecipe(Recipe):
    """Interpolation and prediction: from two pictures and one between or after them."""

    network: MotionNetworkRecipe
    data: MotionDataRecipe = field(default_factory=MotionDataRecipe)
    train: MotionTrainRecipe

    def __post_init__(self) -> None:
        if self.train.crop > self.data.patch:
            raise ConfigError(
                f"train.crop is {self.train.crop}, it must be at most data.patch, {self.data.patch}"
            )

    @property
    def uses_images(self) -> bool:
        return self.data.scenes > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecipe(Recipe):
    """Networks that follow pictures: from runs, each picture made with the help of the one before."""

    network: DenoiserRecipe
    data: RunDataRecipe
    train: RunTrainRecipe

    @property
    def uses_images(self) -> bool:
        return self.data.image_segments > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DenoiseRecipe(RunRecipe):
    """Denoising: from runs of noisy pictures."""

    data: NoiseDataRecipe = field(default_factory=NoiseDataRecipe)


@dataclass(frozen=True, slots=True, kw_only=True)
class SteadyRecipe(RunRecipe):
    """Steadying: from runs of enlarged pictures."""

    data: EnlargedDataRecipe = field(default_factory=EnlargedDataRecipe)


RECIPES: Mapping[str, type[Recipe]] = {
    "super_resolution": PairRecipe,
    "interpolation": MotionRecipe,
    "prediction": MotionRecipe,
    "denoising": DenoiseRecipe,
    "steadying": SteadyRecipe,
}
"""The kind of recipe that each task takes."""


def find_recipe(name: str) -> Recipe:
    """The recipe called so, or in the TOML file of that name; raises as ``read_recipe`` does."""
    path = Path(name)
    return read_recipe(path if path.suffix == ".toml" else FOLDER / f"{name}.toml")


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
    task = raw.get("task", "super_resolution")
    if not isinstance(task, str) or task not in RECIPES:
        raise ConfigError(f"task is {task!r}, known are {', '.join(RECIPES)}")
    kind, top = RECIPES[task], dict(raw)
    hints = get_type_hints(kind)
    for name in SECTIONS:
        if name in top:
            top[name] = _section(hints[name], top[name], prefix=f"{name}.")
    return _section(kind, top, prefix="")


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
    elif hint is bool and not isinstance(value, bool):
        raise ConfigError(f"{key} is {value!r}, it must be true or false")
    elif hint in (tuple[str, ...], tuple[int, ...]):
        kind = get_args(hint)[0]
        # The very type: true is a whole number to Python.
        if not isinstance(value, list | tuple) or not all(type(v) is kind for v in value):
            named = "names" if kind is str else "whole numbers"
            raise ConfigError(f"{key} is {value!r}, it must be a list of {named}")
