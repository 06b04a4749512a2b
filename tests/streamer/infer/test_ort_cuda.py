from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import ref

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from streamer.errors import EngineError
from streamer.infer import ort_cuda
from streamer.infer.batching_graph import BATCH, batched
from streamer.infer.batching_group import BATCHES, KEPT_SIZES
from streamer.infer.device import has_device
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.ort_cuda import CUDA, LIBRARY, OrtCudaEngine, Provider, is_installed
from streamer.infer.self_test import check, drawn_inputs, storage
from tests.streamer.models import shipped, tiny

CPU = Provider(name="CPUExecutionProvider", device="cpu")
"""Takes the place of the CUDA provider: all but the device is the same."""

HAS_CUDA = "CUDAExecutionProvider" in ort.get_available_providers()


def run(engine: Any, *, height: int = 24, width: int = 32) -> NDArray[Any]:
    sizes = {"h": height, "w": width}
    outputs = storage(engine.manifest, sizes)
    engine.run(drawn_inputs(engine.manifest, sizes), outputs)
    return outputs["residual"]


def test_a_half_precision_model_takes_and_gives_float32() -> None:
    engine = OrtCudaEngine(shipped("fp16"), provider=CPU)
    check(engine)
    residual = run(engine)
    assert residual.dtype == np.float32
    assert np.array_equal(
        residual, run(OrtCpuEngine(shipped("fp16"), threads=1)).astype(np.float32)
    )
    engine.close()


def test_every_picture_is_its_own_at_every_size(tmp_path: Path) -> None:
    engine, exact = OrtCudaEngine(tiny(tmp_path), provider=CPU), OrtCpuEngine(tiny(tmp_path))
    sizes = [(8, 8), (24, 32), (8, 8), *((8, 10 + n) for n in range(KEPT_SIZES)), (24, 32)]
    for height, width in sizes:
        seen = run(engine, height=height, width=width)
        np.testing.assert_allclose(seen, run(exact, height=height, width=width), atol=1e-4)
    engine.close()


def test_storage_for_one_size_is_made_once(tmp_path: Path) -> None:
    engine = OrtCudaEngine(tiny(tmp_path), provider=CPU)
    for width in (8, 16, 8):
        run(engine, width=width)
    assert len(engine._bound) == 2
    for width in range(20, 20 + KEPT_SIZES):
        run(engine, width=width)
    assert len(engine._bound) == KEPT_SIZES
    engine.close()


def test_what_is_in_use_stays_bound_while_other_sizes_come_and_go(tmp_path: Path) -> None:
    engine = OrtCudaEngine(tiny(tmp_path), provider=CPU)
    resident = engine.resident({"h": 8, "w": 8})
    for number in range(KEPT_SIZES + 3):
        run(engine, width=10 + number)
        assert engine.resident({"h": 8, "w": 8}) is resident
    engine.close()


def test_four_sizes_of_picture_stay_bound_in_all_batch_sizes() -> None:
    engine = OrtCudaEngine(batched(shipped("fp16")), provider=CPU)
    used = [{BATCH: number, "h": 8, "w": 8 + n} for n in range(4) for number in BATCHES]
    residents = [engine.resident(sizes) for sizes in used]
    assert [engine.resident(sizes) for sizes in used] == residents
    engine.close()


def test_each_size_has_a_session_to_itself_and_gives_it_back(tmp_path: Path) -> None:
    engine = OrtCudaEngine(tiny(tmp_path), provider=CPU)
    for width in (8, 16, 8):
        run(engine, width=width)
    sessions = [bound.session for bound in engine._bound.values()]
    assert len({id(session) for session in sessions}) == 2
    (first, _), gone = sessions, ref(sessions[0])
    del sessions, first
    for width in range(20, 20 + KEPT_SIZES):
        run(engine, width=width)
    assert gone() is None
    engine.close()
    with pytest.raises(EngineError, match="is closed, and nothing runs after that"):
        run(engine)


def test_a_model_of_float32_is_computed_in_float32(tmp_path: Path) -> None:
    assert ort_cuda._suited(CUDA, tiny(tmp_path)).options["use_tf32"] == "0"
    # It would take the tensor cores from convolutions of float16 too.
    assert "use_tf32" not in ort_cuda._suited(CUDA, shipped("fp16")).options
    assert ort_cuda._suited(CPU, tiny(tmp_path)) is CPU


def test_inputs_that_do_not_fit_are_refused_in_a_sentence(tmp_path: Path) -> None:
    engine = OrtCudaEngine(tiny(tmp_path), provider=CPU)
    with pytest.raises(EngineError, match=r"takes packed of \(1, 6, h, w\) and was given \(1, 5,"):
        engine.run({"packed": np.zeros((1, 5, 8, 8), np.float32)}, {})
    with pytest.raises(EngineError, match=r"cannot run tiny\.onnx on the GPU"):
        engine.run(
            {"packed": np.zeros((1, 6, 8, 8), np.float32)},
            {"residual": np.zeros((1, 24, 9, 9), np.float32)},
        )
    engine.close()


def test_without_the_package_there_is_a_sentence_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineError, match=r"ort-cuda needs the package onnxruntime, which is not"):
        OrtCudaEngine(tiny(tmp_path))


@pytest.mark.skipif(HAS_CUDA, reason="needs the onnxruntime for the CPU")
def test_the_package_for_the_cpu_is_told_apart(tmp_path: Path) -> None:
    said = (
        r"the package for the CPU, without CUDAExecutionProvider; uninstall it and run: "
        r".* -m pip install 'onnxruntime-gpu\[cuda,cudnn\]'"
    )
    with pytest.raises(EngineError, match=said):
        OrtCudaEngine(tiny(tmp_path))


@pytest.fixture
def _made_ready_anew() -> Iterator[None]:
    """Which is done once a process."""
    ort_cuda._make_ready.cache_clear()
    yield
    ort_cuda._make_ready.cache_clear()


@pytest.mark.usefixtures("_made_ready_anew")
@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.skipif(HAS_CUDA, reason="needs the onnxruntime for the CPU")
@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc: apt-get install gcc")
def test_a_library_of_cuda_that_is_missing_is_named_and_standard_output_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # As in onnxruntime-gpu: it looks for the libraries of this CUDA, which nobody has, and without them
    # its provider cannot be loaded.
    monkeypatch.setattr(ort, "cuda_version", "99.0")
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA.name, CPU.name])
    needed, provider = (tmp_path / "capi" / name for name in ("libcublasLt.so.99", LIBRARY))
    needed.parent.mkdir()
    source = tmp_path / "empty.c"
    source.write_text("")
    for made, with_ in (
        (needed, [f"-Wl,-soname,{needed.name}"]),
        (provider, ["-Wl,--no-as-needed", needed]),
    ):
        subprocess.run(["gcc", "-shared", "-o", made, source, *with_], check=True, timeout=60)
    needed.unlink()
    monkeypatch.setattr(ort, "__file__", str(tmp_path / "__init__.py"))
    for session in ({}, CUDA.session):
        with pytest.raises(EngineError) as refused:
            OrtCudaEngine(tiny(tmp_path), provider=replace(CUDA, session=session))
        said = str(refused.value)
        assert "(libcublasLt.so.99: cannot open shared object file: No such file or dir" in said
        assert said.endswith(
            "-m pip install 'onnxruntime-gpu[cuda,cudnn]', or use another --backend"
        )
    seen = capfd.readouterr()
    assert seen.out == ""
    assert "No registered plugin EP device" not in seen.err


@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.skipif(HAS_CUDA, reason="needs the onnxruntime for the CPU")
def test_a_provider_that_could_not_be_loaded_is_no_silent_fall_to_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As onnxruntime-gpu does without the CUDA it was made for: it lists the provider all the same.
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA.name, CPU.name])
    with pytest.raises(EngineError, match="could not load CUDAExecutionProvider and took CPU"):
        OrtCudaEngine(tiny(tmp_path), provider=replace(CUDA, session={}))
    with pytest.raises(EngineError, match=r"cannot load tiny\.onnx on the GPU|could not load"):
        OrtCudaEngine(tiny(tmp_path))


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    manifest = tiny(tmp_path)
    (tmp_path / "tiny.onnx").write_bytes(b"damaged")
    with pytest.raises(EngineError, match="has sha256"):
        OrtCudaEngine(manifest, provider=CPU)


def test_it_is_installed_only_where_device_and_provider_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert is_installed() == (has_device() and HAS_CUDA)
    monkeypatch.setattr(ort_cuda, "has_device", lambda: True)
    assert is_installed() == HAS_CUDA
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert not is_installed()


def test_at_addresses_of_the_device_a_run_is_queued_and_gives_the_same(tmp_path: Path) -> None:
    engine, exact = (
        OrtCudaEngine(shipped("fp16"), provider=CPU),
        OrtCpuEngine(shipped("fp16"), threads=1),
    )
    sizes = {"h": 24, "w": 32}
    resident = engine.resident(sizes)
    (packed,), (residual,) = resident.inputs.values(), resident.outputs.values()
    assert (packed.shape, packed.dtype) == ((1, 6, 24, 32), "float16")
    assert (residual.shape, residual.dtype) == ((1, 24, 24, 32), "float16")
    drawn = drawn_inputs(shipped("fp16"), sizes)
    expected = storage(shipped("fp16"), sizes)
    exact.run(drawn, expected)
    for _ in range(2):
        ctypes.memmove(packed.address, drawn["packed"].ctypes.data, drawn["packed"].nbytes)
        resident.queue()
        seen = np.zeros_like(expected["residual"])
        ctypes.memmove(seen.ctypes.data, residual.address, seen.nbytes)
        assert np.array_equal(seen, expected["residual"])
    engine.close()


def test_the_stream_of_the_caller_is_the_providers() -> None:
    provider = ort_cuda._on(CUDA, 0x7F00)
    assert provider.options["user_compute_stream"] == "32512"
    # What is captured on one thread would be spoilt by the others, and they by it.
    assert "enable_cuda_graph" not in provider.options
    engine = OrtCudaEngine(shipped("fp16"), provider=CPU)
    assert engine._queued.get_run_config_entry("disable_synchronize_execution_providers") == "1"
    engine.close()
