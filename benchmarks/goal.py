"""What a benchmark measures against: a limit, and whether it was kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A limit, and what was measured against it."""

    what: str
    measured: float | None
    """``None`` where it never happened."""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def is_met(self) -> bool:
        if self.measured is None:
            return False
        above = self.at_least is None or self.measured >= self.at_least
        return above and (self.at_most is None or self.measured <= self.at_most)

    @property
    def text(self) -> str:
        """What was measured, without the limit."""
        return f"{self.what}: " + ("never" if self.measured is None else f"{self.measured:.2f}")

    def as_dict(self) -> dict[str, Any]:
        limits = {"at_most": self.at_most, "at_least": self.at_least}
        measured = None if self.measured is None else round(self.measured, 3)
        return {
            "what": self.what,
            "measured": measured,
            **{name: limit for name, limit in limits.items() if limit is not None},
            "is_met": self.is_met,
        }
