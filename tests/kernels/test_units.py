"""What is compiled, by a real nvcc where there is one, and where it is kept."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from kernels.__main__ import main
from kernels.compile import (
    ARCHITECTURES,
    Binary,
    Toolchain,
    architecture_for,
    cache_folder,
    compile_unit,
    find_toolchain,
    read_report,
)
from kernels.errors import KernelError
from kernels.units import ADD_RESIDUAL, COVER, FINISH, PLANAR, SOURCES, UNITS, WATCH, Unit
from tests.kernels.stand_ins import fake_nvcc

SUPPORTED = (*ARCHITECTURES, "compute_120")

MOST_REGISTERS = 128
"""At 256 threads a block, two blocks still fit a multiprocessor."""

MOST_SPILLED_BYTES = 64
"""Each way, of x3 and x4 alone: a thread makes 96 or 128 pixels, and has registers for nearly all of what
they need. It moves 220 bytes and more, and what is spilled stays in the first cache."""

MOST_SHARED_BYTES = 32 * 1024
"""The oldest has 64 KiB for all blocks of a multiprocessor."""


def toolchain_or_none() -> Toolchain | None:
    try:
        return find_toolchain()
    except KernelError:
        return None


needs_nvcc = pytest.mark.skipif(
    toolchain_or_none() is None,
    reason="needs nvcc: pip install nvidia-cuda-nvcc nvidia-cuda-cccl, or the CUDA toolkit",
)


@pytest.fixture(scope="module")
def toolchain() -> Toolchain:
    return find_toolchain()


@needs_nvcc
@pytest.mark.parametrize(
    ("architecture", "scales"),
    [("sm_75", (2,)), ("sm_120", (4,))],
    ids=["oldest", "newest"],
)
def test_kernels_compile_and_spill_nothing(
    toolchain: Toolchain, architecture: str, scales: tuple[int, ...], tmp_path: Path
) -> None:
    """Each factor of a residual takes as long as all the rest, so not every one is tried on both;
    ``python -m kernels compile`` compiles all of them for every architecture."""
    factors = [ADD_RESIDUAL[scale] for scale in scales]
    units = [*factors, *(unit for unit in UNITS if unit not in ADD_RESIDUAL.values())]

    def compiled(unit: Unit) -> Binary:
        return compile_unit(unit, architecture, toolchain=toolchain, cache=tmp_path)

    with ThreadPoolExecutor(2) as workers:
        binaries = list(workers.map(compiled, units))
    for unit, binary in zip(units, binaries, strict=True):
        assert binary.image.startswith(b"\x7fELF")
        assert [each.entry for each in binary.resources] == sorted(unit.entries)
        for each in binary.resources:
            spilled = MOST_SPILLED_BYTES if unit in (ADD_RESIDUAL[3], ADD_RESIDUAL[4]) else 0
            assert each.spill_bytes <= 2 * spilled, each
            assert each.stack_bytes <= spilled, each
            assert each.registers <= MOST_REGISTERS, each
            assert each.shared_bytes <= MOST_SHARED_BYTES, each


@needs_nvcc
def test_later_devices_get_ptx(toolchain: Toolchain, tmp_path: Path) -> None:
    binary = compile_unit(WATCH, toolchain.supported[-1], toolchain=toolchain, cache=tmp_path)
    text = binary.image.decode()
    assert toolchain.supported[-1].startswith("compute_")
    assert re.search(r"\.entry watch_f16", text)
    # Products and sums are fused where the source says so and nowhere else: twins do no other.
    finish = compile_unit(FINISH, toolchain.supported[-1], toolchain=toolchain, cache=tmp_path)
    assert finish.image.count(b"fma.rn.f32") > 0
    planar = compile_unit(PLANAR, toolchain.supported[-1], toolchain=toolchain, cache=tmp_path)
    assert b"fma" not in planar.image


@needs_nvcc
def test_the_command_prints_what_each_kernel_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["compile", "--arch", "sm_90", "--unit", "cover", "--cache", str(tmp_path)])
    printed = capsys.readouterr().out
    assert re.search(r"cover sm_90: \d{4,} bytes", printed)
    for entry in COVER.entries:
        assert re.search(rf"{entry}: \d+ registers, 0 bytes spilled, 0 of stack, 0 shared", printed)


@needs_nvcc
def test_an_architecture_that_is_not_compiled_for_is_named_with_those_that_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["compile", "--arch", "sm_50"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "--arch sm_50" in said
    assert "sm_75" in said


class Counting:
    """An nvcc of a few lines of shell that writes down each of its runs."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "runs"
        self.cache = folder / "cache"
        report = (
            "ptxas info : Compiling entry function 'cover_1' for 'sm_90'\\n"
            "    0 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads\\n"
            "ptxas info : Used 40 registers, used 1 barriers, 520 bytes smem\\n"
        )
        nvcc = fake_nvcc(
            folder,
            'while [ "$1" != -o ]; do shift; done',
            f'echo run >> "{self.log}"',
            'printf image > "$2"',
            f'printf "{report}" >&2',
        )
        self.toolchain = Toolchain(nvcc, "release 13.0", ARCHITECTURES)

    def compile(self, toolchain: Toolchain | None = None, architecture: str = "sm_90") -> Binary:
        chosen = toolchain or self.toolchain
        return compile_unit(COVER, architecture, toolchain=chosen, cache=self.cache)

    @property
    def runs(self) -> int:
        return len(self.log.read_text().splitlines())


def test_what_was_compiled_is_kept_with_its_report(tmp_path: Path) -> None:
    nvcc = Counting(tmp_path)
    first, second = nvcc.compile(), nvcc.compile()
    assert nvcc.runs == 1
    assert first == second
    assert first.image == b"image"
    (resources,) = first.resources
    assert resources.registers == 40
    assert resources.spill_bytes == 12
    assert resources.shared_bytes == 520


def test_another_compiler_or_architecture_compiles_again(tmp_path: Path) -> None:
    nvcc = Counting(tmp_path)
    nvcc.compile()
    nvcc.compile(replace(nvcc.toolchain, version="release 13.1"))
    nvcc.compile(architecture="sm_80")
    assert nvcc.runs == 3


def test_another_source_compiles_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = tmp_path / "cu"
    sources.mkdir()
    for path in SOURCES.iterdir():
        (sources / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr("kernels.units.SOURCES", sources)
    monkeypatch.setattr("kernels.compile.SOURCES", sources)
    nvcc = Counting(tmp_path)
    for name in ("cover.cu", "runs.cuh", "warp.cu"):
        nvcc.compile()
        (sources / name).write_text("// something else")
    nvcc.compile()
    # warp.cu is nothing that cover.cu is made of.
    assert nvcc.runs == 3


@pytest.mark.parametrize("damage", [b"", b"{}\nimage", b"no JSON\nimage"])
def test_a_damaged_file_is_compiled_again(tmp_path: Path, damage: bytes) -> None:
    nvcc = Counting(tmp_path)
    made = nvcc.compile()
    (kept,) = nvcc.cache.iterdir()
    for content in (damage, kept.read_bytes()[:-1]):
        kept.write_bytes(content)
        assert nvcc.compile() == made
    assert nvcc.runs == 3
    assert [kept] == list(nvcc.cache.iterdir())


def test_a_cache_that_cannot_be_written_is_said_in_a_sentence(tmp_path: Path) -> None:
    nvcc = Counting(tmp_path)
    nvcc.cache.write_text("a file, no folder")
    with pytest.raises(KernelError, match="XDG_CACHE_HOME"):
        nvcc.compile()


def test_what_could_not_be_kept_leaves_nothing_behind(tmp_path: Path) -> None:
    nvcc = Counting(tmp_path)
    nvcc.compile()
    (kept,) = nvcc.cache.iterdir()
    kept.unlink()
    # No file takes the place of a folder.
    (kept / "in the way").mkdir(parents=True)
    with pytest.raises(KernelError, match="free some space"):
        nvcc.compile()
    assert [kept] == list(nvcc.cache.iterdir())


def test_the_cache_is_below_the_users_own(tmp_path: Path) -> None:
    assert cache_folder({"XDG_CACHE_HOME": "/caches"}) == Path("/caches/streamer/kernels")
    assert cache_folder({}) == Path.home() / ".cache/streamer/kernels"
    assert cache_folder({"XDG_CACHE_HOME": "relative"}) == cache_folder({})


def test_a_user_without_a_home_is_told_where_to_keep_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that runs as a number nobody gave a name to."""

    def nobody(number: int) -> pwd.struct_passwd:
        raise KeyError(number)

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    nvcc = Counting(tmp_path)
    nvcc.cache = cache_folder()
    with pytest.raises(KernelError, match="set XDG_CACHE_HOME to a folder that can be"):
        nvcc.compile()


def test_cuda_home_goes_before_path(tmp_path: Path) -> None:
    says = ('[ "$1" = --version ] && echo "release 99" || echo sm_90 sm_100',)
    nvcc = fake_nvcc(tmp_path / "bin", *says)
    found = find_toolchain({"CUDA_HOME": str(tmp_path), "PATH": os.environ["PATH"]})
    assert (found.nvcc, found.version) == (nvcc, "release 99")
    assert found.supported == ("sm_90", "sm_100", "compute_100")


def test_a_missing_nvcc_is_said_with_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match=f"no nvcc in CUDA_HOME={tmp_path}.*pip install"):
        find_toolchain({"CUDA_HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["echo sm_50"], "compiles for sm_50"),
        (["echo 'nvcc fatal : no license' >&2", "exit 1"], "failed: nvcc fatal : no license"),
        (["exit 1"], "it says nothing"),
    ],
)
def test_an_nvcc_that_is_no_use_is_said_in_a_sentence(
    tmp_path: Path, lines: Sequence[str], said: str
) -> None:
    fake_nvcc(tmp_path / "bin", *lines)
    with pytest.raises(KernelError, match=said):
        find_toolchain({"CUDA_HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("capability", "architecture"),
    [
        ((7, 5), "sm_75"),
        ((8, 0), "sm_80"),
        ((8, 7), "sm_86"),
        ((9, 0), "sm_90"),
        ((10, 3), "sm_100"),
        ((12, 1), "sm_120"),
        ((13, 0), "compute_120"),
    ],
)
def test_a_device_gets_its_own_machine_code_or_ptx(
    capability: tuple[int, int], architecture: str
) -> None:
    assert architecture_for(*capability, SUPPORTED) == architecture


@pytest.mark.parametrize("capability", [(7, 0), (11, 0)])
def test_a_device_that_nothing_runs_on_is_refused(capability: tuple[int, int]) -> None:
    with pytest.raises(KernelError, match="compute capability"):
        architecture_for(*capability, SUPPORTED)


def test_a_report_of_nothing_has_no_resources() -> None:
    assert read_report("ptxas info : 0 bytes gmem") == ()


def test_every_source_is_part_of_a_unit() -> None:
    assert {unit.file for unit in UNITS} == {path.stem for path in SOURCES.glob("*.cu")}
    assert len({unit.name for unit in UNITS}) == len(UNITS)
