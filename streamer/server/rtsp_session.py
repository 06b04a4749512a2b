"""One RTSP session: the tracks a client has set up, and the task that sends them while it plays."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from streamer.clock import Clock
from streamer.rtp.packetise_burst import RtpLane
from streamer.rtp.rtcp import (
    PictureLoss,
    SenderReport,
    build_bye,
    build_sender_report,
    ns_to_ntp,
    parse_compound,
)
from streamer.server.rtsp_ways import ClientGone, TcpWay, Way
from streamer.sinks.packet_ring import RingClosed
from streamer.sinks.rtsp_mount import RtspMount
from streamer.sinks.rtsp_tracks import Track
from streamer.sinks.rtsp_viewer import MediaAnchor, RtspViewer

TIMEOUT_S = 60
"""Said in every SETUP; requests and receiver reports begin it anew."""

ABANDONED_S = 15
"""What is left to a datagram session whose connection has gone: players that only reconnect report
every few seconds, those that were killed do not."""

REPORTS_APART_S = 5
"""Between sender reports, RFC 3550's minimum; the first one follows the first picture."""


@dataclass(frozen=True, slots=True)
class _SetUp:
    """A track of the session, as its client has set it up."""

    lane: RtpLane
    clock_hz: int
    url: str
    """What it was called then."""

    def ticks(self, media_s: Fraction) -> int:
        return round(media_s * self.clock_hz)

    def rtp_time(self, media_s: Fraction) -> int:
        """The 32 bits that stand for a media time."""
        return self.lane.rtp_time(self.ticks(media_s))


class RtspSession:
    """Made by its first SETUP, ended by TEARDOWN, silence, its connection or its mount.

    ``gone`` is called when the client is lost or the mount closed while it plays.
    """

    def __init__(
        self,
        path: str,
        mount: RtspMount,
        way: Way,
        *,
        clock: Clock,
        gone: Callable[[RtspSession], None],
    ) -> None:
        # 128 bits: whoever knows it may end the session.
        self.id = secrets.token_hex(16)
        self.path = path
        self.mount = mount
        self.way = way
        self._clock = clock
        self._gone = gone
        # Equal for all tracks, so that players know that they belong together (RFC 7022).
        self._cname = base64.b64encode(secrets.token_bytes(12)).decode()
        self._tracks: dict[int, _SetUp] = {}
        self._viewer: RtspViewer | None = None
        self._sending: asyncio.Task[None] | None = None
        self._anchor: MediaAnchor | None = None
        self._reported_ns = 0
        self._ends_ns = 0
        self.is_abandoned = False
        """Whether its connection has gone, and nothing came from its client since."""
        self.touch()

    @property
    def is_playing(self) -> bool:
        return self._viewer is not None

    @property
    def track_numbers(self) -> frozenset[int]:
        """Of those that were set up."""
        return frozenset(self._tracks)

    def add_track(self, track: Track, url: str, *, channel: int = 0) -> RtpLane:
        """Set a track up, or anew; the way to it is the caller's to prepare."""
        # An upper half of the sequence numbers stays free, so that none wraps at the beginning.
        lane = RtpLane(secrets.randbits(32) or 1, secrets.randbits(15), 0, channel)
        self._tracks[track.number] = _SetUp(lane, track.clock_hz, url)
        return lane

    def channels_of(self, number: int) -> tuple[int, ...]:
        """The channels of a track that was set up before, if it has any."""
        if not isinstance(self.way, TcpWay) or number not in self._tracks:
            return ()
        return self._tracks[number].lane.channel, self.way.rtcp_channels[number]

    def touch(self) -> None:
        """The client lives."""
        self.is_abandoned = False
        self._ends_ns = self._clock.now_ns() + TIMEOUT_S * 1_000_000_000

    def abandon(self) -> None:
        """Its connection has gone; only its receiver reports can keep it now."""
        soon_ns = self._clock.now_ns() + ABANDONED_S * 1_000_000_000
        self._ends_ns = min(self._ends_ns, soon_ns)
        self.is_abandoned = True

    @property
    def is_expired(self) -> bool:
        return self._clock.now_ns() >= self._ends_ns

    def play(self) -> str:
        """Begin to send with the next turn of the event loop; the RTP-Info for the answer."""
        self._begin_clock()
        if self._viewer is None:
            viewer = self._viewer = self.mount.join(self._tracks)
            self._sending = asyncio.create_task(self._send(viewer), name=f"rtsp {self.path}")
        begin_s = self._begin_s()
        return ",".join(_rtp_info(track, begin_s) for track in self._tracks.values())

    def pause(self) -> None:
        """Send nothing more, until ``play``."""
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
        if self._viewer is not None:
            self.mount.leave(self._viewer)
            self._viewer = None

    def end(self) -> None:
        """Send nothing more, ever; the client is told so in RTCP."""
        self.pause()
        for number, track in self._tracks.items():
            if track.lane.sent_packets:
                self.way.send_report(number, build_bye(track.lane.ssrc, cname=self._cname))

    def report_if_due(self) -> None:
        """Say which instant the media clocks stand for, every few seconds."""
        since_ns = self._clock.now_ns() - self._reported_ns
        if self.is_playing and since_ns >= REPORTS_APART_S * 1_000_000_000:
            self._reported_ns = self._clock.now_ns()
            for number, track in self._tracks.items():
                if track.lane.sent_packets:
                    self._report(number, track)

    def take_rtcp(self, data: bytes) -> None:
        """A compound packet from the client: a sign of life, and perhaps a plea for a keyframe."""
        reports = parse_compound(data)
        if reports:
            self.touch()
        if any(isinstance(report, PictureLoss) for report in reports):
            self.mount.ask_for_keyframe()

    def _begin_s(self) -> Fraction | None:
        """A media time that neither a packet nor a report to come lies before.

        ffmpeg subtracts RTP-Info's time from the first report's without a sign: one tick less would
        put the track 13 hours off.
        """
        latest_s = self.mount.latest_s
        if self._anchor is None or latest_s is None:
            return None
        return min(latest_s, self._anchor.media_at(self.mount.wall_ns))

    def _begin_clock(self) -> None:
        """Take the mount's clock for the rest of the session, as soon as there is one.

        RTP times begin low, at random: none wraps within six hours, which some players take badly
        near the beginning.
        """
        if self._anchor is not None or self.mount.anchor is None:
            return
        self._anchor = self.mount.anchor
        begin_s = self._begin_s() or self._anchor.media_s
        for track in self._tracks.values():
            track.lane.tick_offset = 0x10000 + secrets.randbits(30) - track.ticks(begin_s)

    async def _send(self, viewer: RtspViewer) -> None:
        try:
            while True:
                number, burst = await viewer.take()
                self._begin_clock()
                track = self._tracks[number]
                lane = track.lane
                framed = lane.address(burst)
                is_first = lane.sent_packets == len(burst.packets)
                await self.way.send(number, burst, framed)
                viewer.sent_bytes += len(framed)
                if self.way.is_tcp:
                    # What it takes from a connection says that it lives, as reports do.
                    self.touch()
                if is_first:
                    self._report(number, track)
        except (ClientGone, RingClosed):
            self._gone(self)

    def _report(self, number: int, track: _SetUp) -> None:
        if self._anchor is None:
            return
        lane, wall_ns = track.lane, self.mount.wall_ns
        report = SenderReport(
            ssrc=lane.ssrc,
            ntp=ns_to_ntp(wall_ns),
            rtp_timestamp=track.rtp_time(self._anchor.media_at(wall_ns)),
            packets=lane.sent_packets,
            octets=lane.sent_payload_bytes,
        )
        self.way.send_report(number, build_sender_report(report, cname=self._cname))


def _rtp_info(track: _SetUp, begin_s: Fraction | None) -> str:
    """Of the answer to PLAY: where the track begins, as far as that is known."""
    info = f"url={track.url};seq={track.lane.sequence}"
    return info if begin_s is None else f"{info};rtptime={track.rtp_time(begin_s)}"
