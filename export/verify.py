"""Checks that shipped models are the files their manifests describe and compute what torch does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from export.feeds import drawn_feeds, real_feeds
from export.float16 import typed_half
from export.model_file import family
from export.runner import Feed, Floats, open_model
from export.to_onnx import load_fused
from streamer.errors import ConfigError
from streamer.infer.self_test import TOLERANCES
from streamer.model import ModelManifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How far a precision may be from torch in float32."""

    largest: float
    """Largest difference of one value, in the output's unit: 8-bit code values for residuals."""
    share: float
    """Root mean square of the difference over all inputs, as a share of that of the output."""
    step: float = 0.0
    """Of the output: rounding to it is allowed on top, ``step / sqrt(12)`` as root mean square."""


LIMITS = {
    # ONNX Runtime and torch sum in different orders.
    "fp32": Limit(largest=0.02, share=0.001),
    # Half a code value in one place cannot move a rounded result by more than one. The input alone
    # comes in steps of a tenth, which is 2 % of a residual where little is to be corrected.
    "fp16": Limit(largest=0.5, share=0.02, step=219 * 2**-11),
    # The share is that of the self-test at run time.
    "int8": Limit(largest=np.inf, share=TOLERANCES["int8"], step=1.0),
    "int8-symmetric": Limit(largest=np.inf, share=TOLERANCES["int8-symmetric"], step=219 * 2**-11),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """How far one variant is from torch in float32 over all inputs."""

    file: str
    precision: str
    largest: float
    rms: float
    size: float
    """Root mean square of what torch gives."""

    @property
    def share(self) -> float:
        return self.rms / self.size if self.size else float(np.sign(self.rms))

    @property
    def limit(self) -> Limit:
        return LIMITS[self.precision]

    @property
    def is_within(self) -> bool:
        allowed = np.hypot(self.limit.share * self.size, self.limit.step / np.sqrt(12))
        # Written so that not a number is never within.
        return bool(self.largest <= self.limit.largest and self.rms <= allowed)

    def __str__(self) -> str:
        allowed = f"share {self.limit.share:g}"
        if np.isfinite(self.limit.largest):
            allowed = f"largest {self.limit.largest:g}, {allowed}"
        if self.limit.step:
            allowed += " and rounding"
        verdict = "" if self.is_within else "  TOO FAR"
        return (
            f"{self.file:<36} {self.precision:<14} largest {self.largest:8.5f}  rms {self.rms:.5f}  "
            f"share {self.share:.5f}  allowed {allowed}{verdict}"
        )


def verify(manifest: ModelManifest, weights: Path, *, data: Path | None = None) -> list[Row]:
    """One row per shipped precision of the network, on clips of ``data`` or on drawn frames.

    Raises ``EngineError`` on a wrong hash and ``ConfigError`` on weights, manifests or files that
    do not belong together; ``check`` judges the rows.
    """
    fused = load_fused(manifest, weights)
    feeds = drawn_feeds(manifest) if data is None else real_feeds(manifest, data)
    return compare(fused, family(manifest), feeds)


def compare(fused: nn.Module, models: Iterable[ModelManifest], feeds: Sequence[Feed]) -> list[Row]:
    """A row per model: its outputs in ONNX Runtime against those of ``fused`` in torch.

    fp16 has a second row, of torch: ONNX Runtime's CPU kernels compute fp16 convolutions in
    float32, while torch rounds after every layer, as a GPU does.
    """
    expected = [_in_torch(fused, feed) for feed in feeds]
    rows = []
    for manifest in models:
        if manifest.precision not in LIMITS:
            raise ConfigError(
                f"{manifest.name}.json has the precision {manifest.precision!r}, known are "
                f"{', '.join(LIMITS)}; export it anew"
            )
        run = open_model(manifest)
        seen = [list(run(feed).values()) for feed in feeds]
        rows.append(_row(manifest.file, manifest.precision, expected, seen))
        if manifest.precision == "fp16":
            halved = typed_half(fused)
            seen = [_in_torch(halved, feed, dtype=torch.float16) for feed in feeds]
            rows.append(_row(f"{manifest.file} (torch)", manifest.precision, expected, seen))
    return rows


def check(rows: Sequence[Row]) -> None:
    """Raises ``ConfigError`` naming the files that differ from torch by more than allowed."""
    wrong = [row for row in rows if not row.is_within]
    if wrong:
        named = ", ".join(
            f"{row.file} by {row.largest:.4f} at most and {row.share:.3f} of the output"
            for row in wrong
        )
        raise ConfigError(f"differs from torch by more than allowed: {named}; export it anew")


def _in_torch(
    network: nn.Module, feed: Feed, *, dtype: torch.dtype = torch.float32
) -> list[Floats]:
    with torch.no_grad():
        given = network(*(torch.from_numpy(value).to(dtype) for value in feed.values()))
    outputs = (given,) if isinstance(given, torch.Tensor) else given
    return [output.float().numpy() for output in outputs]


def _row(
    file: str,
    precision: str,
    expected: Sequence[Sequence[Floats]],
    seen: Sequence[Sequence[Floats]],
) -> Row:
    """Differences over all inputs; of several outputs the one that is furthest off."""
    rows = []
    for wanted, given in zip(zip(*expected, strict=True), zip(*seen, strict=True), strict=True):
        for truth, value in zip(wanted, given, strict=True):
            if truth.shape != value.shape:
                raise ConfigError(
                    f"{file} gives {value.shape}, torch gives {truth.shape}; export it anew"
                )
        truths = np.concatenate([truth.ravel() for truth in wanted]).astype(np.float64)
        errors = np.concatenate([value.ravel() for value in given]) - truths
        rows.append(
            Row(
                file=file,
                precision=precision,
                largest=float(np.abs(errors).max()),
                rms=float(np.sqrt(np.mean(errors**2))),
                size=float(np.sqrt(np.mean(truths**2))),
            )
        )
    # What is not a number is furthest off of all.
    return max(rows, key=lambda row: np.inf if np.isnan(row.share) else row.share)
