"""Takes one core for a while and ends."""

from __future__ import annotations

import sys
import time


def main() -> None:
    """Count until the seconds of the first argument are over, or until this is ended."""
    until_s = time.monotonic() + float(sys.argv[1])
    number = 0
    while time.monotonic() < until_s:
        # Long enough that nearly all the time is spent here, and not in asking for it.
        for _ in range(100_000):
            number += 1


if __name__ == "__main__":
    main()
