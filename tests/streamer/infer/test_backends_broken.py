"""A package that is there and does not load: whoever names it is told, others go on without it."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest

from streamer.clock import MonotonicClock
from streamer.errors import EngineError
from streamer.infer import backends, ort_cuda
from streamer.infer.backends import Use, choose_super_resolution
from streamer.infer.openvino import has_bf16
from streamer.model import find_models
from tests.streamer.models import write_model

choose = partial(choose_super_resolution, use=Use(clock=MonotonicClock()))


@pytest.mark.parametrize(
    ("backend", "package"),
    [("ort-cpu", "onnxruntime"), ("ort-cuda", "onnxruntime"), ("openvino",) * 2],
)
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("raise ImportError('GLIBC_2.38 not found')", r"cannot be loaded \(GLIBC_2.38 not found\)"),
        ("raise RuntimeError", r"cannot be loaded \(RuntimeError\)"),
        # As the folder that an uninstall leaves behind: a package with nothing in it.
        ("", "is not installed"),
    ],
)
def test_a_package_that_is_broken_keeps_no_other_backend_from_running(
    backend: str,
    package: str,
    text: str,
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_model(tmp_path)
    found = partial(find_models, tmp_path)
    monkeypatch.setattr(backends, "find_models", found)
    broken = tmp_path / "site" / package
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(broken.parent)
    # Set first, so that it is also taken away again where it was not there before.
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, package)
    has_bf16.cache_clear()
    # As on a machine with a device, which packages are looked at for.
    monkeypatch.setattr(ort_cuda, "has_device", lambda: True)
    with pytest.raises(EngineError, match=f"{backend} needs the package {package}, which {why}"):
        choose(scale=2, backend=backend)
    choice = choose(scale=2, backend="auto")
    assert all(engine.backend != backend for engine in choice.engines)
    for engine in choice.engines:
        engine.close()
    monkeypatch.undo()
    has_bf16.cache_clear()
