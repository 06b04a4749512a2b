"""A toolkit and a driver that say what a test wants."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path


def fake_nvcc(folder: Path, *lines: str) -> Path:
    """A program called nvcc that runs these lines of shell; else one of CUDA 13 that compiles nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = lines or ("[ $1 = --version ] && echo 'Build cuda_13' || echo sm_90",)
    nvcc = folder / "nvcc"
    nvcc.write_text("\n".join(("#!/bin/sh", *lines, "")))
    nvcc.chmod(nvcc.stat().st_mode | stat.S_IXUSR)
    return nvcc


def failing_driver(library: Path, *, status: int, name: str) -> Path:
    """A driver's library whose ``cuInit`` fails with what it calls ``name``."""
    source = library.with_name("failing.cpp")
    source.write_text(
        f'extern "C" int cuInit(unsigned) {{ return {status}; }}\n'
        f'extern "C" int cuGetErrorName(int, const char** name) {{ *name = "{name}"; return 0; }}\n'
    )
    subprocess.run(["g++", "-shared", "-fPIC", "-o", library, source], check=True, timeout=60)
    return library
