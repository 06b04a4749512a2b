"""Arrays in device memory from and to other libraries, as libav, PyTorch and CuPy; without a copy.

By ``__cuda_array_interface__`` (version 3) where there is one, else by DLPack's capsule.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

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


class _Managed(ctypes.Structure):
    """DLManagedTensor."""


_DELETER = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = (
    ("tensor", _Tensor),
    ("context", ctypes.c_void_p),
    ("deleter", _DELETER),
)

_UNSIGNED = 1
"""DLDataTypeCode."""

_capsule_of = ctypes.pythonapi.PyCapsule_New
_capsule_of.restype = ctypes.py_object
_capsule_of.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)

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


def even(arrays: Sequence[DeviceArray], *, width: int, height: int) -> list[DeviceArray]:
    """Planes of luma and pairs without what is beyond so many columns and rows, both even."""
    luma, pairs = arrays
    return [
        replace(luma, shape=(height, width)),
        replace(pairs, shape=(height // 2, width // 2, *pairs.shape[2:])),
    ]


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


class Exported:
    """Bytes in device memory as other libraries take them by DLPack, once; ``owner`` is kept until
    they let go of it, in whatever thread that is.

    Who takes it must be in the order of the stream that fills it: none is asked for here.
    """

    _held: ClassVar[dict[int, tuple[Any, ...]]] = {}
    """What others still hold, by the address of what they were given."""

    def __init__(
        self, address: int, shape: tuple[int, ...], stride: int, owner: object, *, kind: int = CUDA
    ) -> None:
        """``stride`` is bytes from row to row; within a row nothing lies between."""
        self._kind = kind
        inner = _contiguous(shape, 1)[1:]
        sides = ctypes.c_int64 * len(shape)
        self._shape, self._strides = sides(*shape), sides(stride, *inner)
        self._address, self._owner = address, owner

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._kind, 0

    def __dlpack__(self, *, stream: object = None) -> object:
        managed = _Managed(
            _Tensor(
                data=self._address,
                device_type=self._kind,
                device_id=0,
                ndim=len(self._shape),
                code=_UNSIGNED,
                bits=8,
                lanes=1,
                shape=self._shape,
                strides=self._strides,
                byte_offset=0,
            ),
            None,
            _let_go,
        )
        address = ctypes.addressof(managed)
        self._held[address] = (managed, self._shape, self._strides, self._owner)
        return _capsule_of(address, b"dltensor", None)


def _forget(managed: Any) -> None:
    Exported._held.pop(ctypes.addressof(managed.contents), None)


_let_go = _DELETER(_forget)
