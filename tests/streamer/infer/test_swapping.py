from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from threading import Event, get_ident
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.errors import EngineError
from streamer.infer import building
from streamer.infer.batching_group import KEPT_SIZES
from streamer.infer.engine import Engine, code_values
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.swapping import Swapping, convert
from streamer.model import ModelManifest, find_models, read_manifest
from tests.streamer.models import tiny, write_model


class Opened(OrtCpuEngine):
    """A real engine that can be asked whether it was closed, and how often it ran."""

    def __init__(self, manifest: ModelManifest) -> None:
        super().__init__(manifest, threads=1)
        self.is_closed = False
        self.runs = 0

    def run(self, inputs: Any, outputs: Any) -> None:
        self.runs += 1
        super().run(inputs, outputs)

    def close(self) -> None:
        self.is_closed = True
        super().close()


def shipped(precision: str) -> ModelManifest:
    models = find_models(task="super_resolution", scale=2)
    return next(m for m in models if (m.precision, m.name[:13]) == (precision, "sr-nano-x2-li"))


def packed(height: int = 24, width: int = 32) -> NDArray[np.float32]:
    return np.random.default_rng(1).random((1, 6, height, width)).astype(np.float32)


def run(
    engine: Engine, dtype: str = "float32", picture: NDArray[np.float32] | None = None
) -> NDArray[Any]:
    given = packed() if picture is None else picture
    outputs = {"residual": np.full((1, 24, *given.shape[2:]), 77, dtype)}
    engine.run({"packed": given}, outputs)
    return outputs["residual"]


def swapping(
    serving: Engine, *built: Engine | EngineError, may_build: Event | None = None
) -> tuple[Swapping, list[Mapping[str, int]]]:
    asked: list[Mapping[str, int]] = []

    def build(sizes: Mapping[str, int], abandoned: Event) -> Engine:
        asked.append(sizes)
        assert may_build is None or may_build.wait(20)
        made = built[len(asked) - 1]
        if isinstance(made, EngineError):
            raise made
        return made

    return Swapping(serving, build), asked


def test_the_first_serves_until_the_other_is_built_and_then_gives_way() -> None:
    serving, other = Opened(shipped("fp32")), Opened(shipped("int8"))
    may_build, threads = Event(), []

    def build(sizes: Mapping[str, int], abandoned: Event) -> Engine:
        threads.append(get_ident())
        assert may_build.wait(20)
        return other

    engine = Swapping(serving, build)
    exact = run(serving)
    assert np.array_equal(run(engine), exact)
    assert np.array_equal(run(engine), exact)
    assert engine.manifest.precision == "fp32"
    may_build.set()
    engine.wait()
    assert engine.manifest.precision == "fp32"
    swapped = run(engine)
    assert engine.manifest.precision == "int8"
    assert np.array_equal(swapped, code_values(run(other, "uint8")))
    assert not np.array_equal(swapped, exact)
    runs = serving.runs
    run(engine)
    assert serving.runs == runs
    assert len(threads) == 1
    assert threads[0] != get_ident()
    engine.close()
    assert serving.is_closed
    assert other.is_closed


def test_storage_made_for_either_engine_serves_both() -> None:
    serving, other = Opened(shipped("int8")), Opened(shipped("fp32"))
    may_build = Event()
    engine, _ = swapping(serving, other, may_build=may_build)
    assert np.array_equal(run(engine, "uint8"), run(serving, "uint8"))
    assert np.array_equal(run(engine), code_values(run(serving, "uint8")))
    may_build.set()
    engine.wait()
    rounded = run(engine, "uint8")
    assert engine.manifest.precision == "fp32"
    exact = run(other)
    assert np.array_equal(code_values(rounded), np.rint(exact).clip(-128, 127))
    assert np.array_equal(run(engine), exact)
    engine.close()


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
@pytest.mark.parametrize("wanted", ["float32", "float16", "uint8"])
def test_a_residual_is_the_same_in_every_type(dtype: str, wanted: str) -> None:
    residual = np.array([0, 128, 255], np.uint8)
    if dtype != "uint8":
        residual = code_values(residual).astype(dtype)
    out = np.empty(3, wanted)
    convert(residual, out)
    assert code_values(out).tolist() == [-128, 0, 127]


def test_what_does_not_fit_a_byte_is_cut_off() -> None:
    out = np.empty(3, np.uint8)
    convert(np.array([-400.0, 0.4, 400.0], np.float32), out)
    assert out.tolist() == [0, 128, 255]


def test_an_engine_that_fails_its_self_test_never_serves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    serving = Opened(tiny(tmp_path))
    other = Opened(read_manifest(write_model(tmp_path, error=0.5, stem="bad")))
    engine, asked = swapping(serving, other)
    exact = run(engine)
    engine.wait()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert np.array_equal(run(engine), exact)
            engine.wait()
    assert len(asked) == 1
    assert other.is_closed
    assert not serving.is_closed
    engine.close()
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "sr-tiny-x2 is left to ort-cpu: fp32 on ort-cpu is wrong" in record.getMessage()


def test_an_engine_that_is_wrong_at_this_size_alone_never_serves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class WrongWhenSmall(Opened):
        """Right at the size of the self-test."""

        def run(self, inputs: Any, outputs: Any) -> None:
            super().run(inputs, outputs)
            if outputs["residual"].shape[2] < 48:
                outputs["residual"] *= 1.5

    other = WrongWhenSmall(tiny(tmp_path))
    serving = Opened(tiny(tmp_path))
    engine, _ = swapping(serving, other)
    exact = run(engine)
    engine.wait()
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(run(engine), exact)
    assert other.is_closed
    assert (
        "residual of sr-tiny-x2 is off by 0.5 of its size, allowed are 0.001, seen at 1x24x24x32"
        in caplog.text
    )
    engine.close()


def test_what_is_not_a_number_never_serves(tmp_path: Path) -> None:
    class Broken(Opened):
        def run(self, inputs: Any, outputs: Any) -> None:
            super().run(inputs, outputs)
            if outputs["residual"].shape[2] < 48:
                outputs["residual"][0, 0, 0, 0] = np.nan

    other = Broken(tiny(tmp_path))
    engine, _ = swapping(Opened(tiny(tmp_path)), other)
    run(engine)
    engine.wait()
    assert np.isfinite(run(engine)).all()
    assert other.is_closed
    engine.close()


def test_a_build_that_fails_is_logged_once_and_not_repeated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine, asked = swapping(Opened(tiny(tmp_path)), EngineError("no memory; buy some"))
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            run(engine)
            engine.wait()
    (record,) = caplog.records
    assert record.getMessage() == "sr-tiny-x2 is left to ort-cpu: no memory; buy some"
    assert asked == [{"h": 24, "w": 32}]
    engine.close()


def test_every_size_has_an_engine_of_its_own_and_the_first_bridges_the_change(
    tmp_path: Path,
) -> None:
    manifest = tiny(tmp_path)
    serving = Opened(manifest)
    others = [Opened(replace(manifest, name=f"built {number}")) for number in range(2)]
    engine, asked = swapping(serving, *others)
    small, large = packed(8, 8), packed(16, 24)
    for picture, other in zip((small, large), others, strict=True):
        run(engine, picture=picture)
        assert engine.manifest.name == manifest.name
        engine.wait()
        run(engine, picture=picture)
        assert engine.manifest.name == other.manifest.name
    run(engine, picture=small)
    assert engine.manifest.name == "built 0"
    assert asked == [{"h": 8, "w": 8}, {"h": 16, "w": 24}]
    engine.close()
    assert all(other.is_closed for other in others)


def test_the_engine_that_was_not_used_for_longest_is_closed(tmp_path: Path) -> None:
    manifest = tiny(tmp_path)
    others = [Opened(manifest) for _ in range(KEPT_SIZES + 1)]
    engine, _ = swapping(Opened(manifest), *others)
    for number in range(KEPT_SIZES + 1):
        for _ in range(2):
            run(engine, picture=packed(8, 8 + number))
            engine.wait()
        run(engine, picture=packed(8, 8))
    assert [other.is_closed for other in others] == [False, True] + (KEPT_SIZES - 1) * [False]
    engine.close()


def test_a_build_learns_that_the_stream_is_over_and_closes_what_it_made(tmp_path: Path) -> None:
    manifest = tiny(tmp_path)
    other = Opened(manifest)

    def build(sizes: Mapping[str, int], abandoned: Event) -> Engine:
        assert abandoned.wait(20)
        return other

    engine = Swapping(Opened(manifest), build)
    run(engine)
    engine.close()
    assert other.is_closed


def test_a_build_that_was_given_up_is_no_news(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def build(sizes: Mapping[str, int], abandoned: Event) -> Engine:
        assert abandoned.wait(20)
        raise EngineError("given up")

    engine = Swapping(Opened(tiny(tmp_path)), build)
    run(engine)
    with caplog.at_level(logging.WARNING):
        engine.close()
    assert caplog.records == []


def test_a_build_that_does_not_notice_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "ABANDON_S", 0.01)
    manifest = tiny(tmp_path)
    may_build, other = Event(), Opened(manifest)

    def build(sizes: Mapping[str, int], abandoned: Event) -> Engine:
        assert may_build.wait(20)
        return other

    engine = Swapping(Opened(manifest), build)
    run(engine)
    engine.close()
    assert not other.is_closed
    may_build.set()
    engine.wait()
    assert other.is_closed


def test_an_engine_that_fails_later_on_leaves_the_picture_to_the_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Lost(Opened):
        def run(self, inputs: Any, outputs: Any) -> None:
            if self.runs == 4:
                raise EngineError("the device is lost; start anew")
            super().run(inputs, outputs)

    other = Lost(tiny(tmp_path))
    engine, asked = swapping(Opened(tiny(tmp_path)), other)
    exact = run(engine)
    engine.wait()
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            assert np.array_equal(run(engine), exact)
    assert other.is_closed
    assert len(asked) == 1
    assert "sr-tiny-x2 is left to ort-cpu: the device is lost; start anew" in caplog.text
    engine.close()


def test_an_engine_that_waits_for_its_turn_is_closed_with_the_rest(tmp_path: Path) -> None:
    manifest = tiny(tmp_path)
    other = Opened(manifest)
    engine, _ = swapping(Opened(manifest), other)
    run(engine)
    engine.wait()
    engine.close()
    assert other.is_closed


def test_inputs_that_are_no_picture_are_refused_in_a_sentence(tmp_path: Path) -> None:
    engine, _ = swapping(Opened(tiny(tmp_path)))
    with pytest.raises(EngineError, match=r"takes packed of \(1, 6, h, w\) and was given \(6, 8\)"):
        engine.run({"packed": np.zeros((6, 8), np.float32)}, {})
    engine.close()
