"""Who may write memory when: with a reader that is held up for as long as the test likes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Event as Gate
from threading import Thread

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.errors import KernelError
from streamer.errors import EngineError
from streamer.gpu.door import Gpu
from streamer.gpu.memory import DEPTH, KEPT_SIZES, Lease, Pool
from streamer.metrics import Metrics
from tests.streamer.gpu.emulated import OUT_OF_MEMORY, Emulated, RealDoor
from tests.streamer.gpu.host_function import queue_on

SIZE = 4096


@pytest.fixture
def gpu(door: Emulated | RealDoor) -> Iterator[Gpu]:
    gpu = door.gpu()
    yield gpu
    gpu.close()
    gpu.device.close()


def filled(gpu: Gpu, value: int) -> Lease:
    lease = gpu.memory.lease(SIZE, gpu.compute)
    with lease.writing(gpu.compute) as address:
        gpu.compute.fill(address, value, SIZE)
    return lease


def opened(gate: Gate) -> None:
    """Held up until then; a test that forgets to open fails by what comes after."""
    gate.wait(20)


def sent(gpu: Gpu, lease: Lease) -> Lease:
    """On its way to the host."""
    landed = gpu.pinned.lease(SIZE, gpu.downloads)
    with lease.reading(gpu.downloads) as source, landed.writing(gpu.downloads) as target:
        gpu.downloads.download(target, source, SIZE)
    return landed


def values(landed: Lease) -> NDArray[np.uint8]:
    landed.ready.wait()
    return np.asarray(landed)


def made_ready(gpu: Gpu) -> None:
    """Has all memory, and all that a driver loads at first use. Both may wait until the device has
    nothing to do, and so for a reader that is held up by the test that waits."""
    values(sent(gpu, filled(gpu, 0)))
    gpu.memory.reserve(SIZE, DEPTH)
    gpu.pinned.reserve(SIZE, 3 * DEPTH)


def test_a_block_is_not_written_while_a_slow_reader_has_still_to_read_it(gpu: Gpu) -> None:
    gate = Gate()
    made_ready(gpu)
    # The reader's stream is held up; on a device by a function of the host, as here.
    kept = queue_on(gpu.downloads, lambda: opened(gate))
    landed = []
    for value in range(1, 3 * DEPTH):
        lease = filled(gpu, value)
        landed.append(sent(gpu, lease))
        # Returned before it was read: the next ones get it, and have to come after the reader.
        del lease
    assert gpu.memory.allocations == DEPTH
    gate.set()
    for value, one in enumerate(landed, start=1):
        assert (values(one) == value).all()
    assert kept is not None


def test_a_reader_waits_for_the_writer_of_another_stream(gpu: Gpu) -> None:
    gate = Gate()
    made_ready(gpu)
    kept = queue_on(gpu.compute, lambda: opened(gate))
    landed = sent(gpu, filled(gpu, 9))
    opener = Thread(target=gate.set)
    opener.start()
    assert (values(landed) == 9).all()
    opener.join()
    assert kept is not None


def test_staging_is_written_again_only_when_its_copy_is_done(gpu: Gpu) -> None:
    there = [gpu.memory.lease(SIZE, gpu.uploads) for _ in range(3 * DEPTH)]
    for value, lease in enumerate(there):
        staged = gpu.pinned.lease_for_host(SIZE)
        np.asarray(staged)[:] = value
        with staged.reading(gpu.uploads) as source, lease.writing(gpu.uploads) as target:
            gpu.uploads.upload(target, source, SIZE)
        del staged
    assert gpu.pinned.allocations <= DEPTH
    for value, lease in enumerate(there):
        assert (values(sent(gpu, lease)) == value).all()


class OutOfIt(KernelError):
    """What ends the queueing of work in its middle."""


def test_what_was_queued_before_an_error_still_writes_before_the_next_one_does(gpu: Gpu) -> None:
    gate = Gate()
    made_ready(gpu)
    kept = queue_on(gpu.compute, lambda: opened(gate))
    lease = gpu.memory.lease(SIZE, gpu.compute)
    with suppress(OutOfIt), lease.writing(gpu.compute) as address:
        gpu.compute.fill(address, 1, SIZE)
        raise OutOfIt
    del lease
    again = [gpu.memory.lease(SIZE, gpu.uploads) for _ in range(DEPTH)]
    for one in again:
        with one.writing(gpu.uploads) as address:
            gpu.uploads.fill(address, 2, SIZE)
    assert gpu.memory.allocations == DEPTH
    opener = Thread(target=gate.set)
    opener.start()
    gpu.uploads.wait()
    gpu.compute.wait()
    for one in again:
        assert (values(sent(gpu, one)) == 2).all()
    opener.join()
    assert kept is not None


def test_what_was_queued_before_an_error_reads_what_was_there(gpu: Gpu) -> None:
    gate = Gate()
    made_ready(gpu)
    kept = queue_on(gpu.downloads, lambda: opened(gate))
    lease, landed = filled(gpu, 1), gpu.pinned.lease(SIZE, gpu.downloads)
    with (
        suppress(OutOfIt),
        landed.writing(gpu.downloads) as target,
        lease.reading(gpu.downloads) as source,
    ):
        gpu.downloads.download(target, source, SIZE)
        raise OutOfIt
    del lease
    again = [filled(gpu, 2) for _ in range(DEPTH)]
    assert gpu.memory.allocations == DEPTH
    opener = Thread(target=gate.set)
    opener.start()
    gpu.compute.wait()
    assert (values(landed) == 1).all()
    opener.join()
    assert again
    assert kept is not None


def test_blocks_of_known_sizes_are_lent_again_and_counted(door: Emulated | RealDoor) -> None:
    metrics = Metrics()
    gpu = door.gpu(metrics)
    gpu.memory.reserve(SIZE, 4)
    assert metrics.counts("gpu.") == {"device.bytes": 4 * SIZE}
    for _ in range(10):
        held = [gpu.memory.lease(SIZE - n, gpu.compute) for n in range(4)]
        assert len({lease.address for lease in held}) == 4
        del held
    assert gpu.memory.allocations == 4
    gpu.close()
    assert metrics.counts("gpu.") == {}
    gpu.device.close()


def test_sizes_that_are_not_used_any_more_are_freed(gpu: Gpu, door: Emulated | RealDoor) -> None:
    held = gpu.memory.lease(1, gpu.compute)
    for number in range(1, 3 * KEPT_SIZES):
        gpu.memory.lease(number * SIZE, gpu.compute)
    marks = gpu.metrics.counts("gpu.")["device.bytes"]
    assert marks == sum(n * SIZE for n in range(2 * KEPT_SIZES, 3 * KEPT_SIZES)) + 512
    # What is lent is never freed.
    with held.writing(gpu.compute) as address:
        gpu.compute.fill(address, 1, 1)
    gpu.compute.wait()


def test_what_could_be_reserved_is_given_back_where_the_rest_could_not(emulated: Emulated) -> None:
    gpu = emulated.gpu()
    emulated.limit(3 * SIZE)
    with pytest.raises(KernelError, match="CUDA_ERROR_OUT_OF_MEMORY"):
        gpu.memory.reserve(SIZE, 5)
    assert emulated.count("memory") == 3
    held = [gpu.memory.lease(SIZE, gpu.compute) for _ in range(3)]
    assert gpu.memory.allocations == 3
    del held
    gpu.close()
    assert emulated.count("memory") == 0
    gpu.device.close()


def test_memory_whose_event_cannot_be_made_is_given_back(emulated: Emulated) -> None:
    gpu = emulated.gpu()
    emulated.fail("cuEventCreate", OUT_OF_MEMORY)
    with pytest.raises(KernelError, match="CUDA_ERROR_OUT_OF_MEMORY"):
        gpu.memory.lease(SIZE, gpu.compute)
    assert emulated.count("memory") == 0
    assert gpu.metrics.counts("gpu.") == {}
    gpu.close()
    gpu.device.close()


def test_other_sizes_make_room_before_memory_is_said_to_be_out(emulated: Emulated) -> None:
    gpu = emulated.gpu()
    emulated.limit(10 * SIZE)
    gpu.memory.reserve(2 * SIZE, 4)
    gpu.memory.reserve(6 * SIZE, 1)
    assert gpu.metrics.counts("gpu.") == {"device.bytes": 6 * SIZE}
    with pytest.raises(KernelError, match="CUDA_ERROR_OUT_OF_MEMORY; free memory of the device"):
        gpu.memory.reserve(20 * SIZE, 1)
    gpu.close()


@pytest.mark.parametrize("in_thread", [False, True])
def test_a_picture_that_is_held_outlives_its_door(*, emulated: Emulated, in_thread: bool) -> None:
    gpu = emulated.gpu()
    landed = [sent(gpu, filled(gpu, 5))]
    gpu.close()
    assert emulated.count("streams") == 0
    shown = np.asarray(landed[0])
    assert (shown == 5).all()
    assert emulated.count("memory") == 1
    del shown

    def let_go() -> None:
        landed.clear()

    letting_go: Callable[[], None] = let_go
    if in_thread:
        # As the encoder's, which never entered the device.
        thread = Thread(target=letting_go)
        thread.start()
        thread.join()
    else:
        letting_go()
    assert emulated.count("memory") == 0


def test_pictures_of_two_sizes_that_are_let_go_of_at_once_are_freed_once(
    emulated: Emulated,
) -> None:
    """As when the encoder's thread drops one while the garbage collector drops the other."""
    gpu = emulated.gpu()
    freed: list[int] = []

    def free(address: int) -> None:
        freed.append(address)
        held.clear()
        gpu.device.free(address)

    pool = Pool(
        "device",
        gpu.device,
        allocate=gpu.device.allocate,
        free=free,
        metrics=gpu.metrics,
        on_empty=lambda: None,
    )
    held = [pool.lease(SIZE, gpu.compute), pool.lease(2 * SIZE, gpu.compute)]
    addresses = [lease.address for lease in held]
    pool.close()
    held.pop(0)
    assert pool.is_empty
    assert freed == addresses
    gpu.close()
    assert emulated.count("memory") == 0


@pytest.mark.parametrize(
    ("function", "status", "said"),
    [
        (
            "cuInit",
            100,
            r"cuInit failed with CUDA_ERROR_NO_DEVICE; see that nvidia-smi lists a dev",
        ),
        ("cuInit", 803, r"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH; restart after the driver's update"),
        (
            "cuStreamCreate",
            OUT_OF_MEMORY,
            r"OUT_OF_MEMORY; free memory of the device, or run fewer",
        ),
    ],
)
def test_what_is_wrong_with_a_device_is_one_sentence(
    emulated: Emulated, function: str, status: int, said: str
) -> None:
    emulated.fail(function, status)
    with pytest.raises((EngineError, KernelError), match=said):
        emulated.gpu()


def test_a_driver_older_than_the_kernels_is_told(emulated: Emulated) -> None:
    gpu = emulated.gpu()
    emulated.fail("cuModuleLoadData", 222)
    from kernels import launch
    from kernels.arguments import Plane

    plane = Plane(address=64, stride=8, width=8, height=4)
    with pytest.raises(
        KernelError, match="the driver is older than the toolkit; install a newer dr"
    ):
        gpu.launch(launch.cover(plane, plane, mask=plane))
    gpu.close()
