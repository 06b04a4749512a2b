import asyncio
import itertools
import random
import struct
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest

from streamer.errors import SourceLost
from streamer.rtsp.message import interleaved_bytes
from streamer.sources.rtsp.limits import Limits
from streamer.sources.rtsp.source import WAITING_PACKETS
from tests.rtsp_camera import SDP, Asked, ScriptedServer, Viewer, coded_pictures, film
from tests.streamer.sources.rtsp_viewer import (
    PATIENT,
    opened,
    packets_of,
    run,
    with_secret,
)


def test_a_stream_plays_and_ends_with_a_teardown() -> None:
    async def work() -> None:
        async with ScriptedServer(playing=film) as server:
            source = await opened(server.url)
            assert (source.video.codec, source.video.width) == ("h264", 64)
            assert source.video.fps == Fraction(30)
            assert source.video.is_live
            packets = await packets_of(source, 10)
            await source.close()
            await source.close()
            await server.until(lambda: "TEARDOWN" in server.methods())
        assert packets[0].is_keyframe
        assert packets[0].payload.startswith(b"\0\0\0\1")
        assert {packet.time_base for packet in packets} == {source.video.time_base}
        # Sequence numbers and timestamps of the script wrap within these pictures.
        steps = {after.pts - before.pts for before, after in pairwise(packets)}
        assert steps == {3000}
        assert not any(packet.follows_loss for packet in packets)
        assert server.asked[-1].headers["session"] == "77"

    run(work)


def test_a_picture_is_handed_on_before_anything_follows_it() -> None:
    handed_on = asyncio.Event()

    async def one_by_one(viewer: Viewer) -> None:
        for unit in coded_pictures():
            handed_on.clear()
            viewer.send_picture(unit)
            await handed_on.wait()

    async def work() -> None:
        async with ScriptedServer(playing=one_by_one) as server:
            source = await opened(server.url)
            count = 0
            async for _ in source.packets():
                handed_on.set()
                count += 1
                if count == len(coded_pictures()):
                    break
            await source.close()

    run(work)


def test_a_reader_who_comes_late_begins_with_the_latest_keyframe() -> None:
    async def two_groups(viewer: Viewer) -> None:
        for unit in coded_pictures():
            viewer.send_picture(unit)
        viewer.ask()

    async def work() -> None:
        async with ScriptedServer(playing=two_groups) as server:
            source = await opened(server.url)
            await server.until(server.is_all_read)
            packets = await packets_of(source, 6)
            await source.close()
        assert packets[0].is_keyframe
        assert packets[0].pts == 6 * 3000

    run(work)


def test_a_reader_who_stops_reading_loses_pictures_up_to_a_keyframe() -> None:
    go_on = asyncio.Event()
    pictures = coded_pictures()

    async def flood(viewer: Viewer) -> None:
        viewer.send_picture(pictures[0])
        await go_on.wait()
        for _ in range(WAITING_PACKETS):
            viewer.send_picture(pictures[1])
        viewer.send_picture(pictures[2])
        viewer.send_picture(pictures[6])
        viewer.send_picture(pictures[7])
        viewer.ask()

    async def work() -> None:
        async with ScriptedServer(playing=flood) as server:
            source = await opened(server.url)
            reading = source.packets()
            first = await anext(reading)
            go_on.set()
            await server.until(server.is_all_read)
            found = [await anext(reading), await anext(reading)]
            await source.close()
        assert first.is_keyframe
        # All that waited is older than the keyframe, and what was refused came before it.
        last_pts = (WAITING_PACKETS + 3) * 3000
        assert [packet.pts for packet in found] == [last_pts - 3000, last_pts]
        assert found[0].is_keyframe
        assert found[0].follows_loss

    run(work)


def test_a_connection_that_breaks_while_it_plays_is_lost() -> None:
    async def break_off(viewer: Viewer) -> None:
        for unit in coded_pictures():
            viewer.send_picture(unit)
        await viewer.writer.drain()
        viewer.writer.close()

    async def work() -> None:
        async with ScriptedServer(playing=break_off) as server:
            source = await opened(with_secret(server.url))
            with pytest.raises(SourceLost, match="closed the connection; ") as lost:
                await packets_of(source, 100)
            assert "secret" not in str(lost.value)
            await source.close()

    run(work)


def test_a_picture_that_stops_is_lost() -> None:
    async def stop(viewer: Viewer) -> None:
        for unit in coded_pictures():
            viewer.send_picture(unit)

    async def work() -> None:
        async with ScriptedServer(playing=stop) as server:
            source = await opened(server.url, replace(PATIENT, silence_s=0.5))
            with pytest.raises(SourceLost, match=r"no video packet for 0\.5 s"):
                await packets_of(source, 100)
            await source.close()

    run(work)


def test_a_slow_camera_may_be_silent_for_three_of_its_intervals() -> None:
    limits = Limits(silence_s=5)
    assert limits.silent_after(None) == limits.silent_after(Fraction(1)) == 5
    assert limits.silent_after(Fraction(1, 5)) == 15

    async def slowly(viewer: Viewer) -> None:
        for unit in coded_pictures()[:4]:
            viewer.send_picture(unit)
            await asyncio.sleep(1)

    async def work() -> None:
        sdp = SDP.replace("framerate:30", "framerate:0.5")
        async with ScriptedServer(sdp=sdp, playing=slowly) as server:
            source = await opened(server.url, replace(PATIENT, silence_s=0.5))
            assert len(await packets_of(source, 4)) == 4
            await source.close()

    run(work)


def test_closing_ends_a_reader_that_waits() -> None:
    async def once(viewer: Viewer) -> None:
        viewer.send_picture(coded_pictures()[0])

    async def work() -> None:
        async with ScriptedServer(playing=once) as server:
            source = await opened(server.url)
            reading = asyncio.create_task(packets_of(source, 100))
            await asyncio.sleep(0)
            await source.close()
            assert len(await reading) <= 1

    run(work)


def test_signs_of_life_and_reports_are_sent() -> None:
    async def work() -> None:
        async with ScriptedServer(session="77;timeout=1", playing=film) as server:
            source = await opened(server.url, replace(PATIENT, report_s=0.1))
            alive = "GET_PARAMETER"
            await server.until(lambda: server.methods().count(alive) >= 2)
            await server.until(lambda: len(server.viewers[0].reports) >= 2)
            await source.close()
        asked = next(asked for asked in server.asked if asked.method == alive)
        assert asked.headers["session"] == "77"
        assert server.viewers[0].reports[0][:2] == b"\x81\xc9", "a receiver report with one block"

    run(work)


@pytest.mark.parametrize("feedback", ["", "a=rtcp-fb:96 nack pli\r\n"])
def test_a_keyframe_is_asked_for_where_the_camera_offers_it(feedback: str) -> None:
    async def work() -> None:
        sdp = SDP.replace("RTP/AVP 96", "RTP/AVPF 96") + feedback
        async with ScriptedServer(sdp=sdp, playing=film) as server:
            source = await opened(server.url, replace(PATIENT, report_s=0.05))
            await source.request_keyframe()
            reports = server.viewers[0].reports
            known = len(reports)
            await server.until(lambda: len(reports) >= known + 3)
            await source.close()
        # PSFB with format 1 behind a receiver report, about the source of the pictures.
        asked = [report for report in reports if b"\x81\xce\x00\x02" in report]
        assert bool(asked) == bool(feedback)
        assert all(report.endswith(b"\x00\x00\x12\x34") for report in asked)
        assert "RTP/AVPF/TCP" in next(
            request.headers["transport"] for request in server.asked if request.method == "SETUP"
        )

    run(work)


def test_a_rate_that_nobody_states_is_measured() -> None:
    async def slow_film(viewer: Viewer) -> None:
        for unit in coded_pictures():
            viewer.send_picture(unit, step=7200)

    async def work() -> None:
        sdp = SDP.replace("a=framerate:30\r\n", "")
        async with ScriptedServer(sdp=sdp, playing=slow_film) as server:
            source = await opened(server.url)
            await source.close()
        assert source.video.fps == Fraction(25, 2)

    run(work)


def test_a_camera_that_ignores_signs_of_life_plays_on() -> None:
    def ignore(_viewer: Viewer, _asked: Asked) -> None:
        """No answer at all."""

    async def work() -> None:
        async with ScriptedServer(
            session="77;timeout=1", playing=film, steps={"GET_PARAMETER": ignore}
        ) as server:
            source = await opened(server.url, replace(PATIENT, answer_s=1))
            await server.until(lambda: server.methods().count("GET_PARAMETER") >= 2)
            assert len(await packets_of(source, 10)) == 10
            await source.close()

    run(work)


def test_sound_that_is_refused_does_not_stop_the_picture() -> None:
    def no_sound(viewer: Viewer, asked: Asked) -> None:
        is_sound = asked.url.endswith("track2")
        viewer.answer(
            asked,
            "400 Bad Request" if is_sound else "200 OK",
            session="5",
            transport=asked.headers["transport"],
        )

    async def work() -> None:
        sdp = SDP + "m=audio 0 RTP/AVP 8\r\na=control:track2\r\n"
        async with ScriptedServer(sdp=sdp, steps={"SETUP": no_sound}, playing=film) as server:
            source = await opened(server.url)
            assert source.audio is None
            assert len(await packets_of(source, 3)) == 3
            await source.close()

    run(work)


def test_careless_answers_are_understood() -> None:
    """No CSeq, no Transport, LF alone, another channel, a question of its own."""

    def setup(viewer: Viewer, _asked: Asked) -> None:
        viewer.writer.write(b"RTSP/1.0 200 OK\nSession : 9 ; timeout = 30\n\n")

    def play(viewer: Viewer, asked: Asked) -> None:
        viewer.writer.write(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n$\x09\x00\x01x")
        viewer.answer(asked)

    async def work() -> None:
        async with ScriptedServer(steps={"SETUP": setup, "PLAY": play}, playing=film) as server:
            source = await opened(server.url)
            assert len(await packets_of(source, 3)) == 3
            await source.close()

    run(work)


def test_a_server_that_names_the_same_channels_for_each_track_is_understood() -> None:
    def setup(viewer: Viewer, asked: Asked) -> None:
        viewer.answer(asked, session="5", transport="RTP/AVP/TCP;unicast;interleaved=0-1")

    async def film_with_sound(viewer: Viewer) -> None:
        for number, unit in enumerate(itertools.cycle(coded_pictures())):
            viewer.send_picture(unit)
            head = struct.pack("!BBHII", 0x80, 0, number & 0xFFFF, 160 * number, 0x99)
            viewer.writer.write(interleaved_bytes(2, head + bytes(160)))
            await viewer.writer.drain()
            await asyncio.sleep(1 / 30)

    async def work() -> None:
        sdp = SDP + "m=audio 0 RTP/AVP 0\r\na=control:track2\r\n"
        steps = {"SETUP": setup}
        async with ScriptedServer(sdp=sdp, steps=steps, playing=film_with_sound) as server:
            source = await opened(server.url)
            packets = await packets_of(source, 10)
            await source.close()
        assert {packet.stream for packet in packets} == {"video", "audio"}

    run(work)


def test_tracks_stand_behind_the_address_that_the_session_states() -> None:
    """As ffmpeg and GStreamer have it, where the address asked for is only an alias."""
    real = "rtsp://192.168.1.64/streams/2"

    def setup(viewer: Viewer, asked: Asked) -> None:
        is_known = asked.url == f"{real}/track1"
        status = "200 OK" if is_known else "404 Not Found"
        viewer.answer(asked, status, session="5", transport=asked.headers["transport"])

    async def work() -> None:
        sdp = SDP.replace("a=control:*", f"a=control:{real}")
        async with ScriptedServer(sdp=sdp, steps={"SETUP": setup}, playing=film) as server:
            source = await opened(server.url)
            assert len(await packets_of(source, 3)) == 3
            await source.close()
            assert next(asked.url for asked in server.asked if asked.method == "PLAY") == real

    run(work)


def test_noise_between_the_packets_does_no_harm() -> None:
    noise = random.Random(5)

    async def noisy_film(viewer: Viewer) -> None:
        number = 0
        while True:
            for channel in (0, 1, 2, 255):
                data = noise.randbytes(noise.randrange(60))
                if noise.random() < 0.5:
                    data = bytes((0x80 | noise.randrange(32), noise.randrange(192, 212))) + data
                if len(data) < 12 or data[0] & 0xC0 != 0x80 or channel:
                    viewer.writer.write(interleaved_bytes(channel, data))
            viewer.send_picture(coded_pictures()[number % 12])
            number += 1
            await viewer.writer.drain()
            await asyncio.sleep(0)

    async def work() -> None:
        async with ScriptedServer(playing=noisy_film) as server:
            source = await opened(server.url)
            packets = await packets_of(source, 200)
            await source.close()
        assert not any(packet.follows_loss for packet in packets if not packet.is_keyframe)

    run(work)
