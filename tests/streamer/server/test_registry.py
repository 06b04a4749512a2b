"""Many streams in one process: each lives and dies alone."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from streamer.clock import MonotonicClock
from streamer.config import Changes, StreamSettings
from streamer.errors import ConfigError, SinkError, SourceError
from streamer.server.registry import Registry, StreamRefused
from streamer.server.supervised import RunningStream
from streamer.settings_file import Limits
from tests.clips import Clips, h264, moving
from tests.programs import needs
from tests.streamer.server.many import (
    DEAD,
    SECRETS,
    SMALL,
    becomes,
    new_registry,
    open_real,
    settings,
)
from tests.streamer.server.watcher import run, until


def test_a_source_that_is_not_there_does_not_stop_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        async with new_registry() as registry:
            await registry.add(settings("dead", DEAD))
            await registry.add(settings("good"))
            await becomes(registry, "good", "live")
            await becomes(registry, "dead", "failed")
            dead = registry["dead"]
            assert dead.reason.count("\n") == 0
            assert "127.0.0.1" in dead.reason
            await until(lambda: dead.restarts >= 1, "it is tried again")
            assert registry["good"].restarts == 0
            with pytest.raises(SinkError, match="the stream dead is not running"):
                await dead.answer("v=0", view="enhanced")
            shown = repr(dict(dead.statistics())) + dead.reason + caplog.text
            assert not [one for one in SECRETS if one in shown]
        assert registry["good"].state == "ended"

    run(scenario())


def test_a_stream_that_breaks_in_a_way_nobody_expected_is_begun_again_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Exception):
        pass

    opened: list[str] = []

    async def open_one(wanted: StreamSettings) -> RunningStream:
        opened.append(wanted.name)
        stream = await open_real(wanted)
        if opened.count("bad") == 1 and wanted.name == "bad":
            raise Broken(f"no idea why {DEAD} does that")
        return stream

    async def scenario() -> None:
        limits = Limits()
        async with Registry(open_one, limits=limits, clock=MonotonicClock()) as registry:
            await registry.add(settings("good"))
            bad = await registry.add(settings("bad", SMALL, "webrtc:"))
            bad.secrets |= {"hunter2hunter2"}
            await becomes(registry, "bad", "failed")
            assert "it broke: Broken: no idea why" in bad.reason
            await becomes(registry, "bad", "live")
            assert (bad.restarts, bad.reason) == (1, "")
            assert opened.count("good") == 1
            assert "Traceback" in caplog.text, "a defect must be found again"
            assert not [one for one in SECRETS if one in caplog.text + bad.reason]

    run(scenario())


def test_a_camera_that_is_away_for_weeks_ends_no_other_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamer.server.supervised.FIRST_RETRY_S", 1e-9)
    monkeypatch.setattr("streamer.server.supervised.LAST_RETRY_S", 1e-9)

    async def open_one(wanted: StreamSettings) -> RunningStream:
        if wanted.name == "away":
            raise SourceError("nothing listens there")
        return await open_real(wanted)

    async def scenario() -> None:
        async with Registry(open_one, limits=Limits(), clock=MonotonicClock()) as registry:
            await registry.add(settings("good"))
            away = await registry.add(settings("away"))
            # Powers of two above 1023 are no floats any more.
            await until(lambda: away.restarts > 1_100, "it is tried again and again")
            await becomes(registry, "good", "live")

    run(scenario())


def test_a_setting_that_can_never_work_is_not_tried_again() -> None:
    async def scenario() -> None:
        async with new_registry(pixels=160 * 96 - 1) as registry:
            large = await registry.add(settings("large"))
            await becomes(registry, "large", "failed")
            assert "160x96" in large.reason
            assert "15359 are allowed; lower its scale, or raise limits: pixels" in large.reason
            unknown = await registry.add(settings("unknown", backend="ort-cpu", tier="nonsense"))
            await becomes(registry, "unknown", "failed")
            tasks = [task for task in asyncio.all_tasks() if task.get_name() == "stream large"]
            assert not tasks, "nothing is waiting to try it again"
            assert (large.restarts, unknown.restarts) == (0, 0)

    run(scenario())


def test_what_breaks_again_and_again_is_logged_once(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    full = tmp_path / "full.mkv"
    full.symlink_to("/dev/full")
    yard = settings("yard", SMALL, str(full))

    async def scenario() -> None:
        async with new_registry() as registry:
            stream = await registry.add(yard)
            await until(lambda: stream.restarts >= 1, "it is tried again")
            await becomes(registry, "yard", "live")
            await becomes(registry, "yard", "failed")
            assert "full.mkv could not be" in stream.reason
        assert caplog.text.count("full.mkv could not be") == 1

    run(scenario())


def test_an_output_that_failed_is_told_while_the_others_go_on(tmp_path: Path) -> None:
    full = tmp_path / "full.mkv"
    full.symlink_to("/dev/full")
    yard = settings("yard", SMALL, str(full), "null:")

    async def scenario() -> None:
        async with new_registry() as registry:
            stream = await registry.add(yard)
            await until(
                lambda: "full.mkv could not be" in stream.statistics().get("notice", ""),
                "nobody is told that the recording is no more",
            )
            assert (stream.state, stream.reason) == ("live", "")
            report = await stream.report()
            assert report is not None
            assert "full.mkv could not be" in report["notice"]

    run(scenario())


@needs("ffmpeg")
def test_a_source_that_ends_is_ended_and_its_report_stays(clips: Clips) -> None:
    source = clips.made("five.mp4", *moving(frames=5, size="160x90"), *h264())

    async def scenario() -> None:
        async with new_registry() as registry:
            stream = await registry.add(settings("clip", str(source)))
            await becomes(registry, "clip", "ended")
            report = await stream.report()
            assert report is not None
            assert report["frames"]["sent"] == 5

    run(scenario())


@needs("ffmpeg")
def test_closing_finishes_every_file(clips: Clips, tmp_path: Path) -> None:
    outputs = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    streams = [settings(output.stem, SMALL, str(output)) for output in outputs]

    async def scenario() -> None:
        async with new_registry() as registry:
            for stream in streams:
                await registry.add(stream)
            await until(lambda: all(_sent(registry, one.stem) > 5 for one in outputs), "no frames")

    run(scenario())
    from tests.measure import pictures_of

    for output in outputs:
        assert len(pictures_of(output)) > 0


def _sent(registry: Registry, name: str) -> int:
    frames = registry[name].statistics().get("frames") or {"sent": 0}
    return int(frames["sent"])


def test_a_removed_stream_is_gone_and_its_name_is_free() -> None:
    async def scenario() -> None:
        async with new_registry(streams=1) as registry:
            await registry.add(settings("door"))
            with pytest.raises(StreamRefused, match="there is a stream 'door' already"):
                await registry.add(settings("door"))
            with pytest.raises(StreamRefused, match="1 streams are listed, which is the most"):
                await registry.add(settings("yard"))
            await becomes(registry, "door", "live")
            await asyncio.gather(registry.remove("door"), registry.remove("door"))
            assert len(registry) == 0
            await registry.add(settings("door"))
            await becomes(registry, "door", "live")

    run(scenario())


def test_a_stream_that_is_still_being_opened_can_be_removed_at_once() -> None:
    async def scenario() -> None:
        begun = asyncio.Event()

        async def never(wanted: StreamSettings) -> RunningStream:
            begun.set()
            await asyncio.Event().wait()
            raise AssertionError

        async with Registry(never, limits=Limits(), clock=MonotonicClock()) as registry:
            await registry.add(settings("slow"))
            await begun.wait()
            async with asyncio.timeout(30):
                await registry.remove("slow")
            assert "slow" not in registry

    run(scenario())


def test_a_stream_that_waits_for_a_pipes_reader_is_removed_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    for limit in ("CLOSE_WITHIN_S", "CUT_OFF_WITHIN_S"):
        monkeypatch.setattr(f"streamer.server.registry.{limit}", 0.1)
    pipe = tmp_path / "out.y4m"
    os.mkfifo(pipe)
    # From file to file nothing is lost: it is waited for whoever reads.
    raw = settings("raw", f"{SMALL}?pace=fast", f"y4m:{pipe}")

    async def scenario() -> None:
        async with new_registry() as registry:
            await registry.add(raw)
            await until(lambda: _decoded(registry, "raw"), "no frames")
            async with asyncio.timeout(30):
                await registry.remove("raw")
            assert "raw" not in registry
            assert "the stream raw does not end" in caplog.text
            os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))  # its thread ends by that

    run(scenario())


def _decoded(registry: Registry, name: str) -> int:
    frames = registry[name].statistics().get("frames") or {"decoded": 0}
    return int(frames["decoded"])


def test_nothing_is_added_to_a_registry_that_is_closed() -> None:
    async def scenario() -> None:
        async with new_registry() as registry:
            pass
        with pytest.raises(StreamRefused, match="the server is closing"):
            await registry.add(settings("late"))

    run(scenario())


def test_two_streams_never_write_to_one_output(tmp_path: Path) -> None:
    first = settings("a", SMALL, str(tmp_path / "x.ts"))
    second = settings("b", SMALL, f"{tmp_path}/./x.ts")

    async def scenario() -> None:
        async with new_registry() as registry:
            await registry.add(first)
            with pytest.raises(StreamRefused, match=r"a writes to file:x\.ts already"):
                await registry.add(second)
            await registry.add(settings("c", SMALL, "null:"))
            await registry.add(settings("d", SMALL, "null:", "webrtc:"))

    run(scenario())


def test_what_must_not_be_logged_is_known_to_any_thread_while_streams_are_added() -> None:
    asked, failures, is_over = 0, list[RuntimeError](), threading.Event()

    def ask(registry: Registry) -> None:
        nonlocal asked
        while not (is_over.is_set() or failures):
            try:
                registry.secrets()
                asked += 1
            except RuntimeError as error:
                failures.append(error)

    async def never_opens(wanted: StreamSettings) -> RunningStream:
        return await asyncio.Future()

    async def scenario() -> None:
        async with Registry(
            never_opens, limits=Limits(streams=200), clock=MonotonicClock()
        ) as registry:
            thread = threading.Thread(target=ask, args=(registry,))
            thread.start()
            try:
                for number in range(200):
                    await registry.add(settings(f"s{number}"))
            finally:
                is_over.set()
                thread.join()

    usual_s = sys.getswitchinterval()
    # Threads take turns in the middle of everything.
    sys.setswitchinterval(1e-6)
    try:
        run(scenario())
    finally:
        sys.setswitchinterval(usual_s)
    assert asked
    assert not failures


def test_a_change_holds_while_it_runs_and_after_it_was_begun_again() -> None:
    streams: list[Any] = []

    async def open_one(wanted: StreamSettings) -> RunningStream:
        streams.append(await open_real(wanted))
        return streams[-1]  # type: ignore[no-any-return]

    async def scenario() -> None:
        async with Registry(open_one, limits=Limits(), clock=MonotonicClock()) as registry:
            door = await registry.add(settings("door"))
            await becomes(registry, "door", "live")
            await door.change(Changes(budget_ms=33.0))
            await door.change(Changes(bitrate_kbps=900))
            assert door.statistics()["budget_ms"] == 33.0
            assert streams[0].budget_ms == 33.0
            with pytest.raises(ConfigError, match="there is no tier 'nope'"):
                await door.change(Changes(tier="nope", budget_ms=20.0))
            assert streams[0].budget_ms == 33.0
            await until(lambda: streams[0].metrics.counted("sent") > 0, "no frame")
            await _break(streams[0])
            await until(lambda: len(streams) == 2, "it was not begun again")
            await becomes(registry, "door", "live")
            assert streams[1].budget_ms == 33.0

    run(scenario())


async def _break(stream: Any) -> None:
    """Pull the chain out from under a running stream, as a defect would."""
    stream.chain.process = None
