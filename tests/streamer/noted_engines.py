"""Real engines of which is known which are open."""

from __future__ import annotations

from typing import ClassVar

import pytest

from streamer.errors import EngineError
from streamer.infer import backends
from streamer.infer.backends import ON_HOST, Backend
from streamer.infer.ort import OrtCpuEngine
from streamer.model import ModelManifest
from tests.streamer.installed import only_installed


class Noted(OrtCpuEngine):
    """Is among those that are open while it is; may refuse to be opened for one task."""

    opened: ClassVar[list[Noted]] = []
    ever: ClassVar[list[str]] = []
    """Tasks for which one was opened."""
    refused: ClassVar[str] = ""

    def __init__(self, manifest: ModelManifest, *, threads: int | None = None) -> None:
        if manifest.task == self.refused:
            raise EngineError(f"there is no {manifest.task} today")
        super().__init__(manifest, threads=threads)
        self.opened.append(self)
        self.ever.append(manifest.task)

    def close(self) -> None:
        self.opened.remove(self)
        super().close()


def only_noted(monkeypatch: pytest.MonkeyPatch) -> type[Noted]:
    """As if there were no other backend, and no device."""
    only_installed(monkeypatch)
    monkeypatch.setattr(Noted, "opened", [])
    monkeypatch.setattr(Noted, "ever", [])
    one = Backend(lambda: True, Noted, precisions=("fp32",), tasks=ON_HOST, has_threads=True)
    monkeypatch.setattr(backends, "BACKENDS", {"ort-cpu": one})
    return Noted
