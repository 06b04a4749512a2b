"""The one interface every backend implements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

from streamer.model import ModelManifest

Tensors: TypeAlias = Mapping[str, NDArray[Any]]


class Engine(Protocol):
    """A loaded network, bound to one device and one picture size."""

    @property
    def manifest(self) -> ModelManifest: ...

    @property
    def backend(self) -> str: ...

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        """Fill ``outputs`` from ``inputs``; the caller owns the storage of both."""

    def close(self) -> None: ...
