from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.clock import ManualClock
from streamer.infer.engine import Tensors
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.reference import ReferenceEngine
from streamer.infer.watchdog import FAULTS, IN_A_MINUTE, IN_A_ROW, Watchdog
from streamer.model import MODELS, read_manifest

SHAPE = (1, 24, 9, 16)


def residual(dtype: type, value: float = 0.0, *, spread: float = 5.0) -> NDArray[Any]:
    """A residual around ``value`` code values, the way the dtype holds it."""
    noise = np.random.default_rng(1).normal(value, spread, SHAPE)
    if dtype is np.uint8:
        return np.clip(np.rint(noise + 128), 0, 255).astype(np.uint8)
    return noise.astype(dtype)


def dog(clock: ManualClock | None = None) -> Watchdog:
    return Watchdog(ReferenceEngine(2), clock or ManualClock())


def motion_dog() -> Watchdog:
    engine = ReferenceEngine(1)
    engine.manifest = replace(engine.manifest, task="interpolation")
    return Watchdog(engine, ManualClock())


def guide(**changes: NDArray[np.float32]) -> Tensors:
    shares = {"mask": 0.5, "residual": 0.02, "softness": 1.0, "confidence": 0.0}
    maps = {name: np.full((1, 1, 9, 16), share, np.float32) for name, share in shares.items()}
    return {"flow": np.full((1, 4, 9, 16), -7.5, np.float32), **maps, **changes}


def with_one(array: NDArray[np.float32], value: float) -> NDArray[np.float32]:
    spoilt = array.copy()
    spoilt[0, -1, 4, 7] = value
    return spoilt


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8])
def test_a_residual_as_networks_give_it_is_sound(dtype: type) -> None:
    watchdog = dog()
    for value, spread in ((0.0, 0.0), (0.0, 5.0), (-3.0, 60.0)):
        assert watchdog.is_sound({"residual": residual(dtype, value, spread=spread)})


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8])
@pytest.mark.parametrize(("value", "spread"), [(-127.0, 0.5), (60.0, 5.0), (0.0, 4000.0)])
def test_a_black_white_or_exploded_residual_is_not(
    dtype: type, value: float, spread: float
) -> None:
    assert not dog().is_sound({"residual": residual(dtype, value, spread=spread)})


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_a_number_is_enough(dtype: type, value: float) -> None:
    assert not dog().is_sound({"residual": with_one(residual(dtype), value)})


def test_what_shipped_networks_give_for_the_harshest_pictures_is_sound() -> None:
    y, x = np.mgrid[0:48, 0:64]
    noise = np.random.default_rng(1).integers(0, 2, (48, 64))
    for path in sorted(MODELS.glob("sr-*live*.json")):
        manifest = read_manifest(path)
        if manifest.inputs[0].dtype == "float16":
            continue
        engine = OrtCpuEngine(manifest, threads=1)
        watchdog = Watchdog(engine, ManualClock())
        shape = (1, 6 * manifest.scale**2, 24, 32)
        given = np.empty(shape, manifest.residual_dtype)
        for luma in (noise, (x + y) % 2, x % 2, x // 2 % 2, 0 * x, 0 * x + 1):
            packed = np.zeros((1, 6, 24, 32), np.float32)
            code = (255.0 * luma - 16) / 219
            packed[0, :4] = [code[i::2, j::2] for i in range(2) for j in range(2)]
            engine.run({"packed": packed}, {"residual": given})
            assert watchdog.is_sound({"residual": given}), manifest.name


def change(dtype: type, value: float = 0.0, *, spread: float = 5.0) -> NDArray[Any]:
    """What a denoising network gives: shares of any size, and residuals around ``value``."""
    numbers = np.random.default_rng(2)
    both = np.concatenate(
        [numbers.uniform(-128, 127, (1, 6, 9, 16)), numbers.normal(value, spread, (1, 6, 9, 16))], 1
    )
    codes = np.clip(np.rint(both + 128), 0, 255) if dtype is np.uint8 else both
    given: NDArray[Any] = codes.astype(dtype)
    return given


def denoising_dog() -> Watchdog:
    engine = ReferenceEngine(1)
    engine.manifest = replace(engine.manifest, task="denoising")
    return Watchdog(engine, ManualClock())


def test_every_task_of_the_shipped_networks_is_judged_in_its_own_way() -> None:
    tasks = {read_manifest(path).task for path in MODELS.glob("*.json")}
    assert tasks - set(FAULTS) <= {"interpolation", "prediction"}, "all others are of motion"


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8])
def test_a_change_as_networks_give_it_is_sound(dtype: type) -> None:
    for value, spread in ((0.0, 0.0), (0.0, 5.0), (-3.0, 60.0)):
        assert denoising_dog().is_sound({"change": change(dtype, value, spread=spread)})


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
@pytest.mark.parametrize("share", [-128.0, 127.0, 1e6])
def test_a_change_may_take_any_share_of_the_last_picture(dtype: type, share: float) -> None:
    given = change(dtype)
    given[:, :6] = min(share + 128, 255) if dtype is np.uint8 else share
    assert denoising_dog().is_sound({"change": given})


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
@pytest.mark.parametrize(("value", "spread"), [(-127.0, 0.5), (60.0, 5.0), (0.0, 4000.0)])
def test_a_change_that_adds_what_cannot_be_is_not_sound(
    dtype: type, value: float, spread: float
) -> None:
    assert not denoising_dog().is_sound({"change": change(dtype, value, spread=spread)})


@pytest.mark.parametrize("channel", [0, 5, 6, 11])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_of_a_change_that_is_not_a_number_is_enough(channel: int, value: float) -> None:
    spoilt = change(np.float32)
    spoilt[0, channel, 4, 7] = value
    watchdog = denoising_dog()
    for _ in range(IN_A_ROW):
        assert not watchdog.is_sound({"change": spoilt})
    assert "gave what cannot be 3 times in a row (last: change " in watchdog.verdict


def test_a_guide_for_a_made_frame_is_sound() -> None:
    assert motion_dog().is_sound(guide())


@pytest.mark.parametrize("name", ["flow", "mask", "residual", "softness", "confidence"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 20.0, -20.0])
def test_a_guide_that_leads_out_of_the_picture_or_is_no_share_is_not(
    name: str, value: float
) -> None:
    spoilt = with_one(np.asarray(guide()[name], np.float32), value)
    assert not motion_dog().is_sound(guide(**{name: spoilt}))


def test_a_flow_may_be_as_long_as_the_picture() -> None:
    flow = np.asarray(guide()["flow"], np.float32)
    assert motion_dog().is_sound(guide(flow=with_one(flow, 15.9)))
    assert not motion_dog().is_sound(guide(flow=with_one(flow, 16.5)))


def spoil(watchdog: Watchdog, times: int = 1) -> None:
    for _ in range(times):
        assert not watchdog.is_sound({"residual": residual(np.uint8, -120.0)})


def pass_one(watchdog: Watchdog) -> None:
    assert watchdog.is_sound({"residual": residual(np.uint8)})


def test_an_engine_is_given_up_after_three_unsound_outputs_in_a_row() -> None:
    watchdog = dog()
    spoil(watchdog, IN_A_ROW - 1)
    pass_one(watchdog)
    spoil(watchdog, IN_A_ROW - 1)
    assert watchdog.verdict == ""
    spoil(watchdog)
    assert watchdog.verdict.startswith(
        "bicubic-x2 on reference gave what cannot be 3 times in a row (last: residual with a mean of "
    )
    # It is said once, as it was then.
    said = watchdog.verdict
    spoil(watchdog)
    assert watchdog.verdict == said


def test_an_engine_is_given_up_after_ten_unsound_outputs_in_a_minute() -> None:
    clock = ManualClock()
    watchdog = dog(clock)
    for _ in range(IN_A_MINUTE - 1):
        spoil(watchdog)
        pass_one(watchdog)
        clock.advance_ms(6_000)
    assert watchdog.verdict == ""
    spoil(watchdog)
    assert "10 times in a minute" in watchdog.verdict


def test_now_and_then_an_unsound_output_is_borne() -> None:
    clock = ManualClock()
    watchdog = dog(clock)
    for _ in range(5 * IN_A_MINUTE):
        spoil(watchdog)
        pass_one(watchdog)
        clock.advance_ms(7_000)
    assert watchdog.verdict == ""
