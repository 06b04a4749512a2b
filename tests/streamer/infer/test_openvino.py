from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamer.errors import EngineError
from streamer.infer.openvino import OpenVinoEngine, has_bf16
from streamer.infer.self_test import check
from streamer.model import MODELS, read_manifest
from tests.packages import needs_package
from tests.streamer.models import summed, tiny

IMPORT = """
import sys
from streamer.infer.openvino import has_bf16
has_bf16()
assert "openvino" in sys.modules
print([name for name in sys.modules if "telemetry" in name or "ovc" in name])
"""


@needs_package("openvino")
def test_loading_the_runtime_tells_nobody(tmp_path: Path) -> None:
    alone = subprocess.run(
        [sys.executable, "-c", IMPORT],
        capture_output=True,
        text=True,
        env={"HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
        check=True,
        timeout=60,
    )
    assert alone.stdout.strip() == "[]"
    assert not list(tmp_path.iterdir())


@needs_package("openvino")
def test_bf16_is_the_fp32_model_computed_more_coarsely(tmp_path: Path) -> None:
    if not has_bf16():
        pytest.skip("the processor does not compute in bf16")
    manifest = tiny(tmp_path)
    packed = np.random.default_rng(1).random((1, 6, 16, 16)).astype(np.float32)
    errors = {}
    for precision in ("fp32", "bf16"):
        engine = OpenVinoEngine(replace(manifest, precision=precision), threads=1)
        residual = np.empty((1, 24, 16, 16), np.float32)
        engine.run({"packed": packed}, {"residual": residual})
        errors[precision] = float(np.abs(residual - summed(packed)).max())
    assert errors["fp32"] < 1e-4
    assert 1e-3 < errors["bf16"] < 0.5


@needs_package("openvino")
@pytest.mark.parametrize("path", sorted(MODELS.glob("denoise-*.json")), ids=lambda path: path.stem)
def test_networks_for_denoising_are_right(path: Path) -> None:
    with closing(OpenVinoEngine(read_manifest(path), threads=1)) as engine:
        check(engine)


def test_without_the_package_there_is_a_sentence_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineError, match=r"installed; run: .* -m pip install openvino, or"):
        OpenVinoEngine(tiny(tmp_path))
