"""The kernels' benchmark: its cases, what it counts, and a whole run over a driver on host memory."""

from __future__ import annotations

import json
from itertools import accumulate
from typing import Any

import numpy as np
import pytest

from benchmarks import kernels
from benchmarks.kernels import Bench, Effort, OpenUnit, Timing, measure
from benchmarks.kernels_cases import Size, case_of
from kernels import reference
from kernels.driver import Device, Module
from kernels.errors import KernelError
from kernels.units import ADD_RESIDUAL, DIFFERENCE, FINISH, INTERLEAVE, UNITS, WATCH, Unit
from tests.benchmarks.running import refused
from tests.kernels.conftest import why_no_device
from tests.kernels.host_build import HostKernels
from tests.streamer.gpu.emulated import Emulated

SMALL, LARGE = Size(48, 24), Size(96, 48)
HELD = ("memory", "streams", "events", "modules", "graphs")
REPLAY_MS = 1.0
"""What the driver on host memory says between any two events."""


@pytest.fixture(scope="module")
def emulated(host_kernels: HostKernels) -> Emulated:
    """A device on host memory, whose driver counts what it is asked for."""
    return Emulated(host_kernels)


def opened(emulated: Emulated) -> OpenUnit:
    return lambda device, unit: Module(device, emulated.image(unit))


def entries() -> list[Any]:
    return [pytest.param(u, e, id=f"{u.name}-{e}") for u in UNITS for e in u.entries]


@pytest.mark.parametrize(("unit", "entry"), entries())
def test_a_case_calls_its_entry_and_lies_as_a_device_takes_it(unit: Unit, entry: str) -> None:
    for size in (SMALL, LARGE):
        case = case_of(unit, entry, size)
        sizes = [array.nbytes for array in case.memory]
        call = case.call(list(accumulate(sizes[:-1], initial=4096)))
        assert (call.unit, call.entry) == (unit, entry)
        # What is copied to a device is taken as it lies.
        assert all(array.flags.c_contiguous for array in case.memory)


@pytest.mark.parametrize(
    ("entry", "per_pixel"),
    [
        ("pack_nv12_f16", 1.5 + 1.5 * 2),
        ("pack_p010_f32", 3 + 1.5 * 4),
        # A quarter of the picture is read, a residual and a picture for each of its samples.
        ("add_residual_yuv420p_f16", 1.5 / 4 + 1.5 + 1.5 * 2),
        ("planar_p010", 3 + 1.5),
        ("interleave_nv12", 1.5 + 1.5),
        # Maps of a quarter of the size each way, in float32.
        ("warp_two_plane_8_cubic", 3 + 5 * 4 / 16),
        ("warp_one_plane_10_linear", 2 * 2 + 2 * 4 / 16),
        ("cover_2", 2 * 2 + 1),
        ("finish_8", 2 + 2 * 4 / 16),
        ("watch_f16", 1.5 * 2),
    ],
)
def test_bytes_are_those_that_a_kernel_says_of_a_pixel(entry: str, per_pixel: float) -> None:
    units = {e: unit for unit in UNITS if unit.name != "add_residual_x1" for e in unit.entries}
    units["add_residual_yuv420p_f16"] = ADD_RESIDUAL[2]
    case = case_of(units[entry], entry, LARGE)
    counted = case.bytes_moved - (12 if entry.startswith("watch") else 0)
    assert counted == per_pixel * LARGE.width * LARGE.height


def test_the_sizes_of_the_goal_fit_every_scale() -> None:
    assert [str(size) for size in kernels.SIZES] == ["1920x1080", "3840x2160"]
    assert all(size.width % 24 == 0 and size.height % 24 == 0 for size in kernels.SIZES)


def test_a_run_times_every_entry_and_gives_all_memory_back(emulated: Emulated) -> None:
    before = {kind: emulated.count(kind) for kind in (*HELD, "launches", "complaints")}
    units = (FINISH, DIFFERENCE, WATCH)
    with emulated.device() as device:
        result = measure(
            device,
            open_unit=opened(emulated),
            units=units,
            sizes=(SMALL, LARGE),
            effort=Effort(
                launches=5, replays=3, warm_replays=2, warm_up_s=0.001, copy_bytes=1 << 16
            ),
        )
    assert {kind: emulated.count(kind) for kind in HELD} == {kind: before[kind] for kind in HELD}
    assert emulated.count("complaints") == before["complaints"]
    rows = result["kernels"]
    expected = [(e, str(size)) for u in units for size in (SMALL, LARGE) for e in u.entries]
    assert [(row["entry"], row["size"]) for row in rows] == expected
    # Two replays before three that count, each of five launches.
    assert emulated.count("launches") - before["launches"] == len(rows) * 5 * 5
    # Four copies to a replay, each of them read and written.
    moved = 2 * 4 * (1 << 16)
    assert result["copy_gb_s"] == pytest.approx(moved / (REPLAY_MS / 1e3) / 1e9)
    for row in rows:
        assert row["us"] == pytest.approx(1e3 * REPLAY_MS / 5)
        assert row["gb_s"] == pytest.approx(row["bytes_moved"] / row["us"] / 1e3)
        assert row["share"] == pytest.approx(row["gb_s"] / result["copy_gb_s"])
    assert json.loads(json.dumps(result)) == result
    assert "Device of a test" in result["table"]
    assert result["table"].count("\n") == 3 + len(rows)


def test_a_kernel_that_cannot_be_run_costs_no_other(emulated: Emulated) -> None:
    told: list[dict[str, Any]] = []

    def partly(device: Device, unit: Unit) -> Module:
        if unit is DIFFERENCE:
            raise KernelError("it is not compiled; compile it")
        return opened(emulated)(device, unit)

    effort = Effort(launches=2, replays=1, warm_replays=0, warm_up_s=0.001, copy_bytes=1 << 16)
    with emulated.device() as device:
        how: dict[str, Any] = {"sizes": (SMALL,), "effort": effort}
        units = (FINISH, DIFFERENCE, WATCH)
        result = measure(device, open_unit=partly, units=units, told=told.append, **how)
        with pytest.raises(KernelError, match="not compiled"):
            measure(device, open_unit=partly, units=(DIFFERENCE,), **how)
    assert result["missing"] == {"difference": "it is not compiled; compile it"}
    assert {row["unit"] for row in result["kernels"]} == {"finish", "watch"}
    # After each, for whoever is ended in between.
    assert [{row["unit"] for row in one["kernels"]} for one in told] == [
        {"finish"},
        {"finish", "watch"},
    ]


def test_every_set_of_buffers_holds_what_the_case_says_and_gets_its_own_result(
    emulated: Emulated,
) -> None:
    """Else the time would be of something that is not done."""
    case = case_of(INTERLEAVE, "interleave_nv12", SMALL)
    *planes, luma, pairs = case.memory
    seen = []

    class Watched(Device):
        def free(self, address: int) -> None:
            here = np.empty((2, 5120), np.uint8)
            self.download(here.ctypes.data, address, here.nbytes)
            seen.append(here)
            super().free(address)

    with Watched(str(emulated.path)) as device:
        bench = Bench(device, Effort(launches=2, replays=1))
        module = opened(emulated)(device, INTERLEAVE)
        _, moved, sets = bench.run(case, module)
        module.close()
        bench.close()
    assert (moved, sets) == (sum(array.nbytes for array in case.memory), 2)
    # Each buffer begins at a multiple of 512 bytes.
    for own in seen[0]:
        np.testing.assert_array_equal(own[: luma.size], planes[0].ravel())
        made = own[2560:][: luma.size], own[4096:][: pairs.size]
        for one, wanted in zip(made, reference.interleave(planes), strict=True):
            np.testing.assert_array_equal(one, wanted.ravel())


def test_buffers_are_several_times_the_cache(emulated: Emulated) -> None:
    with emulated.device() as device:
        bench = Bench(device, Effort(spread=4.0))
        bench.cache_bytes = 50_000_000
        assert bench._number(9_331_200) == 22
        assert bench._number(10**9) == 2
        assert bench._launches(22) == 100
        assert bench._launches(150) == 300
        bench.close()


def timing(entry: str, share: float, *, is_memory_bound: bool = True, size: str = "4K") -> Timing:
    return Timing(
        unit=entry.split("_")[0],
        entry=entry,
        size=size,
        is_memory_bound=is_memory_bound,
        bytes_moved=1,
        us=1.0,
        least_us=1.0,
        gb_s=1.0,
        share=share,
        copy_us=1.0,
        buffers=2,
    )


def test_a_goal_is_judged_by_the_slowest_entry_that_waits_for_memory() -> None:
    rows = [
        timing("pack_a", 0.9),
        timing("pack_b", 0.7, size="1080p"),
        timing("warp_linear", 0.79),
        timing("warp_other", 0.81),
        timing("warp_cubic", 0.3, is_memory_bound=False),
    ]
    goals = {
        goal["what"]: (goal["measured"], goal["is_met"]) for goal in kernels._goals(rows, "4K")
    }
    assert goals == {
        "pack_a (pack) at 4K, share of copy bandwidth": (0.9, True),
        "warp_linear (warp) at 4K, share of copy bandwidth": (0.79, False),
    }


def test_without_a_device_the_command_says_so_in_one_sentence() -> None:
    if not why_no_device():
        pytest.skip("there is a device")
    assert refused("kernels").startswith("kernels were not timed: ")
