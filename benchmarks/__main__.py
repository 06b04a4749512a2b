"""``python -m benchmarks NAME``: each benchmark is a module with a ``main(arguments)``."""

from __future__ import annotations

import sys

from benchmarks import report, scene_change, throughput
from benchmarks.latency import command as latency
from benchmarks.quality import command as quality
from benchmarks.realtime import command as realtime
from streamer.errors import StreamerError

BENCHMARKS = {
    "latency": latency.main,
    "quality": quality.main,
    "realtime": realtime.main,
    "report": report.main,
    "scene_change": scene_change.main,
    "throughput": throughput.main,
}


def main() -> None:
    """Run the benchmark that is named first; a deliberate error is one sentence and exit 2."""
    if len(sys.argv) < 2 or sys.argv[1] not in BENCHMARKS:
        sys.exit(f"benchmarks: name one of: {', '.join(BENCHMARKS)}")
    try:
        BENCHMARKS[sys.argv[1]](sys.argv[2:])
    except StreamerError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
