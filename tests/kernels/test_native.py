from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import kernels
from tests.programs import needs

LOOK = "from kernels.native import native; found = native(); print(found and found.level)"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A folder with the package's sources alone."""
    whole = Path(kernels.__file__).parent
    ours = shutil.ignore_patterns("_cpu_*", "__pycache__", "cu")
    shutil.copytree(whole, tmp_path / "kernels", ignore=ours)
    for source in (tmp_path / "kernels" / "cpu").glob("*.cpp"):
        if source.name != "processor.cpp":
            source.unlink()
    return tmp_path


def python(
    folder: Path, *arguments: str, cxx: str | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "CXX"}
    if cxx is not None:
        environment["CXX"] = cxx
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def script(folder: Path, text: str) -> str:
    path = folder / "cxx"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@needs("g++")
def test_the_best_level_that_this_processor_runs_is_loaded(copied: Path) -> None:
    done = python(copied, "-m", "kernels.native_build")
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == sorted(
        str(path) for path in (copied / "kernels").glob("_cpu_*.so")
    )
    assert int(python(copied, "-c", LOOK).stdout) in (1, 3, 4, 5)


@needs("g++")
def test_levels_that_a_compiler_does_not_know_are_left_out(copied: Path) -> None:
    cxx = script(copied, 'case "$*" in *-march=*) exit 1;; esac; exec g++ "$@"')
    done = python(copied, "-m", "kernels.native_build", cxx=cxx)
    assert done.returncode == 0
    assert [path.name for path in (copied / "kernels").glob("_cpu_*.so")] == ["_cpu_1.so"]
    assert python(copied, "-c", LOOK).stdout.strip() == "1"


@needs("g++")
def test_what_was_compiled_of_other_sources_is_not_called(copied: Path) -> None:
    python(copied, "-m", "kernels.native_build")
    with (copied / "kernels" / "cpu" / "processor.cpp").open("a", encoding="utf-8") as source:
        source.write("// changed\n")
    done = python(copied, "-c", LOOK)
    assert done.stdout.strip() == "None"
    assert "has changed since it was compiled" in done.stderr


def test_what_was_compiled_for_another_machine_is_not_called_and_it_is_said(copied: Path) -> None:
    (copied / "kernels" / "_cpu_1.so").write_bytes(b"of another machine")
    done = python(copied, "-c", LOOK)
    assert done.stdout.strip() == "None"
    assert "for another machine" in done.stderr


@needs("g++")
def test_what_is_made_already_is_made_again_only_when_its_sources_change(copied: Path) -> None:
    """Installed once more with other extras, all would be compiled again for nothing."""
    python(copied, "-m", "kernels.native_build")
    made = {path: path.stat().st_mtime_ns for path in copied.glob("kernels/_cpu_*.so")}
    done = python(copied, "-m", "kernels.native_build", "--missing", cxx="/nowhere")
    assert sorted(done.stdout.split()) == sorted(map(str, made))
    assert {path: path.stat().st_mtime_ns for path in made} == made
    with (copied / "kernels" / "cpu" / "processor.cpp").open("a") as source:
        source.write("// Changed.\n")
    python(copied, "-m", "kernels.native_build", "--missing")
    assert all(path.stat().st_mtime_ns != before for path, before in made.items())


@pytest.mark.parametrize(
    ("text", "said"),
    [("exit 1", "failed"), (None, "cannot be run"), ("echo broken >&2; exit 1", "broken")],
)
def test_without_a_compiler_that_works_it_is_said_and_nothing_is_loaded(
    copied: Path, text: str | None, said: str
) -> None:
    cxx = str(copied / "missing") if text is None else script(copied, text)
    done = python(copied, "-m", "kernels.native_build", cxx=cxx)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert python(copied, "-c", LOOK).stdout.strip() == "None"
