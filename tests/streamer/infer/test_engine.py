"""What every backend's engine does alike."""

from __future__ import annotations

import hashlib
import subprocess
import sys
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
def test_a_file_whose_texts_are_none_is_said_in_one_sentence_and_nothing_else(
    open_engine: Opener, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tiny(tmp_path).path
    blob = path.read_bytes()
    operator = blob.index(b"Conv")
    blob = blob[:operator] + b"C\x89\xed\x97" + blob[operator + 4 :]
    path = write_model(tmp_path, sha256=hashlib.sha256(blob).hexdigest())
    (tmp_path / "tiny.onnx").write_bytes(blob)
    with pytest.raises(EngineError, match=r"cannot load tiny\.onnx \(.+\); export the model anew"):
        open_engine(read_manifest(path))
    assert capfd.readouterr().out == ""


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


@ENGINES
def test_storage_that_was_there_before_is_taken_up_again_behind_some_that_does_not_fit(
    open_engine: Opener, tmp_path: Path
) -> None:
    engine = open_engine(tiny(tmp_path), threads=1)
    packed, residual = noise(9, 16, seed=1), np.empty((1, 24, 9, 16), np.float32)
    engine.run({"packed": packed}, {"residual": residual})
    for wrong in (np.zeros((1, 24, 9, 32), np.float32)[..., ::2], np.zeros((1, 24, 9, 16))):
        with pytest.raises(EngineError, match=r"cannot run tiny\.onnx \(.+\)"):
            engine.run({"packed": noise(9, 16, seed=2)}, {"residual": wrong})
        engine.run({"packed": packed}, {"residual": residual})
        agree(residual, packed)


@ENGINES
@pytest.mark.parametrize("shape", [(18, 16), (4, 16), (16, 9)], ids=["larger", "smaller", "turned"])
def test_outputs_of_another_size_than_the_picture_are_refused(
    shape: tuple[int, int], open_engine: Opener, tmp_path: Path
) -> None:
    engine = open_engine(tiny(tmp_path), threads=1)
    packed = noise(9, 16, seed=1)
    for _ in range(2):
        with pytest.raises(EngineError):
            engine.run({"packed": packed}, {"residual": np.empty((1, 24, *shape), np.float32)})
    agree(ran(engine, packed), packed)


@ENGINES
def test_views_with_gaps_are_refused_and_nothing_is_written(
    open_engine: Opener, tmp_path: Path
) -> None:
    engine = open_engine(tiny(tmp_path), threads=1)
    packed, wide = noise(9, 16, seed=1), np.full((1, 24, 9, 32), 7, np.float32)
    for taken, given in (
        (noise(9, 32, seed=1)[..., ::2], wide[..., :16].copy()),
        (packed, wide[..., ::2]),
    ):
        with pytest.raises(EngineError, match=r"cannot run tiny\.onnx \(.+\)"):
            engine.run({"packed": taken}, {"residual": given})
    assert (wide == 7).all()
    agree(ran(engine, packed), packed)


@ENGINES
def test_a_closed_engine_says_so(open_engine: Opener, tmp_path: Path) -> None:
    engine = open_engine(tiny(tmp_path), threads=1)
    packed = noise(9, 16, seed=1)
    ran(engine, packed)
    for _ in range(2):
        engine.close()
        with pytest.raises(EngineError, match="is closed, and nothing runs after that"):
            ran(engine, packed)


@ENGINES
def test_one_that_is_closed_once_a_run_has_begun_ends_that_run_first(
    open_engine: Opener, tmp_path: Path
) -> None:
    engine = open_engine(tiny(tmp_path), threads=1)

    class ClosedMeanwhile(dict[str, NDArray[Any]]):
        """Inputs that somebody closes the engine over, as they are looked at."""

        def values(self) -> Any:
            engine.close()
            return super().values()

    packed, residual = noise(9, 16, seed=1), np.empty((1, 24, 9, 16), np.float32)
    engine.run(ClosedMeanwhile(packed=packed), {"residual": residual})
    agree(residual, packed)
    with pytest.raises(EngineError, match="is closed, and nothing runs after that"):
        ran(engine, packed)


CLOSING = """
import sys, threading
from pathlib import Path
import numpy as np
from streamer.errors import EngineError
from streamer.infer.{module} import {name} as open_engine
from tests.streamer.models import tiny

manifest = tiny(Path(sys.argv[1]))
packed = np.zeros((1, 6, 90, 160), np.float32)
said = []

def run(engine, has_run):
    residual = np.zeros((1, 24, 90, 160), np.float32)
    try:
        while True:
            engine.run({{"packed": packed}}, {{"residual": residual}})
            has_run.set()
    except EngineError as error:
        said.append(str(error))

for _ in range(60):
    engine, has_run = open_engine(manifest, threads=2), threading.Event()
    running = threading.Thread(target=run, args=(engine, has_run), daemon=True)
    running.start()
    has_run.wait(60)
    engine.close()
    running.join(60)
print(sum("is closed" in each for each in said))
"""


@ENGINES
def test_one_that_is_closed_during_a_run_ends_with_a_sentence(
    open_engine: Opener, tmp_path: Path
) -> None:
    # In a process of its own: the fault it looks for ends that.
    script = CLOSING.format(
        module=open_engine.__module__.rpartition(".")[2], name=open_engine.__name__
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "60\n"), done.stderr
