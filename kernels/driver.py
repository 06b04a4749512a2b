"""The one door to a device: the CUDA driver by ctypes, for memory, modules and the context of both.

Opened on first use. A module belongs to the primary context of device 0, which TensorRT, ONNX
Runtime, libav and PyTorch share, so that their device memory and streams may be passed in as
integers. Streams and events stand in ``kernels/stream.py``.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from dataclasses import dataclass
from typing import Self

from kernels.errors import KernelError
from kernels.launch import BLOCK, Call

_MAJOR, _MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR."""

NOT_READY = 600
"""CUDA_ERROR_NOT_READY: what was asked for is still under way; no failure."""

_NEXT_STEPS = {
    "CUDA_ERROR_OUT_OF_MEMORY": "free memory of the device, or run fewer streams on it",
    "CUDA_ERROR_NO_DEVICE": "see that nvidia-smi lists a device and CUDA_VISIBLE_DEVICES names one",
    "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH": "restart after the driver's update, its parts differ",
    "CUDA_ERROR_UNSUPPORTED_PTX_VERSION": "the driver is older than the toolkit; install a newer "
    "driver, or compile with an older toolkit",
    # What drivers say of machine code that a newer toolkit made.
    "CUDA_ERROR_INVALID_IMAGE": "the driver may be older than the toolkit; install a newer driver, or "
    "compile with an older toolkit",
    # Of cards that are linked with others, until the service that links them runs.
    "CUDA_ERROR_SYSTEM_NOT_READY": "see that nvidia-fabricmanager runs on the machine, in the version "
    "of its driver",
    "CUDA_ERROR_DEVICE_UNAVAILABLE": "another program has the device for itself; end it, or run: "
    "nvidia-smi -c DEFAULT",
    "CUDA_ERROR_NO_BINARY_FOR_GPU": "the kernels are not compiled for this device; run: python -m "
    "kernels compile",
}
"""By the driver's name for what went wrong; for all else ``_LOST``."""

_LOST = "see that nvidia-smi lists the device and that it has memory left, then start again"


@dataclass(frozen=True, slots=True)
class Memory:
    """Of the device, in bytes."""

    free: int
    total: int


class Device:
    """Device 0 and its primary context, current in the thread that opened it.

    Another thread enters before it does anything else. All of it raises ``KernelError``.
    """

    def __init__(self, library: str | None = None) -> None:
        """``library`` is the driver's file where that is not the system's."""
        self._file = library or ctypes.util.find_library("cuda") or "libcuda.so.1"
        try:
            self._library = ctypes.CDLL(self._file)
        except OSError as error:
            raise KernelError(
                f"{self._file} cannot be loaded, kernels run on an NVIDIA device only; install its "
                "driver"
            ) from error
        self._device = ctypes.c_int()
        self._context = ctypes.c_void_p()
        self.call("cuInit", ctypes.c_uint(0))
        self.call("cuDeviceGet", ctypes.byref(self._device), ctypes.c_int(0))
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), self._device)
        self.enter()

    def again(self) -> Device:
        """The same device and context, to be closed on its own."""
        return Device(self._file)

    @property
    def capability(self) -> tuple[int, int]:
        """Major and minor, what ``compile.architecture_for`` asks for."""
        return self._attribute(_MAJOR), self._attribute(_MINOR)

    @property
    def name(self) -> str:
        text = ctypes.create_string_buffer(128)
        self.call("cuDeviceGetName", text, ctypes.c_int(len(text)), self._device)
        return text.value.decode(errors="replace")

    @property
    def cuda(self) -> str:
        """The highest version that the driver serves, such as ``13.0``."""
        version = ctypes.c_int()
        self.call("cuDriverGetVersion", ctypes.byref(version))
        return f"{version.value // 1000}.{version.value % 1000 // 10}"

    @property
    def memory(self) -> Memory:
        """What there is and what is left, of all programs on the device."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self.call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return Memory(free.value, total.value)

    def enter(self) -> None:
        """Makes the device current in the calling thread."""
        self.call("cuCtxSetCurrent", self._context)

    def allocate(self, size_bytes: int) -> int:
        """The address of fresh device memory, zeroed before this returns; never per frame."""
        address = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size_bytes))
        self.call("cuMemsetD8_v2", address, ctypes.c_ubyte(0), ctypes.c_size_t(size_bytes))
        # It is zeroed on the null stream, for which other streams do not wait; nor this for them.
        self.call("cuStreamSynchronize", ctypes.c_void_p(0))
        return address.value

    def free(self, address: int) -> None:
        self.call("cuMemFree_v2", ctypes.c_uint64(address))

    def lock(self, size_bytes: int) -> int:
        """The address of page-locked host memory, which copies run from and to while others work."""
        found = ctypes.c_void_p()
        self.call("cuMemAllocHost_v2", ctypes.byref(found), ctypes.c_size_t(size_bytes))
        assert found.value is not None
        return found.value

    def unlock(self, host: int) -> None:
        self.call("cuMemFreeHost", ctypes.c_void_p(host))

    def upload(self, address: int, host: int, size_bytes: int) -> None:
        """Copies host memory to device memory, and waits."""
        size = ctypes.c_size_t(size_bytes)
        self.call("cuMemcpyHtoD_v2", ctypes.c_uint64(address), ctypes.c_void_p(host), size)
        # From memory that is not page-locked it returns once the bytes are staged; they go on by the
        # null stream, for which other streams do not wait.
        self.call("cuStreamSynchronize", ctypes.c_void_p(0))

    def download(self, host: int, address: int, size_bytes: int) -> None:
        """Copies device memory to host memory, after all that was launched on the null stream."""
        size = ctypes.c_size_t(size_bytes)
        self.call("cuMemcpyDtoH_v2", ctypes.c_void_p(host), ctypes.c_uint64(address), size)

    def wait(self) -> None:
        """Until all that was launched is done."""
        self.call("cuCtxSynchronize")

    def close(self) -> None:
        self.call("cuDevicePrimaryCtxRelease_v2", self._device)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, function: str, *arguments: object) -> None:
        """One function of the driver; ``KernelError`` with its own name for what went wrong."""
        status = self.ask(function, *arguments)
        if status:
            said = self._named(status)
            step = _NEXT_STEPS.get(said, _LOST)
            raise KernelError(f"{function} failed with {said}; {step}")

    def ask(self, function: str, *arguments: object) -> int:
        """As ``call``, but the status is given back: 0, ``NOT_READY``, or what went wrong."""
        try:
            entry = self._library[function]
        except AttributeError as error:
            raise KernelError(
                f"the driver has no {function}, it is older than CUDA 12; install a newer driver"
            ) from error
        return int(entry(*arguments))

    def _named(self, status: int) -> str:
        name = ctypes.c_char_p()
        self._library.cuGetErrorName(status, ctypes.byref(name))
        return name.value.decode() if name.value else f"error {status}"

    def _attribute(self, number: int) -> int:
        value = ctypes.c_int()
        which = ctypes.c_int(number)
        self.call("cuDeviceGetAttribute", ctypes.byref(value), which, self._device)
        return value.value


class Module:
    """The entries of one unit on a device; made once, launched for every picture."""

    def __init__(self, device: Device, image: bytes) -> None:
        """``image`` is what ``compile.compile_unit`` gives: a cubin, or PTX."""
        self._device = device
        self._module = ctypes.c_void_p()
        self._functions: dict[str, ctypes.c_void_p] = {}
        # PTX is text, which the driver reads up to a zero.
        device.call("cuModuleLoadData", ctypes.byref(self._module), ctypes.c_char_p(image))

    def launch(self, call: Call, *, stream: int = 0) -> None:
        """Queues the call on a CUDA stream, 0 being the null stream; does not wait."""
        argument = ctypes.cast(ctypes.byref(call.fields), ctypes.c_void_p)
        unsigned = (*call.blocks, 1, *BLOCK, 1, 0)
        self._device.call(
            "cuLaunchKernel",
            self._function(call.entry),
            *(ctypes.c_uint(number) for number in unsigned),
            ctypes.c_void_p(stream),
            ctypes.byref(argument),
            ctypes.c_void_p(0),
        )

    def close(self) -> None:
        self._device.call("cuModuleUnload", self._module)

    def _function(self, entry: str) -> ctypes.c_void_p:
        if entry not in self._functions:
            found = ctypes.c_void_p()
            name = ctypes.c_char_p(entry.encode())
            self._device.call("cuModuleGetFunction", ctypes.byref(found), self._module, name)
            self._functions[entry] = found
        return self._functions[entry]
