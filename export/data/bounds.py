"""What the numbers of a recipe are held to."""

from __future__ import annotations

from streamer.errors import ConfigError

LARGEST_SEED = 2**63 - 1
"""What both NumPy and torch take; neither takes less than 0 everywhere."""


def check_range(key: str, value: float, low: float, high: float) -> None:
    """Raises ``ConfigError`` naming the key unless the value is within both bounds."""
    if not low <= value <= high:
        raise ConfigError(f"{key} is {value}, allowed is {low} to {high}")
