"""Compiles ``kernels/cpu`` for processors, once for each level; runs when the package is installed.

Nothing but the standard library is needed. Without a C++ compiler nothing is made, and what uses
the library takes its slower way.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kernels.errors import KernelError

SOURCES = Path(__file__).parent / "cpu"

FLAGS = (
    *("-std=c++17", "-O3", "-fPIC", "-shared", "-fvisibility=hidden", "-fno-exceptions"),
    # A sum that is rounded in another order is another picture.
    *("-fno-rtti", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
)

_LEVEL_4 = ("-march=x86-64-v4", "-mprefer-vector-width=512")

LEVELS: Mapping[int, tuple[str, ...]] = (
    {1: (), 3: ("-march=x86-64-v3",), 4: _LEVEL_4, 5: (*_LEVEL_4, "-mavx512vnni")}
    if platform.machine() in ("x86_64", "AMD64")
    else {1: ()}
)
"""Levels of the x86-64 psABI: 3 has AVX2, 4 AVX-512; 1 is what every processor can run. 5 is the
fourth with AVX-512 VNNI, which multiplies and adds up whole numbers in one step."""

LIMIT_S = 900


def library_path(level: int) -> Path:
    """Where the library for this level lies, if it was made."""
    return SOURCES.parent / f"_cpu_{level}.so"


def sources_key() -> int:
    """Changes with what is compiled: 64 bits, which each library is asked for when it is loaded."""
    told = hashlib.sha256(repr((FLAGS, LEVELS)).encode())
    for source in sorted(SOURCES.iterdir()):
        told.update(source.read_bytes())
    return int.from_bytes(told.digest()[:8], "little")


def build(*, is_anew: bool = True) -> list[Path]:
    """Compiles every level, but those that the compiler does not know; ``KernelError`` without a
    compiler, or where it fails. Unless ``is_anew``, nothing where all was made of these sources."""
    if not is_anew and all(is_current(level) for level in LEVELS):
        return [library_path(level) for level in LEVELS]
    compiler = _compiler()
    with ThreadPoolExecutor() as workers:
        compiling = {level: workers.submit(_compiled, compiler, level) for level in LEVELS}
    made = [compiling.pop(1).result()]
    for level, done in compiling.items():
        try:
            made.append(done.result())
        except KernelError as error:
            library_path(level).unlink(missing_ok=True)
            sys.stderr.write(f"kernels: without level {level}: {error}\n")
    return made


def is_current(level: int) -> bool:
    """Whether the library for this level was made of the sources that are here: another may take
    other fields. So is none that was not made, or that is another machine's."""
    try:
        library = ctypes.CDLL(str(library_path(level)))
        library.compiled_sources.restype = ctypes.c_uint64
    except (OSError, AttributeError):
        return False
    return bool(library.compiled_sources() == sources_key())


def _compiler() -> list[str]:
    named = os.environ.get("CXX")
    if named:
        return shlex.split(named)
    for name in ("c++", "g++", "clang++"):
        found = shutil.which(name)
        if found is not None:
            return [found]
    raise KernelError(
        "no C++ compiler (c++, g++ or clang++) is on the PATH, so networks and made frames take the "
        "slower way; to change that install g++ and then streamer again"
    )


def _compiled(compiler: list[str], level: int) -> Path:
    path = library_path(level)
    sources = sorted(str(source) for source in SOURCES.glob("*.cpp"))
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        made = Path(scratch) / path.name
        key = f"-DSOURCES={sources_key()}ULL"
        command = [*compiler, *FLAGS, *LEVELS[level], key, "-o", str(made), *sources]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=LIMIT_S)
        except OSError as error:
            raise KernelError(f"{compiler[0]} cannot be run ({error}); set CXX") from error
        except subprocess.TimeoutExpired as error:
            raise KernelError(
                f"{compiler[0]} was not done after {LIMIT_S} s; set CXX to another compiler"
            ) from error
        except subprocess.CalledProcessError as error:
            raise KernelError(
                f"{shlex.join(command)} failed: {error.stderr.strip()}; set CXX to a compiler of "
                "C++17, as GCC 11 or later"
            ) from error
        # Whoever has the old one open keeps it.
        made.replace(path)
    return path


if __name__ == "__main__":
    try:
        for each in build(is_anew="--missing" not in sys.argv):
            sys.stdout.write(f"{each}\n")
    except KernelError as problem:
        sys.stderr.write(f"kernels: {problem}\n")
        sys.exit(2)
