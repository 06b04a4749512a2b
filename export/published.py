"""Published networks beside which ours are shown: what their papers say they cost and reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

HD_PIXELS = 1280 * 720


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One network as published."""

    name: str
    scale: int
    parameters_k: float | None
    giga_macs: float
    """For one output picture of 1280x720."""
    psnr_db: Mapping[str, float]
    """Luma PSNR by test set, pictures shrunk by MATLAB's bicubic kernel."""

    @property
    def macs_per_pixel(self) -> int:
        """Multiply-accumulates per pixel of the input picture, as manifests count them."""
        return round(self.giga_macs * 1e9 * self.scale**2 / HD_PIXELS)


SOURCE = (
    "the table of SAFMN (github.com/sunny2109/SAFMN, figs/efficient_sr.png; its FLOPs are MACs) "
    "and, for SESR, the plot of github.com/ARM-software/sesr"
)

BICUBIC_DB: Mapping[int, Mapping[str, float]] = {
    2: {"set5": 33.66, "set14": 30.24, "bsd100": 29.56},
    3: {"set5": 30.39, "set14": 27.55, "bsd100": 27.21},
    4: {"set5": 28.42, "set14": 26.00, "bsd100": 25.96},
}
"""By scale, what bicubic enlargement reaches in the same papers."""


def _row(
    name: str, scale: int, parameters_k: float | None, giga_macs: float, *psnr_db: float | None
) -> Published:
    sets = ("set5", "set14", "bsd100")
    return Published(
        name=name,
        scale=scale,
        parameters_k=parameters_k,
        giga_macs=giga_macs,
        psnr_db={key: db for key, db in zip(sets, psnr_db, strict=True) if db is not None},
    )


SUPER_RESOLUTION = (
    _row("SESR-M5", 2, None, 3.1, None, 32.84, None),
    _row("ESPCN", 2, 21, 5, 36.83, 32.40, 31.29),
    _row("FSRCNN", 2, 12, 6, 37.00, 32.63, 31.53),
    _row("SESR-M11", 2, None, 6.3, None, 33.03, None),
    _row("LapSRN", 2, 813, 30, 37.52, 33.08, 31.80),
    _row("SAFMN", 2, 228, 52, 38.00, 33.54, 32.16),
    _row("SRCNN", 2, 57, 53, 36.66, 32.42, 31.36),
    _row("CARN-M", 2, 415, 91, 37.53, 33.26, 31.92),
    _row("IMDN", 2, 694, 161, 38.00, 33.63, 32.19),
    _row("VDSR", 2, 665, 613, 37.53, 33.03, 31.90),
    _row("FSRCNN", 3, 12, 5, 33.16, 29.43, 28.53),
    _row("ESPCN", 4, 25, 1, 30.52, 27.42, 26.87),
    _row("FSRCNN", 4, 12, 5, 30.71, 27.59, 26.98),
)
"""Cheapest first for each scale."""
