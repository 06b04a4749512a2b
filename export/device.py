"""Where a network trains: the choice of a device, and what moves there and back."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch

from streamer.errors import ConfigError

Value = TypeVar("Value")

CPU = torch.device("cpu")
DEVICES = ("auto", "cpu", "cuda")


def choose_device(name: str) -> torch.device:
    """The device called ``auto``, ``cpu`` or ``cuda``; ``auto`` is a GPU where there is one.

    Raises ``ConfigError`` for another name, and for ``cuda`` where torch sees no GPU.
    """
    if name not in DEVICES:
        raise ConfigError(f"the device is {name!r}, known are {', '.join(DEVICES)}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"torch {torch.__version__} sees no GPU here; take --device cpu or install its CUDA build"
        )
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    """What the device calls itself: a card's name, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def has_room(size_bytes: int, device: torch.device) -> bool:
    """Whether that much may lie there for good: on a GPU half of what is free, the rest is work."""
    return device.type != "cuda" or size_bytes <= torch.cuda.mem_get_info(device)[0] // 2


def lower_precision(device: torch.device, *, on_cpu: bool = False) -> torch.autocast:
    """A context in which a GPU convolves in bfloat16; a CPU does so only where it is told to."""
    return torch.autocast(device.type, torch.bfloat16, enabled=on_cpu or device.type == "cuda")


def moved(value: Value, device: torch.device) -> Value:
    """The same structure with its tensors on the device; what is there already is not copied.

    Looks into mappings, lists, tuples and dataclasses; everything else stays as it is.
    """
    return _moved(value, device)  # type: ignore[no-any-return]


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _moved(entry, device) for key, entry in value.items()}
    if isinstance(value, list):
        return [_moved(entry, device) for entry in value]
    if isinstance(value, tuple):
        entries = (_moved(entry, device) for entry in value)
        return type(value)(*entries) if hasattr(value, "_fields") else tuple(entries)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        return replace(value, **_moved(parts, device))
    return value
