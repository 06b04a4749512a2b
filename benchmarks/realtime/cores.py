"""What the machine's cores give at the moment: those of a shared machine are not always whole ones."""

from __future__ import annotations

from pathlib import Path
from threading import Thread
from time import perf_counter, sleep

import numpy as np

from streamer.metrics import percentile
from streamer.ops.motion import FlowEstimator

SECONDS = 0.4
SLEEPS, SLEEP_S = 100, 1 / 120
WIDTH, HEIGHT = 320, 180
STAT = Path("/proc/stat")
BUSY, STOLEN = (0, 1, 2, 5, 6), 7
"""Of its first line, in ticks: all that ran, and what another guest had while something was to run."""


def speed() -> dict[str, float]:
    """Flow searches a second on one core, and on two at once as a multiple of that: 2 where each has a
    core to itself, less where they share one or other guests of the machine use them. And how late a
    sleep ends (p95): nothing that leaves at a time leaves more evenly than that."""
    alone = _rate(1)
    return {
        "searches_per_s": round(alone, 1),
        "two_at_once": round(_rate(2) / alone, 2),
        "wakes_late_p95_ms": round(percentile(sorted(_late_ms()), 0.95), 3),
    }


class Taken:
    """Counts from when it is made what other guests of the host took."""

    def __init__(self) -> None:
        self._began = _ticks()

    def share(self) -> float | None:
        """Of the time that programs here were to run; ``None`` where the system does not tell."""
        began, ended = self._began, _ticks()
        if began is None or ended is None:
            return None
        busy, stolen = ended[0] - began[0], ended[1] - began[1]
        return round(stolen / max(1, busy + stolen), 3)


def _ticks() -> tuple[int, int] | None:
    if not STAT.exists():
        return None
    fields = [int(field) for field in STAT.read_text("ascii").split("\n", 1)[0].split()[1:]]
    return sum(fields[n] for n in BUSY), fields[STOLEN]


def _late_ms() -> list[float]:
    """Of sleeps as long as half an interval at 60 fps, in a process that does nothing else."""
    late = []
    for _ in range(SLEEPS):
        due = perf_counter() + SLEEP_S
        sleep(SLEEP_S)
        late.append(1000 * (perf_counter() - due))
    return late


def _rate(threads: int) -> float:
    counts = [0] * threads
    noise = np.random.default_rng(0).integers(0, 256, (2, HEIGHT, WIDTH), np.uint8)

    def search(number: int) -> None:
        estimator = FlowEstimator()
        ends = perf_counter() + SECONDS
        while perf_counter() < ends:
            estimator.to(noise[0], noise[1])
            counts[number] += 1

    running = [Thread(target=search, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return sum(counts) / SECONDS
