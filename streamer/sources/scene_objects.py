"""What the map and meadow shots are made of: relief, instruments, grass and round things."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import cv2
import numpy as np

from streamer.sources.drawing import FINE, SMOOTH, TERRAIN, Bgr, Canvas, Field, Image, Kit, mix

Face: TypeAlias = Callable[[Field, Field], Field]
"""From polar coordinates (radius 0..1, angle) to BGR 0..255."""

SPREAD = 1.15
"""A round thing with its shadow, compared to the thing."""
STAR_RADIUS = 56

_TURN = 2 * math.pi
_PLACES = (
    "Aldermoor",
    "Brackwell",
    "Cold Tarn",
    "Eskdale",
    "Fenwick",
    "Greyfell",
    "Holm Bay",
    "Ravenscar",
    "Stonehythe",
    "Upper Wyke",
)


def relief_map(kit: Kit, width: float, height: float) -> Canvas:
    """Tinted, hill-shaded, with contour lines, lakes, roads, a grid and names."""
    canvas = kit.canvas(width, height)
    k = canvas.texels
    level = kit.noise(canvas.pixels, falloff=TERRAIN, grain=k * 0.75)
    level = cv2.GaussianBlur(level, (0, 0), k) + 0.004 * kit.noise(canvas.pixels, falloff=FINE)
    slope_x, slope_y = (cv2.Sobel(level, cv2.CV_32F, *axis) * k for axis in ((1, 0), (0, 1)))
    is_land = np.clip((level + 0.75) * 30, 0, 1)
    light = 1 + is_land * np.clip(-2.2 * (slope_x + slope_y), -0.45, 0.35)
    for step, strength, thick in ((0.1, 0.3, 0.5), (0.5, 0.5, 0.9)):
        # Distance to the nearest contour in texels, so that lines are equally thick on any slope.
        steep = cv2.magnitude(slope_x, slope_y) / (8 * k) + 1e-4
        away = np.abs((level / step + 0.5) % 1 - 0.5) * step / steep
        light *= 1 - strength * is_land * np.clip(thick * k / 2 + 0.5 - away, 0, 1)
    wood = 0.8 * kit.noise(canvas.pixels, falloff=FINE) + kit.noise(canvas.pixels, falloff=SMOOTH)
    trees = is_land * np.clip((wood - 1) * 1.6, 0, 0.55)
    tinted = cv2.applyColorMap(cv2.convertScaleAbs(level + 3, alpha=42), _tints())
    forest = np.full_like(tinted, (66, 120, 64))
    canvas.pixels[:] = cv2.blendLinear(tinted, forest, 1 - trees, trees)
    canvas.shade(light)
    _roads(kit, canvas, width=width, height=height)
    for index in range(int(width * height / 22000)):
        name = _PLACES[index % len(_PLACES)]
        x, y = kit.between(30, width - 30), kit.between(20, height - 20)
        canvas.box(x - 1.6, y + 7, 3.2, 3.2, (40, 40, 60))
        for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            canvas.text(name, x + dx, y + dy, 7.5, (226, 236, 240))
        canvas.text(name, x, y, 7.5, (30, 30, 44))
    return canvas


def _tints() -> Image:
    """Colours of heights -3 to 3: deep and shallow water, meadow, moor, rock."""
    stops = (-3.0, -1.4, -0.76, -0.74, 0.0, 0.9, 1.7, 3.0)
    colors = np.array(
        [
            (140, 84, 40),
            (176, 120, 60),
            (216, 176, 112),
            (112, 176, 128),
            (122, 190, 160),
            (140, 202, 214),
            (104, 140, 190),
            (190, 206, 222),
        ]
    )
    heights = np.arange(256) / 42 - 3
    channels = [np.interp(heights, stops, colors[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=1).astype(np.uint8)[:, None]


def _roads(kit: Kit, canvas: Canvas, *, width: float, height: float) -> None:
    for grid in np.arange(0, max(width, height), 60):
        canvas.line([(grid, 0), (grid, height)], (150, 140, 120), 0.5)
        canvas.line([(0, grid), (width, grid)], (150, 140, 120), 0.5)
    for thick, color in ((3.2, (70, 210, 250)), (2.4, (80, 150, 240)), (2.0, (240, 244, 246))):
        for _ in range(4):
            start, bend = kit.between(0, height), kit.between(30, 80)
            wave, phase = kit.between(70, 160), kit.between(0, _TURN)
            turned = kit.rng.random() < 0.4
            along = np.arange(-10, max(width, height) + 10, 4)
            across = start + bend * np.sin(along / wave + phase) + 9 * np.sin(along / 23 + phase)
            points = np.stack((across, along) if turned else (along, across), axis=1).tolist()
            canvas.line(points, (60, 64, 76), thick + 1.2)
            canvas.line(points, color, thick)


def compass(kit: Kit) -> Canvas:
    """A brass bezel with degrees and numerals, 280 by 280."""
    canvas = kit.canvas(280, 280, clear=True)
    for radius, color in (
        (130, (24, 34, 48)),
        (127, (70, 150, 196)),
        (121, (40, 92, 140)),
        (119, (226, 240, 244)),
        (82, (60, 50, 44)),
        (80, (110, 66, 30)),
        (54, (226, 236, 240)),
    ):
        canvas.disc(140, 140, radius, color)
    _spoke(canvas, count=240, inner=122, outer=126, width=0.6, color=(20, 50, 80))
    _spoke(canvas, count=360, inner=113, outer=118, width=0.5, color=(30, 30, 36))
    _spoke(canvas, count=72, inner=109, outer=118, width=0.8, color=(30, 30, 36))
    _spoke(canvas, count=24, inner=105, outer=118, width=1.4, color=(30, 30, 160))
    for degrees in range(0, 360, 15):
        angle = math.radians(degrees)
        x, y = 140 + 95 * math.sin(angle), 140 - 95 * math.cos(angle)
        words, size = (f"{degrees}", 6.0)
        if degrees % 90 == 0:
            words, size = "NESW"[degrees // 90], 12.0
        canvas.text(words, x, y, size, (30, 30, 150) if size > 6 else (40, 36, 34))
    for index in range(16):
        angle = _TURN * index / 16
        reach = (78, 50, 62, 50)[index % 4]
        for side, color in ((0.12, (90, 190, 235)), (-0.12, (40, 110, 160))):
            tip = (140 + reach * math.sin(angle), 140 - reach * math.cos(angle))
            foot = (140 + 22 * math.sin(angle + side * 3), 140 - 22 * math.cos(angle + side * 3))
            canvas.shape([(140, 140), foot, tip], color)
    canvas.disc(140, 140, 20, (50, 44, 40))
    canvas.shade(1 + 0.03 * kit.noise(canvas.pixels, falloff=FINE))
    assert canvas.mask is not None
    shadow = 160 * _shadow(_radii(canvas.mask.shape[0], reach=1.08), reach=1.08)
    canvas.mask = np.maximum(canvas.mask, shadow.astype(np.uint8))
    return canvas


def _spoke(
    canvas: Canvas, *, count: int, inner: float, outer: float, width: float, color: Bgr
) -> None:
    """Evenly spaced ticks around the compass."""
    for index in range(count):
        dx, dy = math.cos(_TURN * index / count), math.sin(_TURN * index / count)
        ends = [(140 + far * dx, 140 + far * dy) for far in (inner, outer)]
        canvas.line(ends, color, width)


def needle(kit: Kit) -> Canvas:
    """28 by 168, turning about (14, 84)."""
    canvas = kit.canvas(28, 168, clear=True)
    canvas.shape([(14, 2), (21, 84), (14, 84)], (50, 50, 220))
    canvas.shape([(14, 2), (7, 84), (14, 84)], (30, 30, 160))
    canvas.shape([(14, 166), (21, 84), (14, 84)], (150, 140, 130))
    canvas.shape([(14, 166), (7, 84), (14, 84)], (220, 216, 210))
    canvas.disc(14, 84, 8, (50, 120, 170))
    canvas.disc(14, 84, 5, (120, 210, 240))
    canvas.disc(14, 84, 2, (40, 60, 80))
    return canvas


def star(kit: Kit) -> Canvas:
    """A Siemens star in a ring of colours: frequencies up to the finest that can be drawn."""
    pitch = 1 / (STAR_RADIUS * kit.texels)

    def face(radius: Field, angle: Field) -> Field:
        spokes = 0.5 + 0.5 * np.sin(36 * angle)
        period = np.maximum(radius, 1e-3) * _TURN / 36
        # Spokes thinner than two texels would only alias; they fade to grey instead.
        clear = np.clip(period / pitch / 3 - 0.6, 0, 1)
        sharp = np.clip((spokes - 0.5) * 6 * clear + 0.5, 0, 1)
        shown = mix((26, 22, 20), (240, 244, 246), sharp)
        hue = (angle[..., None] + np.array((0, 2.1, 4.2), np.float32)) % _TURN
        ring = 128 + 120 * np.cos(hue)
        checks = (np.floor(angle * 96 / _TURN) + np.floor(radius * 60)) % 2
        rim = ring * (0.55 + 0.45 * checks[..., None])
        return np.where((radius > 0.84)[..., None], rim, shown)

    return disc(kit, STAR_RADIUS, face)


def grass(kit: Kit, width: float, height: float) -> Canvas:
    """Blades over earth, with daisies and clover."""
    canvas = kit.canvas(width, height)
    patch = kit.noise(canvas.pixels, falloff=SMOOTH, grain=2)
    ground = mix((26, 66, 38), (44, 118, 82), 0.5 + 0.3 * patch)
    canvas.pixels[:] = np.clip(ground, 0, 255)
    canvas.shade(1 + 0.2 * kit.noise(canvas.pixels, falloff=FINE))
    # Dark blades first and light ones last; those that share a colour are drawn at once.
    per_tone = int(width * height / 26 / 120)
    for tone in np.repeat(np.linspace(0.35, 1.15, 40), 3):
        shade = tone * kit.between(0.75, 1.2)
        color = (46 * shade, 158 * shade, kit.between(66, 138) * shade)
        root = kit.rng.uniform(0, (width, height + 6), (per_tone, 2))
        lean, length = kit.rng.normal(0, 3, per_tone), kit.rng.uniform(4, 11, per_tone)
        tip = np.stack((lean, -length), axis=1)
        blades = np.stack((root, root + tip * (0.4, 0.6), root + tip), axis=1)
        canvas.lines(blades, color, 0.5)
    for _ in range(int(width * height / 3000)):
        x, y = kit.between(0, width), kit.between(0, height)
        petal = kit.pick(((244, 246, 248), (244, 246, 248), (230, 150, 190), (80, 220, 250)))
        for angle in np.arange(0, _TURN, _TURN / 9):
            canvas.disc(x + 2.2 * math.cos(angle), y + 2.2 * math.sin(angle), 1.0, petal)
        canvas.disc(x, y, 1.5, (40, 190, 240))
    return canvas


def disc(kit: Kit, radius: float, face: Face) -> Canvas:
    """A round thing in a soft shadow; its edge is ``SPREAD`` times ``radius`` away."""
    canvas = kit.canvas(2 * SPREAD * radius, 2 * SPREAD * radius, clear=True)
    side = canvas.pixels.shape[0]
    fine = 3 * side // 2
    far, angle = _radii(fine, reach=SPREAD), _angles(fine)
    inside = np.clip((1 - far) * fine / (2 * SPREAD) + 0.5, 0, 1)
    color = face(far, angle) * inside[..., None]
    mask = 255 * np.maximum(inside, 0.7 * _shadow(far, reach=SPREAD - 0.01))
    canvas.pixels[:] = cv2.resize(
        np.clip(color, 0, 255), (side, side), interpolation=cv2.INTER_AREA
    )
    canvas.mask = cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8)
    return canvas


def _radii(side: int, *, reach: float) -> Field:
    """Distances from the centre of a square whose edge is ``reach`` away."""
    across = np.linspace(-reach, reach, 2 * side + 1, dtype=np.float32)[1::2]
    far: Field = np.hypot(across[None], across[:, None])
    return far


def _angles(side: int) -> Field:
    """Angles around the centre of a square, -pi to pi."""
    across = np.linspace(-1, 1, 2 * side + 1, dtype=np.float32)[1::2]
    angle: Field = np.arctan2(across[:, None], across[None])
    return angle


def _shadow(far: Field, *, reach: float) -> Field:
    """Soft darkness that ends at ``reach``, the same however the thing on it is turned."""
    dark: Field = np.clip((reach - far) / (reach - 1), 0, 1) ** 2
    return dark


def _domed(color: Field, radius: Field) -> Field:
    """Lit from the viewer, so that turning it leaves the light where it was."""
    dome = np.sqrt(np.clip(1 - radius**2, 0, 1))
    lit: Field = color * (0.4 + 0.65 * dome)[..., None]
    return lit + (70 * np.clip(dome - 0.86, 0, 1) / 0.14)[..., None]


def ball(kit: Kit) -> Face:
    """A beach ball with a fine weave."""
    paints = kit.rng.permutation(
        [
            (50, 50, 220),
            (240, 242, 244),
            (210, 130, 40),
            (60, 200, 240),
            (90, 170, 60),
            (236, 240, 240),
        ]
    ).astype(np.float32)

    def face(radius: Field, angle: Field) -> Field:
        swirl = (angle + 0.9 * radius) / _TURN % 1
        color = paints[(swirl * 6).astype(int)]
        weave = 1 + 0.16 * np.sign(np.sin(radius * 80) * np.sin(swirl * _TURN * 48))
        hub = (radius < 0.14)[..., None]
        return _domed(np.where(hub, np.float32(236), color * weave[..., None]), radius)

    return face


def melon(kit: Kit) -> Face:
    """A slice of fruit: rind, flesh and seeds."""
    flesh = kit.pick(((80, 70, 226), (70, 190, 240), (120, 214, 170)))

    def face(radius: Field, angle: Field) -> Field:
        sector = (angle / _TURN * 12) % 1
        pulp = mix(flesh, (236, 244, 250), 0.25 + 0.25 * np.sin(radius * 90) * np.sin(angle * 60))
        color = np.where((np.abs(sector - 0.5) > 0.45)[..., None], np.float32(236), pulp)
        seed = np.hypot((sector - 0.5) * radius * 3.4, (radius * 5) % 1 - 0.5) < 0.2
        color = np.where((seed & (radius > 0.25))[..., None], np.float32(34), color)
        color = np.where((radius > 0.86)[..., None], np.array((200, 240, 226), np.float32), color)
        rind = (
            np.array((40, 120, 44), np.float32) * (1 + 0.3 * np.sign(np.sin(angle * 44)))[..., None]
        )
        return np.where((radius > 0.91)[..., None], rind, color)

    return face


def dial(kit: Kit) -> Face:
    """A gauge with rings of ever finer ticks."""
    paint = np.array(kit.pick(((150, 70, 30), (40, 40, 170), (60, 110, 30))), np.float32)

    def face(radius: Field, angle: Field) -> Field:
        ring = np.clip((radius * 7).astype(int), 0, 6)
        ticks = np.sin(angle * np.array((6, 12, 24, 36, 54, 72, 90), np.float32)[ring]) > 0
        color = np.where(ticks[..., None], np.array((236, 240, 242), np.float32), paint)
        edge = (radius * 7 % 1 < 0.16) | (radius > 0.96)
        return np.where(edge[..., None], np.array((60, 170, 210), np.float32), color)

    return face


def wood(kit: Kit) -> Face:
    """The end of a log: bark, cracks and year rings."""
    phase = kit.between(0, _TURN)

    def face(radius: Field, angle: Field) -> Field:
        wobble = radius * (1 + 0.05 * np.sin(3 * angle + phase) + 0.02 * np.sin(11 * angle))
        rings = 0.5 + 0.5 * np.sin(wobble * 110 + 2 * np.sin(5 * wobble))
        color = mix((70, 120, 176), (150, 200, 236), rings * 0.7 + 0.3 * np.cos(9 * wobble))
        crack = np.abs((angle / _TURN * 7 + 0.1 * np.sin(9 * radius)) % 1 - 0.5) < 0.012 / (
            radius + 0.1
        )
        color = np.where(
            (crack & (radius > 0.2))[..., None], np.array((40, 66, 100), np.float32), color
        )
        bark = (
            np.array((40, 56, 80), np.float32)
            * (1 + 0.35 * np.sin(70 * angle + 30 * radius))[..., None]
        )
        return np.where((radius > 0.9)[..., None], bark, color)

    return face
