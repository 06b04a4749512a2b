"""Compiles kernels with nvcc, for one architecture at a time, and keeps what it made.

The cache has one file for each unit, architecture, source and compiler; a file that is not what
was written is made again. Nothing but ``nvcc`` is needed: no device and no driver.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from kernels.cache import user_cache
from kernels.errors import KernelError
from kernels.units import SOURCES, Unit

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
"""Turing to Blackwell. Machine code runs on later minor versions of its major one."""

FLAGS = ("-std=c++17", "-O3", "-fmad=false", "-Xptxas=-v")
"""Without fused multiply-adds a kernel agrees with its twin in every bit."""

LIMIT_S = 300

USUAL = Path("/usr/local/cuda")
"""Where installers of the toolkit leave a link to it; most leave ``PATH`` as it was."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """An nvcc, its version, and the architectures it can compile for."""

    nvcc: Path
    version: str
    architectures: tuple[str, ...]

    @property
    def supported(self) -> tuple[str, ...]:
        """Those of ``ARCHITECTURES`` that this nvcc knows, then PTX of the last, for later devices."""
        known = tuple(name for name in ARCHITECTURES if name in self.architectures)
        return (*known, known[-1].replace("sm_", "compute_"))


@dataclass(frozen=True, slots=True)
class Resources:
    """What one entry takes of a multiprocessor, as ptxas says."""

    entry: str
    registers: int
    stack_bytes: int
    spill_bytes: int
    """Stored and loaded."""
    shared_bytes: int


@dataclass(frozen=True, slots=True)
class Binary:
    """One unit for one architecture: a cubin for ``sm_90`` and the like, PTX for ``compute_120``."""

    unit: str
    architecture: str
    image: bytes
    resources: tuple[Resources, ...]
    """By entry; empty for PTX, which the driver assembles."""


def find_toolchain(environment: Mapping[str, str] = os.environ) -> Toolchain:
    """The nvcc of ``CUDA_HOME``, else of ``PATH``, of ``USUAL``, or of the package ``nvidia-cuda-nvcc``.

    ``KernelError`` when there is none, or it does not work.
    """
    home = environment.get("CUDA_HOME")
    where = str(Path(home) / "bin") if home else environment.get("PATH", "")
    found = shutil.which("nvcc", path=where)
    if found is None and not home:
        found = shutil.which("nvcc", path=str(USUAL / "bin")) or _installed_nvcc()
    if found is None:
        named = f"CUDA_HOME={home}" if home else "PATH"
        raise KernelError(
            f"no nvcc in {named}, and kernels are compiled by one of CUDA 12.8 or newer; set "
            "CUDA_HOME to a CUDA toolkit, or run: pip install nvidia-cuda-nvcc nvidia-cuda-cccl"
        )
    nvcc = Path(found)
    version = _said(nvcc, "--version").strip().splitlines()[-1]
    architectures = tuple(_said(nvcc, "--list-gpu-code").split())
    if not set(ARCHITECTURES) & set(architectures):
        raise KernelError(
            f"{nvcc} ({version}) compiles for {', '.join(architectures) or 'nothing'}, streamer for "
            f"{', '.join(ARCHITECTURES)}; install CUDA 12.8 or newer"
        )
    return Toolchain(nvcc, version, architectures)


def _installed_nvcc() -> str | None:
    """The one that pip installs; its packages share the folder of CUDA's major version."""
    spec = find_spec("nvidia")
    folders = spec.submodule_search_locations if spec else None
    places = [str(place) for folder in folders or () for place in Path(folder).glob("cu*/bin")]
    return shutil.which("nvcc", path=os.pathsep.join(sorted(places, reverse=True)))


def architecture_for(major: int, minor: int, supported: Iterable[str]) -> str:
    """The one of ``supported`` that runs best on a device of this compute capability.

    Machine code of the same major and no later minor version, else PTX, which the driver assembles
    for any later device.
    """
    known = {_version(name): name for name in supported if name.startswith("sm_")}
    fitting = [version for version in known if version[0] == major and version[1] <= minor]
    if fitting:
        return known[max(fitting)]
    ptx = [name for name in supported if name.startswith("compute_")]
    for name in ptx:
        if _version(name) <= (major, minor):
            return name
    raise KernelError(
        f"the device has compute capability {major}.{minor}, kernels are compiled for "
        f"{', '.join([*known.values(), *ptx])}; use a device of 7.5 or later, or the backend ort-cpu"
    )


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where binaries are kept: below the user's cache."""
    return user_cache(environment) / "kernels"


def compile_unit(
    unit: Unit, architecture: str, *, toolchain: Toolchain, cache: Path | None = None
) -> Binary:
    """The unit for one architecture, from the cache where it has it; takes seconds where not."""
    folder = cache_folder() if cache is None else cache
    kept = folder / f"{unit.name}-{architecture}-{_key(unit, architecture, toolchain)}.kernel"
    binary = _read(kept, unit, architecture)
    if binary is None:
        binary = _compiled(unit, architecture, toolchain)
        _write(kept, binary)
    return binary


def _compiled(unit: Unit, architecture: str, toolchain: Toolchain) -> Binary:
    is_ptx = architecture.startswith("compute_")
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / unit.name
        report = _said(
            toolchain.nvcc,
            *FLAGS,
            "-ptx" if is_ptx else "-cubin",
            f"-arch={architecture}",
            *(f"-D{define}" for define in unit.defines),
            "-o",
            str(made),
            str(unit.source),
        )
        resources = () if is_ptx else read_report(report)
        return Binary(unit.name, architecture, made.read_bytes(), resources)


_REPORT = re.compile(
    r"Compiling entry function '(?P<entry>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads.*?Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)


def read_report(report: str) -> tuple[Resources, ...]:
    """What ``ptxas -v`` says of each entry, by name."""
    found = []
    for match in _REPORT.finditer(report):
        shared = re.search(r"(\d+) bytes smem", match["rest"])
        found.append(
            Resources(
                entry=match["entry"],
                registers=int(match["registers"]),
                stack_bytes=int(match["stack"]),
                spill_bytes=int(match["stores"]) + int(match["loads"]),
                shared_bytes=int(shared[1]) if shared else 0,
            )
        )
    return tuple(sorted(found, key=lambda resources: resources.entry))


def _key(unit: Unit, architecture: str, toolchain: Toolchain) -> str:
    """Changes with anything that the binary depends on."""
    digest = hashlib.sha256()
    for source in (unit.source, *sorted(SOURCES.glob("*.cuh"))):
        digest.update(hashlib.sha256(source.read_bytes()).digest())
    digest.update(repr((toolchain.version, architecture, unit.defines, FLAGS)).encode())
    return digest.hexdigest()[:16]


def _read(path: Path, unit: Unit, architecture: str) -> Binary | None:
    """What is kept there: a line of JSON, then the image; nothing where it is not whole."""
    try:
        head, image = path.read_bytes().split(b"\n", 1)
        told = json.loads(head)
        if told["sha256"] != hashlib.sha256(image).hexdigest():
            return None
        resources = tuple(Resources(**each) for each in told["resources"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Binary(unit.name, architecture, image, resources)


def _write(path: Path, binary: Binary) -> None:
    """All or nothing; two that write at once write the same."""
    head = {
        "sha256": hashlib.sha256(binary.image).hexdigest(),
        "resources": [asdict(each) for each in binary.resources],
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            made = Path(scratch) / path.name
            made.write_bytes(json.dumps(head).encode() + b"\n" + binary.image)
            made.replace(path)
    except OSError as error:
        raise KernelError(
            f"{path.parent} cannot be written ({error.strerror}), compiled kernels are kept there; "
            "free some space or set XDG_CACHE_HOME to a folder that can be"
        ) from error


def _version(architecture: str) -> tuple[int, int]:
    number = int(architecture.rpartition("_")[2])
    return number // 10, number % 10


def _said(nvcc: Path, *arguments: str) -> str:
    """What nvcc prints; ``KernelError`` with its first complaint when it fails."""
    try:
        done = subprocess.run(
            [nvcc, *arguments], capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KernelError(
            f"{nvcc} does not run ({error}); set CUDA_HOME to the folder of a CUDA toolkit that does"
        ) from error
    if done.returncode:
        lines = (done.stderr + done.stdout).strip().splitlines()
        first = next(
            (line for line in lines if "error" in line or "fatal" in line), "it says nothing"
        )
        raise KernelError(
            f"{nvcc} {' '.join(arguments[-1:])} failed: {first}; "
            "kernels need CUDA 12.8 or newer and a C++17 compiler beside it"
        )
    return done.stdout + done.stderr
