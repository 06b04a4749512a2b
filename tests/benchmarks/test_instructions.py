"""Instructions for each byte, counted in what nvcc makes; and the counting, on code written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import instructions
from benchmarks.instructions import longest, main, measure, pieces_of, reading_loop, straight
from kernels.compile import find_toolchain
from kernels.errors import KernelError
from kernels.units import COVER, DIFFERENCE, INTERLEAVE, PACK, PLANAR, WATCH
from streamer.errors import EngineError
from tests.kernels.stand_ins import fake_nvcc

LISTING = """
        /*0000*/                   S2R R0, SR_TID.X ;
        /*0010*/               @P0 BRA `(.L_x_2) ;
        /*0020*/                   MUFU.RCP R1, R2 ;
        /*0030*/                   MUFU.RCP R1, R2 ;
.L_x_1:
        /*0040*/                   LDG.E.128 R4, desc[UR8][R2.64] ;
        /*0050*/                   LDG.E.U8 R4, desc[UR8][R2.64] ;
        /*0060*/                   LDG.E R4, desc[UR8][R2.64+0x10] ;
        /*0070*/              @!P1 BRA `(.L_x_1) ;
        /*0080*/                   EXIT ;
.L_x_2:
        /*0090*/                   FADD R4, R4, 1 ;
        /*00a0*/                   EXIT ;
.L_x_3:
        /*00b0*/                   BRA `(.L_x_3);
        /*00c0*/                   NOP;
"""


def has_tools() -> bool:
    try:
        instructions._nvdisasm(find_toolchain().nvcc)
    except KernelError:
        return False
    return True


needs_tools = pytest.mark.skipif(
    not has_tools(), reason="needs nvcc and nvdisasm: pip install nvidia-cuda-nvdisasm"
)


def test_the_longest_way_is_counted_and_each_loop_once() -> None:
    pieces = pieces_of(LISTING)
    assert [piece.count for piece in pieces.values()] == [2, 2, 4, 1, 2, 1]
    # Two, the two of the division, the loop, and the end.
    assert longest(pieces) == 2 + 2 + 4 + 1
    assert reading_loop(pieces) == (4, 16 + 1 + 4)


def test_what_is_seldom_is_a_trap() -> None:
    source = "#pragma unroll  // seldom\nfor (;;)  // seldom\n    a = b;"
    assert straight(source) == '\nasm volatile("trap;");\n    a = b;'


@needs_tools
def test_kernels_that_wait_for_memory_have_time_for_their_instructions() -> None:
    units = (PACK, PLANAR, INTERLEAVE, COVER, DIFFERENCE, WATCH)
    result = measure(units)
    assert len(result["kernels"]) == sum(len(unit.entries) for unit in units)
    goals = result["scenarios"]["instructions"]["goals"]
    assert len(goals) == len(units)
    assert all(goal["is_met"] for goal in goals)


@needs_tools
def test_the_command_prints_a_table_and_keeps_what_it_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "counted.json"
    main(["--only", "finish", "--out", str(out)])
    table, last = capsys.readouterr().out.rsplit("\n", 2)[:2]
    kept = json.loads(out.read_text())
    assert json.loads(last) == kept
    assert kept["scenarios"]["instructions"]["goals"] == []
    for row in kept["kernels"]:
        assert f"| {row['entry']} (arithmetic) | finish | {row['instructions']} |" in table
        assert row["per_byte"] > instructions.MOST_PER_BYTE


def test_without_the_tools_it_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_nvcc(tmp_path / "bin")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    monkeypatch.setattr(instructions, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "/bin")
    with pytest.raises(EngineError, match=r"no nvdisasm .* pip install"):
        main(["--only", "cover"])
