"""What of TensorRT's API the code uses, against the real API.

The bindings are the vendor's own, over a library whose functions give null pointers. This proves
that each class, method, property, enumerator and argument that the code names is there, with the
types that the bindings state; ``test_tensorrt`` goes through the same calls in the order of a real
build and run. It does not prove that TensorRT reads our graphs, that its kernels are right, that
graphs can be captured, or anything about time: that takes a device. Once a device is there, what
proves it is the self-test in ``infer.self_test``, at every start.

The newest version is checked with everything else, the oldest by ``make test-tensorrt``, a part of ``make
test``; another one with ``OLDEST_TENSORRT=10.16.1.11`` behind it.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from streamer.errors import EngineError
from streamer.infer import tensorrt_api, tensorrt_build, tensorrt_run
from tests.streamer.infer.checked import Checked, NotInTheApiError, signatures
from tests.streamer.infer.tensorrt_double import Config, Network, Tensor

MODULES = (tensorrt_api, tensorrt_build, tensorrt_run)


def used(path: Path) -> set[str]:
    """What a module names of the package, with dots: ``ILogger.Severity.ERROR``."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        inner: ast.expr | None = node if isinstance(node, ast.Attribute) else None
        while isinstance(inner, ast.Attribute):
            names.insert(0, inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            names.insert(0, inner.id)
        if names[:2] == ["self", "_api"]:
            names.pop(0)
        if names[:1] in (["api"], ["_api"]) and len(names) > 1:
            found.add(".".join(names[1:]))
    return found


def test_every_name_of_the_package_is_in_it(bindings: Any) -> None:
    names = set().union(*(used(Path(str(module.__file__))) for module in MODULES))
    assert {"Builder", "ILogger.Severity.ERROR", "MemoryPoolType.WORKSPACE", "nptype"} <= names
    missing = []
    for name in sorted(names):
        found: Any = bindings
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is None:
            missing.append(name)
    assert missing == []


def test_the_version_can_be_used(bindings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert tensorrt_api.load() is bindings
    assert bindings.__version__.startswith(os.environ.get("TENSORRT", ""))
    for version in ("10.11.0.33", "8.6.1", "12.0.0"):
        monkeypatch.setattr(bindings, "__version__", version)
        with pytest.raises(
            EngineError, match=rf"TensorRT {version} is installed, 10\.12 to 11 can"
        ):
            tensorrt_api.load()


@pytest.mark.usefixtures("bindings")
def test_bindings_without_their_libraries_are_told_apart() -> None:
    program = "from streamer.infer import tensorrt_api; tensorrt_api.load()"
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path), "LD_LIBRARY_PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        timeout=60,
        text=True,
        check=False,
    )
    last = done.stderr.splitlines()[-1]
    if done.returncode:
        assert "TensorRT is installed and cannot be loaded (libnv" in last
        assert last.endswith("-m pip install 'tensorrt>=10.12,<12', or use another --backend")
    else:
        pytest.skip("the libraries are here")


def test_a_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in tensorrt_api.PACKAGES:
        monkeypatch.setitem(sys.modules, name, None)
    assert not tensorrt_api.is_there()
    with pytest.raises(
        EngineError, match=r"needs the package tensorrt, which is not installed; run"
    ):
        tensorrt_api.load()


def test_a_package_that_holds_nothing_is_passed_over(
    bindings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As the first of them was in 11.1.
    monkeypatch.setitem(sys.modules, "tensorrt", ModuleType("tensorrt"))
    assert tensorrt_api.load() is bindings


def test_the_log_keeps_errors_for_the_sentence_and_nothing_else(bindings: Any) -> None:
    log = tensorrt_api.log_of(bindings)
    log.take()
    severity = bindings.ILogger.Severity
    log.log(severity.WARNING, "never mind")
    log.log(severity.ERROR, "the cause ")
    log.log(severity.INTERNAL_ERROR, "what\ncame of it")
    log.log(severity.ERROR, "the cause")
    assert log.take() == "the cause; what came of it"
    assert log.take() == ""
    assert tensorrt_api.log_of(bindings) is log


def test_signatures_are_read_from_the_bindings(bindings: Any) -> None:
    (create,) = signatures(bindings.Builder.create_network.__doc__)
    assert [(p.name, p.is_optional) for p in create.parameters] == [("flags", True)]
    assert create.gives.endswith("INetworkDefinition")
    assert len(signatures(bindings.IExecutionContext.set_input_shape.__doc__)) > 1


def config(bindings: Any) -> Any:
    like = Config()
    like.api = bindings
    return Checked(bindings, like)


def test_what_the_api_does_not_have_is_found_out(bindings: Any) -> None:
    """The check itself, which would be worth nothing if it let everything pass."""
    checked = config(bindings)
    checked.builder_optimization_level = 3
    checked.set_memory_pool_limit(bindings.MemoryPoolType.WORKSPACE, 1 << 20)
    checked.set_memory_pool_limit(pool=bindings.MemoryPoolType.WORKSPACE, pool_size=1 << 20)
    wrong: list[Any] = [
        lambda: checked.max_workspace_size,
        lambda: setattr(checked, "max_workspace_size", 1),
        lambda: setattr(checked, "builder_optimization_level", "3"),
        lambda: setattr(checked, "create_timing_cache", 1),
        lambda: checked.set_memory_pool_limit(bindings.MemoryPoolType.WORKSPACE),
        lambda: checked.set_memory_pool_limit(bindings.MemoryPoolType.WORKSPACE, 1, 2),
        lambda: checked.set_memory_pool_limit(bindings.BuilderFlag.TF32, 1),
        lambda: checked.set_memory_pool_limit(bindings.MemoryPoolType.WORKSPACE, size=1),
        lambda: checked.set_memory_pool_limit(bindings.MemoryPoolType.WORKSPACE, 1.5),
        lambda: checked.create_timing_cache("text"),
        lambda: checked.set_timing_cache(Checked(bindings, Network()), ignore_mismatch=False),
    ]
    for call in wrong:
        with pytest.raises(NotInTheApiError):
            call()
    tensor = Checked(bindings, Tensor("packed", (1, 6, -1, -1)))
    tensor.shape = (1, 6, 24, 32)
    with pytest.raises(TypeError):
        tensor.shape = "1x6x24x32"
