"""Comparison pictures of made frames for the page of models: crops of the drawn scene."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from export.data.planes import Plane
from export.motion_evaluate import estimate_of
from export.motion_inputs import network_inputs
from export.motion_judge import inputs_of, picture, run_of, without_network
from export.scenes import drawn_frames
from export.validation import psnr_y
from streamer.model import ModelManifest
from streamer.ops.motion import FlowEstimator

WIDTH, HEIGHT = 640, 352

APART = 2
"""Frames of the scene from one picture to the next: at one alone everything is right."""

EDGE = 112

BORDER = 8


def made_comparison(
    manifest: ModelManifest, shot: str, tile: Callable[[Plane, str, int, int], NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """A crop where the network changes most: without it, with it, and what was there.

    ``tile`` draws a part of a luma plane by its name, top and left.
    """
    frames = [planes.y for planes in drawn_frames(shot, width=WIDTH, height=HEIGHT, frames=9)]
    lumas = [np.ascontiguousarray(luma) for luma in frames[4::APART]]
    run = run_of(lumas, lumas, task=manifest.task)
    inputs = inputs_of(run, FlowEstimator(), network_inputs())
    shown = {
        "without a network": picture(run, without_network(inputs)),
        manifest.variant: picture(run, estimate_of(manifest)(inputs)),
    }
    top, left = _most_changed(*shown.values())
    tiles = [
        tile(luma, f"{name} {psnr_y(luma, run.wanted, border=BORDER):.2f} dB", top, left)
        for name, luma in shown.items()
    ]
    return np.hstack([*tiles, tile(run.wanted, "original", top, left)])


def _most_changed(one: Plane, other: Plane) -> tuple[int, int]:
    """Top and left of the square in which two pictures differ most."""
    apart = cv2.absdiff(one, other).astype(np.float32)
    sums = cv2.boxFilter(apart, -1, (EDGE, EDGE), anchor=(0, 0), normalize=False)
    inside = sums[: one.shape[0] - EDGE, : one.shape[1] - EDGE]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(top), int(left)
