from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.errors import EngineError
from streamer.infer.ort import OrtCpuEngine, usable_cores
from streamer.model import read_manifest
from tests.streamer.models import tiny, weights, write_model


def ran(engine: OrtCpuEngine, packed: NDArray[np.float32]) -> NDArray[np.float32]:
    residual = np.full((1, 24, *packed.shape[2:]), np.nan, np.float32)
    engine.run({"packed": packed}, {"residual": residual})
    return residual


def expected(packed: NDArray[np.float32]) -> NDArray[np.float64]:
    sums: NDArray[np.float64] = np.einsum(
        "oi,nihw->nohw", weights(2)[:, :, 0, 0].astype(np.float64), packed
    )
    return sums


def noise(height: int, width: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((1, 6, height, width)).astype(np.float32)


def test_a_model_gives_its_numbers_in_the_callers_storage(tmp_path: Path) -> None:
    engine = OrtCpuEngine(tiny(tmp_path), threads=1)
    packed = noise(9, 16, seed=1)
    np.testing.assert_allclose(ran(engine, packed), expected(packed), rtol=0, atol=1e-4)
    engine.close()


def test_storage_that_is_filled_anew_gives_new_numbers(tmp_path: Path) -> None:
    engine = OrtCpuEngine(tiny(tmp_path), threads=1)
    packed, residual = noise(9, 16, seed=1), np.empty((1, 24, 9, 16), np.float32)
    for seed in (1, 2, 3):
        packed[...] = noise(9, 16, seed)
        engine.run({"packed": packed}, {"residual": residual})
        np.testing.assert_allclose(residual, expected(packed), rtol=0, atol=1e-4)


def test_another_size_or_other_storage_is_taken_up(tmp_path: Path) -> None:
    engine = OrtCpuEngine(tiny(tmp_path), threads=1)
    for height, width in ((9, 16), (4, 7), (4, 7), (9, 16), (7, 4)):
        packed = noise(height, width, seed=height)
        np.testing.assert_allclose(ran(engine, packed), expected(packed), rtol=0, atol=1e-4)


def test_a_damaged_model_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    manifest = tiny(tmp_path)
    manifest.path.write_bytes(manifest.path.read_bytes()[:-20])
    with pytest.raises(EngineError, match="damaged or foreign"):
        OrtCpuEngine(manifest)


def test_what_the_runtime_cannot_load_is_said_in_one_sentence(tmp_path: Path) -> None:
    blob = b"this is no ONNX"
    path = write_model(tmp_path, sha256=hashlib.sha256(blob).hexdigest())
    (tmp_path / "tiny.onnx").write_bytes(blob)
    with pytest.raises(EngineError) as refusal:
        OrtCpuEngine(read_manifest(path))
    message = str(refusal.value)
    assert message.startswith("ONNX Runtime ")
    assert "cannot load tiny.onnx" in message
    assert "use --backend reference" in message
    assert "\n" not in message


def test_there_is_at_least_one_core() -> None:
    assert usable_cores() >= 1
