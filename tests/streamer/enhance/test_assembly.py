"""Which engines a stream's settings open, and that each of them is closed again."""

from __future__ import annotations

import logging
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from streamer.clock import ManualClock, MonotonicClock
from streamer.config import SinkSpec, StreamSettings, parse_made_frames
from streamer.enhance import assembly
from streamer.enhance.assembly import (
    Engines,
    build_chain,
    choose,
    choose_engines,
    has_time,
)
from streamer.enhance.super_resolution import SuperResolution
from streamer.errors import EngineError
from streamer.gpu.choosing import NOT_CHOSEN
from streamer.media import Color, VideoInfo
from streamer.metrics import Metrics
from tests.streamer.installed import only_installed
from tests.streamer.noisy_pictures import drawn, noisy
from tests.streamer.noted_engines import Noted, only_noted
from tests.streamer.pictures import frame_of

VIDEO = VideoInfo(
    codec="h264",
    width=64,
    height=48,
    fps=Fraction(30),
    time_base=Fraction(1, 30),
    color=Color(matrix="bt709"),
)


def settings(**fields: Any) -> StreamSettings:
    sinks = (SinkSpec(kind="null"),)
    return StreamSettings(**{"source": "clip.mp4", "sinks": sinks, "scale": 1, **fields})


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> type[Noted]:
    return only_noted(monkeypatch)


def tasks_of(noted: type[Noted]) -> set[str]:
    """Of the engines that are open."""
    return {engine.manifest.task for engine in noted.opened}


def chosen(**fields: Any) -> Engines:
    return choose_engines(settings(**fields), MonotonicClock(), Metrics())


def test_without_denoising_no_engine_is_opened_for_it(noted: type[Noted]) -> None:
    engines = chosen(denoise="off")
    assert engines.denoise is None
    assert set(noted.ever) == {"super_resolution"}
    engines.close()
    assert not noted.opened


@pytest.mark.parametrize("denoise", ["auto", "on"])
@pytest.mark.parametrize("backend", ["auto", "ort-cpu"])
def test_what_was_opened_for_a_stream_is_closed_with_its_engines(
    denoise: str, backend: str, noted: type[Noted]
) -> None:
    engines = chosen(denoise=denoise, backend=backend)
    assert engines.denoise is not None
    assert engines.denoise.manifest.task == "denoising"
    assert tasks_of(noted) == {"super_resolution", "denoising"}
    engines.close()
    assert not noted.opened


@pytest.mark.parametrize("denoise", ["auto", "on"])
def test_what_was_opened_for_a_stream_is_closed_with_its_chain(
    denoise: str, noted: type[Noted]
) -> None:
    chain = build_chain(
        settings(denoise=denoise),
        chosen(denoise=denoise),
        VIDEO,
        clock=MonotonicClock(),
        metrics=Metrics(),
    )
    assert tasks_of(noted) == {"super_resolution", "denoising"}
    chain.close()
    assert not noted.opened


def test_what_steadies_is_opened_where_it_is_asked_for_and_closed(noted: type[Noted]) -> None:
    engines = chosen(denoise="off", steady=True, scale=2)
    assert engines.steady is not None
    assert tasks_of(noted) == {"super_resolution", "steadying"}
    stream = settings(denoise="off", steady=True, scale=2)
    chain = build_chain(stream, engines, VIDEO, clock=MonotonicClock(), metrics=Metrics())
    assert [engine.manifest.task for engine in chain.engines].count("steadying") == 1
    chain.close()
    assert not noted.opened


@pytest.mark.parametrize(
    ("fields", "is_steadied"),
    [
        ({}, True),
        ({"steady": False}, False),
        ({"scale": 1}, False),
        ({"source": "rtsp://camera/stream"}, False),
        ({"source": "rtsp://camera/stream", "steady": True}, True),
    ],
)
def test_files_are_steadied_and_live_pictures_where_it_is_asked_for(
    fields: dict[str, Any], noted: type[Noted], *, is_steadied: bool
) -> None:
    engines = chosen(**{"denoise": "off", "scale": 2, **fields})
    assert ("steadying" in tasks_of(noted)) == is_steadied
    engines.close()


def test_who_asks_for_steadying_is_told_where_it_is_not_done(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engines = chosen(denoise="off", steady=True, scale=2, backend="reference")
    assert engines.steady is None
    assert ("steadying: asked for with --backend reference", logging.WARNING) in [
        (record.message, record.levelno) for record in caplog.records
    ]
    engines.close()


def test_where_steadying_cannot_be_had_all_others_are_closed(
    noted: type[Noted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noted, "refused", "steadying")
    with pytest.raises(EngineError, match="there is no steadying today"):
        chosen(backend="ort-cpu", steady=True, scale=2, denoise="on")
    assert set(noted.ever) == {"super_resolution", "denoising"}
    assert not noted.opened


@pytest.mark.parametrize("denoise", ["auto", "on", "off"])
def test_pictures_are_cleaned_always_never_or_while_they_are_noisy(denoise: str) -> None:
    metrics, clock = Metrics(), MonotonicClock()
    stream = settings(denoise=denoise, backend="ort-cpu")
    engines = choose_engines(stream, clock, metrics)
    chain = build_chain(stream, engines, VIDEO, clock=clock, metrics=metrics)
    stage = chain._super_resolution
    assert isinstance(stage, SuperResolution)
    calm = drawn(width=64, height=48)

    def counted() -> int:
        timings = metrics.timings()
        return timings["denoise"].n if "denoise" in timings else 0

    for _ in range(6):
        stage.process(frame_of(calm), tier=stage.tiers[0], with_comparison=False)
    assert counted() == (6 if denoise == "on" else 0)
    for seed in range(40):
        came = noisy(calm, 8, seed=seed)
        stage.process(frame_of(came), tier=stage.tiers[0], with_comparison=False)
    assert counted() in {"on": (46,), "off": (0,), "auto": range(1, 40)}[denoise]
    chain.close()


def test_what_is_followed_over_time_opens_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    # As if a package for a device were there; whether a device is, is not asked with "on".
    only_installed(monkeypatch, "ort-cuda")
    seen = {}
    for denoise in ("auto", "on"):
        choices = choose(settings(scale=2, denoise=denoise), MonotonicClock(), Metrics())
        seen[denoise] = choices.device
        assert (choices.denoise is None) == (choices.device.stage is not None)
        choices.stage.close()
        for engine in choices.denoise.engines if choices.denoise else ():
            engine.close()
    assert seen["on"] is NOT_CHOSEN
    assert seen["auto"].reason, "it was looked for"


@pytest.mark.parametrize("asked", [{"steady": True, "scale": 2}, {"sharpen": 0.5}])
def test_where_finished_pictures_are_changed_no_device_is_looked_for(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "choose_on_device", lambda **_: pytest.fail("it was looked for"))
    choices = choose(settings(backend="reference", **asked), MonotonicClock(), Metrics())
    assert choices.device is NOT_CHOSEN


def test_a_chain_sharpens_as_far_as_was_asked_for() -> None:
    frame, lumas = frame_of(drawn(width=VIDEO.width, height=VIDEO.height)), []
    for sharpen in (0.0, 0.5, 1.0):
        stream = settings(backend="reference", denoise="off", sharpen=sharpen)
        engines = chosen(backend="reference", denoise="off", sharpen=sharpen)
        chain = build_chain(stream, engines, VIDEO, clock=ManualClock(), metrics=Metrics())
        (made,) = chain.process(frame, deadline_ns=None, with_comparison=False)
        lumas.append(made.planes[0].astype(float))
        chain.close()
    none, half, whole = lumas
    assert np.array_equal(none, frame.planes[0])
    assert 0 < np.abs(half - none).mean() < np.abs(whole - none).mean()


@pytest.mark.parametrize(("denoise", "level"), [("on", logging.WARNING), ("auto", logging.INFO)])
def test_who_asks_for_denoising_is_told_where_it_is_not_done(
    denoise: str,
    level: int,
    noted: type[Noted],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(noted, "refused", "denoising")
    with caplog.at_level(logging.INFO):
        engines = chosen(denoise=denoise)
    assert engines.denoise is None
    said = [record for record in caplog.records if record.message.startswith("denoising: ")]
    assert [record.levelno for record in said] == [level]
    assert "there is no denoising today" in said[0].message
    engines.close()


@pytest.mark.parametrize("denoise", ["on", "auto"])
def test_who_enlarges_plainly_has_pictures_cleaned_where_that_was_asked_for(denoise: str) -> None:
    engines = chosen(denoise=denoise, backend="reference")
    assert (engines.denoise is not None) == (denoise == "on")
    engines.close()


@pytest.mark.parametrize("between", [None, "predict"])
def test_where_denoising_cannot_be_had_all_others_are_closed(
    between: str | None, noted: type[Noted], monkeypatch: pytest.MonkeyPatch
) -> None:
    rate, how = parse_made_frames(None, between)
    made = {"rate": rate, "between": how, "denoise": "on"}
    monkeypatch.setattr(noted, "refused", "denoising")
    with pytest.raises(EngineError, match="there is no denoising today"):
        chosen(backend="ort-cpu", **made)
    assert set(noted.ever) == {"super_resolution"} | ({"prediction"} if between else set())
    assert not noted.opened
    # Where no backend is named, it goes on without.
    engines = chosen(**made)
    assert engines.denoise is None
    engines.close()
    assert not noted.opened


@pytest.mark.parametrize(
    ("pixel_ns", "fps", "expected"),
    [
        # 640x360 in 5, 11.7 and again 5 ms.
        ({"medium": 90.0, "lite": 22.0, "nano": 10.0}, 30, True),
        ({"medium": 200.0, "lite": 51.0, "nano": 25.0}, 30, False),
        ({"medium": 90.0, "lite": 22.0, "nano": 10.0}, 60, False),
        # As much again for denoising as for lite, which nano is a third of, and medium four times.
        ({"nano": 25.0}, 30, False),
        ({"nano": 10.0}, 30, True),
        ({"medium": 50.0}, 30, True),
        ({"lite": 51.0}, 10, True),
        ({"lite": 51.0}, None, False),
        ({}, 60, True),
    ],
)
def test_whether_there_is_time_to_clean_live_pictures(
    pixel_ns: dict[str, float], fps: int | None, *, expected: bool
) -> None:
    engines = replace(chosen(denoise="off", steady=False, scale=2), pixel_ns=pixel_ns)
    rate = None if fps is None else Fraction(fps)
    assert has_time(engines, replace(VIDEO, width=640, height=360, fps=rate)) == expected
    engines.close()


@pytest.mark.parametrize(
    ("fields", "is_cleaned"),
    [
        ({"denoise": "auto", "source": "rtsp://camera/stream"}, False),
        ({"denoise": "on", "source": "rtsp://camera/stream"}, True),
        ({"denoise": "auto"}, True),
    ],
)
def test_without_time_live_pictures_are_cleaned_only_where_asked_for(
    fields: dict[str, Any], noted: type[Noted], *, is_cleaned: bool
) -> None:
    engines = replace(chosen(**fields), pixel_ns={"lite": 1e9})
    chain = build_chain(
        settings(**fields), engines, VIDEO, clock=MonotonicClock(), metrics=Metrics()
    )
    stage = chain._super_resolution
    assert isinstance(stage, SuperResolution)
    assert (stage.denoising is not None) == is_cleaned
    assert ("denoising" in tasks_of(noted)) == is_cleaned
    told = [engine.manifest.task for engine in chain.engines]
    assert told.count("denoising") == is_cleaned
    chain.close()
    assert not noted.opened


@pytest.mark.parametrize("fps", [None, "50"])
def test_denoising_knows_how_far_live_pictures_are_apart(fps: str | None) -> None:
    metrics, clock = Metrics(), ManualClock()
    rate, between = parse_made_frames(fps, None)
    made = {"rate": rate, "between": between}
    stream = settings(denoise="on", source="rtsp://camera/stream", backend="ort-cpu", **made)
    engines = choose_engines(stream, MonotonicClock(), metrics)
    chain = build_chain(stream, engines, VIDEO, clock=clock, metrics=metrics)
    stage = chain._super_resolution
    assert isinstance(stage, SuperResolution)
    assert stage.denoising is not None
    assert stage.denoising.interval_ms() is None
    for number in range(12):
        clock.advance_ms(40)
        frame = replace(frame_of(drawn(width=64, height=48)), pts=number, time_base=Fraction(1, 25))
        chain.process(frame, deadline_ns=clock.now_ns() + 80_000_000, with_comparison=False)
    assert stage.denoising.interval_ms() == 40
    chain.close()
