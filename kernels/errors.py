"""The one error of this package; ``streamer`` raises it again as its ``EngineError`` at its door."""

from __future__ import annotations


class KernelError(Exception):
    """A kernel cannot be compiled, loaded or started as asked; one sentence for the user."""
