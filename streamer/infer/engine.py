"""The one interface every backend implements."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streamer.errors import EngineError
from streamer.model import RESIDUAL_ZERO, ModelManifest

Tensors: TypeAlias = Mapping[str, NDArray[Any]]


def code_values(residual: NDArray[Any]) -> NDArray[np.float32]:
    """A residual in code values, whichever way the model gives it."""
    if residual.dtype == np.uint8:
        return residual.astype(np.float32) - RESIDUAL_ZERO
    return residual.astype(np.float32, copy=False)


class Engine(Protocol):
    """A loaded network; takes pictures of any size that its graph takes."""

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


def pip_install(*requirements: str) -> str:
    """The command that puts them beside this program; a shell's own ``pip`` may be of another Python.

    They are named themselves: under this project's name a package index has somebody else's.
    """
    quoted = [shlex.quote(one) for one in (sys.executable or "python3", *requirements)]
    return f"{quoted[0]} -m pip install {' '.join(quoted[1:])}"


def load(package: str, *, backend: str, holds: str, wheel: str | None = None) -> ModuleType:
    """The package that a backend runs on, of which ``holds`` is a name; ``wheel`` is what pip calls it.

    Raises ``EngineError`` where it is missing, broken, or of another system.
    """
    needs = f"the backend {backend} needs the package {package}, which"
    runtime: ModuleType | None = None
    try:
        runtime = import_module(package)
    except Exception as error:  # damaged, or of another system, it raises what it likes
        if not (isinstance(error, ModuleNotFoundError) and error.name == package):
            raise EngineError(
                f"{needs} cannot be loaded ({_first_line(error)}); run: "
                f"{pip_install('--force-reinstall', wheel or package)}, or use --backend reference"
            ) from error
    # A folder that an uninstall left behind is imported as an empty package.
    if runtime is None or not hasattr(runtime, holds):
        raise EngineError(
            f"{needs} is not installed; run: {pip_install(wheel or package)}, "
            "or use --backend reference"
        )
    return runtime


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")[:160] or type(error).__name__


@dataclass(slots=True)
class Deadline:
    """Until when the picture at hand has to be done.

    One for each stream: its stage sets it before a run, on the same thread, and an engine that may
    wait for others reads it.
    """

    ns: int | None = None
    """An instant of the clock; ``None`` where nobody waits."""
