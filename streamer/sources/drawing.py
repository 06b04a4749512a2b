"""Surfaces to draw a scene on, and the textures they become: what is drawn once and warped per frame.

A texture has up to twice the picture's resolution and is low-passed over one pixel, as a sensor does,
so that a bilinear warp straight into YUV 4:2:0 planes neither flickers nor blurs. Lengths are in
design pixels, of which 360 make the picture's height.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.frame import Plane
from streamer.media import Color

Planes: TypeAlias = tuple[Plane, Plane, Plane]
Image: TypeAlias = NDArray[np.uint8]
"""(rows, columns, BGR)."""
Field: TypeAlias = NDArray[np.floating[Any]]
Bgr: TypeAlias = Sequence[float]
Point: TypeAlias = tuple[float, float]

DESIGN_HEIGHT = 360
FINE, SMOOTH, TERRAIN = 0.6, 1.5, 1.9
"""Falloffs of the noises in use: grain, clouds and hills."""

_MAX_TEXELS = 4.0
"""Per design pixel, so that textures stay below a gigabyte; above 720 lines they are less than
twice the picture's resolution, above 1440 they are enlarged a little."""
_LUMA_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}


class Texture:
    """One drawing as YUV 4:2:0, multiplied by its own opacity, ready to be warped."""

    def __init__(
        self, canvas: Canvas, *, texels: float, blur: int, weights: Point, is_round: bool
    ) -> None:
        red, blue = weights
        green = 1 - red - blue
        luma = np.array([blue, green, red]) * 219 / 255
        cb = np.array([1 - blue, -green, -red]) * 112 / 255 / (1 - blue)
        cr = np.array([-blue, -green, 1 - red]) * 112 / 255 / (1 - red)
        # The offsets are multiplied by the opacity too, so that a plain sum composes two layers.
        rows = [[*luma, 16 / 255], [*cb, 128 / 255], [*cr, 128 / 255], [0, 0, 0, 1]]
        mask = canvas.mask
        opacity = np.full(canvas.pixels.shape[:2], 255, np.uint8) if mask is None else mask
        drawn = cv2.blur(cv2.merge((*cv2.split(canvas.pixels), opacity)), (blur, blur))
        yuva = cv2.transform(drawn, np.array(rows))
        yuva[..., 3] = 255 - yuva[..., 3]
        self._is_solid = mask is None
        self._is_round = is_round
        # OpenCV warps four channels as fast as one (0.8 ms at 640x360, two take 1.4 ms), so what
        # shares a grid goes together: Y with its transparency, and U, V with theirs.
        self._luma = yuva[..., 0].copy() if mask is None else yuva[..., [0, 3, 3, 3]].copy()
        half = (yuva.shape[1] // 2, yuva.shape[0] // 2)
        self._chroma = cv2.resize(yuva[..., [1, 2, 3, 3]], half, interpolation=cv2.INTER_AREA)
        self._texels = texels

    def paint(
        self, planes: Planes, *, anchor: Point, at: Point, angle: float = 0, zoom: float = 1
    ) -> None:
        """Show it with its design point ``anchor`` at design point ``at`` of the picture."""
        density = planes[0].shape[0] / DESIGN_HEIGHT
        scale = self._texels / (density * zoom)
        # From a position on the picture, relative to ``at``, to one on the texture.
        cos, sin = scale * math.cos(angle), scale * math.sin(angle)
        inner_x, inner_y = anchor[0] * self._texels, anchor[1] * self._texels
        outer_x, outer_y = at[0] * density, at[1] * density
        box = self._reach(
            planes[0], inner=(inner_x, inner_y), outer=(outer_x, outer_y), turn=(cos, sin)
        )
        if box is None:
            return
        left, top, right, bottom = box
        x = inner_x + cos * (left - outer_x) + sin * (top - outer_y)
        y = inner_y - sin * (left - outer_x) + cos * (top - outer_y)

        def warp(source: Any, step: int, border: tuple[int, ...]) -> Any:
            # Positions become indices of pixel centres, on both sides.
            rows = ((cos, sin, x / step), (-sin, cos, y / step))
            matrix = np.array([(a, b, c + (a + b) / 2 - 0.5) for a, b, c in rows])
            return cv2.warpAffine(
                source,
                matrix,
                ((right - left) // step, (bottom - top) // step),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE if self._is_solid else cv2.BORDER_CONSTANT,
                borderValue=border,
            )

        luma = warp(self._luma, 1, (0, 255, 255, 255))
        u, v, hidden, _ = cv2.split(warp(self._chroma, 2, (0, 0, 255, 255)))
        whole = np.s_[top:bottom, left:right]
        half = np.s_[top // 2 : bottom // 2, left // 2 : right // 2]
        if self._is_solid:
            planes[0][whole], planes[1][half], planes[2][half] = luma, u, v
            return
        _compose(planes[0][whole], cv2.extractChannel(luma, 0), cv2.extractChannel(luma, 1))
        _compose(planes[1][half], u, hidden)
        _compose(planes[2][half], v, hidden)

    def _reach(
        self, luma: Plane, *, inner: Point, outer: Point, turn: Point
    ) -> tuple[int, int, int, int] | None:
        """Left, top, right and bottom of the part of the picture it may touch, in even pixels."""
        rows, columns = luma.shape
        (cos, sin), square = turn, turn[0] ** 2 + turn[1] ** 2
        height, width = self._luma.shape[:2]
        if self._is_round:
            # However it is turned, it stays inside its circle: 40 % less to warp on average.
            far = width / 2 / math.sqrt(square)
            across, down = ([middle - far, middle + far] for middle in outer)
        else:
            corners = [(x - inner[0], y - inner[1]) for x in (0, width) for y in (0, height)]
            across = [outer[0] + (cos * x - sin * y) / square for x, y in corners]
            down = [outer[1] + (sin * x + cos * y) / square for x, y in corners]
        left, top = (max(2 * math.floor(min(ends) / 2), 0) for ends in (across, down))
        right = min(2 * math.ceil(max(across) / 2), columns)
        bottom = min(2 * math.ceil(max(down) / 2), rows)
        return (left, top, right, bottom) if left < right and top < bottom else None


def _compose(below: Plane, drawn: Any, hidden: Any) -> None:
    """Lay ``drawn`` over ``below``, which shows through by ``hidden`` of 255."""
    below[:] = cv2.add(cv2.multiply(below, hidden, scale=1 / 255), drawn)


class Canvas:
    """A drawing surface in design pixels; with ``clear`` it is transparent until drawn upon."""

    def __init__(self, width: float, height: float, *, texels: float, clear: bool = False) -> None:
        shape = (2 * round(height * texels / 2), 2 * round(width * texels / 2))
        self.pixels: Image = np.zeros((*shape, 3), np.uint8)
        self.mask: Plane | None = np.zeros(shape, np.uint8) if clear else None
        self.texels = texels

    def _each(self, draw: Callable[[Any, Any], object], color: Bgr) -> None:
        draw(self.pixels, color)
        if self.mask is not None:
            draw(self.mask, 255)

    def _fixed(self, points: Sequence[Point] | NDArray[Any]) -> NDArray[np.int32]:
        """Sixteenths of a texel, measured from the centre of the first one."""
        return np.rint((np.array(points) * self.texels - 0.5) * 16).astype(np.int32)

    def box(self, x: float, y: float, width: float, height: float, color: Bgr) -> None:
        k = self.texels
        part = np.s_[
            max(round(y * k), 0) : max(round((y + height) * k), 0),
            max(round(x * k), 0) : max(round((x + width) * k), 0),
        ]
        self.pixels[part] = color
        if self.mask is not None:
            self.mask[part] = 255

    def shape(self, points: Sequence[Point], color: Bgr) -> None:
        fixed = self._fixed(points)
        self._each(lambda to, c: cv2.fillPoly(to, [fixed], c, cv2.LINE_AA, 4), color)

    def line(self, points: Sequence[Point], color: Bgr, width: float) -> None:
        fixed, thick = self._fixed(points), max(1, round(width * self.texels))
        self._each(lambda to, c: cv2.polylines(to, [fixed], False, c, thick, cv2.LINE_AA, 4), color)

    def lines(self, points: NDArray[Any], color: Bgr, width: float) -> None:
        """Many lines at once; ``points`` are (line, point, xy)."""
        fixed, thick = list(self._fixed(points)), max(1, round(width * self.texels))
        self._each(lambda to, c: cv2.polylines(to, fixed, False, c, thick, cv2.LINE_AA, 4), color)

    def shapes(self, points: NDArray[Any], colors: NDArray[Any]) -> None:
        """Many convex shapes, one after the other; ``points`` are (shape, point, xy)."""
        for fixed, color in zip(self._fixed(points), colors.tolist(), strict=True):
            cv2.fillConvexPoly(self.pixels, fixed, color, cv2.LINE_AA, 4)
            if self.mask is not None:
                cv2.fillConvexPoly(self.mask, fixed, 255, cv2.LINE_AA, 4)

    def disc(self, x: float, y: float, radius: float, color: Bgr) -> None:
        (center,), fixed = self._fixed([(x, y)]), round(radius * self.texels * 16)
        self._each(
            lambda to, c: cv2.circle(to, center.tolist(), fixed, c, -1, cv2.LINE_AA, 4), color
        )

    def text(self, words: str, x: float, y: float, size: float, color: Bgr) -> None:
        """Centred on (x, y); ``size`` is the height of a capital."""
        font, scale = cv2.FONT_HERSHEY_DUPLEX, size * self.texels / 22
        thick = max(1, round(scale * 1.4))
        (width, height), _ = cv2.getTextSize(words, font, scale, thick)
        origin = (round(x * self.texels - width / 2), round(y * self.texels + height / 2))
        self._each(
            lambda to, c: cv2.putText(to, words, origin, font, scale, c, thick, cv2.LINE_AA), color
        )

    def shade(self, factor: Field) -> None:
        """Multiply all colours, per texel."""
        cv2.multiply(self.pixels, cv2.merge((factor,) * 3), self.pixels, 1, cv2.CV_8U)

    def split(self, row: float) -> tuple[Canvas, Canvas]:
        """What is above ``row``, and below it, where all is known to be drawn upon."""
        upper, lower = (Canvas(0, 0, texels=self.texels) for _ in range(2))
        at = 2 * round(row * self.texels / 2)
        upper.pixels, lower.pixels = self.pixels[:at], self.pixels[at:]
        upper.mask = None if self.mask is None else self.mask[:at]
        return upper, lower


class Kit:
    """What every shot draws with: the generator, the noise and the size of the picture."""

    def __init__(self, *, seed: int, width: int, height: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.view = DESIGN_HEIGHT * width / height
        density = height / DESIGN_HEIGHT
        self.texels = min(2 * density, _MAX_TEXELS)
        self._blur = max(1, round(self.texels / density))
        self._weights = _LUMA_WEIGHTS[Color.untagged(height).matrix]
        side = 1024
        white = np.fft.rfft2(self.rng.standard_normal((side, side), dtype=np.float32))
        down, across = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
        self._radius = np.maximum(np.hypot(down, across), 2 / side).astype(np.float32)
        self._white = white.astype(np.complex64)
        self._tiles: dict[float, Field] = {}

    def noise(self, like: NDArray[Any], *, falloff: float, grain: float = 1) -> Field:
        """Noise of amplitude 1 / f ** falloff, unit variance, shaped as ``like``, varied per call.

        ``grain`` enlarges it.
        """
        if falloff not in self._tiles:
            tile = np.fft.irfft2(self._white / self._radius**falloff).astype(np.float32)
            self._tiles[falloff] = (tile - tile.mean()) / tile.std()
        rows, columns = like.shape[:2]
        across, down = int(columns / grain) + 2, int(rows / grain) + 2
        tile = self._tiles[falloff]
        corner = self.rng.integers(0, 1024, 2)
        part = tile.take(np.arange(down) + corner[0], axis=0, mode="wrap")
        part = part.take(np.arange(across) + corner[1], axis=1, mode="wrap")
        if grain != 1:
            part = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_CUBIC)
        whole: Field = part[:rows, :columns]
        return whole

    def canvas(self, width: float, height: float, *, clear: bool = False) -> Canvas:
        return Canvas(width, height, texels=self.texels, clear=clear)

    def texture(self, canvas: Canvas, *, is_round: bool = False) -> Texture:
        """What ``canvas`` shows, to be painted; a round one must be painted by its centre."""
        return Texture(
            canvas,
            texels=self.texels,
            blur=self._blur,
            weights=self._weights,
            is_round=is_round,
        )

    def pick(self, options: Sequence[Any]) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))


def mix(low: Bgr, high: Bgr, share: Field) -> Field:
    """Colours between ``low`` (share 0) and ``high`` (share 1), one per element."""
    weight = np.clip(share, 0, 1).astype(np.float32)
    channels = [weight * (top - bottom) + bottom for bottom, top in zip(low, high, strict=True)]
    return np.stack(channels, axis=-1)
