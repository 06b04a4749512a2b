"""From the datagrams of a session's tracks to packets on one timeline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from fractions import Fraction

from streamer.clock import Clock
from streamer.frame import RTP_TIME_BASE, Packet, rescale
from streamer.media import AudioInfo
from streamer.rtp.depacketisers import audio_info
from streamer.rtp.receiver import TrackReceiver
from streamer.rtp.rtcp import Bye, SenderReport, parse_compound
from streamer.rtp.timeline import Timeline
from streamer.rtp.unit import AccessUnit
from streamer.sources.rtsp.tracks import Track

REORDER_NS = 5_000_000
"""Over UDP a gap is waited for this long; over TCP a gap is the server's own loss. What came of a
picture is mended, enhanced and coded after that: at 20 ms it was shown 2.3 intervals after the one
before, at 50 ms the next picture was held up as well."""
LONGEST_REORDER_NS = 50_000_000
"""The same on a line that has brought a packet later than that."""

_RATE_SAMPLES = 16
"""Picture times that are kept to measure the frame rate, and to tell B-frames from a clock set back."""

_LONGEST_REORDER = 90_000
"""One second; a time that goes back further is a clock that began anew."""
_MOST_REORDERED = 8
"""A picture that lies before more of those that came is of a clock that began anew, too. H.264 and H.265
allow 16; x264 has 2, and five levels of B-frames, 32 pictures from one P-frame to the next, have 5."""
_DTS_ROOM = 16
"""Ticks, one for each picture between two that are not moved."""


class Reception:
    """The receiving side of all tracks; used on the event loop only.

    ``on_packet`` gets each packet in the call that completed it: over TCP, and over UDP while
    nothing is missing, that is the one that brought the marker bit.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        *,
        is_udp: bool,
        clock: Clock,
        on_packet: Callable[[Packet], None],
    ) -> None:
        self.last_packet_ns: int | None = None
        """When the latest packet of the picture arrived."""
        self.said_bye_ns: int | None = None
        """When the server said that the picture has ended."""
        self.picture_pts: list[int] = []
        """Of the latest pictures, in ticks of 1/90000 s."""
        self._tracks = tracks
        self._clock = clock
        self._on_packet = on_packet
        waits = (REORDER_NS, LONGEST_REORDER_NS) if is_udp else (0, 0)
        self._receivers = [
            TrackReceiver(track.format, reorder_ns=waits[0], longest_reorder_ns=waits[1])
            for track in tracks
        ]
        self._timeline = Timeline({t.kind: t.format.clock_rate for t in tracks})
        self._timers: list[asyncio.TimerHandle | None] = [None] * len(tracks)
        self._latest_pts: int | None = None
        self._last_dts = 0
        self._moved_by = 0

    @property
    def audio(self) -> AudioInfo | None:
        """The sound beside the picture."""
        sounds = (track.format for track in self._tracks if track.kind == "audio")
        return next((audio_info(format) for format in sounds), None)

    def begin(self, index: int, rtptime: int) -> None:
        """The timestamp at which the server says that the track begins."""
        self._timeline.begin(self._tracks[index].kind, rtptime)

    def receive(self, index: int, data: bytes) -> None:
        """One RTP packet of the track at ``index``."""
        now_ns = self._clock.now_ns()
        if self._tracks[index].kind == "video":
            self.last_packet_ns = now_ns
        self._hand_on(index, self._receivers[index].receive(data, now_ns))
        self._arm(index, now_ns)

    def receive_rtcp(self, index: int, data: bytes) -> None:
        """One RTCP packet of the track at ``index``."""
        now_ns = self._clock.now_ns()
        receiver, kind = self._receivers[index], self._tracks[index].kind
        for report in parse_compound(data):
            if isinstance(report, SenderReport):
                reading = receiver.on_sender_report(report, now_ns)
                if reading is not None:
                    self._timeline.on_clock_reading(kind, reading)
            elif (
                isinstance(report, Bye)
                and kind == "video"
                and (receiver.media_ssrc in report.ssrcs)
            ):
                self.said_bye_ns = now_ns

    def reports(self) -> list[tuple[int, bytes]]:
        """A receiver report for each track that has sent something, with the track's index."""
        now_ns = self._clock.now_ns()
        return [
            (index, receiver.receiver_report(now_ns))
            for index, receiver in enumerate(self._receivers)
            if receiver.media_ssrc is not None
        ]

    def picture_loss(self) -> list[tuple[int, bytes]]:
        """The wish for a keyframe, where the server listens to it, with the track's index."""
        return [
            (index, receiver.picture_loss())
            for index, receiver in enumerate(self._receivers)
            if self._tracks[index].takes_pli and receiver.media_ssrc is not None
        ]

    def close(self) -> None:
        for timer in self._timers:
            if timer is not None:
                timer.cancel()

    def _arm(self, index: int, now_ns: int) -> None:
        """See that a packet which waits for a missing one is released in time."""
        due_ns, timer = self._receivers[index].next_due_ns, self._timers[index]
        if timer is not None:
            timer.cancel()
            self._timers[index] = None
        if due_ns is not None:
            wait_s = max(0, due_ns - now_ns) / 1e9
            loop = asyncio.get_running_loop()
            self._timers[index] = loop.call_later(wait_s, self._release, index)

    def _release(self, index: int) -> None:
        self._timers[index] = None
        now_ns = self._clock.now_ns()
        self._hand_on(index, self._receivers[index].due(now_ns))
        self._arm(index, now_ns)

    def _hand_on(self, index: int, units: Sequence[AccessUnit]) -> None:
        is_video = self._tracks[index].kind == "video"
        for unit in units:
            self._on_packet(self._picture(index, unit) if is_video else self._sound(index, unit))

    def _picture(self, index: int, unit: AccessUnit) -> Packet:
        ticks = self._timeline.pts("video", unit.timestamp, unit.arrived_ns)
        time_base = Fraction(1, self._tracks[index].format.clock_rate)
        pts = rescale(ticks, time_base, RTP_TIME_BASE)
        self.picture_pts = [*self.picture_pts[1 - _RATE_SAMPLES :], pts]
        return Packet(
            payload=unit.payload,
            pts=pts,
            dts=self._decode_time(pts),
            time_base=RTP_TIME_BASE,
            arrived_ns=unit.arrived_ns,
            is_keyframe=unit.is_keyframe,
            follows_loss=unit.follows_loss,
            gaps=unit.gaps,
            # What lost its end is handed on only when a later packet shows that, pictures later.
            stamps_ns={"released": self._clock.now_ns()},
        )

    def _sound(self, index: int, unit: AccessUnit) -> Packet:
        pts = self._timeline.pts("audio", unit.timestamp, unit.arrived_ns)
        return Packet(
            payload=unit.payload,
            pts=pts,
            dts=pts,
            time_base=Fraction(1, self._tracks[index].format.clock_rate),
            arrived_ns=unit.arrived_ns,
            is_keyframe=True,
            follows_loss=unit.follows_loss,
            stream="audio",
        )

    def _decode_time(self, pts: int) -> int:
        """A decode time, which RTP does not carry: it always grows, and once the first B-frame has
        shown how far pictures are moved, no picture is due before it."""
        if self._latest_pts is None or self._began_anew(pts, self._latest_pts):
            self._latest_pts, self._last_dts, self._moved_by = pts, pts, 0
            self.picture_pts = [pts]
            return pts
        self._latest_pts = max(self._latest_pts, pts)
        if pts < self._latest_pts:
            self._moved_by = max(self._moved_by, self._latest_pts - pts + _DTS_ROOM)
        self._last_dts = max(self._latest_pts - self._moved_by, self._last_dts + 1)
        return self._last_dts

    def _began_anew(self, pts: int, latest_pts: int) -> bool:
        """Whether the sender's clock was set back, as far as ``Timeline`` lets it."""
        passed_by = sum(other > pts for other in self.picture_pts)
        return latest_pts - pts > _LONGEST_REORDER or passed_by > _MOST_REORDERED
