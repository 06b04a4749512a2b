"""Picture memory on the host: lent per frame, returned by itself, never allocated anew.

Note [Picture memory]
~~~~~~~~~~~~~~~~~~~~~
A picture's planes are NumPy views. What they view is kept alive by NumPy itself: planes of a
decoded frame hold libav's reference-counted buffer (through DLPack), planes of an enhanced frame
hold a ``_Lease``. When the last view is gone the lease gives its storage back to the pool, in
whatever thread that happens. So nobody frees a picture, nobody copies one to be safe, and a pool
holds as many pictures as were ever alive at once, which the links bound.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from streamer.frame import Plane, Planes


class PicturePool:
    """Lends pictures of one size, YUV 4:2:0, 8 bits."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self.allocated = 0
        # A deque's append and pop are atomic, so leases may come back from any thread.
        self._free: deque[Plane] = deque()

    def lease(self) -> Planes:
        """Y (height, width) and U, V (height / 2, width / 2); their content is undefined."""
        try:
            storage = self._free.pop()
        except IndexError:
            storage = np.empty(self.width * self.height * 3 // 2, np.uint8)
            self.allocated += 1
        return planes_in(np.asarray(_Lease(storage, self._free)), self.width, self.height)


def planes_in(whole: Plane, width: int, height: int) -> Planes:
    """Memory of a picture's size, or larger, as Y (height, width) and U, V (height / 2, width / 2); the
    views keep it."""
    luma, half = width * height, (height // 2, width // 2)
    return (
        whole[:luma].reshape(height, width),
        whole[luma : luma * 5 // 4].reshape(half),
        whole[luma * 5 // 4 : luma * 3 // 2].reshape(half),
    )


class _Lease:
    """Owns storage while any view of it lives. See Note [Picture memory]."""

    __slots__ = ("_home", "_storage")

    def __init__(self, storage: Plane, home: deque[Plane]) -> None:
        self._storage = storage
        self._home = home

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self._storage.__array_interface__

    def __del__(self) -> None:
        self._home.append(self._storage)
