"""What keeps a stream from opening, each with its own sentence."""

import asyncio
import socket
from dataclasses import replace

import pytest

from streamer.errors import ConfigError
from tests.rtsp_camera import SDP, Asked, ScriptedServer, Viewer, coded_pictures, film
from tests.streamer.sources.rtsp_viewer import PATIENT, opened, refusal_of, run, with_secret


def test_a_server_that_never_answers_is_given_up() -> None:
    async def mute(_viewer: Viewer, _asked: Asked) -> None:
        await asyncio.Event().wait()

    async def work() -> None:
        async with ScriptedServer(steps={"OPTIONS": mute}) as server:
            limits = replace(PATIENT, answer_s=0.2)
            assert "does not answer OPTIONS" in await refusal_of(with_secret(server.url), limits)
        async with ScriptedServer(steps={"PLAY": mute}) as server:
            limits = replace(PATIENT, answer_s=1.5)
            assert "does not answer PLAY" in await refusal_of(with_secret(server.url), limits)

    run(work)


@pytest.mark.parametrize(
    ("garbage", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "no RTSP"),
        (bytes(range(256)), "no RTSP"),
        (b"RTSP/1.0 200 OK\r\nContent-Length: 999999999\r\n\r\n", "above the limit"),
        (b"", "closed the connection"),
        (b"RTSP/1.0 200 OK\r\nCSe", "closed the connection in the middle"),
    ],
)
def test_garbage_or_a_hang_up_instead_of_an_answer_is_an_error(garbage: bytes, words: str) -> None:
    def answer(viewer: Viewer, _asked: Asked) -> None:
        viewer.writer.write(garbage)
        viewer.writer.write_eof()

    async def work() -> None:
        for method in ("OPTIONS", "DESCRIBE", "PLAY"):
            async with ScriptedServer(steps={method: answer}) as server:
                assert words in await refusal_of(with_secret(server.url))

    run(work)


@pytest.mark.parametrize(
    ("sdp", "words"),
    [
        (SDP.replace("m=video", "m=audio"), "describes no video (it has: audio)"),
        ("", "describes no video (it has: nothing)"),
        ("\0\xff garbage", "describes no video"),
    ],
)
def test_a_description_without_video_is_an_error(sdp: str, words: str) -> None:
    async def work() -> None:
        async with ScriptedServer(sdp=sdp) as server:
            assert words in await refusal_of(with_secret(server.url))

    run(work)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("401 Unauthorized", "does not take this user and password"),
        ("403 Forbidden", "forbidden"),
        ("404 Not Found", "no stream at this path"),
        ("453 Not Enough Bandwidth", "no room for another viewer"),
        ("500 See rtsp://user:secret@host", "answers DESCRIBE with 500"),
    ],
)
def test_each_refusal_has_its_own_sentence(status: str, words: str) -> None:
    def refuse(viewer: Viewer, asked: Asked) -> None:
        viewer.answer(asked, status)

    async def work() -> None:
        async with ScriptedServer(steps={"DESCRIBE": refuse}) as server:
            assert words in await refusal_of(with_secret(server.url))

    run(work)


def test_who_gives_no_password_is_told_where_it_goes() -> None:
    def refuse(viewer: Viewer, asked: Asked) -> None:
        viewer.answer(asked, "401 Unauthorized", www_authenticate='Basic realm="x"')

    async def work() -> None:
        async with ScriptedServer(steps={"DESCRIBE": refuse}) as server:
            assert "put USER:PASSWORD@ before the host" in await refusal_of(server.url)

    run(work)


def test_nothing_after_play_names_the_other_transport() -> None:
    async def work() -> None:
        hasty = replace(PATIENT, first_packet_s=0.3)
        async with ScriptedServer() as server:
            assert "try ?transport=udp" in await refusal_of(server.url, hasty)

        def grant(viewer: Viewer, asked: Asked) -> None:
            viewer.answer(asked, session="1", transport=asked.headers["transport"])

        async with ScriptedServer(steps={"SETUP": grant}) as server:
            assert "try ?transport=tcp" in await refusal_of(server.url + "?transport=udp", hasty)

    run(work)


def test_sound_that_is_not_read_is_said(caplog: pytest.LogCaptureFixture) -> None:
    sound = "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 G726-32/8000\r\na=control:track2\r\n"

    async def work() -> None:
        async with ScriptedServer(sdp=SDP + sound, playing=film) as server:
            source = await opened(with_secret(server.url))
            assert source.audio is None
            await source.close()

    run(work)
    assert "sends sound as G726-32, which is not read" in caplog.text
    assert "secret" not in caplog.text


def test_a_keyframe_that_never_comes_is_an_error() -> None:
    async def work() -> None:
        async def no_keyframes(viewer: Viewer) -> None:
            await film(viewer, pictures=coded_pictures()[1:6])

        async with ScriptedServer(playing=no_keyframes) as server:
            limits = replace(PATIENT, keyframe_s=0.5)
            assert "no keyframe comes" in await refusal_of(server.url, limits)

    run(work)


def test_a_port_where_nothing_listens_and_a_host_that_is_none_are_errors() -> None:
    async def work() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            url = f"rtsp://user:secret@127.0.0.1:{port}/live"
            assert "nothing listens" in await refusal_of(url)
        assert "there is no host" in await refusal_of("rtsp://user:secret@nowhere.invalid/live")
        torn = "rtsp://user:12@x.invalid/secret@cam/live"  # a password with both @ and /
        assert "percent-encode the @ and / of a password" in await refusal_of(torn)
        with pytest.raises(ConfigError):
            await opened("rtsp://:secret@/live")

    run(work)
