"""The stand-ins for CUDA's words: float16 as NumPy has it, and a barrier that waits."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.kernels.host_build import HOST, Launch, compile_for_host

SOURCE = """
#include "run.h"
extern "C" void widen(const __half* from, float* to, int count) {
    for (int n = 0; n < count; ++n) to[n] = __half2float(from[n]);
}
extern "C" void narrow(const float* from, __half* to, int count) {
    for (int n = 0; n < count; ++n) to[n] = __float2half_rn(from[n]);
}
struct Rounds { int* sums; int count; };
extern "C" void reversed(Rounds it) {
    __shared__ int seen[64];
    const int threads = blockDim.x * blockDim.y, thread = threadIdx.y * blockDim.x + threadIdx.x;
    seen[thread] = thread;
    for (int n = 0; n < it.count; ++n) {
        __syncthreads();
        const int other = seen[threads - 1 - thread];
        __syncthreads();
        seen[thread] = other + 1;
    }
    atomicAdd(it.sums + blockIdx.x, seen[thread]);
}
RUN_ON_HOST(reversed)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("words")
    source, made = folder / "words.cpp", folder / "words.so"
    source.write_text(SOURCE)
    compile_for_host("-shared", f"-I{HOST}", "-o", str(made), str(source), str(HOST / "run.cpp"))
    return ctypes.CDLL(str(made))


def narrowed(library: ctypes.CDLL, values: NDArray[np.float32]) -> NDArray[np.float16]:
    out = np.empty(values.shape, np.float16)
    pointers = ctypes.c_void_p(values.ctypes.data), ctypes.c_void_p(out.ctypes.data)
    library.narrow(*pointers, values.size)
    return out


def test_every_float16_widens_as_in_numpy(library: ctypes.CDLL) -> None:
    halves = np.arange(65536).astype(np.uint16).view(np.float16)
    wide = np.empty(65536, np.float32)
    pointers = ctypes.c_void_p(halves.ctypes.data), ctypes.c_void_p(wide.ctypes.data)
    library.widen(*pointers, halves.size)
    np.testing.assert_array_equal(wide, halves.astype(np.float32))
    np.testing.assert_array_equal(np.signbit(wide), np.signbit(halves))


def test_floats_are_rounded_to_float16_as_in_numpy(library: ctypes.CDLL) -> None:
    """At every float16, half way to the next, and a little to both sides of each."""
    exact = np.arange(0x7C00).astype(np.uint16).view(np.float16).astype(np.float32)
    between = (exact[1:] + exact[:-1]) / np.float32(2)
    places = np.concatenate((exact, between, [65519, 65520, 1e10, np.inf, np.nan, 1e-9]))
    places = places.astype(np.float32)
    near = [places, np.nextafter(places, np.float32(0)), np.nextafter(places, np.float32(np.inf))]
    values = np.concatenate((*near, *(-each for each in near)))
    with np.errstate(over="ignore"):
        expected = values.astype(np.float16)
    seen = narrowed(library, values)
    np.testing.assert_array_equal(seen, expected)
    np.testing.assert_array_equal(np.signbit(seen), np.signbit(values))


def test_a_barrier_waits_for_every_thread_of_its_block(library: ctypes.CDLL) -> None:
    class Rounds(ctypes.Structure):
        _fields_ = (("sums", ctypes.c_void_p), ("count", ctypes.c_int))

    sums = np.zeros(3, np.int32)
    rounds, launch = Rounds(sums.ctypes.data, 5), Launch(3, 1, 8, 4, waits=1)
    library.run_reversed(ctypes.byref(rounds), ctypes.byref(launch))
    assert sums.tolist() == [sum(range(32)) + 5 * 32] * 3
