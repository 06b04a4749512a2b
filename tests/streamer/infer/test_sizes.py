from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streamer.enhance.frame_maker import FrameMaker
from streamer.enhance.super_resolution import SuperResolution
from streamer.errors import ConfigError, EngineError
from streamer.infer.engine import Tensors
from streamer.infer.reference import ReferenceEngine
from streamer.infer.reference_motion import ReferenceMotionEngine
from streamer.infer.sizes import on_host, parse_picture, sizes_for, sizes_of
from streamer.model import ModelManifest, TensorSpec


class Asked(ReferenceMotionEngine):
    """Notes the sizes it is asked for."""

    def __init__(self, multiple_of: int) -> None:
        super().__init__()
        self.manifest = replace(self.manifest, multiple_of=multiple_of)
        self.sizes: list[dict[str, int]] = []

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        self.sizes.append(sizes_of(self.manifest, inputs))
        super().run(inputs, outputs)


class AskedToUpscale(ReferenceEngine):
    """Notes the sizes it is asked for."""

    sizes: dict[str, int]

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        self.sizes = sizes_of(self.manifest, inputs)
        super().run(inputs, outputs)


@pytest.mark.parametrize("multiple_of", [4, 16, 32])
@pytest.mark.parametrize(("width", "height"), [(128, 96), (130, 98), (426, 240), (64, 34)])
def test_a_motion_network_is_asked_for_the_sizes_that_were_foretold(
    width: int, height: int, multiple_of: int
) -> None:
    engine = Asked(multiple_of)
    maker = FrameMaker(engine)
    planes = (
        np.zeros((height, width), np.uint8),
        np.zeros((height // 2, width // 2), np.uint8),
        np.zeros((height // 2, width // 2), np.uint8),
    )
    maker.between(planes, planes, 0.5)
    assert engine.sizes == [sizes_for(engine.manifest, width=width, height=height)]


def test_an_upscaling_network_is_asked_for_the_sizes_that_were_foretold() -> None:
    engine = AskedToUpscale(2)
    SuperResolution((engine,)).warm_up(426, 240)
    assert engine.sizes == sizes_for(engine.manifest, width=426, height=240)


def manifest() -> ModelManifest:
    return ReferenceMotionEngine().manifest


def inputs(**shapes: tuple[int, ...]) -> Tensors:
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"pictures": (1, 6, 16, 16)},
        {"pictures": (1, 6, 16, 16), "motion": (1, 5, 8, 9)},
        {"pictures": (1, 6, 17, 16), "motion": (1, 5, 8, 8)},
        {"pictures": (1, 5, 16, 16), "motion": (1, 5, 8, 8)},
        {"pictures": (2, 6, 16, 16), "motion": (1, 5, 8, 8)},
        {"pictures": (6, 16, 16), "motion": (1, 5, 8, 8)},
    ],
)
def test_inputs_that_do_not_fit_each_other_are_refused(given: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(EngineError, match=r"motion-by-agreement takes \w+ of \(1, "):
        sizes_of(manifest(), inputs(**given))


def test_only_half_precision_looks_different_on_the_host() -> None:
    half = TensorSpec(name="packed", shape=(1, 6, "h", "w"), dtype="float16")
    codes = TensorSpec(name="residual", shape=(1, 24, "h", "w"), dtype="uint8")
    seen = on_host(replace(manifest(), inputs=(half,), outputs=(codes, half)))
    assert [spec.dtype for spec in (*seen.inputs, *seen.outputs)] == ["float32", "uint8", "float32"]
    assert seen.precision == manifest().precision


@pytest.mark.parametrize(
    ("text", "sides"),
    [("1280x720", (1280, 720)), ("32x32", (32, 32)), ("853x481", (852, 480))],
)
def test_a_size_is_read_and_made_even(text: str, sides: tuple[int, int]) -> None:
    assert parse_picture(text) == sides


@pytest.mark.parametrize(
    "text", ["", "720", "1280x", "x720", "1280x720x3", "-1x9", "16x16", "9999x720", "1²0x720"]
)
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="write width x height as 1280x720"):
        parse_picture(text)
