"""Training pairs that lie on a device as bytes: the same draws as from disk, cut there."""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.data.patches import NAMES, PatchCache
from export.data.planes import Plane
from export.data.stills import StillPairs

PairTensors = tuple[Tensor, Tensor, Tensor, Tensor]
"""As ``Pair``, stacked, uint8, on one device."""


class ResidentPairs(Protocol):
    """Read side of pairs on a device."""

    def sample(self, rng: np.random.Generator, count: int) -> PairTensors:
        """The pairs that the host's ``sample`` gives for the same generator."""


def size_bytes(pairs: PatchCache | StillPairs) -> int:
    """What the pairs will take on a device."""
    if isinstance(pairs, PatchCache):
        return sum(array.nbytes for array in pairs._arrays)
    pictures = (picture for still in pairs._stills for picture in (still.small, still.large))
    return sum(picture.y.size * 3 // 2 for picture in pictures)


def to_device(pairs: PatchCache | StillPairs, device: torch.device) -> ResidentPairs:
    """Copies all pairs there, once."""
    kind = ResidentPatches if isinstance(pairs, PatchCache) else ResidentStills
    return kind(pairs, device)  # type: ignore[arg-type]


class ResidentPatches:
    """A ``PatchCache`` on a device."""

    def __init__(self, cache: PatchCache, device: torch.device) -> None:
        self._device, self._count = device, len(cache)
        self._arrays = [
            torch.from_numpy(np.load(cache.folder / f"{name}.npy")).to(device) for name in NAMES
        ]

    def sample(self, rng: np.random.Generator, count: int) -> PairTensors:
        chosen = torch.from_numpy(np.sort(rng.integers(0, self._count, count))).to(self._device)
        turns, is_mirrored = int(rng.integers(4)), bool(rng.integers(2))
        small_y, small_uv, large_y, large_uv = (
            turn(array[chosen], turns=turns, is_mirrored=is_mirrored) for array in self._arrays
        )
        return small_y, small_uv, large_y, large_uv


class ResidentStills:
    """``StillPairs`` on a device: pictures of all sizes end to end, patches cut by address."""

    def __init__(self, pairs: StillPairs, device: torch.device) -> None:
        self._pairs, self._patch, self._scale = pairs, pairs._patch, pairs._scale
        small = [still.small for still in pairs._stills]
        large = [still.large for still in pairs._stills]
        self._small, self._large = (
            [
                FlatPlanes([getattr(picture, name) for picture in pictures], device)
                for name in ("y", "u", "v")
            ]
            for pictures in (small, large)
        )

    def sample(self, rng: np.random.Generator, count: int) -> PairTensors:
        chosen, corners = self._pairs.places(rng, count)
        turns, is_mirrored = int(rng.integers(4)), bool(rng.integers(2))
        parts = []
        for planes, scale in ((self._small, 1), (self._large, self._scale)):
            edge = self._patch * scale
            luma = planes[0].cut(chosen, corners * scale, edge)
            chroma = [plane.cut(chosen, corners * scale // 2, edge // 2) for plane in planes[1:]]
            parts += [luma, torch.stack(chroma, dim=1)]
        small_y, small_uv, large_y, large_uv = (
            turn(part, turns=turns, is_mirrored=is_mirrored) for part in parts
        )
        return small_y, small_uv, large_y, large_uv


class FlatPlanes:
    """Planes of different sizes, one after the other in one tensor."""

    def __init__(self, planes: list[Plane], device: torch.device) -> None:
        self._bytes = torch.from_numpy(np.concatenate([p.reshape(-1) for p in planes])).to(device)
        self._widths = np.array([plane.shape[1] for plane in planes])
        self._starts = np.cumsum([0, *(plane.size for plane in planes[:-1])])

    def cut(self, chosen: NDArray[np.int64], corners: NDArray[np.int64], edge: int) -> Tensor:
        """(N, edge, edge) squares of the ``chosen`` planes; ``corners`` are (N, 2): top, left."""
        widths, device = self._widths[chosen], self._bytes.device
        first = self._starts[chosen] + corners[:, 0] * widths + corners[:, 1]
        steps = torch.arange(edge, device=device)
        rows = torch.from_numpy(widths).to(device)[:, None] * steps
        return self._bytes[(torch.from_numpy(first).to(device)[:, None] + rows)[..., None] + steps]


def turn(stack: Tensor, *, turns: int, is_mirrored: bool) -> Tensor:
    """The pictures in the last two axes turned by quarters and perhaps mirrored."""
    turned = torch.rot90(stack, turns, dims=(-2, -1))
    return (turned.flip(-1) if is_mirrored else turned).contiguous()


class PlainUpscale:
    """OpenCV's bicubic enlargement of 8-bit squares as two matrix products.

    Measured against ``upscale_plane`` at x2: the same code values in 68 million pixels of live
    patches, rarely one off in sharp pictures, where both round near a tie. At x3
    and x4 OpenCV's fixed-point weights put 0.3 % and 0.001 % of noise one off.
    """

    def __init__(self, edge: int, scale: int, device: torch.device) -> None:
        # Enlarging the unit matrix in one direction gives the weights, borders included.
        unit, size = np.eye(edge, dtype=np.float32), (edge, edge * scale)
        weights = unit if scale == 1 else cv2.resize(unit, size, interpolation=cv2.INTER_CUBIC)
        self._weights = torch.from_numpy(np.asarray(weights, np.float32)).to(device)

    def __call__(self, stack: Tensor) -> Tensor:
        """(..., P, P) uint8 -> (..., scale*P, scale*P) float32 with whole values, 0..255."""
        enlarged: Tensor = self._weights @ stack.float() @ self._weights.T
        return enlarged.round().clamp(0, 255)
