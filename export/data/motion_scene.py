"""One made-up scene: layers cut from stills that move and hide each other, with exact truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from export.data.motion_layers import Layer
from export.data.motion_paths import Box, Drift, Grid, Matrix, Path, draw_drift, draw_wobble, placed
from export.data.motion_recipe import SceneRecipe
from export.data.motion_shapes import Overlay, draw_outline, draw_overlay
from export.data.planes import Plane
from export.data.resample import Floats, to_codes

CLEAR = 0.9
"""Share of a pixel that a layer must give, at both times, for its flow to count as visible."""

BLUR_STEP = 2.0
"""Pixels that the fastest layer moves between two of the instants a blurred picture averages."""

MOST_INSTANTS = 8


class Flow(NamedTuple):
    """Where each pixel of a picture comes from in another one."""

    flow: Grid
    """(H, W, 2) float32 pixels, x before y: the other picture at x + flow shows what is at x."""
    visible: NDArray[np.bool_]
    """(H, W) the other picture really shows it, not something in front of it, and both pixels
    belong to that one layer: edges and half transparent overlays are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Layers from back to front, and what stands before them; a function of time in frames."""

    size: tuple[int, int]
    """Height and width of its pictures."""
    layers: tuple[Layer, ...]
    overlay: Overlay | None = None
    exposure: float = 0.0
    """Share of a frame that a picture averages; 0 is no motion blur."""
    instants: int = 1
    flicker: float = 0.0
    """Relative change of brightness; ``flicker_rate`` in radians per frame."""
    flicker_rate: float = 0.0

    def picture(self, time: float) -> Plane:
        """The luma (H, W) at a time, without noise."""
        if not self.exposure or self.instants < 2:
            canvas = self._paint(time, cv2.INTER_CUBIC)
        else:
            offsets = ((np.arange(self.instants) + 0.5) / self.instants - 0.5) * self.exposure
            canvas = np.zeros(self.size, np.float32)
            for offset in offsets:
                # Linear is enough for what is averaged, and twice as fast.
                canvas += self._paint(time + float(offset), cv2.INTER_LINEAR)
            canvas /= np.float32(self.instants)
        if self.flicker:
            gain = 1 + self.flicker * math.sin(self.flicker_rate * time)
            canvas = 16 + (canvas - 16) * np.float32(gain)
        seen = to_codes(canvas)
        return seen if self.overlay is None else self.overlay.over(seen)

    def _paint(self, time: float, kernel: int) -> Floats:
        canvas = np.empty(self.size, np.float32)
        for layer in self.layers:
            layer.paint(canvas, time, kernel=kernel)
        return canvas

    def flow(self, time: float, to: float) -> Flow:
        """The exact backward flow from the picture at ``time`` to the one at ``to``.

        With motion blur it is that of the middle of the exposure. Where two layers mix it is the
        flow of the one that gives more of the pixel.
        """
        return self.flows([(time, to)])[0]

    def flows(self, pairs: Sequence[tuple[float, float]]) -> list[Flow]:
        """``flow`` for several pairs of times, cheaper than one by one."""
        shares = {time: self.shares(time) for time in {time for pair in pairs for time in pair}}
        return [self._flow(pair, (shares[pair[0]], shares[pair[1]])) for pair in pairs]

    def _flow(self, pair: tuple[float, float], shares: tuple[list[Floats], list[Floats]]) -> Flow:
        height, width = self.size
        whole = slice(0, height), slice(0, width)
        found = Flow(np.zeros((height, width, 2), np.float32), np.zeros((height, width), bool))
        most = np.zeros((height, width), np.float32)
        for layer, here, there in zip((*self.layers, None), *shares, strict=False):
            box = whole if layer is None else layer.reach(pair[0], height, width)
            here = here[box]
            is_most = here > most[box]
            if not is_most.any():
                continue
            own, kept = np.zeros((*here.shape, 2), np.float32), there[box]
            if layer is not None:
                own = layer.path.flow(*pair, box)
                kept = _look_up(there, own, box)
            np.copyto(found.flow[box], own, where=is_most[..., None])
            np.copyto(found.visible[box], (here > CLEAR) & (kept > CLEAR), where=is_most)
            np.maximum(most[box], here, out=most[box])
        return found

    def shares(self, time: float) -> list[Floats]:
        """How much of each pixel (H, W) each layer gives, back to front; they sum to one.

        The overlay, if there is one, comes last.
        """
        height, width = self.size
        covers = [layer.cover(time, height=height, width=width) for layer in self.layers]
        if self.overlay is not None:
            covers.append(self.overlay.alpha.astype(np.float32) / np.float32(255))
        left, shares = np.ones(self.size, np.float32), []
        for cover in reversed(covers):
            shares.append(left * cover)
            left = left * (1 - cover)
        return shares[::-1]


def _look_up(values: Floats, flow: Grid, box: Box) -> Floats:
    """``values`` (H, W) at the ends of the flow of a part of the picture; 0 outside."""
    x = np.arange(box[1].start, box[1].stop, dtype=np.float32)[None] + flow[..., 0]
    y = np.arange(box[0].start, box[0].stop, dtype=np.float32)[:, None] + flow[..., 1]
    return np.asarray(cv2.remap(values, x, y, cv2.INTER_LINEAR), dtype=np.float32)


def draw_scene(
    pictures: Sequence[Plane],
    recipe: SceneRecipe,
    *,
    size: tuple[int, int],
    times: Sequence[float],
    rng: np.random.Generator,
) -> Scene:
    """A random scene out of ``pictures`` (luma, any size above 64), arranged for ``times``."""
    middle = (min(times) + max(times)) / 2
    is_still = recipe.max_layers > 1 and rng.random() < recipe.still_share
    drift = Drift() if is_still else draw_drift(recipe, rng)
    layers = [_background(_pick(pictures, rng), drift, recipe, size, middle, rng)]
    for _ in range(int(rng.integers(int(is_still), recipe.max_layers))):
        own = draw_drift(recipe, rng, carried=drift)
        layers.append(_foreground(_pick(pictures, rng), own, recipe, size, middle, rng))
    has_blur, has_flicker, has_overlay = rng.random(3) < (
        recipe.blur_share,
        recipe.flicker_share,
        recipe.overlay_share,
    )
    exposure = float(rng.uniform(0.3, 1.0)) if has_blur else 0.0
    fastest = max(math.hypot(*layer.path.velocity) for layer in layers)
    instants = min(max(2, math.ceil(fastest * exposure / BLUR_STEP)), MOST_INSTANTS)
    return Scene(
        size=size,
        layers=tuple(layers),
        overlay=draw_overlay(*size, rng) if has_overlay else None,
        exposure=exposure,
        instants=instants,
        flicker=float(rng.uniform(0.02, 0.12)) if has_flicker else 0.0,
        flicker_rate=float(rng.uniform(0.3, 3.0)),
    )


def _pick(pictures: Sequence[Plane], rng: np.random.Generator) -> Plane:
    return pictures[int(rng.integers(len(pictures)))]


def _background(
    picture: Plane,
    drift: Drift,
    recipe: SceneRecipe,
    size: tuple[int, int],
    middle: float,
    rng: np.random.Generator,
) -> Layer:
    height, width = picture.shape
    texture = (float(rng.uniform(0.25, 0.75)) * width, float(rng.uniform(0.25, 0.75)) * height)
    base = placed(
        texture=texture, angle=float(rng.normal(0, 0.2)), size=float(rng.uniform(0.85, 1.5))
    )
    luma = picture[:, ::-1] if rng.random() < 0.5 else picture
    pivot = (size[1] / 2, size[0] / 2)
    return Layer(
        luma=np.ascontiguousarray(luma),
        outline=None,
        path=_path(base, pivot, drift, recipe, middle, rng),
    )


def _foreground(
    picture: Plane,
    drift: Drift,
    recipe: SceneRecipe,
    size: tuple[int, int],
    middle: float,
    rng: np.random.Generator,
) -> Layer:
    """A piece of 1/8 to 3/4 of the picture's side, somewhere in it at the scene's middle."""
    edge = min(size)
    tall, wide = (
        max(16, min(limit, int(edge * 0.125 * 6.0 ** float(rng.random()))))
        for limit in picture.shape
    )
    top = int(rng.integers(picture.shape[0] - tall + 1))
    left = int(rng.integers(picture.shape[1] - wide + 1))
    angle = float(rng.uniform(-math.pi, math.pi)) if rng.random() < 0.5 else 0.0
    base = placed(texture=(wide / 2, tall / 2), angle=angle, size=float(rng.uniform(0.85, 1.3)))
    pivot = (float(rng.uniform(0, size[1])), float(rng.uniform(0, size[0])))
    return Layer(
        luma=np.ascontiguousarray(picture[top : top + tall, left : left + wide]),
        outline=draw_outline(tall, wide, rng),
        path=_path(base, pivot, drift, recipe, middle, rng),
    )


def _path(
    base: Matrix,
    pivot: tuple[float, float],
    drift: Drift,
    recipe: SceneRecipe,
    middle: float,
    rng: np.random.Generator,
) -> Path:
    is_still = drift == Drift()
    return Path(
        base=base,
        pivot=pivot,
        middle=middle,
        velocity=drift.velocity,
        acceleration=drift.acceleration,
        turn=drift.turn,
        zoom=drift.zoom,
        tilt=drift.tilt,
        wobble=None if is_still else draw_wobble(recipe, rng),
    )
