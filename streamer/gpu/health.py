"""Whether residuals on a device can be shown: counted there, judged when the counts have landed."""

from __future__ import annotations

import ctypes
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kernels import launch
from kernels.arguments import Health, Precision
from streamer.gpu.door import Gpu
from streamer.gpu.memory import Lease
from streamer.infer.device import DeviceTensor, ResidentEngine
from streamer.infer.watchdog import IN_A_ROW

_log = logging.getLogger(__name__)

DARK_SHARE = 0.25
"""Of a residual's values that would make any pixel black; more is a broken network."""

PRECISIONS = {"float16": Precision.FLOAT16, "float32": Precision.FLOAT32}
"""By what manifests call them."""

COUNTS_BYTES = ctypes.sizeof(Health)


@dataclass(frozen=True, slots=True)
class Count:
    """What one residual has that it should not, on its way to the host."""

    tier: str
    values: int
    landed: Lease

    @property
    def is_sound(self) -> bool:
        """Once it has landed."""
        told = Health.from_address(self.landed.address)
        return not (told.nans or told.infinities) and told.dark <= DARK_SHARE * self.values


class DeviceWatchdog:
    """Counts each residual, and gives up networks that go on giving what cannot be.

    ``saw`` may be called from any thread, the rest by the stage's own.
    """

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._seen: deque[tuple[str, bool]] = deque()
        self._in_a_row: dict[str, int] = {}
        self.given_up: set[str] = set()
        """Tiers that are not to be used any more."""

    def count(self, residual: DeviceTensor, tier: str) -> Count:
        """Queues the counting behind the network, and the way of the counts to the host."""
        gpu, values = self._gpu, int(np.prod(residual.shape))
        there = gpu.memory.lease(COUNTS_BYTES, gpu.compute)
        with there.writing(gpu.compute) as address:
            gpu.compute.fill(address, 0, COUNTS_BYTES)
            precision = PRECISIONS[residual.dtype]
            gpu.launch(
                launch.watch(residual.address, count=values, precision=precision, out=address)
            )
        landed = gpu.pinned.lease(COUNTS_BYTES, gpu.downloads)
        with there.reading(gpu.downloads) as source, landed.writing(gpu.downloads) as target:
            gpu.downloads.download(target, source, COUNTS_BYTES)
        return Count(tier, values, landed)

    def saw(self, count: Count) -> bool:
        """Whether a residual was sound, now that its counts are there."""
        is_sound = count.is_sound
        self._seen.append((count.tier, is_sound))
        return is_sound

    def forgive(self, tier: str) -> None:
        """Another engine does it from here on."""
        self.given_up.discard(tier)
        self._in_a_row[tier] = 0

    def judge(self, engines: Mapping[str, ResidentEngine]) -> None:
        """Takes what was seen since the last time into account; by tier."""
        while self._seen:
            tier, is_sound = self._seen.popleft()
            self._in_a_row[tier] = 0 if is_sound else self._in_a_row.get(tier, 0) + 1
            if is_sound:
                continue
            engine = engines[tier]
            self._gpu.metrics.count(f"unsound.{engine.manifest.name}")
            if self._in_a_row[tier] >= IN_A_ROW and tier not in self.given_up:
                self.given_up.add(tier)
                _log.warning(
                    "%s on %s gave what cannot be %d times in a row, so this run goes on without "
                    "it; choose another --backend, and please report it",
                    engine.manifest.name,
                    engine.backend,
                    self._in_a_row[tier],
                )
