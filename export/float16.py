"""Networks in typed float16, with the parts that must stay float32 cast on both sides."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

# Note [Float32 islands]
# float16 holds whole numbers up to 2048 only, so it cannot name a column of a wide picture, and a
# warp by such coordinates tears it. A module that computes coordinates or samples by them says so
# with a class attribute ``needs_float32 = True``. It keeps float32 weights here, its inputs are
# cast to float32 and its results back to float16. Coordinates must be made inside the island: one
# that comes in as float16 has lost its fraction already. ``operators`` refuses a GridSample whose
# coordinates are not float32, so a forgotten mark cannot ship.


def typed_half(network: nn.Module) -> nn.Module:
    """A copy that takes, keeps and gives float16, islands apart; see Note [Float32 islands]."""
    if getattr(network, "needs_float32", False):
        return _Island(copy.deepcopy(network))
    halved = copy.deepcopy(network).half()
    for name, module in _islands(network):
        halved.set_submodule(name, _Island(copy.deepcopy(module)))
    return halved.eval()


def _islands(network: nn.Module, prefix: str = "") -> list[tuple[str, nn.Module]]:
    """Name and module of each island; what lies inside one belongs to it."""
    found: list[tuple[str, nn.Module]] = []
    for name, module in network.named_children():
        path = f"{prefix}{name}"
        is_island = getattr(module, "needs_float32", False)
        found += [(path, module)] if is_island else _islands(module, f"{path}.")
    return found


class _Island(nn.Module):
    """Runs a module in float32 between float16 neighbours."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner.float()

    def forward(self, *values: Tensor) -> Any:
        return _cast(self.inner(*_cast(values, torch.float32)), torch.float16)


def _cast(values: Any, dtype: torch.dtype) -> Any:
    if isinstance(values, Tensor):
        return values.to(dtype) if values.is_floating_point() else values
    return tuple(_cast(value, dtype) for value in values)
