"""``python -m kernels compile``: compiles kernels ahead of time, and says what each one takes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kernels.compile import Binary, Toolchain, compile_unit, find_toolchain
from kernels.errors import KernelError
from kernels.units import UNITS, Unit

PROCESSES = 2
"""nvcc at once: each takes up to 300 MB."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command that is named first; a deliberate error is one sentence and exit 2."""
    parser = argparse.ArgumentParser(prog="python -m kernels", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    command = commands.add_parser("compile", help="fill the cache and print what kernels take")
    command.add_argument("--arch", default="all", help="sm_90, compute_120, or all (default)")
    command.add_argument("--unit", choices=[unit.name for unit in UNITS], help="only this one")
    command.add_argument("--cache", type=Path, help="a folder other than the user's cache")
    asked = parser.parse_args(arguments)
    try:
        _compile(arch=asked.arch, only=asked.unit, cache=asked.cache)
    except KernelError as error:
        sys.stderr.write(f"kernels: {error}\n")
        sys.exit(2)


def _compile(*, arch: str, only: str | None, cache: Path | None) -> None:
    toolchain = find_toolchain()
    chosen = _architectures(toolchain, arch)
    units = [unit for unit in UNITS if only in (None, unit.name)]
    work = [(unit, architecture) for unit in units for architecture in chosen]

    def compiled(one: tuple[Unit, str]) -> Binary:
        return compile_unit(one[0], one[1], toolchain=toolchain, cache=cache)

    _say(f"{toolchain.nvcc}: {toolchain.version}")
    with ThreadPoolExecutor(PROCESSES) as workers:
        for binary in workers.map(compiled, work):
            _report(binary)


def _architectures(toolchain: Toolchain, arch: str) -> tuple[str, ...]:
    if arch == "all":
        return toolchain.supported
    if arch not in toolchain.supported:
        raise KernelError(
            f"--arch {arch} is not one of {', '.join(toolchain.supported)}; "
            "name one of these, or all"
        )
    return (arch,)


def _report(binary: Binary) -> None:
    _say(f"{binary.unit} {binary.architecture}: {len(binary.image)} bytes")
    for entry in binary.resources:
        _say(
            f"  {entry.entry}: {entry.registers} registers, {entry.spill_bytes} bytes spilled, "
            f"{entry.stack_bytes} of stack, {entry.shared_bytes} shared"
        )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
