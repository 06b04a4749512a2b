"""Which tracks of a session description are read, and how."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from streamer.errors import SourceError
from streamer.rtp.depacketisers import make_depacketiser
from streamer.rtp.unit import CODECS, TrackFormat, UnsupportedFormat
from streamer.rtsp.sdp import Format, Media, SessionDescription
from streamer.rtsp.url import resolve_control

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One track that will be set up."""

    kind: Literal["video", "audio"]
    format: TrackFormat
    control_url: str
    """What SETUP names."""
    profile: str
    """``AVP`` or ``AVPF``."""
    takes_pli: bool
    """Whether the server listens to picture loss indications."""
    framerate: Fraction | None = None
    """Of the picture, as the description states it."""


def choose_tracks(session: SessionDescription, *, base_url: str, label: str) -> list[Track]:
    """The first video track, and the first audio track that we can read.

    Raises ``SourceError`` where there is no video, and ``UnsupportedFormat`` where there is one in
    a form that only libav may know.
    """
    base_url = _base_of_tracks(session, base_url)
    films = [media for media in session.media if media.kind == "video"]
    if not films:
        kinds = ", ".join(dict.fromkeys(media.kind[:20] for media in session.media)) or "nothing"
        raise SourceError(
            f"{label} describes no video (it has: {kinds}); "
            "check the path: cameras have one for each of their streams"
        )
    found = [track for media in films if (track := _track(media, base_url))]
    if not found:
        names = ", ".join(dict.fromkeys(_name(media) for media in films))
        raise UnsupportedFormat(f"{label} sends video as {names}")
    sounds = [
        media for media in session.media if media.kind == "audio" and _comes_to_us(media, films[0])
    ]
    heard = [track for media in sounds if (track := _track(media, base_url))]
    if sounds and not heard:
        names = ", ".join(dict.fromkeys(_name(media) for media in sounds))
        logger.warning(
            "%s sends sound as %s, which is not read; set the camera to AAC or G.711", label, names
        )
    return [*found[:1], *heard[:1]]


def _base_of_tracks(session: SessionDescription, base_url: str) -> str:
    """What the relative controls of tracks stand behind.

    By RFC 2326, C.1.1 never the session's own control. But where that is a whole address, ffmpeg
    and GStreamer take it, and cameras are tried with these.
    """
    is_whole = re.match(r"rtsps?://", session.control, re.IGNORECASE)
    return session.control if is_whole else base_url


def _comes_to_us(sound: Media, film: Media) -> bool:
    """Not so for the track to a camera's loudspeaker, which ONVIF marks ``sendonly``.

    Servers that mark all their own tracks so mean the opposite; the picture tells them apart.
    """
    if sound.direction == "inactive":
        return False
    return sound.direction != "sendonly" or film.direction == "sendonly"


def _track(media: Media, base_url: str) -> Track | None:
    profile = media.profile.upper().removeprefix("RTP/").removesuffix("/TCP").removesuffix("/UDP")
    if profile not in ("AVP", "AVPF"):
        return None
    for one in media.formats:
        wanted = _track_format(one)
        if wanted is None or wanted.is_video != (media.kind == "video"):
            continue
        return Track(
            kind="video" if wanted.is_video else "audio",
            format=wanted,
            control_url=resolve_control(base_url, media.control).replace(" ", "%20"),
            profile=profile,
            takes_pli=profile == "AVPF"
            and any(value in ("nack pli", "ccm fir") for value in media.feedback),
            framerate=media.framerate,
        )
    return None


def _track_format(one: Format) -> TrackFormat | None:
    codec = CODECS.get(one.encoding)
    if codec is None:
        return None
    try:
        wanted = TrackFormat(
            codec=codec,
            clock_rate=one.clock_rate,
            payload_type=one.payload_type,
            channels=one.channels,
            fmtp=one.parameters,
            encoding=one.encoding,
        )
        make_depacketiser(wanted)
    except UnsupportedFormat:
        return None
    return wanted


def aggregate_url(session: SessionDescription, *, base_url: str) -> str:
    """What PLAY, keep-alive and TEARDOWN name."""
    return resolve_control(base_url, session.control).replace(" ", "%20")


def _name(media: Media) -> str:
    """How a message calls a format that is not read."""
    name = next((one.encoding for one in media.formats if one.encoding), "an unnamed format")
    secure = " (encrypted)" if "SAVP" in media.profile else ""
    return f"{name[:30]}{secure}"
