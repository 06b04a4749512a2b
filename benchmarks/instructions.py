"""Claim: no kernel issues more instructions for a byte than a card has time for while it moves that byte.

Counted in the machine code that nvcc makes for one architecture: the longest way of a thread through it,
each loop once, and the loop of a reduction as often as a thread goes around at 4K. Lines marked
``seldom``, of odd edges and addresses, are taken out before. Divided by the bytes that a thread must move
(``Case.bytes_moved``) it is set beside an H200's data sheet: what is issued there in the time in which
80 % of the bandwidth moves a byte. It takes no GPU and is the same each time; it tells which kernels cannot
reach the goal, not that the others do: what waits for memory is not seen, and accesses to memory, of which
a multiprocessor begins a quarter as many, count as any other instruction.

Needs nvcc and nvdisasm, of a CUDA toolkit or by pip: nvidia-cuda-nvdisasm.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.goal import Goal
from benchmarks.kernels import GOAL
from benchmarks.kernels_cases import Case, Size, case_of
from benchmarks.result import out_file, write
from kernels.compile import FLAGS, find_toolchain
from kernels.errors import KernelError
from kernels.launch import BLOCK
from kernels.units import SOURCES, UNITS, Unit
from streamer.errors import EngineError

LANES_PER_S = 132 * 128 * 1.98e9
"""Of an H200: multiprocessors, lanes that issue in each, and the highest clock."""
BYTES_PER_S = 4.8e12
MOST_PER_BYTE = LANES_PER_S / (GOAL * BYTES_PER_S)

TRAP = 'asm volatile("trap;");'
"""One instruction, so that what decides whether it is reached stays in the machine code."""

SIZE = Size(3840, 2160)
LIMIT_S = 300


@dataclass(slots=True)
class Piece:
    """Instructions between two places where ways part or meet."""

    count: int = 0
    loaded_bytes: int = 0
    targets: tuple[str, ...] = ()
    """Labels that it may jump to."""
    falls_through: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """One entry."""

    unit: str
    entry: str
    is_memory_bound: bool
    instructions: int
    """Of a thread."""
    bytes_moved: float
    """By a thread."""
    per_byte: float


def main(arguments: list[str]) -> None:
    """Count, print a table, and end with one line of JSON."""
    options = _parser().parse_args(arguments)
    units = [unit for unit in UNITS if options.only in (None, unit.name)]
    try:
        result = measure(units, architecture=options.arch)
    except KernelError as error:
        raise EngineError(f"instructions were not counted: {error}") from error
    print(result["table"])
    write(result, options.out)


def measure(units: Sequence[Unit] = UNITS, *, architecture: str = "sm_90") -> dict[str, Any]:
    """All entries of ``units``. Raises ``KernelError`` without the tools, or where nvcc fails."""
    toolchain = find_toolchain()
    rows = [
        _count(case_of(unit, entry, SIZE), code)
        for unit in units
        for entry, code in _codes(unit, toolchain.nvcc, architecture)
    ]
    return {
        "benchmark": "instructions",
        "command": "python -m benchmarks instructions",
        "machine": {"nvcc": toolchain.version, "architecture": architecture},
        "scenarios": {
            "instructions": {
                "claim": "a memory-bound kernel issues no more instructions than there is time for",
                "baseline": f"{MOST_PER_BYTE:.1f} a byte: H200, {GOAL:.0%} of 4.8 TB/s",
                "left_out": "waiting for memory; warps and their finish, which are arithmetic",
                "goals": list(_goals(rows)),
            }
        },
        "kernels": [asdict(row) for row in rows],
        "table": table(rows),
    }


def _goals(rows: Sequence[Count]) -> Iterator[dict[str, Any]]:
    """One for each unit: its memory-bound entry that issues most."""
    for unit in dict.fromkeys(row.unit for row in rows if row.is_memory_bound):
        worst = max((row for row in rows if row.unit == unit), key=lambda row: row.per_byte)
        what = f"{worst.entry} ({unit}), instructions for each byte"
        yield Goal(what=what, measured=worst.per_byte, at_most=MOST_PER_BYTE).as_dict()


def table(rows: Sequence[Count]) -> str:
    """Markdown: one row for each entry."""
    lines = [
        f"An H200 issues {MOST_PER_BYTE:.1f} instructions for each byte at {GOAL:.0%} of 4.8 TB/s.",
        "",
        "| kernel | unit | instructions of a thread | bytes | for each byte |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        mark = "" if row.is_memory_bound else " (arithmetic)"
        lines.append(
            f"| {row.entry}{mark} | {row.unit} | {row.instructions} | {row.bytes_moved:.0f} "
            f"| {row.per_byte:.1f} |"
        )
    return "\n".join(lines)


def _count(case: Case, pieces: dict[str, Piece]) -> Count:
    threads = math.prod(
        case.call([n << 30 for n in range(1, 1 + len(case.memory))]).blocks
    ) * math.prod(BLOCK)
    moved = case.bytes_moved / threads
    instructions = longest(pieces)
    if case.unit.file in ("difference", "watch"):
        once, loaded = reading_loop(pieces)
        instructions += (max(1, math.ceil(moved / loaded)) - 1) * once
    return Count(
        unit=case.unit.name,
        entry=case.entry,
        is_memory_bound=case.is_memory_bound,
        instructions=instructions,
        bytes_moved=moved,
        per_byte=instructions / moved,
    )


def longest(pieces: dict[str, Piece]) -> int:
    """Instructions of the longest way from the first piece on that never goes back."""
    names = list(pieces)
    order = {name: number for number, name in enumerate(names)}
    ways = [0] * (len(names) + 1)
    for number in reversed(range(len(names))):
        piece = pieces[names[number]]
        ahead = [ways[order[name]] for name in piece.targets if order[name] > number]
        if piece.falls_through:
            ahead.append(ways[number + 1])
        ways[number] = piece.count + max(ahead, default=0)
    return ways[0]


def reading_loop(pieces: dict[str, Piece]) -> tuple[int, int]:
    """The smallest of the loops in which most is loaded: its longest way, and the bytes it loads."""
    names = list(pieces)
    order = {name: number for number, name in enumerate(names)}
    loops = [
        names[order[target] : number + 1]
        for number, name in enumerate(names)
        for target in pieces[name].targets
        if order[target] <= number
    ]

    def loaded_bytes(loop: list[str]) -> int:
        return sum(pieces[name].loaded_bytes for name in loop)

    reading = max(loops, key=lambda loop: (loaded_bytes(loop), -len(loop)))
    body = {name: pieces[name] for name in reading}
    inside = {
        name: replace(piece, targets=tuple(target for target in piece.targets if target in body))
        for name, piece in body.items()
    }
    return longest(inside), loaded_bytes(reading)


def _codes(unit: Unit, nvcc: Path, architecture: str) -> Iterator[tuple[str, dict[str, Piece]]]:
    """The pieces of each entry, compiled without what is seldom."""
    nvdisasm = _nvdisasm(nvcc)
    with tempfile.TemporaryDirectory() as scratch:
        for source in SOURCES.iterdir():
            (Path(scratch) / source.name).write_text(straight(source.read_text(encoding="utf-8")))
        made = Path(scratch) / "made.cubin"
        flags = [flag for flag in FLAGS if not flag.startswith("-Xptxas")]
        _said(
            *(str(nvcc), "-w", *flags, "-cubin", f"-arch={architecture}"),
            *(f"-D{define}" for define in unit.defines),
            *("-o", str(made), str(Path(scratch) / unit.source.name)),
        )
        listing = _said(nvdisasm, "-c", str(made))
    parts = re.split(r"^\.text\.(\w+):$", listing, flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    for entry in unit.entries:
        yield entry, pieces_of(found[entry].split("\n//-", 1)[0])


def straight(source: str) -> str:
    """With a trap for each statement that is seldom run."""
    lines = source.split("\n")
    return "\n".join(
        line if "// seldom" not in line else "" if line.lstrip().startswith("#") else TRAP
        for line in lines
    )


_LABEL = re.compile(r"^(\.L_x_\d+):$")
_CODE = re.compile(r"^\s*/\*[0-9a-f]+\*/\s+(@!?\w+\s+)?([A-Z]\w*)([.\w]*)(.*)$")


def pieces_of(listing: str) -> dict[str, Piece]:
    """What nvdisasm lists of one entry, by label, in the order of addresses."""
    made: dict[str, Piece] = {}
    piece = made[""] = Piece()
    for line in listing.split("\n"):
        label = _LABEL.match(line)
        if label:
            piece = made[label[1]] = Piece()
        code = _CODE.match(line)
        if code is None or code[2] == "NOP":
            continue
        if not piece.falls_through or piece.targets:
            piece = made[f"after {len(made)}"] = Piece()
        piece.count += 1
        # Newer ones name a predicate of the whole warp behind the jump.
        is_certain = code[1] is None and not re.match(r"\s*!?U?P\d", code[4])
        if code[2] == "LDG":
            width = re.search(r"\.(64|128|[US]8|[US]16)\b", code[3])
            piece.loaded_bytes += int(re.sub(r"\D", "", width[1])) // 8 if width else 4
        elif code[2] == "EXIT":
            piece.falls_through = not is_certain
        elif code[2] == "BRA":
            target = re.search(r"`\((\.L_x_\d+)\)", code[4])
            assert target is not None, line
            piece.targets, piece.falls_through = (target[1],), not is_certain
    return made


def _nvdisasm(nvcc: Path) -> str:
    spec = find_spec("nvidia")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    places = [str(nvcc.parent), *(str(p) for one in folders for p in Path(one).glob("cu*/bin"))]
    found = shutil.which("nvdisasm", path=os.pathsep.join((*places, os.environ.get("PATH", ""))))
    if found is None:
        raise KernelError(
            f"there is no nvdisasm beside {nvcc} nor in PATH, which reads machine code; run: "
            "pip install nvidia-cuda-nvdisasm"
        )
    return found


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if done.returncode:
        told = (done.stderr.strip().splitlines() or ["it says nothing"])[0]
        raise KernelError(f"{Path(command[0]).name} failed ({told}); it needs CUDA 12.8 or newer")
    return done.stdout


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks instructions", description=__doc__)
    parser.add_argument("--only", choices=[unit.name for unit in UNITS], help="only this unit")
    parser.add_argument("--arch", default="sm_90", help="of the machine code, else sm_90")
    parser.add_argument("--out", type=out_file, help="also write the JSON to this file")
    return parser
