"""``python -m benchmarks NAME``: each benchmark is a module with a ``main(arguments)``."""

from __future__ import annotations

import sys
from importlib import import_module

from streamer.errors import StreamerError

BENCHMARKS = {
    "batching": "benchmarks.batching",
    "engines": "benchmarks.gpu_check_engines",
    "instructions": "benchmarks.instructions",
    "kernels": "benchmarks.kernels",
    "latency": "benchmarks.latency.command",
    "made": "benchmarks.made.command",
    "networks": "benchmarks.networks",
    "quality": "benchmarks.quality.command",
    "realtime": "benchmarks.realtime.command",
    "report": "benchmarks.report",
    "scene_change": "benchmarks.scene_change",
    "sending": "benchmarks.sending.command",
    "streams": "benchmarks.gpu_check_streams",
    "throughput": "benchmarks.throughput",
}
"""Imported when named: one that needs little runs where others could not."""


INTERRUPTED = 130


def main() -> None:
    """Run the benchmark that is named first; a deliberate error is one sentence and exit 2."""
    if len(sys.argv) < 2 or sys.argv[1] not in BENCHMARKS:
        sys.exit(f"benchmarks: name one of: {', '.join(BENCHMARKS)}")
    try:
        import_module(BENCHMARKS[sys.argv[1]]).main(sys.argv[2:])
    except StreamerError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(
            "benchmarks: interrupted; every program of the measurement was ended", file=sys.stderr
        )
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
