"""Held-out frames with known originals, and how much better than plain upscales a network is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.data.clips import read_clip
from export.data.codec import Coding, x264
from export.data.degrade import Treatment, damage
from export.data.planes import Plane, Planes, upscale
from streamer.errors import ConfigError

Upscaler = Callable[[Planes], Planes]

UNDAMAGED = "clean"
"""The condition that no codec is in."""

CONDITIONS: Mapping[str, Coding | None] = {
    UNDAMAGED: None,
    "x264_crf23": x264(23),
    "x264_crf28": x264(28),
    "x264_crf33": x264(33),
}
"""Encodings of the held-out clips; the small picture is always made by the area kernel."""

SEEN = {"clean": ("clean",), "live": ("clean", "x264_crf28")}
"""Conditions that each kind of training is for; what is neither is judged as live."""

SEEN_AT_X1 = ("x264_crf28", "x264_crf33")
"""The same without enlargement: an undamaged picture is the original there, which PSNR cannot judge."""

SHARPENING_AT_X1 = 2.0
"""Held-out clips are shrunk by this before they are coded where nothing enlarges them: soft as they
are, they would hide what a codec does, and the pictures are as large as those that x2 is judged on."""

SHRINKING = {"clean": "bicubic", "live": "area"}
"""How held-out frames are shrunk: by the kernel that clean networks learn, or as a camera does."""

RUN_FRAMES = 12
"""Frames encoded in one go, so that the judged ones carry the damage of predicted frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One judged frame: what arrives, and what it was before it was shrunk and coded."""

    clip: str
    small: Planes
    large: Planes


def psnr_y(result: Plane, original: Plane, *, border: int) -> float:
    """Luma PSNR in dB over 8-bit code values (peak 255), ``border`` pixels cut on each side."""
    inner = (slice(border, -border or None), slice(border, -border or None))
    error = result[inner].astype(np.float64) - original[inner].astype(np.float64)
    mean = float(np.mean(error * error))
    return 99.0 if mean == 0.0 else float(10.0 * np.log10(255.0**2 / mean))


def seen_conditions(training: str, *, scale: int) -> tuple[str, ...]:
    """What a network is judged on while it is trained and quantised: keys of ``CONDITIONS``."""
    return SEEN_AT_X1 if scale == 1 else SEEN.get(training, SEEN["live"])


def held_out_samples(
    clips: Sequence[Path],
    *,
    scale: int,
    conditions: Iterable[str],
    frames: Sequence[int],
    kernel: str = "area",
) -> dict[str, list[Sample]]:
    """Per condition the frames with these indices of each clip's first dozen."""
    if not clips:
        raise ConfigError("no clip is held out: name some under data.validation in the recipe")
    samples: dict[str, list[Sample]] = {condition: [] for condition in conditions}
    for clip in clips:
        run = list(read_clip(clip, multiple=2 * scale, limit=RUN_FRAMES))
        for condition, kept in samples.items():
            treatment = Treatment(
                sharpening=SHARPENING_AT_X1 if scale == 1 else 1.0,
                kernel=kernel,
                coding=CONDITIONS[condition],
            )
            small, large = damage(run, treatment, scale=scale, rng=np.random.default_rng(0))
            kept.extend(
                Sample(clip=clip.stem, small=small[index], large=large[index])
                for index in frames
                if index < len(run)
            )
    return samples


def refuse_none(samples: Sequence[Sample]) -> None:
    """Raises ``ConfigError`` where there is nothing to judge: a mean of nothing is no number."""
    if not samples:
        raise ConfigError(
            "no held-out clip has enough frames to be judged: name one of a dozen frames or more under "
            "data.validation in the recipe"
        )


def mean_psnr(samples: Sequence[Sample], upscaler: Upscaler, *, scale: int) -> float:
    """Mean over frames of the luma PSNR of an upscaler; a border of ``scale`` pixels is cut.

    Raises as ``refuse_none`` does.
    """
    refuse_none(samples)
    values = [psnr_y(upscaler(sample.small).y, sample.large.y, border=scale) for sample in samples]
    return float(np.mean(values))


def mean_change(samples: Sequence[Sample], upscaler: Upscaler) -> float:
    """By how many code values of luma a network that enlarges nothing changes pictures, on the mean."""
    values = [
        np.abs(upscaler(sample.small).y.astype(np.int16) - sample.small.y).mean()
        for sample in samples
    ]
    return float(np.mean(values))


def bicubic(scale: int) -> Upscaler:
    """The plain upscale that the network corrects; at x1 the picture itself."""
    return lambda planes: upscale(planes, scale)
