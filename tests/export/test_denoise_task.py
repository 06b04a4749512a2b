"""Denoising learns from runs: what is brought along, what is judged, and what a cut costs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.checkpoint import checkpoint_path, read_checkpoint
from export.data.clips import find_data
from export.denoise_judge import CONDITIONS, JUDGED, noisy_runs
from export.networks import build_network
from export.networks.base import Network
from export.networks.denoiser import Denoiser, cleaned
from export.networks.super_resolution import LUMA_GAIN, pack, unpack
from export.recipe import DenoiseRecipe
from export.run_judge import judge, made_run, network_change
from export.tasks import open_task
from export.tasks.runs import MARGIN, Batch, RunTask, brought
from export.train import Place, train
from export.upscalers import pack_planes
from export.validation import psnr_y
from kernels import reference_denoise
from streamer.clock import ManualClock
from streamer.ops import follower
from streamer.ops.follower import Follower
from tests.export.tiny import coloured_texture, tiny_denoise_recipe, write_clips

MakeRun = Callable[..., Place]
Follow = Callable[..., None]
Picture = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]

RECIPE = tiny_denoise_recipe()


class Constant(Network):
    """Takes the same share of the difference everywhere and adds nothing."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, packed: Tensor) -> Tensor:
        now, _ = torch.split(packed, 6, dim=1)
        return torch.cat([torch.full_like(now, self.share), torch.zeros_like(now)], dim=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("noisy")
    return write_clips(folder, frames=6, first_seed=1, picture=coloured_texture)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def make_run(folder: Path, cache: Path, tmp_path: Path) -> MakeRun:
    torch.set_num_threads(1)

    def make(name: str) -> Place:
        return Place(data=folder, cache=cache, work=tmp_path / name, log_every=10)

    return make


def opened(recipe: DenoiseRecipe, place: Place) -> RunTask:
    task = open_task(recipe, data=place.data, cache=place.cache, report=lambda _: None)
    assert isinstance(task, RunTask)
    return task


def losses(task: RunTask, network: Network, count: int = 6) -> float:
    with torch.no_grad():
        return float(np.mean([task.loss(network, task.batch(n)).item() for n in range(count)]))


def picture(index: int) -> Picture:
    planes = coloured_texture(index, width=96, height=64, seed=3)
    return planes.y, planes.u, planes.v


def fields_of_flow() -> dict[str, NDArray[np.float32]]:
    """Back flows of (32, 48) places, in fractions of a pixel of that grid, some to beyond the edges."""
    rows, columns = np.mgrid[:32, :48].astype(np.float32)
    even = np.broadcast_to(np.array([1 + 5 / 32, -2 - 11 / 32], np.float32), (32, 48, 2)).copy()
    turning = np.stack([(rows - 16) / 9, (24 - columns) / 11], axis=-1)
    return {"even": even, "turning": turning, "standing": np.zeros_like(even)}


@pytest.mark.parametrize("follow", [follower.follow, None], ids=["as it runs", "by definition"])
@pytest.mark.parametrize("name", fields_of_flow())
def test_training_brings_the_picture_before_along_as_the_stream_does(
    name: str, follow: Follow | None
) -> None:
    before, now, flow = picture(0), picture(1), fields_of_flow()[name]
    packed = np.empty((1, 12, 32, 48), np.float32)
    if follow is None:
        reference_denoise.follow(before, now, flow, packed[0])
    else:
        follow(before, now, flow, packed)
    expected = unpack(torch.from_numpy(packed[:, :6] + packed[:, 6:]), scale=1)

    whole = pack(
        torch.from_numpy(before[0])[None, None], torch.from_numpy(np.stack(before[1:]))[None]
    )
    seen = unpack(brought(whole, torch.from_numpy(flow)[None]), scale=1)
    for made, wanted, gain in zip(seen, expected, (219, 224), strict=True):
        error = gain * (made - wanted)
        # What runs rounds to whole codes, and a flow that is not even to 32nds of a pixel.
        assert error.abs().max() < (1.0 if name != "turning" else 2.0)
        assert error.abs().mean() < 0.35
        assert abs(float(error.mean())) < 0.1
    stood = 219 * seen[0][0, 0] + 16 - torch.from_numpy(before[0])
    assert (stood.abs().mean() > 5) == (name != "standing")


def run_of(*codes: tuple[float, float]) -> Tensor:
    """(2, T, 6, 16, 16): two runs of even pictures that are so many codes of luma above black."""
    even = torch.tensor(codes).T[:, :, None, None, None] / LUMA_GAIN
    return torch.cat([even.expand(-1, -1, 4, 16, 16), torch.zeros(2, len(codes), 2, 16, 16)], dim=2)


def batch_of(noisy: Tensor, clean: Tensor, *, is_cut: Tensor | None = None) -> Batch:
    """Everything stands."""
    count, steps = noisy.shape[:2]
    if is_cut is None:
        is_cut = torch.zeros(count, steps - 1, dtype=torch.bool)
    back = torch.zeros(count, steps - 1, 16, 16, 2)
    return Batch(noisy=noisy, clean=clean, back=back, is_cut=is_cut)


def task_with(*, floor_codes: float = 1.0, chroma_weight: float = 0.25) -> RunTask:
    """For its loss alone; it has no runs."""
    recipe = tiny_denoise_recipe(floor_codes=floor_codes, chroma_weight=chroma_weight)
    return RunTask(recipe, None, [])  # type: ignore[arg-type]


def test_who_changes_nothing_loses_one_for_luma_and_the_weight_of_chroma() -> None:
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(2, 3, 6, 16, 16, generator=generator)
    for chroma_weight in (0.0, 0.25):
        task = task_with(floor_codes=0.1, chroma_weight=chroma_weight)
        for sigma in (2, 20):
            noisy = clean + sigma / LUMA_GAIN * torch.randn(clean.shape, generator=generator)
            loss = task.loss(Constant(0.0), batch_of(noisy, clean)).item()
            assert loss == pytest.approx(1 + chroma_weight, abs=0.01)


def test_the_floor_is_what_an_error_counts_where_nothing_is_noisy() -> None:
    clean = run_of((50, 90), (50, 90), (50, 90))
    seen = task_with(floor_codes=2.0).loss(Constant(0.0), batch_of(clean, clean))
    assert seen.item() == 0.0
    # 6 codes too bright in all of the second picture: of that alone (6 / 2) ** 2, of the noisy one
    # 36 / (36 + 4).
    noisy = run_of((50, 90), (56, 96), (50, 90))
    seen = task_with(floor_codes=2.0).loss(Constant(0.0), batch_of(noisy, clean))
    assert seen.item() == pytest.approx(36 / 40 / 3, rel=1e-4)
    seen = task_with(floor_codes=2.0).loss(Constant(1.0), batch_of(clean, noisy))
    assert seen.item() == pytest.approx(36 / 40 / 3, rel=1e-4)


def test_each_picture_is_cleaned_with_the_help_of_the_cleaned_one_before() -> None:
    noisy, clean = run_of((50, 90), (58, 98), (58, 98)), run_of((50, 90), (50, 90), (50, 90))
    seen = task_with().loss(Constant(0.5), batch_of(noisy, clean))
    # 4 codes are left of 8, then 6 of them, as what came before was 54 and not 58.
    assert seen.item() == pytest.approx((16 + 36) / 65 / 3, rel=1e-4)


def test_after_a_cut_the_picture_before_is_another_runs() -> None:
    noisy = run_of((50, 60), (50, 60), (50, 60), (50, 60))
    is_cut = torch.tensor([[False, True, False], [False, False, False]])
    seen = task_with().loss(Constant(1.0), batch_of(noisy, noisy, is_cut=is_cut))
    # The first run is ten codes too bright from the cut on.
    assert seen.item() == pytest.approx((100 + 100) / 2 / 4, rel=1e-4)
    seen = task_with().loss(Constant(0.0), batch_of(noisy, noisy, is_cut=is_cut))
    assert seen.item() == 0.0


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        (slice(0, 4), slice(None)),
        (slice(-4, None), slice(None)),
        (slice(None), slice(0, 4)),
        (slice(None), slice(-4, None)),
    ],
    ids=["above", "below", "left", "right"],
)
def test_edges_are_not_judged_and_what_is_beside_them_is(rows: slice, columns: slice) -> None:
    clean = run_of((50, 90), (50, 90))
    noisy = clean.clone()
    noisy[..., rows, columns] += 0.5
    task = task_with()
    assert task.loss(Constant(0.0), batch_of(noisy, clean)).item() == 0.0
    assert MARGIN == 8

    def one_further(part: slice) -> slice:
        if part == slice(None):
            return part
        return slice(0, 5) if part.start == 0 else slice(-5, None)

    noisy[..., one_further(rows), one_further(columns)] += 0.5
    assert task.loss(Constant(0.0), batch_of(noisy, clean)).item() > 0.5


def test_a_batch_follows_from_seed_and_number(make_run: MakeRun) -> None:
    def tensors(recipe: DenoiseRecipe, number: int) -> dict[str, Tensor]:
        batch = opened(recipe, make_run("run")).batch(number)
        return {field.name: getattr(batch, field.name) for field in fields(batch)}

    first, again, other = (tensors(RECIPE, number) for number in (3, 3, 4))
    assert {name: tuple(value.shape) for name, value in first.items()} == {
        "noisy": (4, 4, 6, 16, 16),
        "clean": (4, 4, 6, 16, 16),
        "back": (4, 3, 16, 16, 2),
        "is_cut": (4, 3),
    }
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["noisy"], other["noisy"])
    reseeded = replace(RECIPE, train=replace(RECIPE.train, seed=2))
    assert not torch.equal(first["noisy"], tensors(reseeded, 3)["noisy"])


def test_pictures_of_a_batch_are_packed_one_by_one(make_run: MakeRun) -> None:
    task = opened(RECIPE, make_run("run"))
    settings = RECIPE.train
    runs = task._runs.sample(np.random.default_rng([settings.seed, 5]), settings.batch)
    batch = task.batch(5)
    for number, step in ((0, 0), (1, 3), (3, 2)):
        for packed, y, uv in (
            (batch.noisy, runs.noisy_y, runs.noisy_uv),
            (batch.clean, runs.clean_y, runs.clean_uv),
        ):
            luma, chroma = unpack(packed[number, step][None], scale=1)
            assert np.allclose(luma[0, 0] * 219 + 16, y[number, step], atol=1e-3)
            assert np.allclose(chroma[0] * 224 + 128, uv[number, step], atol=1e-3)


def test_cuts_come_in_their_share_and_are_dear_to_who_takes_all(make_run: MakeRun) -> None:
    def cutting(share: float) -> RunTask:
        return opened(tiny_denoise_recipe(cut_share=share), make_run("run"))

    whole, half, none = (cutting(share) for share in (1.0, 0.5, 0.0))
    counted = [
        np.mean([task.batch(n).is_cut.float().mean().item() for n in range(40)])
        for task in (whole, half, none)
    ]
    assert counted == pytest.approx([1.0, 0.5, 0.0], abs=0.08)
    assert losses(whole, Constant(1.0)) > 10 * losses(none, Constant(1.0))
    # Who takes nothing never sees them.
    assert losses(whole, Constant(0.0)) == losses(none, Constant(0.0)) <= 1.25


def test_thirty_steps_bring_pictures_nearer_to_what_they_were(make_run: MakeRun) -> None:
    place, spoken = make_run("run"), list[str]()
    network = train(RECIPE, place, clock=ManualClock(), report=spoken.append)
    state = read_checkpoint(checkpoint_path(place.work, RECIPE), RECIPE)
    task = opened(RECIPE, place)
    torch.manual_seed(RECIPE.train.seed)
    fresh, learnt = build_network(RECIPE), build_network(RECIPE)
    learnt.load_state_dict(state["network"])
    assert losses(task, learnt) < 0.9 * losses(task, fresh)
    assert all(bool(value.isfinite().all()) for value in network.state_dict().values())
    part = r"{} [\d.]+ -> [\d.]+ \([+-][\d.]+ dB\)"
    assert re.fullmatch("30 " + ", ".join(part.format(name) for name in CONDITIONS), spoken[-1])


def test_held_out_clips_are_judged_in_every_condition(folder: Path) -> None:
    clips = find_data(folder, validation=["beta"]).validation
    runs = noisy_runs(clips)
    assert [(run.clip, run.condition) for run in runs] == [("beta_1", name) for name in CONDITIONS]
    for run in runs:
        assert len(run.noisy) == 6
        assert list(run.clean) == [n for n in JUDGED if n < 6] == [4]
        assert run.noisy[4].y.shape == run.clean[4].y.shape == (64, 80)
        lost = psnr_y(run.noisy[4].y, run.clean[4].y, border=0)
        assert lost == 99 if run.condition == "clean" else 25 < lost < 45
    assert np.array_equal(noisy_runs(clips)[1].noisy[3].y, runs[1].noisy[3].y)


def test_the_verdict_tells_what_is_gained(folder: Path) -> None:
    runs = noisy_runs(find_data(folder, validation=["beta"]).validation, ("clean", "noise 5"))

    def gains(network: Network) -> list[float]:
        return [float(gain) for gain in re.findall(r"\(([+-][\d.]+) dB\)", judge(network, runs))]

    network = build_network(RECIPE)
    assert isinstance(network, Denoiser)
    torch.nn.init.zeros_(network.tail.wide)
    for name in ("point", "squeeze"):
        torch.nn.init.zeros_(getattr(network.tail, name))
    # Half of both pictures: where motion is found half of the noise's variance is left, and less.
    assert gains(network)[1] > 1.5
    torch.nn.init.zeros_(network.tail.bias)
    assert gains(network) == [0.0, 0.0]


def test_a_held_out_clip_too_short_to_be_judged_is_left_out(tmp_path: Path) -> None:
    folder = write_clips(tmp_path, frames=4, picture=coloured_texture)
    clips = find_data(folder, validation=["beta"]).validation
    assert noisy_runs(clips) == []


def test_what_is_judged_is_what_was_learnt(folder: Path) -> None:
    torch.manual_seed(0)
    network = build_network(RECIPE)
    (run,) = noisy_runs(find_data(folder, validation=["beta"]).validation, ("noise 5",))
    made = made_run(Follower(network_change(network)), run.noisy)
    assert len(made) == len(run.noisy)
    # The first picture follows nothing.
    packed = torch.from_numpy(pack_planes(run.noisy[0]))
    packed = torch.cat([packed, torch.zeros_like(packed)], dim=1)
    with torch.no_grad():
        luma, _ = unpack(cleaned(network(packed), packed), scale=1)
    error = luma[0, 0].numpy() * 219 + 16 - made[0].y
    assert np.abs(error).max() < 1.1
    assert abs(error.mean()) < 0.1


def test_a_run_follows_nothing_of_the_run_before_it(folder: Path) -> None:
    torch.manual_seed(0)
    (run,) = noisy_runs(find_data(folder, validation=["beta"]).validation, ("noise 5",))
    denoise = Follower(network_change(build_network(RECIPE)))
    first, again = made_run(denoise, run.noisy), made_run(denoise, run.noisy)
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one.y, other.y)
        assert np.array_equal(one.u, other.u)
    # Nor are pictures written over while the next one is compared with them.
    assert not np.array_equal(first[1].y, first[2].y)
