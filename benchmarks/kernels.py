"""Claim: each memory-bound kernel reaches 80 % of the card's copy bandwidth at 4K.

Beside each other in one run: every entry of every kernel at 1080p and 4K, a copy within the device
of a large block, which is the card's bandwidth, and one of as many bytes as the kernel moves, which
has its size in common with it. Bytes are those that a call must move (``Case.bytes_moved``), so
that a byte that is read twice does not count as work.

How: launches are captured into a graph, as in a pipeline, so that no host is waited for; each works
on other buffers, which together are several times the cache. Events around a replay of the graph
give the time of one launch, the card's own start of each included; the median of the replays is
reported. Left out: copies from and to the host.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Self

from benchmarks.goal import Goal
from benchmarks.kernels_cases import Case, Size, case_of
from benchmarks.result import keep, out_file, write
from kernels.compile import architecture_for, compile_unit, find_toolchain
from kernels.driver import Device, Module
from kernels.errors import KernelError
from kernels.stream import Event, Stream
from kernels.units import UNITS, Unit
from streamer.clock import MonotonicClock
from streamer.errors import EngineError

SIZES = (Size(1920, 1080), Size(3840, 2160))
GOAL = 0.8
"""Of the copy bandwidth, at the largest size."""

_L2_BYTES = 38
"""CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE."""
ALIGNMENT = 512
"""Of each buffer, in bytes."""

OpenUnit = Callable[[Device, Unit], Module]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is done for one number."""

    launches: int = 100
    """In a graph, at least; and each set of buffers twice."""
    replays: int = 11
    warm_replays: int = 5
    """Before those that count."""
    warm_up_s: float = 1.0
    """Of copies before anything is timed: an idle card runs at a fifth of its clock."""
    spread: float = 4.0
    """How many times the cache the buffers are together."""
    copy_bytes: int = 1 << 29
    """Of the large copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One entry at one size."""

    unit: str
    entry: str
    size: str
    is_memory_bound: bool
    bytes_moved: int
    us: float
    least_us: float
    gb_s: float
    """10^9 bytes a second, as all rates here."""
    share: float
    """Of the bandwidth of a large copy."""
    copy_us: float
    """What a copy of as many bytes takes."""
    buffers: int
    """Sets of memory that the launches took turns on."""


def main(arguments: list[str]) -> None:
    """Measure, print a table, and end with one line of JSON."""
    options = _parser().parse_args(arguments)
    units = [unit for unit in UNITS if options.only in (None, unit.name)]
    try:
        with Device() as device:
            result = measure(
                device,
                open_unit=_compiled(),
                units=units,
                told=lambda result: keep(result, options.out),
            )
    except KernelError as error:
        raise EngineError(f"kernels were not timed: {error}") from error
    print(result["table"])
    write(result, options.out)


def measure(
    device: Device,
    *,
    open_unit: OpenUnit,
    units: Sequence[Unit] = UNITS,
    sizes: Sequence[Size] = SIZES,
    effort: Effort | None = None,
    told: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:
    """All entries of ``units`` at all ``sizes``, the largest being last; ``told`` what there is after
    each unit. One that cannot be run is missing, and the others are timed. Raises ``KernelError``
    where there is nothing.
    """
    bench = Bench(device, effort or Effort())
    rows: list[Timing] = []
    missing: dict[str, str] = {}
    try:
        bandwidth = bench.copy_bandwidth()
        for unit in units:
            try:
                rows += _timings(bench, unit, bandwidth, open_unit=open_unit, sizes=sizes)
            except KernelError as error:
                missing[unit.name] = str(error)
            else:
                told(_result(device, rows, missing, bandwidth, str(sizes[-1])))
    finally:
        # A device that was lost takes all with it.
        with suppress(KernelError):
            bench.close()
    if not rows:
        raise KernelError("; ".join(dict.fromkeys(missing.values())))
    return _result(device, rows, missing, bandwidth, str(sizes[-1]))


def _result(
    device: Device, rows: Sequence[Timing], missing: dict[str, str], bandwidth: float, largest: str
) -> dict[str, Any]:
    result = {
        "benchmark": "kernels",
        "command": "python -m benchmarks kernels",
        "machine": {"gpu": device.name, "driver_cuda": device.cuda},
        "missing": dict(missing),
        "copy_gb_s": bandwidth,
        "scenarios": {
            "kernels": {
                "claim": "each memory-bound kernel reaches 80 % of the card's copy bandwidth at 4K",
                "baseline": f"a copy within the device in the same run, {bandwidth:.0f} GB/s",
                "left_out": "copies from and to the host",
                "goals": list(_goals(rows, largest)),
            }
        },
        "kernels": [asdict(row) for row in rows],
    }
    return {**result, "table": table(result)}


class Bench:
    """A device, one stream and two events on it: what calls take there, in microseconds."""

    def __init__(self, device: Device, effort: Effort) -> None:
        self.device, self._effort = device, effort
        self._stream = Stream(device)
        self._events = [Event(device, has_timing=True) for _ in range(2)]
        cache = ctypes.c_int()
        what = ctypes.byref(cache), ctypes.c_int(_L2_BYTES), ctypes.c_int(0)
        device.call("cuDeviceGetAttribute", *what)
        self.cache_bytes = cache.value
        self._copies: dict[int, float] = {}

    def copy_bandwidth(self) -> float:
        """GB/s of a large copy, bytes read and bytes written both counted."""
        size = min(self._effort.copy_bytes, self.device.memory.free // 4)
        source, target = (self.device.allocate(size) for _ in range(2))
        self._warm_up(source, target, size)
        taken = self._replayed(lambda _: self._stream.copy(target, source, size), launches=4)
        for address in (source, target):
            self.device.free(address)
        return 2 * size / statistics.median(taken) / 1e3

    def copy_us(self, moved_bytes: int) -> float:
        """What a copy of half as many bytes takes, which moves as many; each size is timed once."""
        if moved_bytes not in self._copies:
            self._copies[moved_bytes] = statistics.median(self._copied(moved_bytes))
        return self._copies[moved_bytes]

    def _copied(self, moved_bytes: int) -> list[float]:
        half = max(1, moved_bytes // 2)
        with _Sets(self.device, (half, half), number=self._number(moved_bytes)) as sets:

            def queue(turn: int) -> None:
                source, target = sets.at(turn)
                self._stream.copy(target, source, half)

            return self._replayed(queue, launches=self._launches(sets.number))

    def run(self, case: Case, module: Module) -> tuple[list[float], int, int]:
        """What the launches took, the bytes that each must move, and the sets they took turns on."""
        sizes = [array.nbytes for array in case.memory]
        with _Sets(self.device, sizes, number=self._number(sum(sizes))) as sets:
            for array, address in zip(case.memory, sets.at(0), strict=True):
                self.device.upload(address, array.ctypes.data, array.nbytes)
            sets.repeat(self._stream)
            calls = [case.call(sets.at(turn)) for turn in range(sets.number)]

            def queue(turn: int) -> None:
                module.launch(calls[turn % len(calls)], stream=self._stream.handle)

            taken = self._replayed(queue, launches=self._launches(sets.number))
            return taken, case.bytes_moved, sets.number

    def close(self) -> None:
        for event in self._events:
            event.close()
        self._stream.close()

    def _warm_up(self, source: int, target: int, size: int) -> None:
        clock = MonotonicClock()
        end_ns = clock.now_ns() + self._effort.warm_up_s * 1e9
        while clock.now_ns() < end_ns:
            self._stream.copy(target, source, size)
            self._stream.wait()

    def _replayed(self, queue: Callable[[int], None], *, launches: int) -> list[float]:
        """Microseconds of one launch in each replay of a graph of ``launches``, some more coming before."""
        before, after = self._events

        def all_turns() -> None:
            for turn in range(launches):
                queue(turn)

        graph = self._stream.capture(all_turns)
        taken = []
        for replay in range(self._effort.warm_replays + self._effort.replays):
            self._stream.record(before)
            self._stream.replay(graph)
            self._stream.record(after)
            after.wait()
            if replay >= self._effort.warm_replays:
                taken.append(after.elapsed_ms(before) * 1e3 / launches)
        self._stream.drop(graph)
        return taken

    def _number(self, set_bytes: int) -> int:
        """Sets of buffers that are ``spread`` times the cache together, two at least."""
        return max(2, -int(-self._effort.spread * self.cache_bytes // max(1, set_bytes)))

    def _launches(self, sets: int) -> int:
        return max(self._effort.launches, 2 * sets)


class _Sets:
    """The same buffers ``number`` times over, in one block of device memory."""

    def __init__(self, device: Device, sizes: Sequence[int], *, number: int) -> None:
        self.number = number
        self._device = device
        self._offsets, self._size = [], 0
        for size in sizes:
            self._offsets.append(self._size)
            self._size += -(-size // ALIGNMENT) * ALIGNMENT
        self._start = device.allocate(self._size * number)

    def at(self, turn: int) -> list[int]:
        """The addresses of the buffers of one set."""
        start = self._start + turn % self.number * self._size
        return [start + offset for offset in self._offsets]

    def repeat(self, stream: Stream) -> None:
        """Fills all sets from the first one."""
        for turn in range(1, self.number):
            stream.copy(self._start + turn * self._size, self._start, self._size)
        stream.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._device.free(self._start)


def _timings(
    bench: Bench, unit: Unit, bandwidth: float, *, open_unit: OpenUnit, sizes: Sequence[Size]
) -> list[Timing]:
    module = open_unit(bench.device, unit)
    timed = [
        _timing(bench, case_of(unit, entry, size), module, bandwidth)
        for size in sizes
        for entry in unit.entries
    ]
    module.close()
    return timed


def _timing(bench: Bench, case: Case, module: Module, bandwidth: float) -> Timing:
    taken, moved, buffers = bench.run(case, module)
    us = statistics.median(taken)
    rate = moved / us / 1e3
    return Timing(
        unit=case.unit.name,
        entry=case.entry,
        size=str(case.size),
        is_memory_bound=case.is_memory_bound,
        bytes_moved=moved,
        us=us,
        least_us=min(taken),
        gb_s=rate,
        share=rate / bandwidth,
        copy_us=bench.copy_us(moved),
        buffers=buffers,
    )


def _goals(rows: Sequence[Timing], size: str) -> Iterator[dict[str, Any]]:
    """One for each unit: its slowest memory-bound entry at the largest size."""
    for unit in dict.fromkeys(row.unit for row in rows):
        own = [r for r in rows if (r.unit, r.size, r.is_memory_bound) == (unit, size, True)]
        if own:
            worst = min(own, key=lambda row: row.share)
            what = f"{worst.entry} ({unit}) at {size}, share of copy bandwidth"
            yield Goal(what=what, measured=worst.share, at_least=GOAL).as_dict()


def table(result: dict[str, Any]) -> str:
    """Markdown: one row for each entry and size."""
    lines = [
        f"{result['machine']['gpu']}: a copy within the device moves {result['copy_gb_s']:.0f} GB/s.",
        "",
        "| kernel | size | MB | µs | GB/s | of a large copy | of a copy of as much |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["kernels"]:
        mark = "" if row["is_memory_bound"] else " (arithmetic)"
        unit = f" x{row['unit'].rpartition('x')[2]}" if "add_residual" in row["unit"] else ""
        lines.append(
            f"| {row['entry']}{unit}{mark} | {row['size']} | {row['bytes_moved'] / 1e6:.1f} "
            f"| {row['us']:.2f} | {row['gb_s']:.0f} | {100 * row['share']:.0f} % "
            f"| {100 * row['copy_us'] / row['us']:.0f} % |"
        )
    return "\n".join(lines)


def _compiled() -> OpenUnit:
    """Opens units as nvcc makes them for the device, from the cache where it has them."""
    toolchain = find_toolchain()

    def opened(device: Device, unit: Unit) -> Module:
        architecture = architecture_for(*device.capability, toolchain.supported)
        return Module(device, compile_unit(unit, architecture, toolchain=toolchain).image)

    return opened


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks kernels", description=__doc__)
    parser.add_argument("--only", choices=[unit.name for unit in UNITS], help="only this unit")
    parser.add_argument("--out", type=out_file, help="also write the JSON to this file")
    return parser
