"""Held-out clips that were shrunk, coded and enlarged again: what a steadying network is judged on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from export.run_judge import FIRST_JUDGED, FRAMES, HeldOut
from export.runner import model_residual
from export.upscalers import residual_upscaler
from export.validation import CONDITIONS, Upscaler, held_out_samples
from streamer.errors import ConfigError
from streamer.model import ModelManifest, find_models

SCALE = 2
LEARNT = ("lite", "medium")
"""Networks whose pictures are learnt from."""

JUDGED_BEHIND = "lite"


def enlarging() -> dict[str, Upscaler]:
    """What enlarges pictures to learn from, by its hash. Raises ``ConfigError`` where it is missing."""
    models = [_shipped(name) for name in LEARNT]
    return {manifest.sha256: _upscaler(manifest) for manifest in models}


def enlarged_runs(
    clips: Sequence[Path], conditions: Sequence[str] = tuple(CONDITIONS)
) -> list[HeldOut]:
    """Every clip in every condition, enlarged; none of a clip that ends before the first judged picture.

    All pictures from that one on are judged.
    """
    upscale = judged_upscaler()
    runs = []
    for path in clips:
        samples = held_out_samples([path], scale=SCALE, conditions=conditions, frames=range(FRAMES))
        for condition, pictures in samples.items():
            judged = range(FIRST_JUDGED, len(pictures))
            if not judged:
                continue
            runs.append(
                HeldOut(
                    clip=path.stem,
                    condition=condition,
                    noisy=[upscale(picture.small) for picture in pictures],
                    clean={n: pictures[n].large for n in judged},
                )
            )
    return runs


def judged_upscaler() -> Upscaler:
    """The network that pictures are judged behind; raises ``ConfigError`` where it is missing."""
    return _upscaler(_shipped(JUDGED_BEHIND))


def _shipped(variant: str) -> ModelManifest:
    for manifest in find_models(task="super_resolution", scale=SCALE):
        if (manifest.variant, manifest.training, manifest.precision) == (variant, "live", "fp32"):
            return manifest
    raise ConfigError(
        f"no {variant!r} network is shipped that enlarges live pictures by {SCALE}, which steadying and "
        "the judging of denoising rest on; export that first"
    )


def _upscaler(manifest: ModelManifest) -> Upscaler:
    # One thread: trainings share a machine, and a second that waits for its core takes twice as long.
    return residual_upscaler(model_residual(manifest, threads=1), scale=manifest.scale)
