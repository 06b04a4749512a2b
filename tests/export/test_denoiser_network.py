"""The denoising network: what it sees, its exact fusion, and the arithmetic around it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from export.networks.denoiser import Denoiser, DifferenceHead, cleaned
from export.networks.super_resolution import CONTRAST, output_gain, pack, unpack
from kernels import reference_denoise
from streamer.frame import Planes
from tests.export.tiny import coloured_texture
from tests.streamer.pictures import empty, noise

GAINS = output_gain(1)[:, None, None]


def drawn_network() -> Denoiser:
    """One whose shares lie on both sides of their bounds, and whose residuals are of many codes."""
    torch.manual_seed(0)
    network = Denoiser(channels=8, depth=2, expansion=16)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.05)
    return network


def drawn_input() -> Tensor:
    """(1, 12, 10, 12): a picture, and a difference of a few code values."""
    generator = torch.Generator().manual_seed(1)
    now = torch.rand(1, 6, 10, 12, generator=generator)
    difference = 0.03 * torch.randn(1, 6, 10, 12, generator=generator)
    return torch.cat([now, difference], dim=1)


def in_codes(change: Tensor) -> Tensor:
    """What training calls a share and a residual, as a model gives them."""
    share, residual = torch.split(change, 6, dim=1)
    return torch.cat([255 * share - 128, GAINS * residual], dim=1)


def constant_network(*, share: float, residual: float) -> Denoiser:
    """Gives these whatever it is given, before the residual's gain."""
    network = Denoiser(channels=4, depth=1, expansion=4)
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    nn.init.constant_(network.tail.bias[:6], share)
    nn.init.constant_(network.tail.bias[6:], residual)
    return network


@torch.no_grad()
def test_the_fused_network_gives_the_same_in_code_values() -> None:
    network, packed = drawn_network(), drawn_input()
    expected = in_codes(network(packed))
    seen = network.fused()(packed)
    assert torch.allclose(seen, expected.clamp(-128, 127), atol=2e-3)
    shares, residuals = torch.split(expected, 6, dim=1)
    # Some are bounded and many are not.
    inside = ((shares > -128) & (shares < 127)).float().mean()
    assert 0.2 < inside < 0.95
    assert residuals.std() > 2


@torch.no_grad()
def test_a_share_of_one_is_255_codes_and_a_residual_is_a_sixteenth_of_the_last_layers() -> None:
    network, packed = constant_network(share=0.25, residual=1.0), drawn_input()
    made = network(packed)
    assert torch.allclose(made[:, :6], torch.tensor(0.25))
    assert torch.allclose(made[:, 6:], torch.tensor(1 / 16))
    fused = network.fused()(packed)[0, :, 3, 5]
    expected = [0.25 * 255 - 128] * 6 + [219 / 16] * 4 + [224 / 16] * 2
    assert torch.allclose(fused, torch.tensor(expected), atol=1e-4)


@torch.no_grad()
def test_what_is_exported_fits_into_a_byte() -> None:
    packed = drawn_input()
    for value, bound in ((30.0, 127.0), (-30.0, -128.0)):
        fused = constant_network(share=value, residual=value).fused()(packed)
        assert torch.equal(fused, torch.full_like(fused, bound))
    everything = constant_network(share=1.0, residual=0.0).fused()(packed)
    assert torch.allclose(everything[:, :6], torch.tensor(127.0))
    assert torch.allclose(everything[:, 6:], torch.tensor(0.0))


def drawn_head() -> DifferenceHead:
    torch.manual_seed(0)
    head = DifferenceHead(8, expansion=16)
    nn.init.normal_(head.layer.bias)
    return head.double()


@torch.no_grad()
def test_of_brightness_a_head_sees_the_mean_alone() -> None:
    head, packed = drawn_head(), drawn_input().double()
    added = torch.tensor([0.2] * 4 + [0.1, -0.3] + [0.0] * 6, dtype=torch.float64)
    # As an ordinary layer would be told of it, once and not 16 times.
    expected = (head.layer.kernel().sum(dim=(2, 3)) @ added)[:, None, None]
    seen = head(packed + added[:, None, None]) - head(packed)
    assert torch.allclose(seen, expected.expand_as(seen[0])[None], atol=1e-9)
    assert expected.abs().max() > 0.01


@torch.no_grad()
def test_a_head_sees_contrast_and_difference_sixteen_times_as_strong() -> None:
    head, packed = drawn_head(), drawn_input().double()
    fine = torch.zeros(1, 12, 1, 1, dtype=torch.float64)
    # Columns that alternate, and a difference that is the same everywhere.
    fine[0, :4, 0, 0] = torch.tensor([0.01, -0.01, 0.01, -0.01])
    moved = torch.zeros_like(fine)
    moved[0, 6:] = 0.01
    for added in (fine, moved):
        plain = head.layer.kernel().sum(dim=(2, 3)) @ added[0, :, 0, 0]
        seen = head(packed + added) - head(packed)
        expected = CONTRAST * plain[:, None, None]
        assert torch.allclose(seen, expected.expand_as(seen[0])[None], atol=1e-9)
        assert expected.abs().max() > 0.01
    assert CONTRAST == 16


@torch.no_grad()
def test_a_border_is_no_contrast() -> None:
    head = drawn_head()
    even = torch.full((1, 12, 5, 4), 0.7, dtype=torch.float64)
    seen = head(even)
    assert torch.allclose(seen, seen[:, :, 2:3, 2:3].expand_as(seen), atol=1e-9)
    assert torch.allclose(head.fused().double()(even), seen, atol=1e-4)


@torch.no_grad()
def test_an_untrained_network_gives_about_the_mean_of_both_pictures() -> None:
    torch.manual_seed(0)
    network = Denoiser(channels=16, depth=3, expansion=64)
    picture = coloured_texture(0, width=96, height=64, seed=1)
    now = pack(*as_tensors((picture.y, picture.u, picture.v)))
    # Where motion was found, two pictures differ by their noise.
    before = now + 5 / 219 * torch.randn(now.shape)
    packed = torch.cat([now, before - now], dim=1)
    change = network(packed)
    share, residual = torch.split(change, 6, dim=1)
    assert abs(float(share.mean()) - 0.5) < 0.1
    # Nowhere at a bound, where nothing would be learnt.
    assert 0 < share.min() <= share.max() < 1
    assert 0 < (GAINS * residual).abs().max() < 4.0
    away = GAINS * (cleaned(change, packed) - (now + before) / 2)
    assert away.abs().mean() < 0.25 * (GAINS * (now - before)).abs().mean()


def as_tensors(planes: Planes) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(planes[0])[None, None], torch.from_numpy(np.stack(planes[1:]))[None]


@torch.no_grad()
def test_training_cleans_as_the_stream_is_cleaned() -> None:
    size = {"width": 64, "height": 48}
    now, before = noise(**size, seed=1), noise(**size, seed=2)
    codes = np.random.default_rng(3).integers(0, 256, (12, 24, 32), dtype=np.uint8)
    codes[6:] = codes[6:] // 8 + 112
    packed = pack(*as_tensors(now))
    packed = torch.cat([packed, pack(*as_tensors(before)) - packed], dim=1)
    expected = empty(**size)
    reference_denoise.mix(now, packed[0, 6:].numpy(), codes, expected)

    share, residual = (torch.from_numpy(part.astype(np.float32)) for part in np.split(codes, 2))
    change = torch.cat([share / 255, (residual - 128) / GAINS])[None]
    luma, chroma = unpack(cleaned(change, packed), scale=1)
    seen = luma[0, 0] * 219 + 16, *(chroma[0] * 224 + 128)
    for made, wanted in zip(seen, expected, strict=True):
        # What is run is rounded to whole code values, and bounded by black and white.
        error = made.clamp(0, 255) - torch.from_numpy(wanted).float()
        assert error.abs().max() < 0.52
        assert abs(float(error.mean())) < 0.02


def test_no_more_than_the_whole_difference_is_taken_and_no_less_than_none() -> None:
    packed = drawn_input()
    now, difference = torch.split(packed, 6, dim=1)
    for share, expected in ((1.7, now + difference), (-0.4, now), (0.5, now + difference / 2)):
        change = torch.cat([torch.full_like(now, share), torch.zeros_like(now)], dim=1)
        assert torch.allclose(cleaned(change, packed), expected)
