"""The one interface every backend implements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streamer.model import RESIDUAL_ZERO, ModelManifest

Tensors: TypeAlias = Mapping[str, NDArray[Any]]


def code_values(residual: NDArray[Any]) -> NDArray[np.float32]:
    """A residual in code values, whichever way the model gives it."""
    if residual.dtype == np.uint8:
        return residual.astype(np.float32) - RESIDUAL_ZERO
    return residual.astype(np.float32, copy=False)


class Engine(Protocol):
    """A loaded network, bound to one device and one picture size."""

    @property
    def manifest(self) -> ModelManifest: ...

    @property
    def backend(self) -> str: ...

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        """Fill ``outputs`` from ``inputs``; the caller owns the storage of both."""

    def close(self) -> None:
        """Gives back what it holds; nothing runs after that."""


def ended(manifest: ModelManifest) -> str:
    """What an engine says that is closed and was to run."""
    return f"{manifest.name} is closed, and nothing runs after that; open the stream again"


def missing(backend: str, package: str, *, extra: str, error: Exception | None = None) -> str:
    """What a backend says whose package cannot be had; ``error``, if any, is of its import."""
    is_absent = error is None or (isinstance(error, ModuleNotFoundError) and error.name == package)
    why = "is not installed" if is_absent else f"cannot be loaded ({_first_line(error)})"
    what = f"'streamer[{extra}]'" if is_absent else f"--force-reinstall {package}"
    return (
        f"the backend {backend} needs the package {package}, which {why}; "
        f"run: pip install {what}, or use --backend reference"
    )


def _first_line(error: Exception | None) -> str:
    return next(iter(str(error).splitlines()), "")[:160] or type(error).__name__


@dataclass(slots=True)
class Deadline:
    """Until when the picture at hand has to be done.

    One for each stream: its stage sets it before a run, on the same thread, and an engine that may
    wait for others reads it.
    """

    ns: int | None = None
    """An instant of the clock; ``None`` where nobody waits."""
