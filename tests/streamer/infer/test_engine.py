"""What every backend's engine does alike."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.errors import EngineError
from streamer.infer.engine import Engine
from streamer.infer.openvino import OpenVinoEngine
from streamer.infer.ort import OrtCpuEngine
from streamer.model import read_manifest
from tests.packages import needs_package
from tests.streamer.models import summed, tiny, write_model

Opener = Callable[..., Engine]

ENGINES = pytest.mark.parametrize(
    "open_engine",
    [
        pytest.param(OrtCpuEngine, id="ort-cpu"),
        pytest.param(OpenVinoEngine, id="openvino", marks=needs_package("openvino")),
    ],
)


def ran(engine: Engine, packed: NDArray[np.float32]) -> NDArray[np.float32]:
    residual = np.full((1, 24, *packed.shape[2:]), np.nan, np.float32)
    engine.run({"packed": packed}, {"residual": residual})
    return residual


def agree(seen: NDArray[Any], packed: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(seen, summed(packed), rtol=0, atol=1e-4)


def noise(height: int, width: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((1, 6, height, width)).astype(np.float32)


@ENGINES
def test_a_model_gives_its_numbers_in_the_callers_storage(
    open_engine: Opener, tmp_path: Path
) -> None:
    engine = open_engine(tiny(tmp_path), threads=1)
    packed = noise(9, 16, seed=1)
    agree(ran(engine, packed), packed)
    engine.close()


@ENGINES
def test_storage_that_is_filled_anew_gives_new_numbers(open_engine: Opener, tmp_path: Path) -> None:
    engine = open_engine(tiny(tmp_path), threads=1)
    packed, residual = noise(9, 16, seed=1), np.empty((1, 24, 9, 16), np.float32)
    for seed in (1, 2, 3):
        packed[...] = noise(9, 16, seed)
        engine.run({"packed": packed}, {"residual": residual})
        agree(residual, packed)


@ENGINES
def test_another_size_or_other_storage_is_taken_up(open_engine: Opener, tmp_path: Path) -> None:
    engine = open_engine(tiny(tmp_path), threads=1)
    for height, width in ((9, 16), (4, 7), (4, 7), (9, 16), (7, 4)):
        packed = noise(height, width, seed=height)
        agree(ran(engine, packed), packed)


@ENGINES
def test_a_damaged_model_is_refused_before_it_is_loaded(
    open_engine: Opener, tmp_path: Path
) -> None:
    manifest = tiny(tmp_path)
    manifest.path.write_bytes(manifest.path.read_bytes()[:-20])
    with pytest.raises(EngineError, match="damaged or foreign"):
        open_engine(manifest)


@ENGINES
def test_what_the_runtime_cannot_load_is_said_in_one_sentence(
    open_engine: Opener, tmp_path: Path
) -> None:
    blob = b"this is no ONNX"
    path = write_model(tmp_path, sha256=hashlib.sha256(blob).hexdigest())
    (tmp_path / "tiny.onnx").write_bytes(blob)
    with pytest.raises(EngineError) as refusal:
        open_engine(read_manifest(path))
    message = str(refusal.value)
    assert message.startswith(("ONNX Runtime ", "OpenVINO "))
    assert "cannot load tiny.onnx (" in message
    assert "use --backend reference" in message
    assert "\n" not in message


@ENGINES
@pytest.mark.parametrize("channels", [5, 7])
def test_storage_that_does_not_fit_is_refused_and_what_fits_still_runs(
    channels: int, open_engine: Opener, tmp_path: Path
) -> None:
    engine = open_engine(tiny(tmp_path), threads=1)
    with pytest.raises(EngineError, match=r"cannot run tiny\.onnx \(.+\); export the model anew"):
        ran(engine, np.zeros((1, channels, 9, 16), np.float32))
    packed = noise(9, 16, seed=1)
    agree(ran(engine, packed), packed)
