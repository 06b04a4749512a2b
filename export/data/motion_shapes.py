"""Outlines of made-up foreground layers, and what stands before a picture: text, logos, lines."""

from __future__ import annotations

import math
import string
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from export.data.planes import Plane
from export.data.resample import to_codes

FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_PLAIN,
    cv2.FONT_HERSHEY_TRIPLEX,
)
WORDS = (
    "LIVE", "REC", "CAM 1", "NEWS", "SPORT", "Goal", "Replay", "today at nine", "Weather",
    "I never said that.", "Where are you going?", "- Wait for me!", "breaking", "km/h", "ALT", "HOME",
)  # fmt: skip

MARGIN = 2
"""Pixels around an outline that stay empty, so that it never ends at the edge of its texture."""


def draw_outline(height: int, width: int, rng: np.random.Generator) -> Plane:
    """A shape (H, W) uint8 that fills most of its frame; 255 inside, antialiased edges."""
    if rng.random() < 0.55:
        return _blob(height, width, rng)
    return _polygon(height, width, rng)


def _blob(height: int, width: int, rng: np.random.Generator) -> Plane:
    """Where a dome plus smooth noise is above zero: round, often with arms, holes and islands."""
    cells = int(rng.integers(3, 8))
    rough = rng.standard_normal((cells, cells)).astype(np.float32) * float(rng.uniform(0.1, 0.6))
    noise = cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    field = np.asarray(noise + 0.7 - np.hypot(x, y), dtype=np.float32)
    down, across = np.gradient(field)
    inside = np.clip(field / (np.hypot(down, across) + 1e-3) + 0.5, 0.0, 1.0)
    return _empty_margin(to_codes(np.asarray(255 * inside, dtype=np.float32)))


def _polygon(height: int, width: int, rng: np.random.Generator) -> Plane:
    """A star-shaped polygon; with few corners a triangle or a box, with many a jagged disc."""
    corners = int(rng.integers(3, 13))
    angles = np.sort(rng.uniform(0, 2 * math.pi, corners))
    if rng.random() < 0.4:
        angles = np.arange(corners) * 2 * math.pi / corners + rng.uniform(0, 2 * math.pi)
    reach = rng.uniform(0.55, 1.0, corners)
    x = (0.5 + 0.5 * reach * np.cos(angles)) * (width - 1)
    y = (0.5 + 0.5 * reach * np.sin(angles)) * (height - 1)
    outline = np.zeros((height, width), np.uint8)
    fixed = np.rint(np.stack([x, y], axis=-1) * 16).astype(np.int32)
    cv2.fillPoly(outline, [fixed], 255, cv2.LINE_AA, 4)
    return _empty_margin(outline)


def _empty_margin(outline: Plane) -> Plane:
    outline[:MARGIN] = outline[-MARGIN:] = 0
    outline[:, :MARGIN] = outline[:, -MARGIN:] = 0
    return outline


@dataclass(frozen=True, slots=True)
class Overlay:
    """What stands before a picture of the same size; both (H, W) uint8."""

    luma: Plane
    alpha: Plane
    """255 hides what is behind."""

    def over(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The pictures (…, H, W) with this before them; use it on real runs too."""
        share = self.alpha.astype(np.float32) / 255
        blended = pictures + (self.luma.astype(np.float32) - pictures) * share
        return to_codes(np.asarray(blended, dtype=np.float32))


def draw_overlay(height: int, width: int, rng: np.random.Generator) -> Overlay:
    """One to three of: a line of text, a logo, a lower third, HUD lines; often half transparent."""
    overlay = Overlay(np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8))
    makers = (_text, _text, _logo, _lower_third, _lines)
    for _ in range(int(rng.integers(1, 4))):
        makers[int(rng.integers(len(makers)))](overlay, rng)
    return overlay


def _opacity(rng: np.random.Generator) -> int:
    return 255 if rng.random() < 0.6 else int(rng.integers(80, 230))


def _bright(rng: np.random.Generator) -> int:
    return int(rng.integers(190, 236)) if rng.random() < 0.8 else int(rng.integers(16, 80))


def _paint(overlay: Overlay, shape: Plane, *, luma: int, opacity: int) -> None:
    """Lays a shape (255 inside) over what the overlay already holds."""
    own = shape.astype(np.float32) * (opacity / 255 / 255)
    below = overlay.alpha.astype(np.float32) / 255 * (1 - own)
    total = own + below
    mixed = (luma * own + overlay.luma * below) / np.maximum(total, 1e-6)
    overlay.luma[:] = to_codes(mixed.astype(np.float32))
    overlay.alpha[:] = to_codes((255 * total).astype(np.float32))


def _words(rng: np.random.Generator) -> str:
    if rng.random() < 0.35:
        digits = rng.integers(0, 60, 3)
        return f"{digits[0]:02d}:{digits[1]:02d}:{digits[2]:02d}"
    if rng.random() < 0.3:
        letters = rng.choice(list(string.ascii_letters + string.digits + " "), 14)
        return "".join(str(letter) for letter in letters)
    return WORDS[int(rng.integers(len(WORDS)))]


def _text(overlay: Overlay, rng: np.random.Generator) -> None:
    """A line of text, half of them with a dark edge, as subtitles have."""
    height, width = overlay.luma.shape
    words, font = _words(rng), FONTS[int(rng.integers(len(FONTS)))]
    size, weight = float(rng.uniform(0.35, 1.3)), int(rng.integers(1, 3))
    place = (int(rng.integers(-width // 4, width * 2 // 3)), int(rng.integers(12, height)))
    shape = np.zeros_like(overlay.luma)
    opacity = _opacity(rng)
    if rng.random() < 0.5:
        cv2.putText(shape, words, place, font, size, 255, weight, cv2.LINE_AA)
        edge = np.asarray(cv2.dilate(shape, np.ones((3, 3), np.uint8)), dtype=np.uint8)
        _paint(overlay, edge, luma=16, opacity=opacity)
        shape[:] = 0
    cv2.putText(shape, words, place, font, size, 255, weight, cv2.LINE_AA)
    _paint(overlay, shape, luma=_bright(rng), opacity=opacity)


def _logo(overlay: Overlay, rng: np.random.Generator) -> None:
    """A disc or a box with a letter in it."""
    height, width = overlay.luma.shape
    reach = int(rng.integers(8, max(10, min(height, width) // 5)))
    x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
    shape, opacity, luma = np.zeros_like(overlay.luma), _opacity(rng), _bright(rng)
    if rng.random() < 0.5:
        cv2.circle(shape, (x, y), reach, 255, -1, cv2.LINE_AA)
    else:
        cv2.rectangle(shape, (x - reach, y - reach), (x + reach, y + reach), 255, -1)
    _paint(overlay, shape, luma=luma, opacity=opacity)
    letter = np.zeros_like(overlay.luma)
    place = (x - reach // 2, y + reach // 2)
    cv2.putText(letter, _words(rng)[0], place, FONTS[1], reach / 14, 255, 2, cv2.LINE_AA)
    _paint(overlay, letter, luma=251 - luma, opacity=opacity)


def _lower_third(overlay: Overlay, rng: np.random.Generator) -> None:
    """A box across the picture with text on it."""
    height, width = overlay.luma.shape
    tall = int(rng.integers(16, max(18, height // 4)))
    top = int(rng.integers(0, height - tall + 1))
    left, right = (
        int(rng.integers(-width // 2, width // 3)),
        int(rng.integers(width // 2, 2 * width)),
    )
    shape, luma = np.zeros_like(overlay.luma), int(rng.integers(16, 236))
    cv2.rectangle(shape, (left, top), (right, top + tall - 1), 255, -1)
    _paint(overlay, shape, luma=luma, opacity=_opacity(rng))
    words = np.zeros_like(overlay.luma)
    place = (max(left, 0) + 4, top + tall * 3 // 4)
    cv2.putText(words, _words(rng), place, FONTS[0], tall / 40, 255, 1, cv2.LINE_AA)
    _paint(overlay, words, luma=30 if luma > 126 else 230, opacity=255)


def _lines(overlay: Overlay, rng: np.random.Generator) -> None:
    """A frame, a cross or a scale, as cameras, drones and games draw over the picture."""
    height, width = overlay.luma.shape
    shape, thick = np.zeros_like(overlay.luma), int(rng.integers(1, 3))
    x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
    reach = int(rng.integers(8, max(9, width // 3)))
    kind = int(rng.integers(3))
    if kind == 0:
        cv2.rectangle(shape, (x - reach, y - reach * 2 // 3), (x + reach, y + reach), 255, thick)
    elif kind == 1:
        cv2.line(shape, (x - reach, y), (x + reach, y), 255, thick, cv2.LINE_AA)
        cv2.line(shape, (x, y - reach), (x, y + reach), 255, thick, cv2.LINE_AA)
    else:
        cv2.line(shape, (x, 0), (x, height), 255, thick)
        for mark in range(y % 10, height, 10):
            cv2.line(shape, (x, mark), (x + 6, mark), 255, 1)
    _paint(overlay, shape, luma=_bright(rng), opacity=_opacity(rng))
