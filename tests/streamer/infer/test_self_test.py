from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.errors import EngineError
from streamer.infer.engine import Tensors
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.reference import ReferenceEngine
from streamer.infer.self_test import SAMPLES, SIZES, TOLERANCES, check, drawn_inputs, sampled
from streamer.model import MODELS, ModelManifest, TensorSpec, read_manifest
from tests.streamer.models import tiny, write_model

MOTION = replace(
    ReferenceEngine(1).manifest,
    inputs=(
        TensorSpec(name="pictures", shape=(1, 6, "2*h", "2*w")),
        TensorSpec(name="motion", shape=(1, 5, "h", "w")),
    ),
)


class Idle(ReferenceEngine):
    """Says it is another network's, and writes nothing."""

    def __init__(self, manifest: ModelManifest) -> None:
        self.manifest = manifest

    def run(self, inputs: Tensors, outputs: Tensors) -> None: ...


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_an_engine_that_gives_what_is_stored_passes(scale: int, tmp_path: Path) -> None:
    check(OrtCpuEngine(tiny(tmp_path, scale=scale), threads=1))


@pytest.mark.parametrize(
    ("precision", "error"), [("fp32", 0.0005), ("bf16", 0.1), ("int8", 0.2), ("int8", -0.2)]
)
def test_an_engine_that_is_off_by_what_its_precision_costs_passes(
    precision: str, error: float, tmp_path: Path
) -> None:
    path = write_model(tmp_path, error=error, precision=precision)
    check(OrtCpuEngine(read_manifest(path), threads=1))


@pytest.mark.parametrize(
    ("precision", "error"),
    [
        ("fp32", 0.002),
        ("bf16", 0.15),
        ("int8", 0.3),
        ("int8", -0.3),
        ("int8", float("nan")),
        ("int8", float("inf")),
    ],
)
def test_an_engine_that_is_further_off_is_wrong(
    precision: str, error: float, tmp_path: Path
) -> None:
    path = write_model(tmp_path, error=error, precision=precision)
    with pytest.raises(EngineError) as refusal:
        check(OrtCpuEngine(read_manifest(path), threads=1))
    message = str(refusal.value)
    assert message.startswith(f"{precision} on ort-cpu is wrong on this processor: residual of sr-")
    assert f"allowed are {TOLERANCES[precision]:g}" in message


def test_an_engine_that_writes_nothing_fails(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="is off by 1 of its size"):
        check(Idle(tiny(tmp_path)))


@pytest.mark.parametrize(
    ("stored", "number"), [({}, 0), ({"flow": [1.0]}, 0), ({"residual": [1.0, 2.0]}, 2)]
)
def test_a_model_without_its_expected_outputs_is_refused(
    stored: Any, number: int, tmp_path: Path
) -> None:
    engine = OrtCpuEngine(read_manifest(write_model(tmp_path, self_test=stored)), threads=1)
    with pytest.raises(EngineError, match=f"holds {number} of the 96 values that residual is"):
        check(engine)


def test_whole_code_values_may_be_off_by_their_rounding() -> None:
    # A network that adds next to nothing is all rounding in uint8.
    manifest = replace(
        ReferenceEngine(2).manifest,
        precision="int8",
        outputs=(TensorSpec(name="residual", shape=(1, 24, "h", "w"), dtype="uint8"),),
        self_test={"residual": (0.2,) * SAMPLES},
    )

    class Rounded(Idle):
        def run(self, inputs: Tensors, outputs: Tensors) -> None:
            outputs["residual"][...] = 128

    check(Rounded(manifest))


def test_samples_lie_all_over_an_output() -> None:
    array = np.arange(24 * 48 * 64, dtype=np.float32).reshape(1, 24, 48, 64)
    values = sampled({"residual": array})["residual"]
    assert len(set(values)) == SAMPLES
    channels, rows, _ = np.unravel_index(np.array(values, int), array.shape[1:])
    assert len(set(channels)) == 24
    assert len(set(rows)) > 24


@pytest.mark.parametrize("manifest", [ReferenceEngine(2).manifest, MOTION])
def test_drawn_inputs_are_always_the_same_and_in_the_range_of_real_ones(
    manifest: ModelManifest,
) -> None:
    drawn, again = drawn_inputs(manifest, SIZES), drawn_inputs(manifest, SIZES)
    for spec in manifest.inputs:
        assert drawn[spec.name].shape == spec.sized(SIZES)
        assert drawn[spec.name].dtype == np.float32
        assert np.array_equal(drawn[spec.name], again[spec.name])
    pictures = drawn["pictures"] if "pictures" in drawn else drawn["packed"][:, :4]
    assert 0 <= pictures.min() < pictures.max() <= 1
    assert pictures.std() > 0.1
    if "motion" in drawn:
        assert np.abs(drawn["motion"]).max() < 5


def test_a_model_with_unknown_inputs_is_refused() -> None:
    manifest = replace(MOTION, inputs=(TensorSpec(name="depth", shape=(1, 1, "h", "w")),))
    with pytest.raises(EngineError, match="takes 'depth', known are packed, pictures, motion"):
        drawn_inputs(manifest, SIZES)


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.json")), ids=lambda path: path.stem)
def test_every_shipped_model_can_be_tested(path: Path) -> None:
    manifest = read_manifest(path)
    assert set(manifest.self_test) == {spec.name for spec in manifest.outputs}
    check(OrtCpuEngine(manifest, threads=1))
