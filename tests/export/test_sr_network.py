"""The super-resolution network: layout, size and exact fusion."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from export.networks.rep_conv import RepConv
from export.networks.super_resolution import (
    CHROMA_GAIN,
    LUMA_GAIN,
    SuperResolution,
    count_macs_per_pixel,
    count_parameters,
    pack,
    unpack,
)
from export.upscalers import pack_planes, shuffle
from tests.export.tiny import moving_picture


@pytest.mark.parametrize(("inputs", "outputs"), [(6, 16), (16, 16), (16, 24)])
def test_one_kernel_equals_the_sum_of_all_branches(inputs: int, outputs: int) -> None:
    torch.manual_seed(0)
    layer = RepConv(inputs, outputs, expansion=20).double()
    nn.init.normal_(layer.bias)
    x = torch.randn(2, inputs, 9, 7, dtype=torch.float64)
    expected = layer.branches(x)
    assert torch.allclose(layer(x), expected, atol=1e-12)
    assert torch.allclose(layer.fused().double()(x), expected, atol=1e-4)


def test_the_fused_network_gives_the_same_residual_in_code_values() -> None:
    torch.manual_seed(0)
    network = SuperResolution(scale=2, channels=16, depth=2, expansion=32)
    with torch.no_grad():
        packed = torch.rand(1, 6, 10, 12)
        luma, chroma = unpack(network(packed), scale=2)
        seen_luma, seen_chroma = unpack(network.fused()(packed), scale=2)
    assert torch.allclose(seen_luma, luma * LUMA_GAIN, atol=1e-3)
    assert torch.allclose(seen_chroma, chroma * CHROMA_GAIN, atol=1e-3)


def test_lite_x2_has_the_size_it_is_sold_with() -> None:
    fused = SuperResolution(scale=2, channels=32, depth=4, expansion=128).fused()
    assert count_parameters(fused) == 45_688
    assert count_macs_per_pixel(fused) == 11_376


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_the_output_has_the_size_of_the_enlarged_picture(scale: int) -> None:
    network = SuperResolution(scale=scale, channels=8, depth=1, expansion=8)
    luma, chroma = unpack(network(torch.zeros(1, 6, 8, 10)), scale=scale)
    assert luma.shape == (1, 1, 16 * scale, 20 * scale)
    assert chroma.shape == (1, 2, 8 * scale, 10 * scale)


def test_packing_puts_the_phases_in_the_manifests_order() -> None:
    y = torch.tensor([[16.0, 235.0], [125.5, 16.0]]).reshape(1, 1, 2, 2)
    uv = torch.tensor([128.0, 240.0]).reshape(1, 2, 1, 1)
    assert pack(y, uv).flatten().tolist() == [0.0, 1.0, 0.5, 0.0, 0.0, 0.5]


def test_what_is_packed_at_scale_one_unpacks_to_the_same_planes() -> None:
    y, uv = torch.rand(2, 1, 12, 16) * 219 + 16, torch.rand(2, 2, 6, 8) * 224
    luma, chroma = unpack(pack(y, uv), scale=1)
    assert torch.allclose(luma * LUMA_GAIN + 16, y, atol=1e-4)
    assert torch.allclose(chroma * CHROMA_GAIN + 128, uv, atol=1e-4)


def test_numpy_and_torch_agree_on_packing_and_shuffling() -> None:
    planes = moving_picture(1, width=32, height=24, seed=1)
    uv = torch.from_numpy(np.stack([planes.u, planes.v]))[None]
    expected = pack(torch.from_numpy(planes.y)[None, None], uv)
    assert np.allclose(pack_planes(planes), expected.numpy(), atol=1e-6)

    phases = torch.rand(1, 16, 3, 5)
    shuffled = torch.nn.functional.pixel_shuffle(phases, 4)[0, 0]
    assert np.array_equal(shuffle(phases[0].numpy(), 4), shuffled.numpy())


def test_an_untrained_network_starts_near_the_plain_upscale() -> None:
    torch.manual_seed(0)
    network = SuperResolution(scale=2, channels=32, depth=4, expansion=128)
    with torch.no_grad():
        residual = network.fused()(torch.rand(1, 6, 32, 32))
    assert residual.abs().mean() < 3.0
