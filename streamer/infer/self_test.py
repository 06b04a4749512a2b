"""Whether an engine computes what its network should: sampled outputs are stored with the model.

The inputs are drawn and the positions follow from a rule, so that a manifest holds nothing but
numbers. ``export`` writes them from the fp32 model; variants keep those of their origin.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import hypot, sqrt
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.errors import EngineError
from streamer.infer.engine import Engine, Tensors, code_values
from streamer.model import FOLLOWING, ModelManifest

SIZES = {"h": 48, "w": 64}
"""Of the free dimensions: a picture of 128x96 for super-resolution. Takes a millisecond or two."""

SAMPLES = 96
"""Of each output."""

TOLERANCES = {
    # Runtimes sum in different orders: 1e-6 between two of them.
    "fp32": 0.001,
    "fp16": 0.02,
    # Eight bits of mantissa: shipped networks for x2 to x4 err by 0.02 to 0.07, denoising by 0.10,
    # interpolation by 0.11. x1 errs by 0.13 and is refused: steps of its input are 0.86 code values near
    # white, and its residual is hardly more. So is prediction, by 0.16 in its softness.
    "bf16": 0.12,
    # 0.04 to 0.16 beside the rounding, where the processor has VNNI; instructions that saturate in
    # between, as older ones do, may err by far more.
    "int8": 0.25,
    # As int8, for TensorRT: half of the steps, and no rounding to whole code values.
    "int8-symmetric": 0.25,
}
"""Root mean square of the error, as a share of that of the expected values, by precision."""

ROUNDING = 1 / sqrt(12)
"""Root mean square of what rounding to whole code values adds where an output is uint8."""

HALF_ROUNDING = 219 * 2**-11 / sqrt(21)
"""Root mean square, in code values, of what luma from black to white loses in half precision: its steps
are 219 * 2^-11 from mid-grey up, half of that in the quarter below, and so on; chroma loses less."""

Floats = NDArray[np.float32]


def check(engine: Engine) -> None:
    """Raises ``EngineError`` where the engine does not give what is stored with its model."""
    manifest = engine.manifest
    inputs, outputs = drawn_inputs(manifest, SIZES), storage(manifest, SIZES)
    engine.run(inputs, outputs)
    seen = sampled(outputs)
    for spec in manifest.outputs:
        expected = np.asarray(manifest.self_test.get(spec.name, ()))
        if len(expected) != SAMPLES:
            raise EngineError(
                f"{manifest.name}.json holds {len(expected)} of the {SAMPLES} values that {spec.name} "
                "is tested against; run: python -m export self-test, or export the model anew"
            )
        for own in _parts(manifest):
            error = root_mean_square((np.asarray(seen[spec.name]) - expected)[own])
            # Around their mean: shares lie around -128, which says nothing.
            is_share = own.stop is not None
            size = float(np.std(expected[own])) if is_share else root_mean_square(expected[own])
            allowed = allowed_error(size, manifest, is_rounded=spec.dtype == "uint8")
            # Written so that not a number is never within.
            if not error <= allowed:
                raise EngineError(
                    f"{manifest.precision} on {engine.backend} is wrong on this processor: {spec.name} "
                    f"of {manifest.name} is off by {told(error, allowed, size)}; use another --backend"
                )


def _parts(manifest: ModelManifest) -> tuple[slice, ...]:
    """What is judged apart of the samples of an output: shares are a thousand times residuals."""
    if manifest.task not in FOLLOWING:
        return (slice(None),)
    return slice(0, SAMPLES // 2), slice(SAMPLES // 2, None)


def allowed_error(size: float, *manifests: ModelManifest, is_rounded: bool) -> float:
    """What the precisions of one network's variants explain of a difference between their outputs.

    A root mean square, as ``size``, which is that of the output itself. ``is_rounded`` where one of
    them gives whole code values.
    """
    share = max(TOLERANCES[manifest.precision] for manifest in manifests)
    takes_half = any(m.precision == "fp16" and m.task == "super_resolution" for m in manifests)
    # What is added to a picture answers what the picture lost by no more than that: by 0.2 of it in
    # nano x2, by 0.8 in lite x1, whose whole residual is one code value.
    half = HALF_ROUNDING if takes_half else 0.0
    return hypot(share * size, ROUNDING if is_rounded else 0.0, half)


def told(error: float, allowed: float, size: float) -> str:
    """For a sentence: an error and what is allowed, as shares of the output's size."""
    share, limit = (value / size if size else np.inf for value in (error, allowed))
    return f"{share:.2g} of its size, allowed are {limit:.2g}"


def sampled(outputs: Tensors) -> dict[str, list[float]]:
    """``SAMPLES`` values of each output, one in each of as many stretches of it."""
    return {
        name: [float(value) for value in code_values(array).ravel()[_positions(array.size)]]
        for name, array in outputs.items()
    }


def storage(manifest: ModelManifest, sizes: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """Storage for a model's outputs; zeros, as an engine that writes nothing must be seen."""
    return {spec.name: np.zeros(spec.sized(sizes), spec.dtype) for spec in manifest.outputs}


def drawn_inputs(manifest: ModelManifest, sizes: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """Inputs for a model in the range of real ones, always the same for the same sizes."""
    drawn = {}
    for spec in manifest.inputs:
        if spec.name not in _DRAWN:
            raise EngineError(
                f"{manifest.name} takes {spec.name!r}, known are {', '.join(_DRAWN)}; "
                "it belongs to another version of streamer: export it anew"
            )
        height, width = spec.sized(sizes)[-2:]
        drawn[spec.name] = _DRAWN[spec.name](height, width).astype(spec.dtype)
    return drawn


def root_mean_square(values: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _positions(size: int) -> NDArray[np.int64]:
    # One in each of equal stretches. Python promises the same numbers for a seed in every version
    # (documentation of ``random``), which NumPy does not.
    random = Random(1)
    places = [(number + random.random()) / SAMPLES for number in range(SAMPLES)]
    return (np.array(places) * size).astype(np.int64)


def _luma(height: int, width: int, *, moved: float = 0.0) -> Floats:
    """A (height, width) picture of waves and edges, 0..1."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x += np.float32(moved)
    waves = 0.3 * np.sin(x * x / (8 * width) + y / 9)
    edges = 0.15 * np.sign(np.sin(x / 7) * np.sin(y / 5))
    return np.asarray(0.5 + waves + edges, dtype=np.float32)


def _packed(height: int, width: int, *, moved: float = 0.0) -> Floats:
    """A packed picture, (1, 6, height, width): luma of twice the size in four phases, U, V; whole code
    values, as in every picture."""
    luma = np.rint(219 * _luma(2 * height, 2 * width, moved=moved)) / 219
    y, x = np.mgrid[0 : 2 * height : 2, 0 : 2 * width : 2].astype(np.float32)
    phases = [luma[i::2, j::2] for i in range(2) for j in range(2)]
    chroma = (np.rint(224 * 0.2 * wave) / 224 for wave in (np.sin(x / 40), np.cos(y / 30)))
    return np.asarray([[*phases, *chroma]], dtype=np.float32)


def _pictures(height: int, width: int) -> Floats:
    """(1, 6, height, width): one picture at six places, as pairs that motion brought near."""
    places = (0.0, 0.4, 0.2, -0.3, -3.0, 3.0)
    return np.asarray([[_luma(height, width, moved=place) for place in places]], dtype=np.float32)


def _motion(height: int, width: int) -> Floats:
    """(1, 5, height, width): two motions of up to three pixels, and the time between."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    across, down = 3 * np.sin(x / 20), 2 * np.cos(y / 15)
    time = np.full_like(x, 0.5)
    return np.asarray([[across, down, across + 0.2, down - 0.1, time]], dtype=np.float32)


def _guide(height: int, width: int) -> Floats:
    """(1, 6, height, width): half of a motion into either picture, shares of the first and of blur."""
    told = _motion(height, width)[0]
    across, down = 0.5 * (told[0] + told[2]), 0.5 * (told[1] + told[3])
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    mask, softness = 0.5 + 0.2 * np.sin(x / 9), 0.2 + 0.2 * np.cos(y / 11)
    flow = -0.5 * across, -0.5 * down, 0.5 * across, 0.5 * down
    return np.asarray([[*flow, mask, softness]], dtype=np.float32)


def _followed(height: int, width: int) -> Floats:
    """(1, 12, height, width): a picture, and how one that lies a little beside it differs."""
    now = _packed(height, width)
    return np.concatenate([now, _packed(height, width, moved=0.2) - now], axis=1)


_DRAWN = {
    "packed": _packed,
    "followed": _followed,
    "pictures": _pictures,
    "motion": _motion,
    "guide": _guide,
}
