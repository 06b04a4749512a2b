"""A model's free dimensions, from its inputs or for a picture, its tensors as the host has them, and
how a picture's size is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from streamer.errors import ConfigError, EngineError
from streamer.infer.engine import Tensors
from streamer.model import FOLLOWING, ModelManifest, TensorSpec

LARGEST, SMALLEST = 8192, 32
"""Sides of a picture for which an engine makes sense."""

Sizes = tuple[tuple[str, int], ...]
"""Of the free dimensions of a model, in the order of their letters: what things are looked up by."""


def in_order(sizes: Mapping[str, int]) -> Sizes:
    """The same sizes as a key."""
    return tuple(sorted(sizes.items()))


def sizes_of(manifest: ModelManifest, inputs: Tensors) -> dict[str, int]:
    """By letter; raises ``EngineError`` where the inputs are not such as the model takes."""
    sizes: dict[str, int] = {}
    for spec in manifest.inputs:
        array = inputs.get(spec.name)
        shape = () if array is None else array.shape
        if len(shape) == len(spec.shape):
            for (factor, letter), side in zip(spec.factors(), shape, strict=True):
                if letter:
                    sizes.setdefault(letter, side // factor)
        if array is None or shape != _sized(spec, sizes):
            raise EngineError(
                f"{manifest.name} takes {spec.name} of ({', '.join(map(str, spec.shape))}) and was "
                f"given {shape or 'nothing'}; give it a picture as its manifest says"
            )
    return sizes


def check_outputs(manifest: ModelManifest, outputs: Tensors, sizes: Mapping[str, int]) -> None:
    """Raises ``EngineError`` where the outputs are not what the model fills at these sizes."""
    for spec in manifest.outputs:
        array = outputs.get(spec.name)
        seen = None if array is None else (str(array.dtype), array.shape)
        if seen != (spec.dtype, spec.sized(sizes)):
            raise EngineError(
                f"{manifest.name} gives {spec.name} as {(spec.dtype, spec.sized(sizes))} "
                f"and was given {seen or 'nothing'} for it; make it as its manifest says"
            )


def sizes_for(manifest: ModelManifest, *, width: int, height: int) -> dict[str, int]:
    """Of a picture of that many pixels, as ``SuperResolution`` and ``FrameMaker`` ask for it."""
    if manifest.task in ("super_resolution", *FOLLOWING):
        return {"h": height // 2, "w": width // 2}
    # Motion is found on luma of half the size, padded, and its maps come at half of that.
    multiple = max(manifest.multiple_of // 2, 1)
    padded = {"h": -(-(height // 2) // multiple), "w": -(-(width // 2) // multiple)}
    return {letter: count * multiple // 2 for letter, count in padded.items()}


def on_host(manifest: ModelManifest) -> ModelManifest:
    """The manifest as it is for arrays on the host: float32 where the model has float16.

    What the picture is made from and added to is float32 there; engines of a device convert on the
    way to page-locked memory, where they copy in any case.
    """
    inputs, outputs = (
        tuple(replace(spec, dtype="float32") if spec.dtype == "float16" else spec for spec in specs)
        for specs in (manifest.inputs, manifest.outputs)
    )
    return replace(manifest, inputs=inputs, outputs=outputs)


def parse_sides(text: str) -> tuple[int, int]:
    """Width and height of ``1280x720`` as they are written; raises ``ConfigError``."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise ConfigError(f"{text!r} is not a picture's size; write width x height as 1280x720")
    return int(width), int(height)


def parse_picture(text: str) -> tuple[int, int]:
    """The same made even, of a picture that engines are for; raises ``ConfigError``."""
    width, height = (side & ~1 for side in parse_sides(text))
    if not (min(width, height) >= SMALLEST and max(width, height) <= LARGEST):
        raise ConfigError(
            f"{text!r} is not a picture's size; write width x height as 1280x720, each from "
            f"{SMALLEST} to {LARGEST}"
        )
    return width, height


def _sized(spec: TensorSpec, sizes: Mapping[str, int]) -> tuple[int, ...]:
    known = all(letter in sizes for _, letter in spec.factors() if letter)
    return spec.sized(sizes) if known else ()
