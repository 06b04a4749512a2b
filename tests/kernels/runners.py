"""Where the tests run kernels: compiled for the host, and on a device where there is one."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from kernels.compile import architecture_for, compile_unit, find_toolchain
from kernels.driver import Device, Module
from kernels.launch import Call
from tests.kernels.pictures import Guarded


class Runner(Protocol):
    """Runs calls with addresses inside of ``Guarded`` memory."""

    def run(self, call: Call) -> None: ...


class DeviceKernels:
    """Copies the memory that a call names to the device, runs the call there, and copies it back."""

    def __init__(self, device: Device, cache: Path) -> None:
        self._device = device
        self._cache = cache
        self._toolchain = find_toolchain()
        supported = self._toolchain.supported
        self._architecture = architecture_for(*device.capability, supported)
        self._modules: dict[str, Module] = {}

    def run(self, call: Call) -> None:
        memory = {id(guarded): guarded for guarded in named(call.fields)}
        there = {key: self._device.allocate(g.memory.nbytes) for key, g in memory.items()}
        fields = moved(call.fields, {memory[key]: place for key, place in there.items()})
        for key, guarded in memory.items():
            host = guarded.memory.ctypes.data
            self._device.upload(there[key], host, guarded.memory.nbytes)
        self._module(call).launch(replace(call, fields=fields))
        for key, guarded in memory.items():
            host = guarded.memory.ctypes.data
            self._device.download(host, there[key], guarded.memory.nbytes)
            self._device.free(there[key])

    def _module(self, call: Call) -> Module:
        name = call.unit.name
        if name not in self._modules:
            binary = compile_unit(
                call.unit, self._architecture, toolchain=self._toolchain, cache=self._cache
            )
            self._modules[name] = Module(self._device, binary.image)
        return self._modules[name]


def named(fields: ctypes.Structure) -> set[Guarded]:
    """The memory that a structure's addresses lie in."""
    return {
        guarded
        for structure, name in _addresses(fields)
        for guarded in Guarded.alive
        if guarded.offset_of(getattr(structure, name) or 0) is not None
    }


def moved(fields: ctypes.Structure, places: dict[Guarded, int]) -> ctypes.Structure:
    """The same arguments with each address where its memory is now."""
    copied = type(fields).from_buffer_copy(fields)
    for structure, name in _addresses(copied):
        address = getattr(structure, name) or 0
        for guarded, place in places.items():
            offset = guarded.offset_of(address)
            if offset is not None:
                setattr(structure, name, place + offset)
    return copied


def _addresses(fields: ctypes.Structure) -> Iterator[tuple[ctypes.Structure, str]]:
    for name, kind, *_ in fields._fields_:
        value = getattr(fields, name)
        if isinstance(value, ctypes.Structure):
            yield from _addresses(value)
        elif kind is ctypes.c_void_p:
            yield fields, name
