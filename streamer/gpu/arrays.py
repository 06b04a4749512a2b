"""Arrays of other libraries in device memory: libav, PyTorch, CuPy, pycuda; without a copy.

By ``__cuda_array_interface__`` (version 3) where there is one, else by DLPack's capsule.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kernels.arguments import Layout, Picture
from streamer.errors import EngineError
from streamer.gpu.pictures import DevicePicture, Foreign

CPU, CUDA = 1, 2
"""DLDeviceType of ``dlpack.h``."""


class _Tensor(ctypes.Structure):
    """DLTensor."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype = ctypes.c_void_p
_pointer_of.argtypes = (ctypes.py_object, ctypes.c_char_p)


@dataclass(frozen=True, slots=True)
class DeviceArray:
    """Where an array is; ``owner`` keeps it there."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """Bytes."""
    sample_bytes: int
    owner: object


def device_array(source: Any, *, kind: int = CUDA) -> DeviceArray:
    """The array that ``source`` offers; raises ``EngineError`` for one that is elsewhere."""
    told = getattr(source, "__cuda_array_interface__", None)
    if told is not None:
        sample_bytes = int(told["typestr"][2:])
        shape = tuple(told["shape"])
        strides = told.get("strides") or _contiguous(shape, sample_bytes)
        return DeviceArray(told["data"][0], shape, tuple(strides), sample_bytes, source)
    if not hasattr(source, "__dlpack__"):
        raise EngineError(
            f"a {type(source).__name__} offers neither __cuda_array_interface__ nor DLPack; give an "
            "array of libav, PyTorch, CuPy or pycuda"
        )
    # It is not consumed: when the capsule goes, its own end lets go of the tensor.
    capsule = source.__dlpack__()
    tensor = _Tensor.from_address(_pointer_of(capsule, b"dltensor"))
    if tensor.device_type != kind or tensor.device_id:
        raise EngineError(
            f"the array is on device {tensor.device_type}:{tensor.device_id}, pictures stay on "
            f"{kind}:0; bring it there, or set CUDA_VISIBLE_DEVICES"
        )
    sample_bytes = tensor.bits // 8
    shape = tuple(tensor.shape[n] for n in range(tensor.ndim))
    strides = (
        tuple(sample_bytes * tensor.strides[n] for n in range(tensor.ndim))
        if tensor.strides
        else _contiguous(shape, sample_bytes)
    )
    address = (tensor.data or 0) + tensor.byte_offset
    return DeviceArray(address, shape, strides, sample_bytes, (source, capsule))


def picture_of(arrays: Sequence[DeviceArray], layout: Layout) -> DevicePicture:
    """Planes as ``layout`` has them, (H, W) and (h, w, 2) or twice (h, w), as one picture.

    Raises ``EngineError`` where they are not such.
    """
    height, width = arrays[0].shape[:2]
    chroma: tuple[int, ...] = ((height + 1) // 2, (width + 1) // 2)
    shapes = [(height, width), *([(*chroma, 2)] if layout.has_pairs else [chroma, chroma])]
    sample_bytes = 2 if layout is Layout.P010 else 1
    seen = [array.shape for array in arrays]
    is_dense = all(
        array.sample_bytes == sample_bytes
        and array.strides[1:] == _contiguous(array.shape, sample_bytes)[1:]
        for array in arrays
    )
    if seen != shapes or not is_dense or len({array.strides[0] for array in arrays[1:]}) != 1:
        raise EngineError(
            f"planes of {seen} are no {layout} picture, which has {shapes} of {sample_bytes} bytes "
            "without gaps within a row; give the planes of a decoder as they are"
        )
    at = Picture(
        layout=layout,
        width=width,
        height=height,
        luma=arrays[0].address,
        chroma=arrays[1].address,
        second=0 if layout.has_pairs else arrays[2].address,
        luma_stride=arrays[0].strides[0],
        chroma_stride=arrays[1].strides[0],
    )
    return DevicePicture(at, Foreign([array.owner for array in arrays]))


def _contiguous(shape: tuple[int, ...], sample_bytes: int) -> tuple[int, ...]:
    strides = [sample_bytes]
    for side in reversed(shape[1:]):
        strides.append(strides[-1] * side)
    return tuple(reversed(strides))
