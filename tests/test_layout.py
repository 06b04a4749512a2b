"""Rules about the files themselves."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("streamer", "export", "kernels", "benchmarks")
TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".json", ".js", ".css", ".html", ".cu", ".cuh", ""}
HEAVY = ("torch", "av", "aiortc", "onnxruntime", "cv2", "tensorrt", "openvino", "fastapi", "numpy")
SKIP = {"__pycache__", "node_modules", "build", "dist"}
MODULES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))


def texts() -> list[Path]:
    """Every text file of the project, tests and documents included."""
    found = []
    for folder, below, names in os.walk(ROOT):
        below[:] = [name for name in below if not name.startswith(".") and name not in SKIP]
        paths = (Path(folder, name) for name in names)
        found += [path for path in paths if path.suffix in TEXT and path.is_file()]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_in_a_sentence_what_it_is_for(path: Path) -> None:
    sentence = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0]
    assert sentence[-1:] in {".", ",", ";", ":"} or len(sentence) > 70, sentence


def test_files_stay_under_four_hundred_lines() -> None:
    sources = [*MODULES, *(ROOT / "tests").rglob("*.py")]
    lengths = {str(p.relative_to(ROOT)): len(p.read_text("utf-8").splitlines()) for p in sources}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


@pytest.mark.parametrize("module", ["streamer", "streamer.cli"])
def test_importing_opens_no_heavy_library(module: str) -> None:
    code = f"import sys, {module}; print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=True)
    assert done.stdout == b"[]\n"


def test_no_file_names_a_place_on_one_machine() -> None:
    place = re.compile(r"/(?:home|Users|root|work)/[a-z]")
    found = [path for path in texts() if place.search(path.read_text("utf-8", "ignore"))]
    assert ROOT / "pyproject.toml" in texts()
    assert found == []
