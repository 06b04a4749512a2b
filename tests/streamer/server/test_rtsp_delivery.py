"""What clients are sent: all of it to those who read, less to those who are slow, none to the gone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from streamer.clock import ManualClock
from streamer.rtp.annex_b import nal_units
from streamer.rtp.packet import RtpPacket, parse_rtp
from streamer.rtp.packetise import RtpPiece
from streamer.rtp.rtcp import Bye, SenderReport, SourceDescription, ntp_to_ns, parse_compound
from streamer.rtsp.message import interleaved_bytes
from streamer.rtsp.transport import parse_transports
from streamer.server import rtsp_ways
from streamer.sinks.rtsp_mount import RtspMount
from tests.streamer.rtp.test_packetise_h264 import units_of
from tests.streamer.server.rtsp_client import RtspClient, udp_ears
from tests.streamer.server.rtsp_live import FPS, Camera, audio_of, filming, serving
from tests.streamer.server.watcher import run, until

G711 = audio_of("pcm_mulaw", rate_hz=8_000, channels=1)
FIR = bytes.fromhex("84ce0004 00000001 00000002 00000002 01000000")
"""Full intra request (RFC 5104, 4.3.1), which our own client never sends."""


def units_by_time(packets: Sequence[RtpPacket]) -> list[list[bytes]]:
    """The NAL units of each whole access unit, in order; a gap in the numbers fails."""
    first = packets[0].sequence
    assert [p.sequence for p in packets] == [(first + n) % 2**16 for n in range(len(packets))]
    found: list[list[bytes]] = []
    open_packets: list[RtpPacket] = []
    for packet in packets:
        assert not open_packets or packet.timestamp == open_packets[0].timestamp
        open_packets.append(packet)
        if packet.marker:
            found.append(units_of([RtpPiece(p.payload, is_marked=p.marker) for p in open_packets]))
            open_packets = []
    return found


def sent_units(camera: Camera) -> list[list[bytes]]:
    return [nal_units(packet.payload) for packet in camera.sent if packet.stream == "video"]


def test_each_of_several_clients_gets_every_picture_from_its_keyframe_on() -> None:
    async def scenario() -> None:
        camera = Camera(audio=G711)
        mount = camera.mount(audio=G711)
        async with (
            serving({"cam": mount}) as server,
            RtspClient(server.port) as one,
            RtspClient(server.port) as two,
            RtspClient(server.port) as three,
        ):
            with filming(camera, mount):
                for client in (one, two, three):
                    await client.play(0, 1)
                    await client.got(60)
            for client in (one, two, three):
                got = units_by_time(client.packets[0])
                begin = sent_units(camera).index(got[0])
                assert got[0][0][0] & 0x1F == 7, "a client begins with parameter sets"
                assert got == sent_units(camera)[begin : begin + len(got)]
                sounds = [int.from_bytes(p.payload[:4], "big") for p in client.packets[2]]
                assert sounds == list(range(sounds[0], sounds[0] + len(sounds)))
            ssrcs = {client.packets[0][0].ssrc for client in (one, two, three)}
            assert len(ssrcs) == 3
            assert mount.statistics()["dropped"] == 0

    run(scenario())


def test_a_client_that_stops_reading_loses_its_own_packets_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rtsp_ways, "BUFFERED_BYTES", 16 << 10)
    monkeypatch.setattr(rtsp_ways, "UNSENT_BYTES", 16 << 10)

    async def scenario() -> None:
        camera = Camera(bitrate_kbps=4_000)
        mount = camera.mount(ring_packets=10)
        async with (
            serving({"cam": mount}) as server,
            RtspClient(server.port) as awake,
            RtspClient(server.port, receive_bytes=4096) as asleep,
        ):
            with filming(camera, mount):
                await asleep.play()
                await asleep.got(10)
                asleep.stop_reading()
                await awake.play()
                await until(
                    lambda: mount.statistics()["dropped"] > FPS, "nothing dropped", within_s=30
                )
            got = units_by_time(awake.packets[0])
            begin = sent_units(camera).index(got[0])
            assert len(got) > FPS
            assert got == sent_units(camera)[begin : begin + len(got)]

    run(scenario())


def test_a_slow_client_goes_on_from_a_keyframe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtsp_ways, "BUFFERED_BYTES", 16 << 10)
    monkeypatch.setattr(rtsp_ways, "UNSENT_BYTES", 16 << 10)

    async def scenario() -> None:
        camera = Camera(bitrate_kbps=4_000)
        mount = camera.mount(ring_packets=10)
        async with (
            serving({"cam": mount}) as server,
            RtspClient(server.port, receive_bytes=4096) as client,
        ):
            with filming(camera, mount):
                await client.play()
                await client.got(10)
                client.stop_reading()
                await until(lambda: mount.statistics()["dropped"] > FPS, "nothing dropped")
                # It wakes up; what it gets now has a gap in time, never in the numbers.
                client.read_on()
                asked = mount.statistics()["keyframes"]["asked"]
                number = camera.number
                await until(
                    lambda: (
                        client.packets[0][-1].timestamp - client.packets[0][0].timestamp
                        >= (camera.number - 3 - number) * 90_000 // FPS
                        and camera.number > number + FPS
                    ),
                    "it did not catch up",
                )
            assert asked > 1, "the overflow asked for a keyframe"
            got = units_by_time(client.packets[0])
            sent = sent_units(camera)
            places = [sent.index(units) for units in got]
            jumps = [n for n in range(1, len(places)) if places[n] != places[n - 1] + 1]
            assert jumps, "something was lost"
            for jump in jumps:
                assert got[jump][0][0] & 0x1F == 7, "after a gap comes a keyframe"

    run(scenario())


def test_who_reads_nothing_for_long_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtsp_ways, "BUFFERED_BYTES", 16 << 10)
    monkeypatch.setattr(rtsp_ways, "UNSENT_BYTES", 16 << 10)
    monkeypatch.setattr(rtsp_ways, "STOPPED_AFTER_S", 0.3)

    async def scenario() -> None:
        camera = Camera(bitrate_kbps=4_000)
        mount = camera.mount()
        async with (
            serving({"cam": mount}) as server,
            RtspClient(server.port, receive_bytes=4096) as client,
        ):
            with filming(camera, mount):
                await client.play()
                await client.got(5)
                client.stop_reading()
                await until(lambda: mount.clients == 0, "it was kept")

    run(scenario())


def test_reports_tie_both_clocks_to_one_instant() -> None:
    async def scenario() -> None:
        camera = Camera(audio=G711)
        noon_ns = 1_700_000_000_000_000_000
        mount = camera.mount(audio=G711, wall_ns=lambda: noon_ns)
        async with serving({"cam": mount}) as server, RtspClient(server.port) as client:
            with filming(camera, mount):
                await client.play(0, 1)
                await until(lambda: client.reports.get(1) and client.reports.get(3), "no reports")
                await client.got(20)
            videos = [packet for packet in camera.sent if packet.stream == "video"]
            began = sent_units(camera).index(units_by_time(client.packets[0])[0])
            sounds = {p.payload: p for p in camera.sent if p.stream == "audio"}
            origins = (videos[began].time_s, sounds[client.packets[2][0].payload].time_s)
            media_s = []
            for channel, hz, origin_s in zip((0, 2), (90_000, 8_000), origins, strict=True):
                report, name = client.reports[channel + 1][:2]
                assert isinstance(report, SenderReport)
                assert isinstance(name, SourceDescription)
                first = client.packets[channel][0]
                assert report.ssrc == name.ssrc == first.ssrc
                since_noon_s = (ntp_to_ns(report.ntp) - noon_ns) / 1e9
                assert 0 <= since_noon_s < 60
                # What media time noon was, by this track alone.
                ticks = report.rtp_timestamp - first.timestamp
                media_s.append(float(origin_s) + ticks / hz - since_noon_s)
            # Rounded to a tick of the slower clock, 125 us.
            assert media_s[0] == pytest.approx(media_s[1], abs=0.0002)
            names = {
                report.cname
                for reports in client.reports.values()
                for report in reports
                if isinstance(report, SourceDescription)
            }
            assert len(names) == 1, "one name says that both tracks belong together"

    run(scenario())


def test_reports_come_every_few_seconds() -> None:
    async def scenario() -> None:
        clock = ManualClock(1)
        camera = Camera(clock=clock)
        mount = camera.mount()
        async with (
            serving({"cam": mount}, clock=clock) as server,
            RtspClient(server.port) as client,
        ):
            with filming(camera, mount):
                await client.play()
                await until(lambda: len(client.reports.get(1, [])) >= 2, "no report")
                for _ in range(2):
                    before = len(client.reports[1])
                    clock.advance_ms(5_000)
                    await until(lambda: len(client.reports[1]) > before, "no further report")  # noqa: B023

    run(scenario())


@pytest.mark.parametrize("kind", ["pli", "fir"])
def test_a_lost_picture_brings_a_keyframe(kind: str) -> None:
    async def scenario() -> None:
        camera = Camera()
        mount = camera.mount()
        async with serving({"cam": mount}) as server, RtspClient(server.port) as client:
            with filming(camera, mount):
                await client.play()
                await client.got(20)
                before = camera.keyframe_requests
                if kind == "pli":
                    client.send_picture_loss()
                else:
                    client.writer.write(interleaved_bytes(1, FIR))
                await until(lambda: camera.keyframe_requests > before, "it was not heard")

    run(scenario())


def test_sound_alone_can_be_had() -> None:
    async def scenario() -> None:
        camera = Camera(audio=G711)
        mount = camera.mount(audio=G711)
        async with serving({"cam": mount}) as server, RtspClient(server.port) as client:
            with filming(camera, mount):
                await until(lambda: camera.number > 2, "no pictures")
                asked = camera.keyframe_requests
                await client.play(1)
                packets = await client.got(30, channel=2)
            assert {packet.payload_type for packet in packets} == {0}
            assert 0 not in client.packets
            assert camera.keyframe_requests == asked, "sound needs no keyframe"

    run(scenario())


def test_over_udp_packets_come_from_the_ports_that_were_named() -> None:
    async def scenario() -> None:
        camera = Camera()
        mount = camera.mount()
        async with (
            serving({"cam": mount}) as server,
            RtspClient(server.port) as client,
            udp_ears() as (rtp, rtcp, offer),
        ):
            with filming(camera, mount):
                response = await client.set_up(0, offer)
                (transport,) = parse_transports(response.headers["transport"])
                assert transport.server_port is not None
                even, odd = transport.server_port
                assert (even % 2, odd) == (0, even + 1)
                assert (await client.ask("PLAY")).status == 200
                await until(lambda: len(rtp.received) > 100 and rtcp.received, "no packets")
            packets = [parse_rtp(data) for data in rtp.received]
            got = units_by_time([packet for packet in packets if packet is not None])
            begin = sent_units(camera).index(got[0])
            assert got == sent_units(camera)[begin : begin + len(got)]
            assert {p.ssrc for p in packets if p} == {transport.ssrc}
            assert isinstance(parse_compound(rtcp.received[0])[0], SenderReport)

    run(scenario())


def test_packets_go_to_the_client_itself_whatever_destination_it_names() -> None:
    async def scenario() -> None:
        camera = Camera()
        mount = camera.mount()
        async with (
            serving({"cam": mount}) as server,
            RtspClient(server.port) as client,
            udp_ears() as (rtp, _, offer),
        ):
            with filming(camera, mount):
                response = await client.set_up(0, offer + ";destination=192.0.2.1")
                assert "192.0.2.1" not in response.headers["transport"]
                await client.ask("PLAY")
                await until(lambda: rtp.received, "no packets")

    run(scenario())


def test_ports_that_another_session_has_are_not_given_again() -> None:
    async def scenario() -> None:
        mounts = {"cam": Camera().mount()}
        async with (
            serving(mounts) as server,
            RtspClient(server.port) as one,
            RtspClient(server.port) as other,
            udp_ears() as (_, _, offer),
        ):
            assert (await one.set_up(0, offer)).status == 200
            assert (await other.set_up(0, offer)).status == 461
            assert (await one.ask("TEARDOWN")).status == 200
            assert (await other.set_up(0, offer)).status == 200

    run(scenario())


def test_a_mount_that_is_removed_says_good_bye_and_another_takes_its_place() -> None:
    async def scenario() -> None:
        camera = Camera()
        mounts: dict[str, RtspMount] = {"cam": camera.mount()}
        async with (
            serving(mounts) as server,
            RtspClient(server.port) as tcp,
            RtspClient(server.port) as over_udp,
            udp_ears() as (rtp, rtcp, offer),
        ):
            with filming(camera, mounts["cam"]):
                await tcp.play()
                await over_udp.set_up(0, offer)
                await over_udp.ask("PLAY")
                await tcp.got(10)
                await until(lambda: len(rtp.received) > 10, "no datagrams")
                del mounts["cam"]
                await asyncio.wait_for(tcp.is_over.wait(), 60)
                assert any(isinstance(report, Bye) for report in tcp.reports[1])
                await until(
                    lambda: any(
                        isinstance(report, Bye)
                        for data in rtcp.received
                        for report in parse_compound(data)
                    ),
                    "no BYE",
                )
            assert (await over_udp.ask("PLAY")).status == 454
            over_udp.session = ""
            assert (await over_udp.ask("DESCRIBE")).status == 404
            again = Camera()
            mounts["cam"] = again.mount()
            with filming(again, mounts["cam"]):
                assert (await over_udp.ask("DESCRIBE")).status == 200

    run(scenario())


def test_a_mount_that_is_closed_ends_its_clients_at_once() -> None:
    async def scenario() -> None:
        camera = Camera()
        mount = camera.mount()
        async with serving({"cam": mount}) as server, RtspClient(server.port) as client:
            with filming(camera, mount):
                await client.play()
                await client.got(10)
            sent = mount.statistics()["sent_bytes"]
            await mount.close()
            await asyncio.wait_for(client.is_over.wait(), 60)
            assert mount.statistics()["clients"] == 0
            assert mount.statistics()["sent_bytes"] == sent > 0

    run(scenario())


def test_a_client_that_is_killed_is_forgotten() -> None:
    async def scenario() -> None:
        camera = Camera()
        mount = camera.mount()
        async with serving({"cam": mount}) as server, RtspClient(server.port) as other:
            with filming(camera, mount):
                await other.play()
                async with RtspClient(server.port) as client:
                    await client.play()
                    await client.got(10)
                    assert mount.clients == 2
                await until(lambda: mount.clients == 1, "it stayed")
                await other.got(len(other.packets[0]) + 20)

    run(scenario())
