"""Which packages for devices a test takes to be there."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from streamer.gpu import choosing


def only_installed(monkeypatch: pytest.MonkeyPatch, *names: str, **changes: Any) -> None:
    """As if of the backends for devices these were there, with ``changes`` to what the table says."""
    doors = {
        name: replace(backend, is_installed=partial(bool, name in names), **changes)
        for name, backend in choosing.DOORS.items()
    }
    monkeypatch.setattr(choosing, "DOORS", doors)
