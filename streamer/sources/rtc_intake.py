"""A publisher's media: its RTP and sender reports in, packets for the decoder and feedback out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, TypeAlias

from streamer.frame import Packet
from streamer.rtp.packet import RtpPacket
from streamer.rtp.rtcp import ReportBlock, SenderReport
from streamer.rtp.timeline import ClockReading, Timeline
from streamer.rtp.unit import AccessUnit
from streamer.sources.rtc_track import TrackIntake

Kind: TypeAlias = Literal["video", "audio"]

KEYFRAME_APART_MS = 300
"""Between two requests for a keyframe: libwebrtc makes no more than one in this time either."""

KEYFRAME_REMIND_MS = 1_000
"""After this long without the keyframe the request is made again. A narrow line needs its time to
carry one, and another request only makes it longer."""

REPORT_EVERY_MS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AskAgain:
    """Packets to ask for again (a generic NACK, RFC 4585, section 6.2.1)."""

    ssrc: int
    sequences: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskForKeyframe:
    """The picture cannot be decoded from here on (PLI, RFC 4585, section 6.3.1)."""

    ssrc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """How a track is received (a receiver report, RFC 3550, section 6.4.2)."""

    kind: Kind
    block: ReportBlock


@dataclass(frozen=True, slots=True, kw_only=True)
class MaySend:
    """The video may be sent as fast as we take it (REMB, draft-alvestrand-rmcat-remb)."""

    ssrc: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """A packet, and the codec that its publisher uses at the time."""

    packet: Packet
    codec: str


Feedback: TypeAlias = AskAgain | AskForKeyframe | Received | MaySend


class Intake:
    """Pure logic, used from one thread.

    Video is withheld from a loss to the next keyframe: between them a decoder would paint smears,
    and the networks would make them sharper. While nobody reads, units are put together and
    thrown away, so that reading begins at once.
    """

    def __init__(self, tracks: Mapping[Kind, TrackIntake]) -> None:
        self._tracks = dict(tracks)
        self._timeline = self._new_timeline()
        self._readings: dict[Kind, ClockReading] = {}
        self._is_reading = False
        self._needs_keyframe = True
        self._follows_loss = False
        self._wants_keyframe = False
        self._asked_ns: int | None = None
        self._report_due_ns: int | None = None
        self._began_ns = 0
        self.heard_ns: int | None = None
        """When the last packet came; ``None`` before the first one."""
        self.has_picture = False
        """Whether a whole keyframe has come."""
        self.withheld = 0
        """Pictures that came but were of no use without one that was lost."""
        self.keyframes_asked = 0

    def begin_reading(self) -> None:
        """Give packets from the next keyframe on; time 0 is about now."""
        self._timeline = self._new_timeline()
        for kind, reading in self._readings.items():
            self._timeline.on_clock_reading(kind, reading)
        self._is_reading = True
        self._needs_keyframe = True
        self._follows_loss = False
        if self.has_picture:  # otherwise the first one is on its way
            self.ask_for_keyframe()

    def stop_reading(self) -> None:
        """Give nothing until reading begins again."""
        self._is_reading = False

    def ask_for_keyframe(self) -> None:
        """Somebody needs a keyframe; asked for as soon as that may be."""
        self._wants_keyframe = True

    @property
    def next_due_ns(self) -> int | None:
        """When ``due`` and ``feedback`` have something to do; ``None`` before the first packet."""
        dues = [track.next_due_ns for track in self._tracks.values()]
        dues += [self._report_due_ns, self._keyframe_due_ns()]
        return min((one for one in dues if one is not None), default=None)

    def receive(self, kind: Kind, packet: RtpPacket, now_ns: int) -> list[Arrival]:
        """The packets that are complete with this one."""
        self.heard_ns = now_ns
        if self._report_due_ns is None:
            self._began_ns = now_ns
            self._report_due_ns = now_ns  # what we can take is said at once
        track = self._tracks[kind]
        switches = track.switches
        units = track.receive(packet, now_ns)
        if kind == "video" and track.switches != switches:
            self._needs_keyframe = True
        return self._pass(kind, units, now_ns)

    def due(self, now_ns: int) -> list[Arrival]:
        """The packets that waited for what is now given up."""
        ready: list[Arrival] = []
        for kind, track in self._tracks.items():
            ready += self._pass(kind, track.due(now_ns), now_ns)
        return ready

    def on_sender_report(self, kind: Kind, report: SenderReport, now_ns: int) -> None:
        """Aligns picture and sound."""
        reading = self._tracks[kind].on_sender_report(report, now_ns)
        if reading is not None:
            self._readings[kind] = reading
            self._timeline.on_clock_reading(kind, reading)

    def feedback(self, now_ns: int) -> list[Feedback]:
        """What to tell the sender now."""
        video = self._tracks["video"]
        out: list[Feedback] = []
        if video.ssrc is not None:
            missing = video.missing(now_ns)
            if missing:
                out.append(AskAgain(ssrc=video.ssrc, sequences=tuple(missing)))
            keyframe_due_ns = self._keyframe_due_ns()
            if keyframe_due_ns is not None and now_ns >= keyframe_due_ns:
                out.append(AskForKeyframe(ssrc=video.ssrc))
                self._wants_keyframe = False
                self._asked_ns = now_ns
                self.keyframes_asked += 1
        if self._report_due_ns is not None and now_ns >= self._report_due_ns:
            self._report_due_ns = now_ns + REPORT_EVERY_MS * 1_000_000
            out += self._reports(now_ns)
        return out

    def statistics(self) -> dict[str, Any]:
        """Counters for display."""
        return {
            kind: {
                "received": track.received,
                "lost": track.lost,
                "asked_again": track.asked,
                "repaired": track.repaired,
            }
            for kind, track in self._tracks.items()
        } | {"withheld": self.withheld, "keyframes_asked": self.keyframes_asked}

    def _new_timeline(self) -> Timeline:
        return Timeline({kind: track.clock_rate for kind, track in self._tracks.items()})

    def _reports(self, now_ns: int) -> list[Feedback]:
        out: list[Feedback] = []
        for kind, track in self._tracks.items():
            block = track.report(now_ns)
            if block is not None:
                out.append(Received(kind=kind, block=block))
        video = self._tracks["video"]
        if video.ssrc is not None:
            out.append(MaySend(ssrc=video.ssrc))
        return out

    def _keyframe_due_ns(self) -> int | None:
        """When a keyframe is to be asked for; ``None`` while none is needed or can be had."""
        is_missed = self._needs_keyframe and (self._is_reading or not self.has_picture)
        if not (self._wants_keyframe or is_missed):
            return None
        if self._tracks["video"].ssrc is None:
            return None
        if self._asked_ns is None:
            # A publisher begins with a keyframe by itself; it may take a moment to arrive.
            return 0 if self._wants_keyframe else self._began_ns + KEYFRAME_APART_MS * 1_000_000
        apart_ms = KEYFRAME_APART_MS if self._wants_keyframe else KEYFRAME_REMIND_MS
        return self._asked_ns + apart_ms * 1_000_000

    def _pass(self, kind: Kind, units: list[AccessUnit], now_ns: int) -> list[Arrival]:
        track = self._tracks[kind]
        if track.format is None:
            return []
        ready = []
        for unit in units:
            # Also what is not passed on tells the timeline where the stream began.
            pts = self._timeline.pts(kind, unit.timestamp, unit.arrived_ns)
            if kind == "video" and not self._is_wanted(unit):
                continue
            if not self._is_reading:
                continue
            packet = Packet(
                payload=unit.payload,
                pts=pts,
                dts=pts,  # browsers send no B-frames: receivers show pictures as they come
                time_base=Fraction(1, track.clock_rate),
                arrived_ns=unit.arrived_ns,
                is_keyframe=unit.is_keyframe,
                stream=kind,
                follows_loss=self._loss_before(kind, unit),
                # Behind a packet that is asked for again, pictures wait for one round trip.
                stamps_ns={"released": now_ns},
            )
            ready.append(Arrival(packet, track.format.codec))
        return ready

    def _is_wanted(self, unit: AccessUnit) -> bool:
        """Whether this picture can be decoded from what was passed on before it."""
        if unit.follows_loss or unit.is_damaged:
            self._follows_loss = True
            if not unit.is_keyframe:
                if not self._needs_keyframe:
                    self.ask_for_keyframe()
                self._needs_keyframe = True
        if unit.is_keyframe:
            self.has_picture = True
            self._needs_keyframe = False
            self._wants_keyframe = False
        elif self._needs_keyframe:
            self.withheld += self._is_reading
            return False
        return True

    def _loss_before(self, kind: Kind, unit: AccessUnit) -> bool:
        if kind == "audio":
            return unit.follows_loss
        follows_loss, self._follows_loss = self._follows_loss, False
        return follows_loss
