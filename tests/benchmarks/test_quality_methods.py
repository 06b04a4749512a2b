"""Shipped models as the benchmark runs them, and published tables."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from benchmarks.quality import methods
from benchmarks.quality.published import interpolation_table, super_resolution_table
from benchmarks.quality.upscaling import LanczosUpscaler, PlainUpscaler, ShippedUpscaler
from streamer.enhance.super_resolution import SuperResolution
from streamer.frame import Frame
from streamer.infer.ort import OrtCpuEngine
from streamer.media import Color
from streamer.model import find_models
from tests.benchmarks.drawn import panned

MANIFESTS = find_models(task="super_resolution", scale=2)
"""Costliest first."""


def test_one_line_in_a_table_opens_every_model_of_a_task() -> None:
    opened, manifests = methods.shipped({"super_resolution": lambda engine: engine.manifest.name})
    assert {manifest.name for manifest in MANIFESTS} <= set(opened)
    assert [manifest.name for manifest in manifests] == list(opened.values())
    assert methods.shipped({"super_resolution": ShippedUpscaler}, scale=7) == ({}, [])


# The run time takes no model of half floats to a CPU.
@pytest.mark.parametrize("name", [m.name for m in MANIFESTS if m.inputs[0].dtype != "float16"])
def test_a_model_gives_what_the_run_time_shows(name: str) -> None:
    manifest = next(m for m in MANIFESTS if m.name == name)
    small = panned(0, height=64, width=96)
    frame = Frame(
        planes=small,
        pts=0,
        time_base=Fraction(1, 30),
        duration=1,
        arrived_ns=0,
        color=Color.untagged(64),
    )
    engine = OrtCpuEngine(manifest, threads=1)
    shown = SuperResolution([engine]).process(frame, tier=manifest.variant, with_comparison=False)
    seen = ShippedUpscaler(engine).upscale(small)
    assert seen[0].shape == (128, 192)
    assert all(np.array_equal(a, b) for a, b in zip(seen, shown.planes, strict=True))


def test_half_precision_differs_little_from_single() -> None:
    by_precision = {m.precision: m for m in MANIFESTS if m.variant == "lite"}
    if "fp16" not in by_precision:
        pytest.skip("no fp16 model is shipped")
    small = panned(0, height=64, width=96)
    single, half = (
        ShippedUpscaler(OrtCpuEngine(by_precision[name], threads=1)).upscale(small)[0]
        for name in ("fp32", "fp16")
    )
    assert np.abs(single.astype(int) - half).max() <= 2


def test_a_size_the_network_does_not_take_is_padded_and_cut() -> None:
    small = panned(0, height=64, width=96)
    cut = (small[0][:61, :91], small[1][:31, :46], small[2][:31, :46])
    upscaler = ShippedUpscaler(OrtCpuEngine(MANIFESTS[-1], threads=1))
    whole, part = upscaler.upscale(small), upscaler.upscale(cut)
    assert part[0].shape == (122, 182)
    assert part[1].shape == (61, 91)
    # Far from the cut edges it is the same picture.
    assert np.array_equal(part[0][:64, :120], whole[0][:64, :120])


def test_an_upscaler_leaves_its_last_result_alone() -> None:
    upscaler = ShippedUpscaler(OrtCpuEngine(MANIFESTS[-1], threads=1))
    first = upscaler.upscale(panned(0, height=64, width=96))[0]
    kept = first.copy()
    upscaler.upscale(panned(9, height=64, width=96))
    assert np.array_equal(first, kept)


def test_plain_filters_enlarge_and_leave_scale_one_alone() -> None:
    small = panned(0)
    assert np.array_equal(PlainUpscaler(1).upscale(small)[0], small[0])
    assert PlainUpscaler(3).upscale(small)[0].shape == (288, 384)
    assert LanczosUpscaler(4).upscale(small)[1].shape == (192, 256)


def average(name: str, condition: str, items: int, **methods: dict[str, float]) -> dict[str, Any]:
    return {"set": name, "condition": condition, "items": items, "methods": methods}


def test_our_rows_stand_among_the_published_ones_by_quality() -> None:
    ours = average("set14", "papers", 14, ours={"psnr_y": 32.5})
    lines = super_resolution_table([ours], [], scale=2).splitlines()
    order = [line.split("  ")[0] for line in lines]
    assert order.index("bicubic") < order.index("SRCNN") < order.index("> ours")
    assert order.index("> ours") < order.index("FSRCNN") < order.index("IMDN")
    assert "Not the whole set" not in lines[-1]
    assert super_resolution_table([average("mine", "papers", 3)], [], scale=2) == ""


def test_a_models_size_is_given_for_a_720p_output() -> None:
    lite = next(m for m in MANIFESTS if m.name == "sr-lite-x2-live")
    ours = average("set5", "papers", 4, **{lite.name: {"psnr_y": 36.0}})
    table = super_resolution_table([ours], [lite], scale=2)
    (row,) = (line.split() for line in table.splitlines() if "sr-lite" in line)
    # 11,376 MAC per input pixel at 640x360.
    assert row[2:] == ["45.69", "2.621", "36.00", "-", "-", "-"]
    assert "Not the whole set, so not comparable: set5: 4 of 5" in table


def test_a_lower_interpolation_error_stands_further_down() -> None:
    rows = {"good": {"rms_rgb": 1.9}, "bad": {"rms_rgb": 3.0}}
    ours = average("middlebury_other", "triplets", 12, **rows)
    order = [line.split("  ")[0] for line in interpolation_table([ours], []).splitlines()]
    assert order.index("> bad") < order.index("ToFlow") < order.index("> good")
    assert order.index("> good") < order.index("SoftSplat")
