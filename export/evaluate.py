"""Measures a shipped model through ONNX Runtime against the plain upscales, and notes it down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from export.cost import measure_cost
from export.data.clips import IMAGE_ENDINGS, find_data, read_image
from export.data.degrade import Treatment, damage
from export.denoise_evaluate import evaluate_denoising
from export.model_file import held_out_names, with_quality, write_manifest
from export.motion_evaluate import evaluate_motion
from export.runner import model_residual
from export.steady_evaluate import evaluate_steadying
from export.upscalers import lanczos, residual_upscaler
from export.validation import (
    CONDITIONS,
    SHRINKING,
    UNDAMAGED,
    Sample,
    Upscaler,
    bicubic,
    held_out_samples,
    mean_change,
    mean_psnr,
)
from streamer.clock import Clock
from streamer.errors import ConfigError
from streamer.infer.backends import BACKENDS
from streamer.infer.trial import PICTURE, picture_sizes
from streamer.model import ModelManifest

FRAMES = (0, 4, 8, 11)
"""Judged frames of each held-out clip: its keyframe and three predicted ones."""

STILL_KERNELS = ("area", "bicubic")
"""How the classic sets are shrunk; bicubic is the antialiased one of MATLAB and Pillow."""

STILL_SETS = ("set5", "set14", "bsd100")

KEPT = ("training", "lost_against_fp32_db", "cost")
"""What other commands noted in the manifest and an evaluation leaves alone."""

METHOD = (
    "Mean over frames of luma PSNR in dB on rounded 8-bit code values, peak 255, a border of "
    "`scale` pixels cut. Held-out clips: area kernel (for clean networks bicubic), rounded, x264 "
    "veryfast zerolatency, frames 0, 4, 8, 11 of a 12-frame run. Stills: converted to limited-range "
    "BT.601 4:2:0, each plane shrunk by the named antialiased kernel (bicubic: a = -0.5) and "
    "rounded; coded ones as a single x264 veryfast zerolatency intra frame. bicubic, lanczos: "
    "OpenCV's enlargements."
)

METHOD_AT_X1 = (
    "Mean over frames of luma PSNR in dB on rounded 8-bit code values, peak 255, a border of one "
    "pixel cut. Held-out clips: shrunk to half by the bicubic kernel (a = -0.5), rounded, x264 "
    "veryfast zerolatency, frames 0, 4, 8, 11 of a 12-frame run. Stills: converted to limited-range "
    "BT.601 4:2:0, coded as a single x264 veryfast zerolatency intra frame. Uncompressed pictures: "
    "by how many code values of luma they are changed, mean over all pixels of a clip."
)

MEASURES: Mapping[str, Callable[..., dict[str, Any]]] = {
    "denoising": evaluate_denoising,
    "steadying": evaluate_steadying,
    "interpolation": evaluate_motion,
    "prediction": evaluate_motion,
}
"""By task, what measures a network that does not enlarge."""

Table = dict[str, dict[str, float]]


def evaluate(manifest: ModelManifest, data: Path, *, report: Callable[[str], None]) -> Path:
    """Writes the measured quality into the manifest and gives its path."""
    kept: dict[str, Any] = {k: manifest.quality[k] for k in KEPT if k in manifest.quality}
    if manifest.task != "super_resolution":
        measure = MEASURES[manifest.task]
        quality = kept | measure(manifest, data, report=report)
        return write_manifest(with_quality(manifest, quality))
    scale = manifest.scale
    split = find_data(data, validation=held_out_names(manifest))
    model = residual_upscaler(model_residual(manifest), scale=scale)
    upscalers: dict[str, Upscaler] = {"input": bicubic(scale), "model": model}
    if scale > 1:
        upscalers = {"bicubic": bicubic(scale), "lanczos": lanczos(scale), "model": model}
    held_out = held_out_samples(
        split.validation,
        scale=scale,
        conditions=CONDITIONS,
        frames=FRAMES,
        kernel=SHRINKING.get(manifest.training, "area"),
    )
    quality = {**kept, "method": METHOD_AT_X1 if scale == 1 else METHOD}
    if scale == 1:
        quality["undamaged_changed_codes"] = _changes(held_out.pop(UNDAMAGED), model, report=report)
    quality["held_out_clips"] = _table(held_out, upscalers, scale=scale, report=report)
    quality["held_out_clips_gain_db"] = _gain_per_clip(held_out, upscalers, scale=scale)
    for name in STILL_SETS:
        stills = still_samples(data / "tests" / name, scale=scale)
        if stills:
            report(name)
            quality[name] = _table(stills, upscalers, scale=scale, report=report)
    return write_manifest(with_quality(manifest, quality))


def evaluate_cost(
    manifest: ModelManifest, *, clock: Clock, report: Callable[[str], None]
) -> ModelManifest:
    """The manifest with how long the model takes on this processor, written down.

    Raises ``ConfigError`` for a precision that the processor does not run at a gain.
    """
    if not BACKENDS["ort-cpu"].runnable([manifest]):
        raise ConfigError(
            f"{manifest.name} is {manifest.precision}, which a processor does not run at a gain; "
            "leave out --cost"
        )
    cost = measure_cost(manifest, clock, sizes=picture_sizes(manifest), picture=PICTURE)
    report(f"{PICTURE}: p50 {cost['p50_ms']} ms, p95 {cost['p95_ms']} ms")
    timed = with_quality(manifest, {**manifest.quality, "cost": cost})
    write_manifest(timed)
    return timed


def still_samples(folder: Path, *, scale: int) -> dict[str, list[Sample]]:
    """Per kernel and encoding, the pictures of a folder; empty when there is no such folder."""
    if not folder.is_dir():
        return {}
    samples: dict[str, list[Sample]] = {}
    # Without enlargement there is no kernel, and what is not coded is not damaged.
    is_shrunk = scale > 1
    kernels = STILL_KERNELS if is_shrunk else STILL_KERNELS[:1]
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_ENDINGS)
    if not paths:
        raise ConfigError(
            f"{folder} holds no pictures ({', '.join(IMAGE_ENDINGS)}); put some there or remove it"
        )
    for path in paths:
        large = read_image(path, multiple=2 * scale)
        for kernel in kernels:
            for condition, coding in CONDITIONS.items():
                if coding is None and not is_shrunk:
                    continue
                treatment = Treatment(kernel=kernel, coding=coding)
                rng = np.random.default_rng(0)
                small, _ = damage([large], treatment, scale=scale, rng=rng)
                key = f"{kernel}_{condition}" if is_shrunk else condition
                samples.setdefault(key, []).append(
                    Sample(clip=path.stem, small=small[0], large=large)
                )
    return samples


def _table(
    samples: Mapping[str, Sequence[Sample]],
    upscalers: Mapping[str, Upscaler],
    *,
    scale: int,
    report: Callable[[str], None],
) -> Table:
    table: Table = {}
    for condition, group in samples.items():
        row = {
            name: round(mean_psnr(group, upscaler, scale=scale), 3)
            for name, upscaler in upscalers.items()
        }
        table[condition] = row
        values = ", ".join(f"{name} {value:.2f}" for name, value in row.items())
        plain = next(iter(row.values()))
        report(f"{condition:>18}: {values} dB ({row['model'] - plain:+.2f})")
    return table


def _gain_per_clip(
    samples: Mapping[str, Sequence[Sample]], upscalers: Mapping[str, Upscaler], *, scale: int
) -> Table:
    """Model minus the first for every clip, so that a clip made worse cannot hide in a mean."""
    table: Table = {}
    plain = next(iter(upscalers.values()))
    for condition, group in samples.items():
        for clip in sorted({sample.clip for sample in group}):
            own = [sample for sample in group if sample.clip == clip]
            gain = mean_psnr(own, upscalers["model"], scale=scale) - mean_psnr(
                own, plain, scale=scale
            )
            table.setdefault(clip, {})[condition] = round(gain, 3)
    return table


def _changes(
    samples: Sequence[Sample], upscaler: Upscaler, *, report: Callable[[str], None]
) -> dict[str, float]:
    """By clip, the mean of what a network changes in pictures that nothing damaged."""
    table = {
        clip: round(mean_change([s for s in samples if s.clip == clip], upscaler), 4)
        for clip in sorted({sample.clip for sample in samples})
    }
    report(f"undamaged pictures are changed by at most {max(table.values())} code values of luma")
    return table
