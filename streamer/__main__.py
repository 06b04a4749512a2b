"""``python -m streamer`` is ``streamer``."""

from __future__ import annotations

import signal


def main() -> None:
    """Load the command line and run it; Ctrl-C ends the loading without a word."""
    is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_heard:
        # Python would answer with the place in a library that was just being loaded.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from streamer.cli import main as command

    if is_heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command()


if __name__ == "__main__":
    main()
