"""How wrong every way to make a picture would be, cell by cell: choices are learnt by it without a warp.

A picture is made of two, each looked up along one of a few motions, sharp or soft. The error of
any mixture of the same motion's four pictures is a square whose coefficients are means of products
of their errors: ten numbers for each motion and cell hold all of it, made by the very arithmetic
that makes the frames. A mixture of motions counts as the mean of its parts, which is not what it
is: of 0.32 dB that choosing motions gained in tables, 0.22 were left in pictures.
"""

from __future__ import annotations

from itertools import combinations_with_replacement

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from export.networks.motion import Choices
from streamer.frame import Plane
from streamer.ops.motion import BLUR_SIGMA, BLUR_SIZE, Floats

CELL = 8
"""Luma pixels on each side of a cell, which is two of the motions' grid."""

PAIRS = list(combinations_with_replacement(range(4), 2))
"""Of the first picture, the second, and both softened."""

MOTIONS = 4
"""Standing still, half of the way, forward flow, backward flow."""

TABLES = MOTIONS * len(PAIRS)

STANDING_SECOND = PAIRS.index((1, 1))
"""The table that tells how wrong the second picture is as it stands."""


def error_tables(
    first: Plane, second: Plane, wanted: Plane, told: Floats, *, ahead: Floats, time: float
) -> Floats:
    """(TABLES, H/8, W/8) squared code values of three (H, W) pictures, sides multiples of 8.

    ``told`` (4, H/4, W/4) forward and backward motion as ``pack_motion`` gives them; ``ahead``
    (H/4, W/4) the share of the former in the motion that is gone half of the way.
    """
    forward, backward = (told[n : n + 2].transpose(1, 2, 0) for n in (0, 2))
    half = 0.5 * (backward + ahead[..., None] * (forward - backward))
    goal = wanted.astype(np.float32)
    tables = []
    for motion in (None, half, forward, backward):
        ends = [
            _moved(picture, motion, share)
            for picture, share in ((first, -time), (second, 1.0 - time))
        ]
        errors = [picture - goal for picture in (*ends, *(_softened(end) for end in ends))]
        tables += [_cells(errors[i] * errors[j]) for i, j in PAIRS]
    return np.stack(tables)


def _moved(picture: Plane, motion: Floats | None, share: float) -> Plane:
    if motion is None:
        return picture
    height, width = picture.shape
    scale = np.float32(share * width / motion.shape[1])
    places = cv2.resize(scale * motion, (width, height), interpolation=cv2.INTER_LINEAR)
    how = cv2.INTER_CUBIC | cv2.WARP_RELATIVE_MAP
    moved = cv2.remap(picture, places, None, how, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return np.asarray(moved, dtype=np.uint8)


def _softened(picture: Plane) -> Plane:
    size = (BLUR_SIZE, BLUR_SIZE)
    soft = cv2.GaussianBlur(picture, size, BLUR_SIGMA, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(soft, dtype=np.uint8)


def _cells(values: Floats) -> Floats:
    height, width = (side // CELL for side in values.shape)
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def expected_error(choices: Choices, tables: Tensor) -> Tensor:
    """(N, 1, h/2, w/2) squared code values of what is chosen on (N, 1, h, w); ``tables``
    (N, TABLES, h/2, w/2)."""
    ahead, moves, share, soft = (functional.avg_pool2d(part, 2) for part in choices)
    beyond_half = functional.relu(2.0 * moves - 1.0)
    by_motion = [
        functional.relu(1.0 - 2.0 * moves),
        1.0 - (2.0 * moves - 1.0).abs(),
        beyond_half * ahead,
        beyond_half * (1.0 - ahead),
    ]
    sharp, second = 1.0 - soft, 1.0 - share
    by_picture = [sharp * share, sharp * second, soft * share, soft * second]
    products = [by_picture[i] * by_picture[j] * (1.0 if i == j else 2.0) for i, j in PAIRS]
    weights = torch.cat([motion * product for motion in by_motion for product in products], dim=1)
    return (weights * tables).sum(dim=1, keepdim=True)
