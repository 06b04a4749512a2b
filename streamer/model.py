"""The manifest that travels with every exported network, and where to find them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamer.errors import EngineError

RESIDUAL_ZERO = 128
"""What stands for nothing in a residual of type uint8."""

MODELS = Path(__file__).parent / "models"

FOLLOWING = ("denoising", "steadying")
"""Tasks whose networks make each picture with the help of the last one that they made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output: letters in ``shape`` are free, numbers are fixed.

    ``"2*h"`` is twice what ``"h"`` is wherever it stands.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str = "float32"

    def factors(self) -> tuple[tuple[int, str], ...]:
        """Each side as a factor and a letter; a fixed side is itself and no letter."""
        return tuple(
            (side, "") if isinstance(side, int) else (int(times or 1), letter)
            for side in self.shape
            for times, _, letter in [str(side).rpartition("*")]
        )

    def sized(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape with these numbers for its letters."""
        return tuple(
            factor * sizes[letter] if letter else factor for factor, letter in self.factors()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The fp32 model a variant was made from; recipe and training data stand in its manifest."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelManifest:
    """What a caller must know to feed the network; ``export`` writes it beside the model.

    Super-resolution takes ``packed`` (1, 6, H/2, W/2): four phases of luma in the order
    (row 0 column 0), (0, 1), (1, 0), (1, 1), then U, then V, as ``(code - offset) / gain``
    with offset and gain 16 and 219 for luma, 128 and 224 for chroma. It gives ``residual``
    (1, 6*scale*scale, H/2, W/2) in 8-bit code values, to be added to the plain upscale:
    ``(2*scale)**2`` phases of luma, row by row, then ``scale**2`` of U, then of V. A residual of
    type uint8 holds the code value plus 128 (``RESIDUAL_ZERO``), which is all that the sum needs.

    Denoising and steadying take ``followed`` (1, 12, H/2, W/2): the packed picture, and by how much the
    last one made, where things are now, differs from it, in the same units. They give ``change``, as
    large: for each packed value the share of the difference that is taken, as 255 times that less 128,
    then what is added, in code values; type uint8 as above.
    fp16 models take and give float16, so that a GPU moves half the bytes.
    """

    name: str
    task: str
    variant: str
    training: str
    scale: int
    file: str
    sha256: str
    opset: int
    precision: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    multiple_of: int = 2
    """Height and width of the picture must be multiples of this."""
    parameters: int = 0
    macs_per_pixel: int = 0
    """Multiply-accumulates per pixel of the input picture."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """What it was trained with; empty in a variant, whose ``origin`` has it."""
    data: tuple[Mapping[str, Any], ...] = ()
    """What it was trained on, by source and licence; empty in a variant, as ``recipe`` is."""
    quality: Mapping[str, Any] = field(default_factory=dict)
    origin: Origin | None = None
    commit: str | None = None
    """Of the code that wrote the model; ``+`` follows when files differed from it."""
    self_test: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """What the fp32 model gives for ``infer.self_test``'s inputs: values of each output there."""
    folder: Path = MODELS

    @property
    def residual_dtype(self) -> str:
        """``float32``, ``float16``, or ``uint8`` around ``RESIDUAL_ZERO``."""
        return self.outputs[0].dtype

    @property
    def path(self) -> Path:
        return self.folder / self.file

    def verified_bytes(self) -> bytes:
        """The model file's bytes; raises ``EngineError`` when they are not the manifest's."""
        try:
            blob = self.path.read_bytes()
        except OSError as error:
            raise EngineError(
                f"{self.path.name} cannot be read ({error.strerror}); it belongs beside "
                f"{self.name}.json: install streamer again or export the model anew"
            ) from error
        seen = hashlib.sha256(blob).hexdigest()
        if seen != self.sha256:
            raise EngineError(
                f"{self.path.name} has sha256 {seen[:12]}…, its manifest says {self.sha256[:12]}…; "
                "the file is damaged or foreign: install streamer again or export the model anew"
            )
        return blob


def read_manifest(path: Path) -> ModelManifest:
    """The manifest at ``path``; raises ``EngineError`` naming the file when it is not one."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return ModelManifest(
            **{
                **raw,
                "inputs": _specs(raw["inputs"]),
                "outputs": _specs(raw["outputs"]),
                "data": tuple(raw.get("data", ())),
                "origin": _origin(raw.get("origin")),
                "self_test": {
                    name: tuple(float(value) for value in values)
                    for name, values in raw.get("self_test", {}).items()
                },
                "folder": path.parent,
            }
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise EngineError(
            f"{path.name} is not a model manifest ({type(error).__name__}: {error}); "
            "install streamer again or export the model anew"
        ) from error


def find_models(folder: Path = MODELS, *, task: str, scale: int) -> tuple[ModelManifest, ...]:
    """Shipped models for a task and scale, costliest first."""
    manifests = (read_manifest(path) for path in sorted(folder.glob("*.json")))
    fitting = (m for m in manifests if m.task == task and m.scale == scale)
    return tuple(sorted(fitting, key=lambda m: -m.macs_per_pixel))


def _origin(raw: dict[str, str] | None) -> Origin | None:
    return None if raw is None else Origin(**raw)


def _specs(raw: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name=s["name"], shape=tuple(s["shape"]), dtype=s.get("dtype", "float32"))
        for s in raw
    )
