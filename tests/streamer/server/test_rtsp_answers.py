"""What the server answers to each request, right ones and wrong ones."""

from __future__ import annotations

import base64
import re

import pytest

from streamer.rtsp.sdp import parse_sdp
from streamer.rtsp.transport import parse_transports
from streamer.server.rtsp_answers import METHODS
from streamer.server.rtsp_caller import locate
from tests.streamer.server.rtsp_client import RtspClient, udp_ears
from tests.streamer.server.rtsp_live import Camera, aac, audio_of, filming, serving
from tests.streamer.server.watcher import run, until

G711 = audio_of("pcm_alaw", rate_hz=8_000, channels=1)


def test_options_names_every_method_and_needs_no_stream() -> None:
    async def scenario() -> None:
        async with serving({}) as server, RtspClient(server.port) as client:
            response = await client.ask("OPTIONS", "*")
            assert response.status == 200
            assert set(response.headers["public"].split(", ")) == set(METHODS)

    run(scenario())


def test_describe_says_what_there_is_to_play() -> None:
    async def scenario() -> None:
        stream = aac(rate_hz=44_100, channels=1)
        camera = Camera(audio=stream)
        mount = camera.mount(audio=stream)
        async with serving({"cam": mount}) as server, RtspClient(server.port) as client:
            with filming(camera, mount):
                response = await client.ask("DESCRIBE", Accept="application/sdp")
            assert response.status == 200
            assert response.headers["content-type"] == "application/sdp"
            assert response.headers["content-base"] == client.url + "/"
            video, audio = parse_sdp(response.body.decode()).media
            (format,) = video.formats
            assert (video.kind, format.encoding, format.clock_rate) == ("video", "H264", 90_000)
            assert format.parameters["packetization-mode"] == "1"
            sets = format.parameters["sprop-parameter-sets"].split(",")
            sps, pps = map(base64.b64decode, sets)
            keyframe = camera.sent[0].payload if camera.sent[0].stream == "video" else b""
            keyframe = keyframe or next(p.payload for p in camera.sent if p.stream == "video")
            assert b"\0\0\1" + sps in keyframe
            assert b"\0\0\1" + pps in keyframe
            assert format.parameters["profile-level-id"] == sps[1:4].hex().upper()
            (format,) = audio.formats
            assert (format.encoding, format.clock_rate) == ("MPEG4-GENERIC", 44_100)
            assert bytes.fromhex(format.parameters["config"]) == stream.extradata
            assert (video.control, audio.control) == ("trackID=0", "trackID=1")

    run(scenario())


def test_the_description_says_nothing_of_the_user_or_the_query() -> None:
    async def scenario() -> None:
        camera = Camera()
        mount = camera.mount()
        async with serving({"cam": mount}) as server, RtspClient(server.port) as client:
            with filming(camera, mount):
                url = f"rtsp://ann:hunter2@127.0.0.1:{server.port}/cam?token=hunter2"
                response = await client.ask("DESCRIBE", url)
            assert response.status == 200
            assert "hunter2" not in str(response.headers.fields) + response.body.decode()

    run(scenario())


def test_without_a_keyframe_describe_waits_and_then_says_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamer.sinks.rtsp_mount.DESCRIBED_WITHIN_S", 0.2)

    async def scenario() -> None:
        camera = Camera()
        async with serving({"cam": camera.mount()}) as server, RtspClient(server.port) as client:
            response = await client.ask("DESCRIBE")
            assert response.status == 503
            assert int(response.headers["retry-after"]) > 0
            assert camera.keyframe_requests == 1

    run(scenario())


def test_what_is_not_there_is_404_and_what_is_elsewhere_too() -> None:
    async def scenario() -> None:
        async with (
            serving({"cam": Camera().mount()}) as server,
            RtspClient(server.port) as client,
        ):
            root = f"rtsp://127.0.0.1:{server.port}"
            for path in ("/nowhere", "/", "", "/cam2", "/cam/deeper", "/%00", "/../cam"):
                assert (await client.ask("DESCRIBE", root + path)).status == 404, path
            assert (await client.set_up(1)).status == 404
            assert (await client.ask("SETUP", root + "/x/trackID=0", Transport="x")).status == 404

    run(scenario())


@pytest.mark.parametrize(
    ("path", "stream", "track"),
    [
        ("", "", None),
        ("/cam", "cam", None),
        ("//a/cam//", "a/cam", None),
        ("/cam/trackID=1", "cam", 1),
        ("/cam//trackID=012", "cam", 12),
        ("/trackID=3", "", 3),
        ("/camtrackID=4", "cam", 4),
        ("/cam/trackID=1/trackID=2", "cam/trackID=1", 2),
        ("/cam/trackID=1234", "cam/trackID=1234", None),
        ("/cam/trackID=", "cam/trackID=", None),
        ("/a%2Fb%20c", "a/b c", None),
        # A test of each pair of slashes would take minutes.
        (f"/a{'/' * 200_000}b", f"a{'/' * 200_000}b", None),
    ],
)
def test_a_url_names_a_stream_and_perhaps_a_track(
    path: str, stream: str, track: int | None
) -> None:
    place = locate(f"rtsp://me@host:554{path}?x=y")
    assert (place.path, place.track) == (stream, track)
    assert place.base.startswith("rtsp://host:554/")


def test_setup_over_tcp_gives_channels_a_session_and_its_timeout() -> None:
    async def scenario() -> None:
        camera = Camera(audio=G711)
        mounts = {"cam": camera.mount(audio=G711)}
        async with serving(mounts) as server, RtspClient(server.port) as client:
            video = await client.set_up(0, "RTP/AVP/TCP;unicast;interleaved=4-5")
            assert re.fullmatch(r"[0-9a-f]{32};timeout=60", video.headers["session"])
            (transport,) = parse_transports(video.headers["transport"])
            assert (transport.lower, transport.interleaved) == ("tcp", (4, 5))
            assert transport.ssrc
            audio = await client.set_up(1, "RTP/AVP/TCP;unicast")
            (transport,) = parse_transports(audio.headers["transport"])
            assert transport.interleaved == (0, 1)
            assert audio.headers["session"] == video.headers["session"]

    run(scenario())


def test_channels_that_are_taken_are_not_given_twice() -> None:
    async def scenario() -> None:
        camera = Camera(audio=G711)
        mounts = {"cam": camera.mount(audio=G711)}
        async with serving(mounts) as server, RtspClient(server.port) as client:
            await client.set_up(0, "RTP/AVP/TCP;unicast;interleaved=1-2")
            audio = await client.set_up(1, "RTP/AVP/TCP;unicast;interleaved=2-3")
            (transport,) = parse_transports(audio.headers["transport"])
            assert transport.interleaved == (4, 5)
            again = await client.set_up(0, "RTP/AVP/TCP;unicast;interleaved=1-2")
            (transport,) = parse_transports(again.headers["transport"])
            assert transport.interleaved == (1, 2), "its own channels are free to be had again"

    run(scenario())


@pytest.mark.parametrize(
    "transport",
    [
        "RTP/AVP;multicast",
        "RTP/AVP;multicast;client_port=5000-5001",
        "RTP/SAVP;unicast;client_port=5000-5001",
        "RTP/AVP;unicast",
        "RTP/AVP;unicast;client_port=0-1",
        "RTP/AVP;unicast;client_port=70000-70001",
        "RTP/AVP/TCP;unicast;interleaved=0-1;mode=RECORD",
        "RAW/RAW/UDP;unicast;client_port=5000-5001",
        "nonsense",
        "",
    ],
)
def test_a_transport_that_is_not_served_is_461(transport: str) -> None:
    async def scenario() -> None:
        async with (
            serving({"cam": Camera().mount()}) as server,
            RtspClient(server.port) as client,
        ):
            url = client.url + "/trackID=0"
            response = await client.ask("SETUP", url, Transport=transport or ";")
            assert response.status == 461
            assert "session" not in response.headers

    run(scenario())


def test_the_first_transport_that_is_served_is_taken() -> None:
    async def scenario() -> None:
        async with (
            serving({"cam": Camera().mount()}) as server,
            RtspClient(server.port) as client,
        ):
            offered = "RTP/AVP;multicast,RTP/SAVP/TCP;interleaved=0-1,RTP/AVP/TCP;interleaved=6-7"
            response = await client.set_up(0, offered)
            assert "interleaved=6-7" in response.headers["transport"]

    run(scenario())


def test_all_tracks_of_a_session_go_the_same_way() -> None:
    async def scenario() -> None:
        camera = Camera(audio=G711)
        mounts = {"cam": camera.mount(audio=G711)}
        async with (
            serving(mounts) as server,
            RtspClient(server.port) as client,
            udp_ears() as (_, _, udp),
        ):
            assert (await client.set_up(0)).status == 200
            assert (await client.set_up(1, udp)).status == 461

    run(scenario())


def test_requests_in_the_wrong_state_or_on_the_wrong_part_say_so() -> None:
    async def scenario() -> None:
        camera = Camera(audio=G711)
        mounts = {"cam": camera.mount(audio=G711), "other": Camera().mount("other")}
        async with serving(mounts) as server, RtspClient(server.port) as client:
            assert (await client.ask("SETUP", Transport="RTP/AVP/TCP")).status == 459
            for method in ("PLAY", "PAUSE", "TEARDOWN"):
                assert (await client.ask(method)).status == 454
                assert (await client.ask(method, Session="made-up")).status == 454
            assert (await client.set_up(0)).status == 200
            assert (await client.set_up(1)).status == 200
            other = f"rtsp://127.0.0.1:{server.port}/other"
            tcp = "RTP/AVP/TCP;interleaved=8-9"
            assert (await client.ask("SETUP", f"{other}/trackID=0", Transport=tcp)).status == 459
            assert (await client.ask("PLAY", other)).status == 455
            assert (await client.ask("PAUSE")).status == 455
            assert (await client.ask("PLAY", client.url + "/trackID=1")).status == 460
            assert (await client.ask("PLAY", Range="parsec=1-")).status == 457
            assert (await client.ask("PLAY", Range="npt=0.000-")).status == 200
            late = await client.ask("SETUP", client.url + "/trackID=0", Transport=tcp)
            assert late.status == 455
            assert "PAUSE" in late.headers["allow"]
            assert (await client.ask("TEARDOWN", client.url + "/trackID=0")).status == 460
            assert (await client.ask("TEARDOWN")).status == 200
            assert (await client.ask("TEARDOWN")).status == 454

    run(scenario())


def test_other_methods_headers_and_bodies_are_refused_by_name() -> None:
    async def scenario() -> None:
        async with (
            serving({"cam": Camera().mount()}) as server,
            RtspClient(server.port) as client,
        ):
            announce = await client.ask("ANNOUNCE", body=b"v=0\r\n")
            assert announce.status == 405
            assert "DESCRIBE" in announce.headers["allow"]
            assert "Publish by RTMP or WHIP" in announce.reason
            assert (await client.ask("BREW")).status == 501
            required = await client.ask("DESCRIBE", Require="onvif-replay")
            assert (required.status, required.headers["unsupported"]) == (551, "onvif-replay")
            assert (await client.ask("DESCRIBE", Accept="text/html")).status == 406
            assert (await client.ask("DESCRIBE", "http://127.0.0.1/cam")).status == 400
            assert (await client.ask("DESCRIBE", "rtsp://[::1/cam")).status == 400

    run(scenario())


def test_parameters_keep_alive_and_nothing_else() -> None:
    async def scenario() -> None:
        async with (
            serving({"cam": Camera().mount()}) as server,
            RtspClient(server.port) as client,
        ):
            assert (await client.ask("GET_PARAMETER")).status == 200
            await client.set_up(0)
            assert (await client.ask("GET_PARAMETER")).status == 200
            assert (await client.ask("SET_PARAMETER")).status == 200
            assert (await client.ask("GET_PARAMETER", body=b"packets_received\r\n")).status == 451
            assert (await client.ask("GET_PARAMETER", Session="made-up")).status == 454

    run(scenario())


def test_play_says_where_each_track_begins() -> None:
    async def scenario() -> None:
        camera = Camera(audio=G711)
        mount = camera.mount(audio=G711)
        async with serving({"cam": mount}) as server, RtspClient(server.port) as client:
            with filming(camera, mount):
                await until(lambda: camera.number > 3, "no pictures")
                response = await client.play(0, 1)
                video, audio = await client.got(30), await client.got(10, channel=2)
            assert response.headers["range"] == "npt=now-"
            infos = response.headers["rtp-info"].split(",")
            for number, (info, packets, hz) in enumerate(
                zip(infos, (video, audio), (90_000, 8_000), strict=True)
            ):
                url, seq, rtptime = info.split(";")
                assert url == f"url={client.url}/trackID={number}"
                assert seq == f"seq={packets[0].sequence}"
                later = packets[0].timestamp - int(rtptime.removeprefix("rtptime="))
                assert 0 <= later < hz, "the first packet is not before what was said"

    run(scenario())


def test_a_second_play_is_no_second_stream() -> None:
    async def scenario() -> None:
        camera = Camera()
        mount = camera.mount()
        async with serving({"cam": mount}) as server, RtspClient(server.port) as client:
            with filming(camera, mount):
                await client.play()
                await client.got(10)
                assert (await client.ask("PLAY")).status == 200
                assert mount.clients == 1
                packets = await client.got(40)
            sequences = [packet.sequence for packet in packets]
            assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))

    run(scenario())


def test_pause_stops_and_play_goes_on_from_a_keyframe() -> None:
    async def scenario() -> None:
        camera = Camera()
        mount = camera.mount()
        async with serving({"cam": mount}) as server, RtspClient(server.port) as client:
            with filming(camera, mount):
                await client.play()
                await client.got(20)
                assert (await client.ask("PAUSE")).status == 200
                assert mount.clients == 0
                before = len(client.packets[0])
                number = camera.number
                await until(lambda: camera.number > number + 5, "the camera stopped")
                assert len(client.packets[0]) == before
                assert (await client.ask("PLAY")).status == 200
                packets = await client.got(before + 10)
            # The sequence goes on, so that the pause is not taken for a loss.
            assert packets[before].sequence == packets[before - 1].sequence + 1
            assert packets[before].payload[0] & 0x1F == 24, "parameter sets come first"
            gap = packets[before].timestamp - packets[before - 1].timestamp
            assert gap > 5 * 90_000 // 25, "time went on meanwhile"

    run(scenario())
