"""How many frames a second leave, as the user asks for it: ``--fps``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from streamer.errors import ConfigError

LOWEST_FPS, HIGHEST_FPS = 1, 240
MOST_TIMES = 8

RATE_HELP = f"{LOWEST_FPS} to {HIGHEST_FPS} as in 60, 59.94 or 60000/1001, or x2 to x{MOST_TIMES}"

_NUMBER = re.compile(r"\d{1,9}(?:\.(\d{1,9})|/0*[1-9]\d{0,8})?", re.ASCII)
_TIMES = re.compile(rf"x([2-{MOST_TIMES}])", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Either a fixed number of frames a second or a multiple of what comes in.

    Raises ``ConfigError`` on values outside the range.
    """

    fps: Fraction | None = None
    times: int | None = None

    def __post_init__(self) -> None:
        if (self.fps is None) == (self.times is None):
            raise ConfigError(f"a rate is either fixed or a multiple; use {RATE_HELP}")
        if self.fps is not None and not LOWEST_FPS <= self.fps <= HIGHEST_FPS:
            raise _refusal(str(self.fps))
        if self.times is not None and not 2 <= self.times <= MOST_TIMES:
            raise _refusal(f"x{self.times}")

    def __str__(self) -> str:
        return f"x{self.times}" if self.fps is None else str(self.fps)


def parse_rate(text: str) -> Rate:
    """The rate as written on the command line; raises ``ConfigError`` for what is not one.

    23.976, 29.97, 47.95, 59.94 and 119.88 mean 1000/1001 of the whole number above.
    """
    if times := _TIMES.fullmatch(text):
        return Rate(times=int(times[1]))
    number = _NUMBER.fullmatch(text)
    if number is None:
        raise _refusal(text)
    fps = Fraction(text)
    return Rate(fps=_as_ntsc(fps, digits=len(number[1] or "")) or fps)


def _as_ntsc(fps: Fraction, *, digits: int) -> Fraction | None:
    if digits < 2:
        return None
    exact = (Fraction(1000 * whole, 1001) for whole in (24, 30, 48, 60, 120))
    return next((rate for rate in exact if round(rate, digits) == fps), None)


def _refusal(seen: str) -> ConfigError:
    return ConfigError(f"--fps {seen} is not possible; use {RATE_HELP}")
