"""Where a layer of a made-up scene is at any time, and where each of its points goes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.data.motion_recipe import SceneRecipe

Matrix = NDArray[np.float64]
Grid = NDArray[np.float32]
"""(H, W, 2) float32: an x and a y for every pixel."""

Box = tuple[slice, slice]
"""Rows and columns of the picture; both slices have a start and a stop."""

WOBBLE_STEPS = 5
"""Rounds of the fixed point below; each leaves under a quarter of the error before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wobble:
    """Waves that bend a layer: x is shifted along y and y along x, both running with time."""

    amplitude: tuple[float, float]
    """Texture pixels."""
    wavelength: tuple[float, float]
    """Picture pixels; at least 40 times the amplitude keeps the bend one to one."""
    rate: tuple[float, float]
    """Radians per frame."""
    phase: tuple[float, float]

    def shift(self, x: Grid, y: Grid, time: float) -> tuple[Grid, Grid]:
        """How far the texture is read aside at picture places x, y (any shapes that broadcast)."""
        (a, b), (p, q), (u, v), (f, g) = self.amplitude, self.wavelength, self.rate, self.phase
        turn = np.float32(2 * math.pi)
        along_y = np.float32(a) * np.sin(y * (turn / np.float32(p)) + np.float32(u * time + f))
        along_x = np.float32(b) * np.sin(x * (turn / np.float32(q)) + np.float32(v * time + g))
        return along_y, along_x


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """The motion of one layer; every rate is per frame, and exact at any real time."""

    base: Matrix
    """3x3, takes a texture place to the picture around the pivot at time ``middle``."""
    pivot: tuple[float, float]
    """Picture x, y of the pivot at time ``middle``."""
    middle: float = 0.0
    velocity: tuple[float, float] = (0.0, 0.0)
    acceleration: tuple[float, float] = (0.0, 0.0)
    turn: float = 0.0
    """Radians."""
    zoom: float = 0.0
    """Natural logarithm of the growth."""
    tilt: tuple[float, float] = (0.0, 0.0)
    """Change of the projective row, per pixel."""
    wobble: Wobble | None = None

    def forward(self, time: float) -> Matrix:
        """The 3x3 homography from texture to picture at a time, without the wobble."""
        t = time - self.middle
        x, y = (
            place + rate * t + 0.5 * growth * t * t
            for place, rate, growth in zip(
                self.pivot, self.velocity, self.acceleration, strict=True
            )
        )
        size, angle = math.exp(self.zoom * t), self.turn * t
        cos, sin = size * math.cos(angle), size * math.sin(angle)
        turned = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        tilted = np.array(
            [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [self.tilt[0] * t, self.tilt[1] * t, 1.0]]
        )
        moved = np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])
        return np.asarray(moved @ tilted @ turned @ self.base, dtype=np.float64)

    def backward(self, time: float) -> Matrix:
        """The 3x3 homography from picture to texture at a time, without the wobble."""
        return np.asarray(np.linalg.inv(self.forward(time)), dtype=np.float64)

    def reading(self, time: float, box: Box) -> Grid:
        """The texture place that every pixel of a part of the picture shows at a time."""
        places = _project(self.backward(time), *_axes(box))
        if self.wobble is not None:
            along_x, along_y = self.wobble.shift(*_axes(box), time)
            places[..., 0] += along_x
            places[..., 1] += along_y
        return places

    def flow(self, time: float, to: float, box: Box) -> Grid:
        """The exact backward flow of the layer, for the pixels of ``box``, in pixels.

        For each: where the point seen there at ``time`` is at ``to``, less its own place, x before
        y. With a wobble that is the fixed point of place = forward(p - shift(place)), where p is
        the texture place.
        """
        x, y = _axes(box)
        forward = self.forward(to)
        if self.wobble is None:
            found = _project(forward @ self.backward(time), x, y)
        else:
            places = self.reading(time, box)
            found = _project(forward, places[..., 0], places[..., 1])
            for _ in range(WOBBLE_STEPS):
                along_x, along_y = self.wobble.shift(found[..., 0], found[..., 1], to)
                found = _project(forward, places[..., 0] - along_x, places[..., 1] - along_y)
        found[..., 0] -= x
        found[..., 1] -= y
        return found


def _axes(box: Box) -> tuple[Grid, Grid]:
    """Columns (1, w) and rows (h, 1) of the box's pixel centres, whole numbers."""
    rows, columns = box
    x = np.arange(columns.start, columns.stop, dtype=np.float32)
    y = np.arange(rows.start, rows.stop, dtype=np.float32)
    return x[None], y[:, None]


def _project(matrix: Matrix, x: Grid, y: Grid) -> Grid:
    """Places after a homography, (H, W, 2)."""
    m = matrix / matrix[2, 2]
    a, b, c = (np.float32(row[0]) * x + (np.float32(row[1]) * y + np.float32(row[2])) for row in m)
    result = np.empty((*a.shape, 2), np.float32)
    np.divide(a, c, out=result[..., 0])
    np.divide(b, c, out=result[..., 1])
    return result


def placed(*, texture: tuple[float, float], angle: float, size: float) -> Matrix:
    """The base of a path: the texture place comes to the pivot, turned and enlarged around it."""
    cos, sin = size * math.cos(angle), size * math.sin(angle)
    x, y = texture
    return np.array([[cos, -sin, sin * y - cos * x], [sin, cos, -sin * x - cos * y], [0, 0, 1.0]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How a layer moves, before it is known where it is."""

    velocity: tuple[float, float] = (0.0, 0.0)
    acceleration: tuple[float, float] = (0.0, 0.0)
    turn: float = 0.0
    zoom: float = 0.0
    tilt: tuple[float, float] = (0.0, 0.0)


def draw_drift(
    recipe: SceneRecipe, rng: np.random.Generator, *, carried: Drift | None = None
) -> Drift:
    """A random motion; a foreground layer is ``carried`` by the background's velocity."""
    speed, angle = recipe.max_speed * rng.random() ** 2, rng.uniform(0, 2 * math.pi)
    velocity = np.array([math.cos(angle), math.sin(angle)]) * speed
    if carried is not None:
        velocity = velocity + np.array(carried.velocity)
        velocity *= min(1.0, recipe.max_speed / max(1e-6, float(np.hypot(*velocity))))
    acceleration = rng.normal(0.0, 0.1 * float(np.hypot(*velocity)) + 0.05, 2)
    # Evenly drawn numbers cubed: most layers hardly turn, grow or tilt, a few do so fast.
    turn, zoom, *tilt = rng.uniform(-1.0, 1.0, 4) ** 3
    share = min(1.0, recipe.max_speed / 8)
    return Drift(
        velocity=(float(velocity[0]), float(velocity[1])),
        acceleration=(float(acceleration[0]), float(acceleration[1])),
        turn=math.radians(5.0) * share * float(turn),
        zoom=0.04 * share * float(zoom),
        tilt=(2e-4 * share * float(tilt[0]), 2e-4 * share * float(tilt[1])),
    )


def draw_wobble(recipe: SceneRecipe, rng: np.random.Generator) -> Wobble | None:
    """Waves for ``wobble_share`` of the layers."""
    if rng.random() >= recipe.wobble_share:
        return None
    wavelength = rng.uniform(40.0, 240.0, 2)
    amplitude = np.minimum(wavelength / 40, 4.0) * rng.random(2)
    rate, phase = rng.uniform(-1.2, 1.2, 2), rng.uniform(0, 2 * math.pi, 2)
    return Wobble(
        amplitude=(float(amplitude[0]), float(amplitude[1])),
        wavelength=(float(wavelength[0]), float(wavelength[1])),
        rate=(float(rate[0]), float(rate[1])),
        phase=(float(phase[0]), float(phase[1])),
    )
