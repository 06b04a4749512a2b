"""TensorRT's real Python API without TensorRT: the bindings over a library that does nothing."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

PACKAGE = "tensorrt_bindings"

INSTALL = "pip install tensorrt-cu13-bindings"

LIBRARIES = ("libnvinfer", "libnvonnxparser", "libnvinfer_plugin")

ENTRIES = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)
"""All that the bindings of 10.12 to 11.4 link (``nm -D --undefined-only``); each gives a null pointer."""


@cache
def why_not() -> str:
    """What is missing for the bindings to be loaded; nothing where they can be."""
    if find_spec(PACKAGE) is None:
        return f"needs {PACKAGE}: {INSTALL}"
    return "" if shutil.which("g++") else "needs g++: apt-get install g++"


def load_bindings(folder: Path) -> ModuleType:
    """The module, which from then on stays loaded in this process."""
    if why_not():
        if os.environ.get("STREAMER_REQUIRE_PROGRAMS") == "1":
            pytest.fail(why_not())
        pytest.skip(why_not())
    spec = find_spec(PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    found = re.search(r'__version__ = "(\d+)\.', Path(spec.origin).read_text(encoding="utf-8"))
    assert found is not None
    source = folder / "stub.cpp"
    functions = "".join(f"void* {entry}() {{ return nullptr; }}\n" for entry in ENTRIES)
    source.write_text(f'extern "C" {{\n{functions}}}\n')
    for name in LIBRARIES:
        library = folder / f"{name}.so.{found[1]}"
        flags = ("-shared", "-fPIC", f"-Wl,-soname,{library.name}", "-o", str(library))
        subprocess.run(["g++", *flags, str(source)], check=True, timeout=60)
        # The loader takes what it has by that name before it looks for a file.
        ctypes.CDLL(str(library))
    return import_module(PACKAGE)
