"""A drawn, seeded, moving scene: three shots full of fine detail, one after the other.

A street with parallax, a relief map under turning instruments, and things adrift over a meadow. Each
is a pure function of seed, size and time; ``drawing`` says how it becomes a picture.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, Protocol

import cv2
import numpy as np

from streamer.sources import scene_objects, scene_street
from streamer.sources.drawing import DESIGN_HEIGHT, Kit, Planes

_TURN = 2 * math.pi


class Shot(Protocol):
    """One view of the scene."""

    def paint(self, planes: Planes, time_s: float) -> None: ...


class Street:
    """Facades, signs, a tram and trees, panned with parallax."""

    _SWAY = 90

    def __init__(self, kit: Kit) -> None:
        self._view = kit.view
        self._phase = kit.between(0, _TURN)
        self._sky = kit.texture(scene_street.sky(kit, kit.view + 2 * self._SWAY))
        walls = scene_street.facades(kit, kit.view + 2 * self._SWAY)
        # Below the roofs nothing shines through: half the warps there.
        roofs, fronts = walls.split(scene_street.SKYLINE)
        self._roofs, self._fronts = kit.texture(roofs), kit.texture(fronts)
        self._tram = kit.texture(scene_street.tram(kit))
        self._trees = [kit.texture(scene_street.tree(kit)) for _ in range(2)]

    def paint(self, planes: Planes, time_s: float) -> None:
        sway = self._SWAY * math.sin(_TURN * time_s / 13 + self._phase)
        middle = (self._view / 2, 0.0)
        width = self._view + 2 * self._SWAY
        self._sky.paint(planes, anchor=(width / 2 + 0.3 * sway, 0), at=middle)
        walls = (width / 2 + sway, 0.0)
        self._roofs.paint(planes, anchor=walls, at=middle)
        self._fronts.paint(planes, anchor=walls, at=(self._view / 2, scene_street.SKYLINE))
        lap = self._view + 400
        along = (95 * time_s + 140 * self._phase) % lap - 200
        self._tram.paint(planes, anchor=(160, 100), at=(along, 346 + 0.4 * math.sin(9 * time_s)))
        for tree, place in zip(self._trees, (0.12, 1.02), strict=True):
            x = self._view * place - 1.7 * sway * (0.9 + 0.2 * place)
            lean = 0.012 * math.sin(1.3 * time_s + 7 * place)
            tree.paint(planes, anchor=(120, 330), at=(x, 372), angle=lean)


class Atlas:
    """A relief map that turns and zooms under a compass, a test star and a gear."""

    def __init__(self, kit: Kit) -> None:
        self._view = kit.view
        self._phase = kit.between(0, _TURN)
        # What the widest view sees at its largest turn, and the drift.
        self._side = (kit.view * 1.02 + 100, DESIGN_HEIGHT * 1.02 + kit.view * 0.14 + 30)
        self._map = kit.texture(scene_objects.relief_map(kit, *self._side))
        self._compass = kit.texture(scene_objects.compass(kit), is_round=True)
        self._needle = kit.texture(scene_objects.needle(kit))
        self._star = kit.texture(scene_objects.star(kit), is_round=True)

    def paint(self, planes: Planes, time_s: float) -> None:
        turn = 0.13 * math.sin(_TURN * time_s / 17 + self._phase)
        zoom = 1.12 + 0.14 * math.sin(_TURN * time_s / 11 + self._phase)
        drift = 24 * math.sin(_TURN * time_s / 9)
        center = (self._view / 2, DESIGN_HEIGHT / 2)
        anchor = (self._side[0] / 2 + drift, self._side[1] / 2 + drift / 3)
        self._map.paint(planes, anchor=anchor, at=center, angle=turn, zoom=zoom)
        place = (self._view * 0.7, 196.0)
        self._compass.paint(planes, anchor=(140, 140), at=place, angle=0.35 * time_s + self._phase)
        swing = 0.5 * math.sin(1.1 * time_s) + 0.12 * math.sin(3.1 * time_s)
        self._needle.paint(planes, anchor=(14, 84), at=place, angle=swing)
        breath = 1 + 0.06 * math.sin(0.9 * time_s)
        self._star.paint(
            planes,
            anchor=(scene_objects.STAR_RADIUS * scene_objects.SPREAD,) * 2,
            at=(self._view * 0.2, 218),
            angle=-0.5 * time_s,
            zoom=breath,
        )


class Meadow:
    """Things that drift over grass and hide one another."""

    _COUNT = 11

    def __init__(self, kit: Kit) -> None:
        self._view = kit.view
        self._grass = kit.texture(scene_objects.grass(kit, kit.view + 120, DESIGN_HEIGHT + 110))
        self._things = []
        faces = (scene_objects.ball, scene_objects.melon, scene_objects.dial, scene_objects.wood)
        for index in range(self._COUNT):
            radius = 24 + 2.6 * index
            face = faces[index % len(faces)](kit)
            texture = kit.texture(scene_objects.disc(kit, radius, face), is_round=True)
            self._things.append((texture, radius, kit.rng.uniform(0, 1, 8)))

    def paint(self, planes: Planes, time_s: float) -> None:
        center = (self._view / 2, DESIGN_HEIGHT / 2)
        x = self._view / 2 + 60 + 34 * math.sin(time_s / 2.3)
        y = DESIGN_HEIGHT / 2 + 55 + 24 * math.sin(time_s / 3.1)
        self._grass.paint(
            planes, anchor=(x, y), at=center, angle=0.05 * math.sin(time_s / 2.7), zoom=1.04
        )
        for texture, radius, r in self._things:
            across = math.sin(time_s * (0.35 + 0.3 * r[0]) + _TURN * r[1])
            down = math.sin(time_s * (0.4 + 0.4 * r[2]) + _TURN * r[3])
            at = (
                self._view * (0.5 + 0.5 * across * (0.3 + 0.7 * r[4])),
                196 + (60 + 90 * r[7]) * down,
            )
            spin = (r[5] - 0.5) * 3 * time_s + 0.5 * math.sin(time_s * (1 + r[6]))
            texture.paint(planes, anchor=(radius * scene_objects.SPREAD,) * 2, at=at, angle=spin)


class Scene:
    """The shots in turn, with a camera's caption."""

    def __init__(self, *, seed: int, width: int, height: int, cut_s: Fraction) -> None:
        """Draws all textures: most of a second at 640x360, several above 1080 lines."""
        self._size = (height, width)
        self._cut_s = cut_s
        kit = Kit(seed=seed, width=width, height=height)
        self._shots: tuple[Shot, ...] = (Street(kit), Atlas(kit), Meadow(kit))
        self._caption = _Caption(height / DESIGN_HEIGHT)

    def draw(self, time_s: Fraction) -> Planes:
        """The picture at this instant, in planes of its own."""
        rows, columns = self._size
        # New memory each time: frames cross threads and live as long as their slowest reader;
        # 350 kB from the allocator cost 1 % of the drawing.
        planes = (
            np.empty((rows, columns), np.uint8),
            np.empty((rows // 2, columns // 2), np.uint8),
            np.empty((rows // 2, columns // 2), np.uint8),
        )
        index = int(time_s // self._cut_s) % len(self._shots)
        self._shots[index].paint(planes, float(time_s))
        self._caption.paint(planes, f"CAM {index + 1:02}", time_s)
        return planes


class _Caption:
    """White letters on a darkened strip in the lower left corner: camera and running clock."""

    _CELL = (8, 14)

    def __init__(self, density: float) -> None:
        width, height = (max(2, 2 * round(side * density / 2)) for side in self._CELL)
        self._glyphs = {
            letter: self._draw(letter, width=width, height=height) for letter in "CAM 0123456789:."
        }

    def _draw(self, letter: str, *, width: int, height: int) -> Any:
        large = np.zeros((height * 4, width * 4), np.uint8)
        scale = height * 4 / 44
        thick = max(1, round(1.6 * scale))
        (across, _), _ = cv2.getTextSize(letter, cv2.FONT_HERSHEY_DUPLEX, scale, thick)
        origin = (round((width * 4 - across) / 2), round((height * 4 + 22 * scale) / 2))
        cv2.putText(large, letter, origin, cv2.FONT_HERSHEY_DUPLEX, scale, 232, thick, cv2.LINE_AA)
        return cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA)

    def paint(self, planes: Planes, camera: str, time_s: Fraction) -> None:
        minutes, centiseconds = divmod(int(time_s * 100), 6000)
        clock = f"{minutes // 60 % 100:02}:{minutes % 60:02}:{centiseconds / 100:05.2f}"
        words = np.concatenate([self._glyphs[letter] for letter in f" {camera}  {clock} "], axis=1)
        luma, *chroma = planes
        height, width = words.shape
        width = min(width, luma.shape[1])
        bottom = luma.shape[0] - height // 2 * 2
        box = luma[bottom - height : bottom, :width]
        box[:] = cv2.max(cv2.addWeighted(box, 0.4, box, 0, 10), words[:, :width])
        for plane in chroma:
            tint = plane[(bottom - height) // 2 : bottom // 2, : width // 2]
            tint[:] = cv2.addWeighted(tint, 0.3, tint, 0, 89.6)
