"""Made-up motion without end: batches of short scenes from stills, with their true flow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from export.data.clips import Split, read_clip, read_image
from export.data.codec import round_trip
from export.data.motion_clips import Reception, add_noise, draw_live_coding, draw_noise
from export.data.motion_recipe import SceneRecipe
from export.data.motion_scene import draw_scene
from export.data.planes import Plane, Planes
from streamer.errors import ConfigError

Bytes = NDArray[np.uint8]

TIMES = (0.0, 1.0, 2.0, 3.0, 4.0)
PAIRS = ((2, 0), (2, 4))

SMALLEST = 160
"""Pixels; smaller pictures show their mirrored edges too often."""

CLIP_FRAMES = (0, 40)


class SceneRuns(NamedTuple):
    """A batch of made-up runs of K pictures, with the truth for M pairs of them."""

    seen: Bytes
    """(N, K, H, W) luma as a receiver gets it: part with sensor noise, part after a codec."""
    clean: Bytes
    """(N, K, H, W) the same without that."""
    flow: NDArray[np.float32]
    """(N, M, H, W, 2) pixels, x before y: what picture a shows at x is at x + flow in picture b."""
    visible: NDArray[np.bool_]
    """(N, M, H, W) picture b does show it; edges and half transparent overlays are left out."""


class SceneSource:
    """``sample`` gives batches that follow from the generator alone; nothing is kept on disk."""

    def __init__(self, pictures: Sequence[Plane], recipe: SceneRecipe) -> None:
        if not pictures:
            raise ConfigError("there are no pictures to make scenes of")
        self.pictures, self.recipe = pictures, recipe

    def sample(
        self,
        rng: np.random.Generator,
        count: int,
        crop: int,
        *,
        times: Sequence[float] = TIMES,
        pairs: Sequence[tuple[int, int]] = PAIRS,
    ) -> SceneRuns:
        """``count`` scenes of ``crop`` pixels square at ``times``, in frames, any real numbers.

        ``pairs`` are positions in ``times``: the flow leads from the first to the second.
        """
        runs = SceneRuns(
            seen=np.empty((count, len(times), crop, crop), np.uint8),
            clean=np.empty((count, len(times), crop, crop), np.uint8),
            flow=np.empty((count, len(pairs), crop, crop, 2), np.float32),
            visible=np.empty((count, len(pairs), crop, crop), bool),
        )
        for n in range(count):
            scene = draw_scene(self.pictures, self.recipe, size=(crop, crop), times=times, rng=rng)
            for k, time in enumerate(times):
                runs.clean[n, k] = scene.picture(time)
            runs.seen[n] = _receive(runs.clean[n], self.recipe, rng)
            truths = scene.flows([(times[a], times[b]) for a, b in pairs])
            for m, truth in enumerate(truths):
                runs.flow[n, m], runs.visible[n, m] = truth
        return runs


def _receive(clean: Bytes, recipe: SceneRecipe, rng: np.random.Generator) -> Bytes:
    """The run (K, H, W) with noise and codec, each in its share of the cases."""
    is_noisy, is_coded = rng.random(2) < (recipe.noise_share, recipe.coded_share)
    coding = draw_live_coding(rng) if is_coded else None
    noise = draw_noise(rng) if is_noisy else Reception()
    seen = np.stack([add_noise(plane, noise, rng) for plane in clean]) if is_noisy else clean
    if coding is None:
        return seen
    height, width = clean.shape[1:]
    grey = np.full((height // 2, width // 2), 128, np.uint8)
    coded = round_trip([Planes(plane, grey, grey) for plane in seen], coding)
    return np.stack([planes.y for planes in coded])


def open_scenes(split: Split, recipe: SceneRecipe, *, report: Callable[[str], None]) -> SceneSource:
    """Scenes from all images and some frames of each training clip, held in memory."""
    pictures = [picture for picture in _pictures(split) if min(picture.shape) >= SMALLEST]
    if not pictures:
        raise ConfigError(f"no picture is large enough for scenes: both sides need {SMALLEST}")
    report(f"{len(pictures)} pictures in memory for scenes")
    return SceneSource(pictures, recipe)


def _pictures(split: Split) -> Iterator[Plane]:
    """Luma: images at full and half size, frames at half size, where their codec does not show."""
    for path in split.images:
        luma = read_image(path, multiple=2).y
        yield luma.copy()
        yield _half(luma)
    for path in split.training:
        for index, planes in enumerate(read_clip(path, multiple=2, limit=CLIP_FRAMES[-1] + 1)):
            if index in CLIP_FRAMES:
                yield _half(planes.y)


def _half(luma: Plane) -> Plane:
    size = (luma.shape[1] // 2, luma.shape[0] // 2)
    return np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
