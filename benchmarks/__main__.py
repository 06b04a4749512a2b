"""``python -m benchmarks throughput``: each benchmark is a module with a ``main(arguments)``."""

from __future__ import annotations

import sys

from benchmarks import throughput

BENCHMARKS = {"throughput": throughput.main}


def main() -> None:
    """Run the benchmark that is named first."""
    if len(sys.argv) < 2 or sys.argv[1] not in BENCHMARKS:
        sys.exit(f"benchmarks: name one of: {', '.join(BENCHMARKS)}")
    BENCHMARKS[sys.argv[1]](sys.argv[2:])


main()
