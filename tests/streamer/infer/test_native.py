"""Our own convolutions as an engine: every shipped network that they run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels import reference
from kernels.native import native
from streamer.errors import EngineError
from streamer.infer.conv_model import read_conv_model
from streamer.infer.engine import code_values
from streamer.infer.native import NativeEngine
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.self_test import ROUNDING, check, drawn_inputs, root_mean_square, storage
from streamer.model import MODELS, read_manifest
from streamer.sources.scene import Scene
from tests.packages import needs_package
from tests.streamer.infer.conv_graphs import Drawn, stack

pytestmark = pytest.mark.skipif(
    native() is None,
    reason="nothing is compiled for processors; run: python -m kernels.native_build",
)

NAMES = sorted(path.stem for path in MODELS.glob("sr-*-int8.json"))
DENOISING = sorted(path.stem for path in MODELS.glob("denoise-*-int8.json"))
SIZES = [(90, 160), (1, 1), (45, 79), (4, 200), (128, 9)]
"""Rows and columns of packed pictures."""


def engine(name: str, *, threads: int) -> NativeEngine:
    return NativeEngine(read_manifest(MODELS / f"{name}.json"), threads=threads)


@cache
def picture(rows: int = 90, columns: int = 160, second: int = 1) -> NDArray[np.float32]:
    """A drawn street, map or meadow, (1, 6, rows, columns)."""
    scene = Scene(seed=3, width=320, height=180, cut_s=Fraction(2))
    planes = scene.draw(Fraction(second))
    packed = reference.pack(planes, rows=rows, columns=columns, dtype=np.float32)
    return np.ascontiguousarray(packed[None])


def made(it: NativeEngine | OrtCpuEngine, packed: NDArray[np.float32]) -> NDArray[Any]:
    rows, columns = packed.shape[2:]
    outputs = storage(it.manifest, {"h": rows, "w": columns})
    it.run({"packed": packed}, outputs)
    return outputs["residual"]


@pytest.fixture
def lite() -> Iterator[NativeEngine]:
    with closing(engine("sr-lite-x2-live-int8", threads=3)) as it:
        yield it


@pytest.mark.parametrize("name", NAMES)
def test_shipped_networks_pass_the_self_test(name: str) -> None:
    with closing(engine(name, threads=2)) as it:
        check(it)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_networks_give_what_their_definition_gives(name: str) -> None:
    packed = picture()
    expected = reference.convolve(
        packed[0], read_conv_model(read_manifest(MODELS / f"{name}.json"))
    )
    with closing(engine(name, threads=2)) as it:
        np.testing.assert_array_equal(made(it, packed)[0], expected)


@pytest.mark.parametrize("name", DENOISING)
def test_networks_for_denoising_are_right_and_give_what_their_definition_gives(name: str) -> None:
    for threads in (1, 3):
        with closing(engine(name, threads=threads)) as it:
            check(it)
            for rows, columns in SIZES:
                sizes = {"h": rows, "w": columns}
                inputs, outputs = drawn_inputs(it.manifest, sizes), storage(it.manifest, sizes)
                it.run(inputs, outputs)
                expected = reference.convolve(inputs["followed"][0], read_conv_model(it.manifest))
                np.testing.assert_array_equal(outputs["change"][0], expected)


@needs_package("onnxruntime")
@pytest.mark.parametrize("name", NAMES)
def test_shipped_networks_are_near_those_they_were_made_from(name: str) -> None:
    """Besides the rounding of the residual, steps of 255 cost 0.04 to 0.15 of its size, by root mean
    square: least in live networks, most in clean ones, where the scene's edges of one pixel are
    sharper than what the steps were chosen on, and which ONNX Runtime's eight bits cost as much. What
    an engine adds everywhere would be seen, so the mean is held to a thirtieth of a code value."""
    exact = OrtCpuEngine(read_manifest(MODELS / f"{name.removesuffix('-int8')}.json"), threads=1)
    with closing(engine(name, threads=2)) as it:
        for second in (1, 3, 5):
            packed = picture(second=second)
            expected = code_values(made(exact, packed))
            error = code_values(made(it, packed)) - expected
            share = 0.16 if "clean" in name else 0.11
            assert root_mean_square(error) < np.hypot(ROUNDING, share * root_mean_square(expected))
            assert abs(error.mean()) < 1 / 30


@pytest.mark.parametrize("name", ["sr-lite-x2-live-int8", "sr-lite-x1-live-int8"])
def test_any_number_of_threads_makes_the_same(name: str) -> None:
    with closing(engine(name, threads=1)) as one:
        expected = [made(one, picture(*size)) for size in SIZES]
    for threads in (2, 3, 5):
        with closing(engine(name, threads=threads)) as it:
            for _ in range(3):
                for size, same in zip(SIZES, expected, strict=True):
                    np.testing.assert_array_equal(made(it, picture(*size)), same)


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_helpers_that_come_late_or_not_at_all_change_nothing(threads: int) -> None:
    with closing(engine("sr-lite-x2-live-int8", threads=threads)) as it:
        expected = made(it, picture())
        for busy in range(1, threads):
            end = threading.Event()
            begun = [it._helpers.submit(end.wait, 60) for _ in range(busy)]
            np.testing.assert_array_equal(made(it, picture()), expected)
            end.set()
            assert all(each.result() for each in begun)


def test_a_picture_at_hand_is_made_though_its_helpers_are_sent_away() -> None:
    # As whoever closes it does, once a run has begun and before its helpers are asked.
    with closing(engine("sr-lite-x2-live-int8", threads=4)) as it:
        expected = made(it, picture())
        it._helpers.shutdown()
        np.testing.assert_array_equal(made(it, picture()), expected)


def test_sizes_in_turn_do_not_disturb_each_other(lite: NativeEngine) -> None:
    for size in [*SIZES, *SIZES[::-1], *SIZES]:
        with closing(engine("sr-lite-x2-live-int8", threads=1)) as alone:
            np.testing.assert_array_equal(made(lite, picture(*size)), made(alone, picture(*size)))


def test_engines_side_by_side_make_what_each_makes_alone() -> None:
    names = ["sr-lite-x2-live-int8", "sr-nano-x2-live-int8"]
    expected = {}
    for name in names:
        with closing(engine(name, threads=1)) as alone:
            expected[name] = made(alone, picture())

    def often(name: str) -> int:
        with closing(engine(name, threads=2)) as it:
            return sum(np.array_equal(made(it, picture()), expected[name]) for _ in range(20))

    with ThreadPoolExecutor(2) as workers:
        assert list(workers.map(often, names)) == [20, 20]


def test_what_is_written_over_before_is_of_no_account(lite: NativeEngine) -> None:
    expected = made(lite, picture())
    residual = np.full_like(expected, 77)
    lite.run({"packed": picture()}, {"residual": residual})
    np.testing.assert_array_equal(residual, expected)


def test_closing_ends_its_threads() -> None:
    before = set(threading.enumerate())
    it = engine("sr-nano-x2-live-int8", threads=4)
    made(it, picture())
    helpers = set(threading.enumerate()) - before
    assert 0 < len(helpers) <= 3
    it.close()
    for helper in helpers:
        helper.join(60)
    assert not any(helper.is_alive() for helper in helpers)


def test_one_thread_starts_none() -> None:
    before = set(threading.enumerate())
    with closing(engine("sr-nano-x2-live-int8", threads=1)) as it:
        made(it, picture())
        assert set(threading.enumerate()) == before


def test_what_the_network_does_not_take_is_refused_and_the_next_picture_is_made(
    lite: NativeEngine,
) -> None:
    packed = picture(8, 12)
    residual = np.zeros((1, 24, 8, 12), np.uint8)
    expected = made(lite, packed)
    wrong: list[tuple[Any, Any]] = [
        (packed[0], residual),
        (packed, residual[0]),
        (np.repeat(packed, 2, 0), np.repeat(residual, 2, 0)),
        (packed[:0], residual[:0]),
        (packed[:, :5], residual),
        (packed, residual[:, :23]),
        (packed[:, :, :7], residual),
        (packed.astype(np.float64), residual),
        (packed.astype(np.float16), residual),
        (packed, residual.astype(np.float32)),
        (packed[:, :, :, ::2], residual[:, :, :, ::2]),
        (packed[:, :, :0], residual[:, :, :0]),
        (packed[:, :, :, :0], residual[:, :, :, :0]),
        (packed, np.broadcast_to(residual[:, :1], residual.shape)),
    ]
    for bad, out in wrong:
        with pytest.raises(EngineError, match=r"^native (is given|cannot run) .*(allowed|give)"):
            lite.run({"packed": bad}, {"residual": out})
        assert not residual.any()
    np.testing.assert_array_equal(made(lite, packed), expected)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("prediction-lite-int8", r"prediction-lite-int8 is for prediction in int8; use another"),
        ("sr-lite-x2-live", r"is for super_resolution in fp32; use another"),
        ("sr-lite-x2-live-fp16", r"is for super_resolution in fp16; use another"),
        ("sr-lite-x2-live-int8-symmetric", r"in int8-symmetric; use another"),
    ],
)
def test_networks_for_others_are_refused(name: str, said: str) -> None:
    with pytest.raises(EngineError, match=said):
        engine(name, threads=1)


@pytest.mark.parametrize(
    "name", ["prediction-lite-int8", "sr-lite-x2-live", "sr-lite-x2-live-fp16"]
)
def test_a_manifest_that_promises_too_much_is_seen_through(name: str) -> None:
    manifest = read_manifest(MODELS / f"{name}.json")
    with pytest.raises(
        EngineError, match=r"^\S+\.onnx is no stack of 3x3 .*; use another --backend$"
    ):
        NativeEngine(replace(manifest, task="super_resolution", precision="int8"))


def test_weights_beyond_the_kernels_numbers_are_refused(tmp_path: Path) -> None:
    drawn = Drawn()
    made = drawn.layer("packed", ins=6, outs=96)
    drawn.end(made, ins=96)
    # 864 weights of either sign, half of which might meet 255 and the others 0.
    with pytest.raises(
        EngineError, match=r"^native cannot run drawn.onnx: a layer's weights reach"
    ):
        NativeEngine(drawn.write(tmp_path))


def test_a_network_that_was_not_shipped_runs_as_well(tmp_path: Path) -> None:
    drawn = Drawn()
    stack(drawn, layers=4, skip_behind=[3])
    manifest = drawn.write(tmp_path)
    with closing(NativeEngine(manifest, threads=2)) as it:
        expected = reference.convolve(picture()[0], read_conv_model(manifest))
        np.testing.assert_array_equal(made(it, picture())[0], expected)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    drawn = Drawn()
    stack(drawn)
    manifest = drawn.write(tmp_path)
    manifest.path.write_bytes(manifest.path.read_bytes()[:-1])
    with pytest.raises(EngineError, match="damaged or foreign"):
        NativeEngine(manifest)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_closed_engine_says_so(threads: int) -> None:
    one = engine("sr-nano-x2-live-int8", threads=threads)
    one.close()
    with pytest.raises(EngineError, match="is closed, and nothing runs after that"):
        made(one, picture())
