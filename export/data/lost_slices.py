"""Which parts of which frames a lossy network takes away: bursts of packets, runs of macroblocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.data.planes import Plane
from streamer.errors import ConfigError

MACROBLOCK = 16
"""Luma pixels; H.264 and VP8 code and lose the picture in squares of this size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """A Gilbert-Elliott channel: in its bad state every packet is lost, in its good one none."""

    rate: float
    """Share of packets lost in the long run; networks that carry calls lose 0.02 to 0.15."""
    burst: float
    """Mean number of packets lost in a row; 1.5 to 3 is usual."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.rate < 1.0:
            raise ConfigError(f"losses.rate is {self.rate}, allowed is 0 up to below 1")
        if self.burst < max(1.0, self.rate / (1 - self.rate)):
            raise ConfigError(
                f"losses.burst is {self.burst}, at a rate of {self.rate} it is at least "
                f"{max(1.0, self.rate / (1 - self.rate)):.2f}"
            )

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        """For each of ``count`` packets in a row, whether it is lost."""
        recovers = 1.0 / self.burst
        fails = self.rate * recovers / (1.0 - self.rate)
        is_lost = np.zeros(count, bool)
        chances = rng.random(count + 1)
        is_bad = bool(chances[0] < self.rate)
        for index, chance in enumerate(chances[1:]):
            is_lost[index] = is_bad
            is_bad = chance >= recovers if is_bad else chance < fails
        return is_lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Slicing:
    """How an encoder spreads a picture over packets."""

    rows: int = 0
    """Macroblock rows per packet, as with a fixed number of slices; 0: by size, see ``blocks``."""
    blocks: int = 60
    """Mean number of macroblocks per packet where packets end at a number of bytes."""

    def __post_init__(self) -> None:
        if self.rows < 0 or self.blocks < 1:
            raise ConfigError(
                f"slices of {self.rows} rows and {self.blocks} macroblocks: rows must be 0 or more "
                "and macroblocks 1 or more"
            )

    def ends(self, across: int, down: int, rng: np.random.Generator) -> list[int]:
        """Macroblock numbers, in coding order, before which each packet ends; the last is all."""
        total = across * down
        if self.rows:
            return [*range(across * self.rows, total, across * self.rows), total]
        ends = [0]
        while ends[-1] < total:
            # Flat parts of a picture take few bytes, so the sizes differ widely.
            ends.append(ends[-1] + max(1, round(self.blocks * float(rng.uniform(0.3, 1.7)))))
        return [*ends[1:-1], total]


def draw_lost_masks(
    frames: int,
    height: int,
    width: int,
    *,
    losses: Losses,
    slicing: Slicing,
    rng: np.random.Generator,
) -> Plane:
    """Masks (frames, H, W) uint8, 1 where nothing arrived, for frames sent one after another.

    A burst may reach into the next frame. What the decoder makes of the lost blocks, and that
    later frames inherit the damage until they are coded anew, is not modelled.
    """
    across, down = -(-width // MACROBLOCK), -(-height // MACROBLOCK)
    packets = [slicing.ends(across, down, rng) for _ in range(frames)]
    is_lost = losses.draw(sum(len(ends) for ends in packets), rng)
    blocks = np.zeros((frames, across * down), np.uint8)
    number = 0
    for frame, ends in enumerate(packets):
        for begin, end in zip([0, *ends[:-1]], ends, strict=True):
            blocks[frame, begin:end] = is_lost[number]
            number += 1
    squares = blocks.reshape(frames, down, across)
    masks = squares.repeat(MACROBLOCK, axis=1).repeat(MACROBLOCK, axis=2)
    return np.ascontiguousarray(masks[:, :height, :width])


def draw_loss_setting(rng: np.random.Generator) -> tuple[Losses, Slicing]:
    """A network and a slicing to train concealment with: 2-15 % lost, in bursts of 1.5 to 3."""
    losses = Losses(rate=float(rng.uniform(0.02, 0.15)), burst=float(rng.uniform(1.5, 3.0)))
    if rng.random() < 0.4:
        return losses, Slicing(rows=int(rng.integers(1, 5)))
    return losses, Slicing(blocks=int(rng.integers(8, 160)))
