"""The RTSP sink: one stream, packetised once, for any number of clients that pull it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

from streamer.clock import Clock
from streamer.frame import Packet
from streamer.media import AudioInfo
from streamer.rtsp.sdp import Media
from streamer.sinks.rtc_feedback import KeyframeRequests
from streamer.sinks.rtsp_tracks import SERVED_AUDIO, H264Track, Track, audio_track
from streamer.sinks.rtsp_viewer import MediaAnchor, RtspViewer

_log = logging.getLogger(__name__)

RING_PACKETS = 160
"""A second and a half of 60 fps and of 47 AAC frames a second: a client that is further behind is
better served by a new keyframe."""

DESCRIBED_WITHIN_S = 5.0
"""How long a client waits for the first keyframe, which alone says what the picture is."""

OFF_BY_MS = 60
"""More than pictures swing about their time, and unnoticed where play begins.

A media clock that has drifted or jumped by more gets a new anchor, for clients that join then. Those
who play keep theirs: a step would tear picture and sound apart.
"""


class RtspMount:
    """Takes H.264 packets (Annex B, parameter sets at each keyframe) and audio beside them.

    ``request_keyframe`` reaches the encoder; it is called on the event loop and must not wait.
    ``wall_ns`` is the time of day in nanoseconds since 1970, read once. All on one loop.
    """

    def __init__(
        self,
        name: str,
        *,
        audio: AudioInfo | None,
        request_keyframe: Callable[[], None],
        clock: Clock,
        wall_ns: Callable[[], int] = time.time_ns,
        ring_packets: int = RING_PACKETS,
    ) -> None:
        self.name = name
        self._clock = clock
        self._ring_packets = ring_packets
        self._requests = KeyframeRequests(request_keyframe, clock)
        # The time of day may be set while we run; intervals come from the clock that is not.
        self._wall_offset_ns = wall_ns() - clock.now_ns()
        self._tracks: dict[str, Track] = {"video": H264Track(0)}
        if audio is not None:
            self._add_audio(audio)
        self._viewers: list[RtspViewer] = []
        self._is_described = asyncio.Event()
        self._anchor: MediaAnchor | None = None
        self.latest_s: Fraction | None = None
        """Media time of the last picture."""
        self.is_closed = False
        self._joined = 0
        self._sent_bytes_of_gone = 0
        self._dropped_of_gone = 0

    @property
    def tracks(self) -> tuple[Track, ...]:
        """Every track, by number."""
        return tuple(self._tracks.values())

    @property
    def clients(self) -> int:
        """How many play now."""
        return len(self._viewers)

    @property
    def anchor(self) -> MediaAnchor | None:
        """What a client that joins now is told of the clock; ``None`` before the first packet."""
        return self._anchor

    @property
    def wall_ns(self) -> int:
        """The time of day, on which anchors stand: nanoseconds since 1970 that never step."""
        return self._clock.now_ns() + self._wall_offset_ns

    def statistics(self) -> dict[str, Any]:
        """Counters for display; name no client."""
        viewers = self._viewers
        return {
            "name": self.name,
            "clients": self.clients,
            "joined": self._joined,
            "sent_bytes": self._sent_bytes_of_gone + sum(one.sent_bytes for one in viewers),
            "dropped": self._dropped_of_gone + sum(one.dropped for one in viewers),
            "keyframes": {"asked": self._requests.asked, "requested": self._requests.passed_on},
        }

    async def described(self) -> tuple[Media, ...]:
        """What there is to play; empty where no keyframe came in time or the mount closed.

        Sound that could not be described by then is left out.
        """
        if not self._is_described.is_set():
            if self.clients == 0:
                self._requests.remind()
            try:
                async with asyncio.timeout(DESCRIBED_WITHIN_S):
                    await self._is_described.wait()
            except TimeoutError:
                if self._tracks["video"].media is not None:
                    # Sound that is late for one client would be late for all: none waits again.
                    self._is_described.set()
        if self.is_closed or self._tracks["video"].media is None:
            return ()
        media = (track.media for track in self.tracks)
        return tuple(one for one in media if one is not None)

    def join(self, tracks: Iterable[int]) -> RtspViewer:
        """Begin to send the ``tracks`` of these numbers; a keyframe is asked for."""
        wanted = frozenset(tracks)
        has_video = self._tracks["video"].number in wanted
        viewer = RtspViewer(wanted, has_video=has_video, ring_packets=self._ring_packets)
        if self.is_closed:
            viewer.close()
            return viewer
        self._viewers.append(viewer)
        self._joined += 1
        if has_video:
            self._requests.ask()
        return viewer

    def leave(self, viewer: RtspViewer) -> None:
        """Send nothing more to it; what it counted stays counted."""
        viewer.close()
        if viewer in self._viewers:
            self._viewers.remove(viewer)
            self._sent_bytes_of_gone += viewer.sent_bytes
            self._dropped_of_gone += viewer.dropped

    def ask_for_keyframe(self) -> None:
        """A client lost a picture (PLI, FIR); requests that come together are passed on as one."""
        self._requests.ask()

    async def send(self, packet: Packet) -> None:
        """Give the packet to every client's ring; it waits for none of them."""
        track = self._tracks.get(packet.stream)
        if track is None or self.is_closed:
            return
        if packet.ends_gap:
            self._requests.served()
        self._note_time(packet)
        if not self._viewers:
            track.learn(packet)
        elif (burst := track.burst(packet)) is not None:
            for viewer in self._viewers:
                overflowed = viewer.push(track.number, burst)
                if overflowed and viewer.needs_keyframe:
                    self._requests.ask()
                elif viewer.needs_keyframe:
                    self._requests.remind()
        if not self._is_described.is_set() and all(one.media for one in self.tracks):
            self._is_described.set()

    async def close(self) -> None:
        """End every client's stream; the server says good-bye to them."""
        self.is_closed = True
        self._is_described.set()
        self._requests.served()
        for viewer in list(self._viewers):
            self.leave(viewer)

    def _add_audio(self, audio: AudioInfo) -> None:
        track = audio_track(1, audio)
        if track is not None:
            self._tracks["audio"] = track
            return
        _log.warning(
            "rtsp %s: its %s audio (%d Hz, %d channels) is left out; %s can be served",
            self.name,
            audio.codec,
            audio.rate_hz,
            audio.channels,
            ", ".join(SERVED_AUDIO),
        )

    def _note_time(self, packet: Packet) -> None:
        """Keep the anchor near what is being sent. The picture leads, it takes longer to make."""
        if packet.stream != "video":
            return
        self.latest_s = packet.time_s
        now_ns = self.wall_ns
        if self._anchor is not None:
            off_s = self._anchor.media_at(now_ns) - packet.time_s
            if abs(off_s) * 1_000 <= OFF_BY_MS:
                return
        self._anchor = MediaAnchor(packet.time_s, now_ns)
