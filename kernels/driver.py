"""The one door to a device: the CUDA driver by ctypes, for modules, launches and the memory of tests.

Opened on first use. A module belongs to the primary context of device 0, which TensorRT, ONNX
Runtime and PyTorch share, so that their device memory and streams may be passed in as integers.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from types import TracebackType
from typing import Self

from kernels.errors import KernelError
from kernels.launch import BLOCK, Call

_MAJOR, _MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR."""


class Device:
    """Device 0 and its primary context, current in the thread that opened it; close it there."""

    def __init__(self) -> None:
        name = ctypes.util.find_library("cuda") or "libcuda.so.1"
        try:
            self._library = ctypes.CDLL(name)
        except OSError as error:
            raise KernelError(
                f"{name} cannot be loaded, kernels run on an NVIDIA device only; install its driver"
            ) from error
        self._device = ctypes.c_int()
        context = ctypes.c_void_p()
        self.call("cuInit", ctypes.c_uint(0))
        self.call("cuDeviceGet", ctypes.byref(self._device), ctypes.c_int(0))
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
        self.call("cuCtxSetCurrent", context)

    @property
    def capability(self) -> tuple[int, int]:
        """Major and minor, what ``compile.architecture_for`` asks for."""
        return self._attribute(_MAJOR), self._attribute(_MINOR)

    def allocate(self, size_bytes: int) -> int:
        """The address of fresh device memory, zeroed; for start-up and tests, never per frame."""
        address = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size_bytes))
        self.call("cuMemsetD8_v2", address, ctypes.c_ubyte(0), ctypes.c_size_t(size_bytes))
        return address.value

    def free(self, address: int) -> None:
        self.call("cuMemFree_v2", ctypes.c_uint64(address))

    def upload(self, address: int, host: int, size_bytes: int) -> None:
        """Copies host memory to device memory, and waits."""
        size = ctypes.c_size_t(size_bytes)
        self.call("cuMemcpyHtoD_v2", ctypes.c_uint64(address), ctypes.c_void_p(host), size)

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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def call(self, function: str, *arguments: object) -> None:
        """One function of the driver; ``KernelError`` with its own name for what went wrong."""
        status = self._library[function](*arguments)
        if status:
            name = ctypes.c_char_p()
            self._library.cuGetErrorName(status, ctypes.byref(name))
            said = name.value.decode() if name.value else f"error {status}"
            raise KernelError(
                f"{function} failed with {said}; see that nvidia-smi lists the device and that "
                "it has memory left"
            )

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
