"""MATLAB's ``imresize`` (bicubic) and ``rgb2ycbcr``, which the super-resolution papers measure with."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.frame import Plane, Planes

Picture = NDArray[np.uint8]
"""(H, W, 3) RGB, or (H, W) for a picture stored in grey; full range, 0..255."""

Floats = NDArray[np.float64]

TO_Y = np.array([65.481, 128.553, 24.966]) / 255
TO_CB = np.array([-37.797, -74.203, 112.0]) / 255
TO_CR = np.array([112.0, -93.786, -18.214]) / 255
"""Rows of ``rgb2ycbcr``: BT.601, limited range, from RGB codes 0..255."""


def imresize(picture: Picture, *, height: int, width: int) -> Picture:
    """The picture at another size as ``imresize(picture, [height width], 'bicubic')`` gives it.

    Rows first, then columns, rounded to uint8 after each, as MATLAB does with uint8 pictures.
    """
    rows = weights(picture.shape[0], height)
    columns = weights(picture.shape[1], width)
    tall = _codes(np.tensordot(rows, picture.astype(np.float64), (1, 0)))
    wide = np.tensordot(columns, tall.astype(np.float64), (1, 1))
    return _codes(np.moveaxis(wide, 0, 1))


@lru_cache(maxsize=64)
def weights(inputs: int, outputs: int) -> Floats:
    """The (outputs, inputs) matrix of one ``imresize`` pass; every row sums to one.

    ``contributions`` of imresize.m: Keys' cubic with a = -0.5, stretched by the ratio when
    shrinking (antialiasing), pixel centres aligned, the picture mirrored at its edges.
    """
    scale = outputs / inputs
    stretch = min(scale, 1.0)
    width = 4.0 / stretch
    places = np.arange(1, outputs + 1) / scale + 0.5 * (1 - 1 / scale)
    first = np.floor(places - width / 2)
    taps = first[:, None] + np.arange(int(np.ceil(width)) + 2)
    values = _keys(stretch * (places[:, None] - taps))
    values /= values.sum(axis=1, keepdims=True)
    mirrored = np.concatenate([np.arange(inputs), np.arange(inputs)[::-1]])
    sources = mirrored[np.mod(taps - 1, 2 * inputs).astype(np.int64)]
    matrix = np.zeros((outputs, inputs))
    np.add.at(matrix, (np.arange(outputs)[:, None], sources), values)
    return matrix


def luma(picture: Picture) -> Plane:
    """Y of ``rgb2ycbcr``, (H, W) uint8, 16..235; a grey picture stays as it is (0..255).

    The papers' code converts only pictures with three channels, which is what makes Set14's one
    grey picture come out at the published mean.
    """
    if picture.ndim == 2:
        return picture
    return _codes(16 + picture.astype(np.float64) @ TO_Y)


def to_planes(picture: Picture) -> Planes:
    """Y as ``luma``, U and V as means of 2x2 of ``rgb2ycbcr``'s, sides made even by repeating."""
    even = _repeat_to_even(picture)
    half = (even.shape[0] // 2, even.shape[1] // 2)
    if even.ndim == 2:
        grey = np.full(half, 128, np.uint8)
        return even, grey, grey.copy()
    rgb = even.astype(np.float64)
    small = rgb.reshape(half[0], 2, half[1], 2, 3).mean(axis=(1, 3))
    return luma(even), _codes(128 + small @ TO_CB), _codes(128 + small @ TO_CR)


def to_rgb(planes: Planes) -> Picture:
    """(H, W, 3) RGB of limited-range BT.601 4:2:0, chroma enlarged bilinearly, centres aligned."""
    size = (planes[0].shape[1], planes[0].shape[0])
    wide = [cv2.resize(p.astype(np.float64), size, interpolation=cv2.INTER_LINEAR) for p in planes]
    ycc = np.stack(wide, axis=-1) - [16.0, 128.0, 128.0]
    return _codes(ycc @ np.linalg.inv(np.stack([TO_Y, TO_CB, TO_CR])).T)


def _keys(x: Floats) -> Floats:
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1.0
    far = -0.5 * x**3 + 2.5 * x**2 - 4.0 * x + 2.0
    return np.where(x <= 1.0, near, np.where(x <= 2.0, far, 0.0))


def _codes(values: Floats) -> NDArray[np.uint8]:
    """Rounded half up and clipped, as MATLAB's ``uint8``."""
    return np.floor(values.clip(0, 255) + 0.5).astype(np.uint8)


def _repeat_to_even(picture: Picture) -> Picture:
    padding = [(0, side % 2) for side in picture.shape[:2]] + [(0, 0)] * (picture.ndim - 2)
    return np.pad(picture, padding, mode="edge")
