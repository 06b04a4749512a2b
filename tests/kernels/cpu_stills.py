"""Lumas and evidence for the tests of ``kernels/cpu/still.cpp``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIZES = [(16, 16), (18, 22), (130, 34), (1046, 18)]
"""Width and height: the smallest, less than a vector, vectors and a part, more than a run."""


def lumas(width: int, height: int, *, count: int) -> list[NDArray[np.uint8]]:
    """Noise of which the left half stands and trembles, and the rest is another each time."""
    numbers = np.random.default_rng([width, height])
    standing = numbers.integers(20, 236, (height, width))
    made = []
    for _ in range(count):
        luma = standing + numbers.integers(-12, 13, standing.shape)
        luma[:, width // 2 :] = numbers.integers(0, 256, (height, width - width // 2))
        made.append(luma.clip(0, 255).astype(np.uint8))
    return made


def pictures(width: int, height: int, *, seed: int = 0) -> NDArray[np.float32]:
    """As ``pack_motion`` fills them, larger than needed: in places standing still explains more."""
    numbers = np.random.default_rng([width, height, seed])
    shape = (6, height // 2 + 3, width // 2 + 5)
    seen: NDArray[np.float32] = numbers.random(shape, np.float32) * np.float32(0.5)
    stands = numbers.random(shape[1:]) < 0.7
    seen[5][stands] = seen[4][stands]
    return seen
