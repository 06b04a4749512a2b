"""The typed fp16 variant, and the parts that stay float32 in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto
from torch import Tensor, nn
from torch.nn import functional

from export import verify as verification
from export.float16 import typed_half
from export.half import half_specs, make_half
from export.to_onnx import Exportable, examples, to_onnx_bytes
from export.verify import Limit
from streamer.errors import ConfigError
from streamer.model import ModelManifest, TensorSpec, read_manifest

WIDE = 4096


class Shift(nn.Module):
    """Samples a picture half a pixel to the right of each pixel, by coordinates."""

    needs_float32 = True

    def forward(self, picture: Tensor) -> Tensor:
        count, _, height, width = picture.shape
        x = torch.arange(width, dtype=picture.dtype).view(1, 1, width).expand(count, height, width)
        y = torch.arange(height, dtype=picture.dtype).view(1, height, 1).expand_as(x)
        across = (x + 0.5) * 2 / (width - 1) - 1
        down = y * 2 / (height - 1) - 1
        grid = torch.stack([across, down], dim=-1)
        return functional.grid_sample(picture, grid, padding_mode="border", align_corners=True)


class UnmarkedShift(Shift):
    """The same by somebody who forgot."""

    needs_float32 = False


class Warping(nn.Module):
    """A convolution that only doubles, and a warp after it."""

    def __init__(self, *, is_marked: bool) -> None:
        super().__init__()
        self.twice = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.constant_(self.twice.weight, 2.0)
        self.inside = nn.Sequential(Shift() if is_marked else UnmarkedShift())

    def forward(self, picture: Tensor) -> Tensor:
        shifted: Tensor = self.inside(self.twice(picture))
        return shifted


def warping(*, is_marked: bool) -> Exportable:
    ports = half_specs([TensorSpec(name="picture", shape=(1, 1, "h", "w"))])
    given = half_specs([TensorSpec(name="shifted", shape=(1, 1, "h", "w"))])
    network = typed_half(Warping(is_marked=is_marked).eval())
    return Exportable(network=network, inputs=ports, outputs=given)


def ramp() -> torch.Tensor:
    """Columns that count up to 63 and begin again: whole numbers, so that fp16 holds them all."""
    return (torch.arange(WIDE) % 64).half().expand(1, 1, 4, WIDE).contiguous()


def expected_ramp() -> torch.Tensor:
    x = torch.arange(WIDE - 1) % 64
    return torch.where(x == 63, 31.5, x + 0.5) * 2


def test_a_warp_stays_float32_between_float16_neighbours() -> None:
    blob = to_onnx_bytes(warping(is_marked=True), file="warp.onnx")
    model = onnx.load_from_string(blob)
    assert {v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)} == {
        TensorProto.FLOAT16
    }
    session = onnxruntime.InferenceSession(blob, providers=["CPUExecutionProvider"])
    (seen,) = session.run(None, {"picture": ramp().numpy()})
    assert seen.dtype == np.float16
    assert np.allclose(seen[0, 0, 1, :-1], expected_ramp(), atol=0.05)


def test_a_warp_in_float16_would_tear_a_wide_picture() -> None:
    with torch.no_grad():
        torn = typed_half(Warping(is_marked=False).eval())(ramp())
        whole = typed_half(Warping(is_marked=True).eval())(ramp())
    assert (torn[0, 0, 1, :-1].float() - expected_ramp()).abs().max() > 5
    assert (whole[0, 0, 1, :-1].float() - expected_ramp()).abs().max() < 0.05


def test_a_warp_that_was_not_marked_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^warp\.onnx: GridSample .* not float32"):
        to_onnx_bytes(warping(is_marked=False), file="warp.onnx")


def test_an_island_may_be_the_whole_network() -> None:
    shift = typed_half(Shift())
    assert shift(ramp()).dtype == torch.float16


def test_free_dimensions_of_the_same_name_have_the_same_size() -> None:
    specs = (
        TensorSpec(name="a", shape=(1, 3, "h", "w")),
        TensorSpec(name="b", shape=(1, 1, "h", "w"), dtype="float16"),
    )
    first, second = examples(specs)
    assert first.shape[2:] == second.shape[2:]
    assert first.shape[2] != first.shape[3]
    assert second.dtype == torch.float16


def test_the_fp16_variant_is_typed_throughout_and_names_its_origin(
    manifest: ModelManifest, tmp_path: Path
) -> None:
    variant = read_manifest(make_half(manifest, tmp_path, report=lambda line: None))
    assert (variant.name, variant.precision) == (f"{manifest.name}-fp16", "fp16")
    assert {spec.dtype for spec in (*variant.inputs, *variant.outputs)} == {"float16"}
    model = onnx.load_from_string(variant.verified_bytes())
    assert {tensor.data_type for tensor in model.graph.initializer} == {TensorProto.FLOAT16}
    assert {node.op_type for node in model.graph.node} == {"Conv", "Relu"}
    assert variant.origin is not None
    assert (variant.origin.name, variant.origin.sha256) == (manifest.name, manifest.sha256)
    assert not variant.recipe
    assert not variant.data
    with pytest.raises(ConfigError, match="is fp16; make its fp16 variant from the fp32"):
        make_half(variant, tmp_path, report=lambda line: None)


def test_a_variant_that_is_too_far_from_fp32_is_not_written(
    manifest: ModelManifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(verification.LIMITS, "fp16", Limit(largest=1e-9, share=1e-9))
    with pytest.raises(ConfigError, match=rf"{manifest.name}-fp16\.onnx by"):
        make_half(manifest, tmp_path, report=lambda line: None)
    assert not list(tmp_path.glob("*fp16*"))
