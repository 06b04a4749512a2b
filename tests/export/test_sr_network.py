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
    ContrastHead,
    SuperResolution,
    output_gain,
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


def test_a_network_for_small_corrections_is_fused_to_the_same_residual() -> None:
    torch.manual_seed(0)
    network = SuperResolution(
        scale=1, channels=16, depth=2, expansion=32, sees_contrast=True, residual_gain=0.01
    )
    packed = torch.rand(1, 6, 10, 12)
    with torch.no_grad():
        luma, chroma = unpack(network(packed), scale=1)
        seen_luma, seen_chroma = unpack(network.fused()(packed), scale=1)
    assert luma.abs().max() * LUMA_GAIN > 0.05
    assert torch.allclose(seen_luma, luma * LUMA_GAIN, atol=1e-4)
    assert torch.allclose(seen_chroma, chroma * CHROMA_GAIN, atol=1e-4)


@pytest.mark.parametrize("sees_contrast", [False, True])
def test_a_fused_network_can_be_opened_again(*, sees_contrast: bool) -> None:
    torch.manual_seed(0)
    networks = [
        SuperResolution(
            scale=2, channels=16, depth=2, expansion=32, long_skip=True, sees_contrast=sees_contrast
        )
        for _ in range(2)
    ]
    shipped = networks[0].fused()
    networks[1].take(shipped)
    packed = torch.rand(1, 6, 10, 12)
    with torch.no_grad():
        expected, seen = shipped(packed), networks[1].fused()(packed)
    assert expected.abs().max() > 1.0
    assert torch.allclose(seen, expected, atol=1e-3)


def test_only_the_fused_residual_is_bounded_and_within_the_bounds_it_is_as_before() -> None:
    torch.manual_seed(0)
    network = SuperResolution(scale=1, channels=16, depth=2, expansion=32, residual_limit=3.0)
    packed = 10 * torch.randn(1, 6, 10, 12)
    with torch.no_grad():
        unbounded = network(packed) * output_gain(1)[:, None, None]
        bounded = network.fused()(packed)
    assert unbounded.abs().max() > 4
    assert unbounded.abs().min() < 2
    assert torch.allclose(bounded, unbounded.clamp(-3, 3), atol=1e-3)


def test_a_head_for_contrast_does_not_see_brightness_or_the_border() -> None:
    torch.manual_seed(0)
    head = ContrastHead(8, expansion=16)
    nn.init.normal_(head.layer.bias)
    packed = torch.rand(1, 6, 9, 7)
    brighter = packed + torch.tensor([0.2] * 4 + [0.1, -0.3])[:, None, None]
    even = torch.full((1, 6, 5, 4), 0.7)
    with torch.no_grad():
        assert torch.allclose(head(brighter), head(packed), atol=1e-4)
        assert head(packed).std() > 1
        # Nothing but the bias, up to the last row.
        assert torch.allclose(head(even), head.layer.bias[:, None, None].expand(8, 5, 4), atol=1e-4)


@pytest.mark.parametrize("long_skip", [False, True])
def test_the_fused_network_is_the_sum_of_all_branches(*, long_skip: bool) -> None:
    torch.manual_seed(0)
    network = SuperResolution(scale=2, channels=12, depth=3, expansion=16, long_skip=long_skip)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    network.double()
    packed = torch.rand(1, 6, 10, 12, dtype=torch.float64)
    assert isinstance(network.head, RepConv)
    with torch.no_grad():
        x = first = network.head.branches(packed).relu()
        for layer in network.body:
            assert isinstance(layer, RepConv)
            x = layer.branches(x).relu()
        expected = network.tail.branches(x + first if long_skip else x)
        seen = network.fused().double()(packed) / output_gain(2)[:, None, None]
    assert torch.allclose(network(packed), expected, atol=1e-9)
    # Fused weights are float32.
    assert (seen - expected).abs().max() < 1e-5 * expected.abs().max()
    # The skip is more than rounding.
    other = network.tail.branches(x if long_skip else x + first)
    assert (other - expected).abs().max() > 0.01 * expected.abs().max()


def test_weights_from_before_the_skip_keep_their_names() -> None:
    plain, skipping = (
        SuperResolution(scale=2, channels=8, depth=2, expansion=8, long_skip=skip)
        for skip in (False, True)
    )
    assert list(plain.fused().state_dict()) == [
        f"{layer}.{part}" for layer in (0, 2, 4, 6) for part in ("weight", "bias")
    ]
    skipping.load_state_dict(plain.state_dict())
    skipping.fused().load_state_dict(plain.fused().state_dict())


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
