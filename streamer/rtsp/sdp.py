"""Session descriptions: what cameras send read with patience, what we serve written by the book."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

MAX_MEDIA = 32
MAX_LINES = 2000

STATIC_FORMATS: Mapping[int, tuple[str, int, int]] = {
    0: ("PCMU", 8000, 1),
    3: ("GSM", 8000, 1),
    4: ("G723", 8000, 1),
    8: ("PCMA", 8000, 1),
    # RFC 3551, 4.5.2: G.722 samples at 16 kHz, and its RTP clock runs at 8 kHz all the same.
    9: ("G722", 8000, 1),
    10: ("L16", 44100, 2),
    11: ("L16", 44100, 1),
    14: ("MPA", 90000, 1),
    18: ("G729", 8000, 1),
    26: ("JPEG", 90000, 1),
    31: ("H261", 90000, 1),
    32: ("MPV", 90000, 1),
    33: ("MP2T", 90000, 1),
    34: ("H263", 90000, 1),
}
"""Payload types that need no rtpmap: name, clock rate and channels (RFC 3551)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One payload type of a track."""

    payload_type: int
    encoding: str
    """As rtpmap calls it, upper case: ``H264``, ``MPEG4-GENERIC``; empty where nothing names it."""
    clock_rate: int
    channels: int = 1
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Of ``fmtp``, names lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """One track: an ``m=`` line and what follows it."""

    kind: str
    """``video``, ``audio``, ``application``, ..."""
    formats: tuple[Format, ...]
    """Its payload types, in the order of preference."""
    profile: str = "RTP/AVP"
    port: int = 0
    control: str = ""
    """As written: absolute, relative, ``*`` or empty; see ``url.resolve_control``."""
    framerate: Fraction | None = None
    feedback: tuple[str, ...] = ()
    """``rtcp-fb`` values without the payload type: ``nack pli``, ``ccm fir``."""
    direction: str = "sendrecv"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDescription:
    name: str = ""
    control: str = ""
    media: tuple[Media, ...] = ()


@dataclass(slots=True)
class _Section:
    """The lines of one ``m=``, or of what comes before the first."""

    first: str
    attributes: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.attributes if key == name]

    def one(self, name: str) -> str:
        return next(iter(self.all(name)), "")


def parse_sdp(text: str) -> SessionDescription:
    """What ``text`` describes; lines that make no sense are left out, so it never raises.

    Takes any line ends, spaces after ``=``, attributes in any case and missing mandatory lines.
    A description without one usable ``m=`` line has empty ``media``.
    """
    session, name = _Section(""), ""
    sections: list[_Section] = []
    for line in re.split(r"[\r\n]+", text)[:MAX_LINES]:
        kind, equals, value = line.strip().partition("=")
        value = value.strip()
        if not equals or len(kind) != 1:
            continue
        here = sections[-1] if sections else session
        if kind == "m" and len(sections) < MAX_MEDIA:
            sections.append(_Section(value))
        elif kind == "a":
            key, _, content = value.partition(":")
            here.attributes.append((key.strip().lower(), content.strip()))
        elif kind == "s" and not sections:
            name = value
    media = (_media(section, session) for section in sections)
    return SessionDescription(
        name=name,
        control=session.one("control"),
        media=tuple(one for one in media if one is not None),
    )


def write_sdp(session: SessionDescription, *, address: str = "0.0.0.0", session_id: int = 0) -> str:
    """``session`` as text with CRLF; ``address`` is the server's, or 0.0.0.0 where it varies."""
    family = "IP6" if ":" in address else "IP4"
    lines = [
        "v=0",
        f"o=- {session_id} 1 IN {family} {address}",
        f"s={session.name or '-'}",
        f"c=IN {family} {'::' if family == 'IP6' else '0.0.0.0'}",
        "t=0 0",
        f"a=control:{session.control or '*'}",
    ]
    for media in session.media:
        lines += _media_lines(media)
    if any(re.search(r"[\r\n\0]", line) for line in lines):
        raise ValueError("a session description's values may not hold line breaks")
    return "\r\n".join([*lines, ""])


def sprop_parameter_sets(units: Sequence[bytes]) -> str:
    """Parameter sets, without start codes, as ``fmtp`` writes them."""
    return ",".join(base64.b64encode(unit).decode() for unit in units)


def _media(section: _Section, session: _Section) -> Media | None:
    found = re.match(r"(\S+)\s+(\d{1,5})(?:/\d+)?\s+(\S+)((?:\s+\S+)*)", section.first)
    if found is None:
        return None
    # A list, not a set: the order is the sender's preference.
    types = [int(word) for word in found[4].split() if re.fullmatch(r"\d{1,3}", word)]
    formats = [_format(number, section) for number in dict.fromkeys(types) if number < 128]
    directions = ("sendrecv", "sendonly", "recvonly", "inactive")
    stated = [name for part in (section, session) for name, _ in part.attributes]
    return Media(
        kind=found[1].lower(),
        formats=tuple(formats),
        profile=found[3].upper(),
        port=min(int(found[2]), 65535),
        control=section.one("control"),
        framerate=_framerate(section),
        feedback=_feedback(section),
        direction=next((name for name in stated if name in directions), "sendrecv"),
    )


def _format(number: int, section: _Section) -> Format:
    encoding, clock_rate, channels = STATIC_FORMATS.get(number, ("", 0, 1))
    for value in section.all("rtpmap"):
        found = re.match(r"(\d{1,3})\s+([^/\s]+)(?:\s*/\s*(\d{1,6}))?(?:\s*/\s*(\d{1,2}))?", value)
        if found and int(found[1]) == number:
            encoding = found[2].upper()
            clock_rate = int(found[3] or 0) or clock_rate
            channels = int(found[4] or 0) or 1
            break
    return Format(
        payload_type=number,
        encoding=encoding,
        clock_rate=clock_rate or (90_000 if section.first.lower().startswith("video") else 8000),
        channels=channels,
        parameters=_parameters(number, section),
    )


def _parameters(number: int, section: _Section) -> dict[str, str]:
    found: dict[str, str] = {}
    for value in section.all("fmtp"):
        payload_type, _, rest = value.partition(" ")
        if payload_type != str(number):
            continue
        for part in rest.split(";"):
            # Values in base64 end in "=", so only the first one divides.
            name, _, setting = part.strip().partition("=")
            if name:
                found.setdefault(name.strip().lower(), setting.strip().strip('"'))
    return found


def _feedback(section: _Section) -> tuple[str, ...]:
    values = (value.partition(" ")[2].strip().lower() for value in section.all("rtcp-fb"))
    return tuple(value for value in values if value)


def _framerate(section: _Section) -> Fraction | None:
    for value in (section.one("framerate"), section.one("x-framerate")):
        if re.fullmatch(r"\d{1,4}(\.\d{1,20})?", value):
            rate = Fraction(value)
            # 29.97 and 23.98 are how 30000/1001 and 24000/1001 are written; 5 is not 5000/1001.
            exact = Fraction(round(rate * 1001 / 1000) * 1000, 1001)
            is_rounded = rate.denominator > 1 and abs(rate - exact) < Fraction(1, 200)
            rate = exact if is_rounded else rate.limit_denominator(1001)
            return rate if Fraction(1, 10) <= rate <= 1000 else None
    return None


def _media_lines(media: Media) -> list[str]:
    numbers = " ".join(str(one.payload_type) for one in media.formats)
    lines = [f"m={media.kind} {media.port} {media.profile} {numbers}"]
    for one in media.formats:
        channels = f"/{one.channels}" if media.kind == "audio" and one.channels > 1 else ""
        lines.append(f"a=rtpmap:{one.payload_type} {one.encoding}/{one.clock_rate}{channels}")
        settings = "; ".join(f"{key}={value}" for key, value in one.parameters.items())
        if settings:
            lines.append(f"a=fmtp:{one.payload_type} {settings}")
    lines += [f"a=rtcp-fb:* {value}" for value in media.feedback]
    if media.framerate is not None:
        lines.append(f"a=framerate:{float(media.framerate):g}")
    if media.direction != "sendrecv":
        lines.append(f"a={media.direction}")
    if media.control:
        lines.append(f"a=control:{media.control}")
    return lines
