"""What FFmpeg sends over RTP comes out whole, and each picture before the next one's packets."""

import random
import re
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import pytest

from streamer.rtp.depacketisers import audio_info
from streamer.rtp.receiver import TrackReceiver
from streamer.rtp.rtcp import Bye, SenderReport, parse_compound
from streamer.rtp.unit import CODECS, AccessUnit, TrackFormat
from tests.programs import needs

pytestmark = needs("ffmpeg")

FRAMES = 45
PICTURES = ("-f", "lavfi", "-i", f"testsrc=size=320x240:rate=30,trim=end_frame={FRAMES}")
SOUND = ("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=1.2")
SMALL = ("-pkt_size", "250", "-pix_fmt", "yuv420p")
"""So that there are packets enough to lose some."""
X264 = (*SMALL, "-c:v", "libx264", "-preset", "ultrafast", "-g", "15")
X265 = (*SMALL, "-c:v", "libx265", "-preset", "ultrafast", "-x265-params")

VIDEO = {
    "x264": ("h264", (*X264, "-tune", "zerolatency")),
    "x264, full packets": ("h264", (*X264, "-b:v", "8M", "-pkt_size", "1472")),
    "x264 slices": ("h264", (*X264, "-x264-params", "slices=4:aud=1:repeat-headers=1")),
    "x264 B-frames": ("h264", (*X264, "-bf", "2", "-preset", "veryfast")),
    "x264 intra refresh": ("h264", (*X264, "-x264-params", "intra-refresh=1:keyint=15")),
    "x265": ("hevc", (*X265, "log-level=none:keyint=15:bframes=2")),
    "x265 slices": ("hevc", (*X265, "log-level=none:keyint=15:slices=2:aud=1")),
    "libvpx": ("vp8", (*SMALL, "-c:v", "libvpx", "-deadline", "realtime", "-g", "15")),
}
AUDIO = {
    "aac": ("aac", ("-c:a", "aac", "-b:a", "96k")),
    "aac in LATM": ("aac", ("-c:a", "aac", "-rtpflags", "latm")),
    "opus": ("opus", ("-c:a", "libopus")),
    "alaw": ("pcm_alaw", ("-c:a", "pcm_alaw", "-ar", "8000")),
}


@dataclass(frozen=True)
class Capture:
    """What FFmpeg sent: its description, and the datagrams of RTP and RTCP as they came."""

    format: TrackFormat
    packets: list[bytes]
    reports: list[bytes]


Captured = Callable[[str, tuple[str, ...]], Capture]


def capture(folder: Path, *arguments: str) -> Capture:
    """All that FFmpeg sends; where a machine that stood still lost some, it sends once more."""
    for _ in range(20):
        sent = _attempt(folder, *arguments)
        said = [one for data in sent.reports for one in parse_compound(data)]
        counts = [one.packets for one in said if isinstance(one, SenderReport)]
        if any(isinstance(one, Bye) for one in said) and counts[-1] == len(sent.packets):
            return sent
    pytest.fail("each time datagrams were lost on the way to this process")


def _attempt(folder: Path, *arguments: str) -> Capture:
    """Run FFmpeg into two sockets of ours until it ends."""
    description = folder / "stream.sdp"
    with Sockets() as (rtp, rtcp):
        port = rtp.getsockname()[1]
        command = ["ffmpeg", "-nostdin", "-v", "error", *arguments]
        # Its last report says how many packets there were.
        command += [
            "-rtpflags",
            "+send_bye",
            "-sdp_file",
            str(description),
            "-f",
            "rtp",
            f"rtp://127.0.0.1:{port}",
        ]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as ffmpeg:
            packets = _read_until_end(rtp, ffmpeg)
            assert ffmpeg.stderr is not None
            assert ffmpeg.returncode == 0, ffmpeg.stderr.read().decode()
        reports = _read_all(rtcp)
    return Capture(_format(description.read_text("utf-8")), packets, reports)


class Sockets:
    """Two UDP sockets on neighbouring free ports, as RTP and RTCP have them."""

    def __enter__(self) -> tuple[socket.socket, socket.socket]:
        while True:
            rtp, rtcp = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
            rtp.bind(("127.0.0.1", 0))
            self._both = (rtp, rtcp)
            try:
                rtcp.bind(("127.0.0.1", rtp.getsockname()[1] + 1))
            except OSError:
                self.__exit__()
                continue
            for each in self._both:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
                each.settimeout(0.1)
            return self._both

    def __exit__(self, *_: object) -> None:
        for each in self._both:
            each.close()


def _read_until_end(rtp: socket.socket, ffmpeg: subprocess.Popen[bytes]) -> list[bytes]:
    deadline = time.monotonic() + 60
    packets: list[bytes] = []
    while time.monotonic() < deadline:
        has_ended = ffmpeg.poll() is not None
        new = _read_all(rtp)
        packets += new
        if has_ended and not new:
            return packets
    ffmpeg.kill()
    pytest.fail("ffmpeg did not end within 60 s")


def _read_all(from_socket: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(from_socket.recv(65_536))
        except TimeoutError:
            return found


def _format(description: str) -> TrackFormat:
    """The track of a description of FFmpeg's."""
    payload_type = int(re.findall(r"m=\w+ \d+ RTP/AVP (\d+)", description)[0])
    encodings = re.findall(r"a=rtpmap:\d+ (\S+)", description)
    encoding, clock_rate, channels = (*(encodings or ["PCMA/8000"])[0].split("/"), "1")[:3]
    fields = re.findall(r"a=fmtp:\d+ (.*)", description)
    fmtp = dict(part.strip().partition("=")[::2] for part in "".join(fields).split(";"))
    return TrackFormat(
        codec=CODECS[encoding.upper()],
        clock_rate=int(clock_rate),
        payload_type=payload_type,
        channels=int(channels),
        fmtp=fmtp,
        encoding=encoding,
    )


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Captured:
    """Each stream of pictures, captured once."""
    done: dict[tuple[str, ...], Capture] = {}

    def get(codec: str, arguments: tuple[str, ...]) -> Capture:
        if arguments not in done:
            done[arguments] = capture(tmp_path_factory.mktemp(codec), *PICTURES, *arguments)
        return done[arguments]

    return get


def put_together(sent: Capture) -> tuple[TrackReceiver, list[AccessUnit]]:
    """All units; fails where one is still held when the next one's first packet is there."""
    receiver = TrackReceiver(sent.format, reorder_ns=0)
    units: list[AccessUnit] = []
    timestamps: list[bytes] = []
    for data in sent.packets:
        if not timestamps or data[4:8] != timestamps[-1]:
            if sent.format.is_video:
                assert len(units) == len(timestamps)
            timestamps.append(data[4:8])
        units += receiver.receive(data, 0)
    if sent.format.is_video:
        assert len(units) == len(timestamps)
    statistics = receiver.statistics
    assert (statistics.lost, statistics.refused, statistics.discarded) == (0, 0, 0)
    assert not any(unit.follows_loss for unit in units)
    return receiver, units


def decode(codec: str, units: list[AccessUnit], extradata: bytes = b"") -> list[Any]:
    context: Any = av.CodecContext.create(codec, "r")
    context.extradata = extradata or None
    if codec.startswith("pcm"):
        context.sample_rate = 8000
        context.layout = "mono"
    frames: list[Any] = []
    for unit in units:
        frames += context.decode(av.Packet(unit.payload))
    frames += context.decode(None)
    return frames


@pytest.mark.parametrize(("codec", "arguments"), VIDEO.values(), ids=VIDEO)
def test_every_picture_comes_out_at_its_marker_and_decodes(
    codec: str, arguments: tuple[str, ...], captured: Captured
) -> None:
    sent = captured(codec, arguments)
    assert sent.format.codec == codec
    _, units = put_together(sent)
    assert len(units) == FRAMES
    assert units[0].is_keyframe
    # A keyframe each 15 pictures, also where none is an IDR but the first; x265 may add some.
    assert sum(unit.is_keyframe for unit in units) >= (
        1 if "intra-refresh" in str(arguments) else 3
    )
    assert len(decode(codec, units)) == FRAMES
    # Joining at any keyframe works: nothing but the unit itself is needed.
    last = max(index for index, unit in enumerate(units) if unit.is_keyframe)
    assert len(decode(codec, units[last:])) > 0


@pytest.mark.parametrize(("codec", "arguments"), VIDEO.values(), ids=VIDEO)
def test_losses_never_give_a_picture_that_was_not_sent(
    codec: str, arguments: tuple[str, ...], captured: Captured
) -> None:
    sent = captured(codec, arguments)
    whole = {unit.timestamp: unit.payload for unit in put_together(sent)[1]}
    rng = random.Random(7)
    kept = [data for n, data in enumerate(sent.packets) if n == 0 or rng.random() > 0.05]
    receiver = TrackReceiver(sent.format, reorder_ns=0)
    units = [unit for data in kept for unit in receiver.receive(data, 0)]
    assert len(kept) < len(sent.packets)
    assert receiver.statistics.lost >= len(sent.packets) - len(kept) - 3
    assert 0 < len(units) < FRAMES
    for unit in units:
        if unit.is_damaged:
            assert not unit.is_keyframe
            assert len(unit.payload) < len(whole[unit.timestamp])
        else:
            assert unit.follows_loss or unit.payload == whole[unit.timestamp]
    assert any(unit.follows_loss for unit in units)
    # Of the others no decoder makes anything of a part.
    assert any(unit.is_damaged for unit in units) == (codec == "h264")


def test_a_stream_that_refreshes_little_by_little_is_joined_in_the_middle(
    captured: Captured,
) -> None:
    sent = captured(*VIDEO["x264 intra refresh"])
    _, units = put_together(sent)
    later = TrackReceiver(sent.format, reorder_ns=0)
    middle = len(sent.packets) // 4
    joined = [unit for data in sent.packets[middle:] for unit in later.receive(data, 0)]
    first = next(index for index, unit in enumerate(joined) if unit.is_keyframe)
    assert sum(unit.is_keyframe for unit in units) < sum(unit.is_keyframe for unit in joined) + 1
    assert len(decode("h264", joined[first:])) > 0


@pytest.mark.parametrize(("codec", "arguments"), AUDIO.values(), ids=AUDIO)
def test_every_sound_comes_out_and_decodes(
    codec: str, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    sent = capture(tmp_path, *SOUND, *arguments)
    receiver, units = put_together(sent)
    info = audio_info(sent.format)
    assert info.codec == codec
    assert info.extradata == receiver.extradata
    frames = decode(codec, units, info.extradata)
    samples = sum(frame.samples for frame in frames)
    assert {frame.sample_rate for frame in frames} == {info.rate_hz}
    assert samples / info.rate_hz == pytest.approx(1.2, abs=0.05)
    # The units' own times agree with what is in them.
    timestamps = [unit.timestamp for unit in units]
    assert timestamps == sorted(set(timestamps))
    length_s = (timestamps[-1] - timestamps[0]) / sent.format.clock_rate
    assert length_s == pytest.approx(samples / info.rate_hz, abs=0.05)


def test_ffmpegs_sender_reports_are_understood(tmp_path: Path) -> None:
    sent = capture(tmp_path, *PICTURES, *VIDEO["x264"][1])
    receiver, units = put_together(sent)
    reports = [report for data in sent.reports for report in parse_compound(data)]
    readings = [
        receiver.on_sender_report(report, 0)
        for report in reports
        if isinstance(report, SenderReport)
    ]
    assert readings
    assert readings[0] is not None
    ticks = units[0].timestamp - readings[0].timestamp
    captured_ns = readings[0].ntp_ns + ticks * 1_000_000_000 // 90_000
    # FFmpeg stamps the instant it begins to send; the description was written then too.
    began_ns = (tmp_path / "stream.sdp").stat().st_mtime_ns
    assert abs(captured_ns - began_ns) < 10_000_000_000
