"""How like its original a picture is: PSNR, SSIM, MS-SSIM."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
Floats = NDArray[np.float64]

IDENTICAL_DB = 99.0
"""What stands for an infinite PSNR, so that means and JSON stay finite."""

WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
LEVEL_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def psnr(result: Codes, original: Codes) -> float:
    """In dB over 8-bit code values, peak 255; over all channels where there are several."""
    error = float(np.mean((result.astype(np.float64) - original) ** 2))
    return IDENTICAL_DB if error == 0.0 else float(10 * np.log10(255.0**2 / error))


def rms_error(result: Codes, original: Codes) -> float:
    """Root of the mean squared difference in code values: Middlebury's interpolation error."""
    return float(np.sqrt(np.mean((result.astype(np.float64) - original) ** 2)))


def structure(result: Codes, original: Codes) -> tuple[float, float]:
    """SSIM and MS-SSIM of two (H, W) planes of at least 11x11.

    SSIM: Wang et al. 2004 at full size, gaussian window of 11x11 with sigma 1.5, only where the
    window lies wholly inside. MS-SSIM: Wang et al. 2003, five levels each halved by 2x2 means,
    contrast and structure of all levels, luminance of the last; where a side is too small for the
    window there are fewer levels, their weights scaled to sum to one. Negative means count as 0.
    """
    a, b = result.astype(np.float64), original.astype(np.float64)
    levels = _levels(min(a.shape))
    exponents = np.array(LEVEL_WEIGHTS[:levels]) / sum(LEVEL_WEIGHTS[:levels])
    ssim = product = 1.0
    for level, exponent in enumerate(exponents):
        whole, contrast = _ssim_maps(a, b)
        if level == 0:
            ssim = float(whole.mean())
        is_last = level == levels - 1
        product *= max(float((whole if is_last else contrast).mean()), 0.0) ** float(exponent)
        if not is_last:
            a, b = _halved(a), _halved(b)
    return ssim, product


def _levels(side: int) -> int:
    fitting = [level for level in range(5) if side >> level >= WINDOW]
    if not fitting:
        raise ValueError(f"a side of {side} pixels is smaller than SSIM's window of {WINDOW}")
    return len(fitting)


def _ssim_maps(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """The SSIM map, and its contrast-structure part alone."""
    mean_a, mean_b = _window_mean(a), _window_mean(b)
    variance_a = _window_mean(a * a) - mean_a**2
    variance_b = _window_mean(b * b) - mean_b**2
    covariance = _window_mean(a * b) - mean_a * mean_b
    contrast = (2 * covariance + C2) / (variance_a + variance_b + C2)
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return luminance * contrast, contrast


def _window_mean(values: Floats) -> Floats:
    blurred = cv2.GaussianBlur(values, (WINDOW, WINDOW), SIGMA)
    edge = WINDOW // 2
    inner: Floats = np.asarray(blurred, dtype=np.float64)[edge:-edge, edge:-edge]
    return inner


def _halved(values: Floats) -> Floats:
    height, width = values.shape[0] // 2, values.shape[1] // 2
    even = values[: 2 * height, : 2 * width]
    halved: Floats = even.reshape(height, 2, width, 2).mean(axis=(1, 3))
    return halved
