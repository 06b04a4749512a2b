"""What a muxer's child is told: where to write, what the streams are, and then the packets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from streamer.child import Message
from streamer.frame import Packet
from streamer.media import AudioInfo
from streamer.sinks.audio_format import describe, described

PICTURE_CHANGED = "the picture's size or rate changed, which its header states"
TIMES_SPENT = "it has run for so long that its times would begin anew"
AT_ONCE = (PICTURE_CHANGED, TIMES_SPENT)
"""The reasons that ask for a new connection at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Where a muxer writes, and how."""

    url: str = field(repr=False)
    format: str
    """libav's name of the muxer."""
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    holds: str = ""
    """The line of ``audio_format.HOLDS`` that counts; empty for that of ``format``."""
    begins_at_zero: bool = False
    """Whether all times are moved so that the first packet has ``LEAD_S``."""
    describes_once: bool = True
    """Whether a new picture size needs a new header, and so a new connection."""

    @property
    def audio_format(self) -> str:
        return self.holds or self.format


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An output and what may be said of it."""

    output: Output
    place: str
    """Scheme, host and port, for messages: the rest of an address may be a secret."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Parts of the address that no message may hold."""
    srt: Mapping[str, Any] | None = field(default=None, repr=False)
    """Where SRT carries what is written: whom to call, and how."""


def opening_of(
    output: Output,
    keyframe: Packet,
    *,
    audio: AudioInfo | None,
    srt: Mapping[str, Any] | None,
) -> Message:
    """The first message: where to write, and what the streams are."""
    head = {
        "url": output.url,
        "format": output.format,
        "options": dict(output.options),
        "holds": output.holds,
        "begins_at_zero": output.begins_at_zero,
        "describes_once": output.describes_once,
        "srt": None if srt is None else dict(srt),
        "audio": None if audio is None else describe(audio),
        "time_base": [keyframe.time_base.numerator, keyframe.time_base.denominator],
    }
    return Message(head, bytes(keyframe.payload))


def as_head(packet: Packet) -> dict[str, Any]:
    """What is said of ``packet`` beside its bytes."""
    base = packet.time_base
    return {
        "packet": packet.stream,
        "times": [packet.pts, packet.dts, packet.duration, base.numerator, base.denominator],
        "key": packet.is_keyframe,
    }


def as_packet(message: Message) -> Packet:
    """The inverse of ``as_head``."""
    pts, dts, duration, numerator, denominator = message.head["times"]
    return Packet(
        payload=message.payload,
        pts=pts,
        dts=dts,
        duration=duration,
        time_base=Fraction(numerator, denominator),
        arrived_ns=0,
        is_keyframe=message.head["key"],
        stream=message.head["packet"],
    )


def output_of(opening: Message) -> Output:
    """The output in an ``opening_of``."""
    head = opening.head
    return Output(
        url=head["url"],
        format=head["format"],
        options=head["options"],
        holds=head["holds"],
        begins_at_zero=head["begins_at_zero"],
        describes_once=head["describes_once"],
    )


def audio_of(opening: Message) -> AudioInfo | None:
    """The audio in an ``opening_of``."""
    text = opening.head["audio"]
    return None if text is None else described(text)
