"""Data that lies on a device gives the batches of the host, and runs cross over."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from export.checkpoint import checkpoint_path
from export.data.planes import upscale_plane
from export.data.resident import PlainUpscale, size_bytes
from export.device import CPU
from export.networks.super_resolution import LUMA_GAIN
from export.recipe import PairRecipe
from export.tasks import open_task
from export.tasks.resident import Carried, ResidentSuperResolution, on_device
from export.tasks.super_resolution import SuperResolutionTask
from export.train import Place, train
from streamer.clock import ManualClock
from tests.export.tiny import tiny_clean_recipe, tiny_recipe

MakePlace = Callable[..., Place]

is_promised = os.environ.get("FAIL_WITHOUT_CUDA") == "1"
no_gpu = pytest.mark.skipif(
    not torch.cuda.is_available() and not is_promised, reason="needs a CUDA device"
)


def open_sr(recipe: PairRecipe, place: Place) -> SuperResolutionTask:
    task = open_task(recipe, data=place.data, cache=place.cache, report=lambda _: None)
    assert isinstance(task, SuperResolutionTask)
    return task


@pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=[pytest.mark.needs_cuda, no_gpu])]
)
@pytest.mark.parametrize("recipe", [tiny_recipe(), tiny_clean_recipe()], ids=lambda r: r.training)
def test_a_device_gives_the_batches_of_the_host(
    make_place: MakePlace, recipe: PairRecipe, device: str
) -> None:
    task = open_sr(recipe, make_place("run"))
    resident = ResidentSuperResolution(task, recipe, torch.device(device))
    # Ten draws see all quarter turns and both reflections with a chance of 97 %, the seed fixed.
    for iteration in range(10):
        wanted, seen = task.batch(iteration), resident.batch(iteration)
        assert torch.equal(seen[0].to(CPU), wanted[0])
        for there, here in zip(seen[1:], wanted[1:], strict=True):
            # A plain upscale rounds the other way once in millions of pixels, by one code value.
            error = (there.to(CPU) - here).abs()
            assert error.max() < 1.01 / LUMA_GAIN
            assert (error > 0).float().mean() < 1e-4
        assert seen[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("scale", "differing"), [(1, 0.0), (2, 1e-5), (3, 5e-3), (4, 1e-4)])
@pytest.mark.parametrize("sigma", [0.0, 2.0])
def test_the_plain_upscale_is_opencvs(scale: int, differing: float, sigma: float) -> None:
    stack = np.random.default_rng(5).integers(0, 256, (24, 32, 32), dtype=np.uint8)
    if sigma:
        stack = np.stack([cv2.GaussianBlur(plane, (0, 0), sigma) for plane in stack])
    wanted = np.stack([upscale_plane(plane, scale) for plane in stack]).astype(int)
    seen = PlainUpscale(32, scale, CPU)(torch.from_numpy(stack)).numpy()
    error = np.abs(seen - wanted)
    assert error.max() <= (1 if differing else 0)
    assert np.mean(error > 0) <= differing


def test_on_a_cpu_the_task_stays_as_it_is(make_place: MakePlace) -> None:
    recipe = tiny_recipe()
    task = open_sr(recipe, make_place("run"))
    assert on_device(task, recipe, CPU) is task


def test_batches_that_the_host_makes_are_carried_over(make_place: MakePlace) -> None:
    task = open_sr(tiny_recipe(), make_place("run"))
    batch = Carried(task, torch.device("meta")).batch(0)
    assert {part.device.type for part in batch} == {"meta"}
    assert [part.shape for part in batch] == [part.shape for part in task.batch(0)]


def test_the_room_that_pairs_take_is_their_pixels(make_place: MakePlace) -> None:
    live = open_sr(tiny_recipe(), make_place("run"))._pairs
    # A small and a large luma, and two chroma planes of a quarter each.
    assert size_bytes(live) == len(live) * (24 * 24 + 48 * 48) * 3 // 2
    clean = open_sr(tiny_clean_recipe(), make_place("run"))._pairs
    assert size_bytes(clean) > len(clean) * (24 * 24 + 48 * 48) * 3 // 2


@pytest.mark.needs_cuda
@no_gpu
@pytest.mark.parametrize(("first", "second"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_a_run_continues_on_the_other_device(
    make_place: MakePlace, first: str, second: str
) -> None:
    recipe, clock = tiny_recipe(), ManualClock()
    begun = replace(make_place("run", 15), device=first)
    train(recipe, begun, clock=clock, report=lambda _: None)
    state = torch.load(checkpoint_path(begun.work, recipe), weights_only=True)
    assert {value.device for value in state["network"].values()} == {CPU}
    spoken: list[str] = []
    ended = train(
        recipe, replace(make_place("run"), device=second), clock=clock, report=spoken.append
    )
    whole = train(recipe, make_place("whole"), clock=clock, report=lambda _: None)
    assert any("iteration 15" in line for line in spoken)
    for name, value in whole.state_dict().items():
        # bfloat16 keeps three digits; thirty steps at rate 1e-2 move a weight by a tenth.
        assert (ended.state_dict()[name] - value).abs().max() < 0.05, name
