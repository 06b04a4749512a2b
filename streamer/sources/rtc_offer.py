"""Which offers a publisher may make."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from aiortc.codecs import CODECS
from aiortc.rtcpeerconnection import find_common_codecs
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.sdp import MediaDescription, SessionDescription

from streamer.rtc.peer import check_transport, codec_names, has_codec, sections
from streamer.rtc.session import OfferUnsupported

VIDEO_CODECS = ("H264", "VP8")
AUDIO_CODECS = ("opus",)

KNOWN_PROFILE = "42e01f"
"""Constrained baseline, the H.264 profile that aiortc has."""


def check_publisher(description: SessionDescription) -> bool:
    """Whether sound is offered; raises unless this is an offer to send a picture we can read."""
    videos = sections(description, "video")
    if not videos:
        raise OfferUnsupported("the offer has no video section; add the camera's track to it")
    _check_section(videos, "video", VIDEO_CODECS)
    audios = sections(description, "audio")
    has_audio = any(_sends(one) for one in audios)
    if has_audio:
        _check_section(audios, "audio", AUDIO_CODECS)
    check_transport(description)
    return has_audio


def _check_section(medias: Sequence[MediaDescription], kind: str, names: Sequence[str]) -> None:
    if len(medias) > 1:
        raise OfferUnsupported(
            f"the offer has {len(medias)} {kind} tracks; a stream has one, offer one"
        )
    media = medias[0]
    if not _sends(media):
        raise OfferUnsupported(
            f"the offer's {kind} is {media.direction}; a publisher sends, offer sendonly"
        )
    if not has_codec(media, *names):
        raise OfferUnsupported(
            f"the offer's {kind} has no {' or '.join(names)}, only {codec_names(media)}"
        )


def _sends(media: MediaDescription) -> bool:
    return media.direction in ("sendonly", "sendrecv")


def unknown_profiles(description: SessionDescription) -> dict[int, str]:
    """The H.264 profiles by payload type, where aiortc knows none of the video codecs offered.

    It turns main and high profile away, which FFmpeg and cameras offer alone; our decoder reads
    them. Where there is something that it does know, the publisher's choice among that is kept.
    """
    codecs = sections(description, "video")[0].rtp.codecs
    if find_common_codecs(CODECS["video"], codecs):
        return {}
    return {
        one.payloadType: str(one.parameters["profile-level-id"])
        for one in codecs
        if one.payloadType is not None and _is_splittable_h264(one)
    }


def with_known_profile(offer_sdp: str, profiles: Mapping[int, str]) -> str:
    """The offer as aiortc takes it: each of ``profiles`` stated as one that it knows."""
    for number, profile in profiles.items():
        offer_sdp = _with_profile(offer_sdp, number, profile, KNOWN_PROFILE)
    return offer_sdp


def with_own_profiles(answer_sdp: str, profiles: Mapping[int, str]) -> str:
    """The answer with ``profiles`` as they were offered: RFC 6184, section 8.2.2, has no others."""
    for number, profile in profiles.items():
        answer_sdp = _with_profile(answer_sdp, number, r"[0-9A-Fa-f]+", profile)
    return answer_sdp


def with_stereo(answer_sdp: str) -> str:
    """The answer that asks for both channels of the sound: RFC 7587, section 6.1 has one otherwise.

    Browsers mix to one where they are not asked; aiortc's answer says nothing of Opus.
    """
    opus = re.search(r"(?mi)^a=rtpmap:(\d+) opus/48000/2\r\n", answer_sdp)
    if opus is None:
        return answer_sdp
    end = opus.end()
    return f"{answer_sdp[:end]}a=fmtp:{opus[1]} stereo=1\r\n{answer_sdp[end:]}"


def _is_splittable_h264(codec: RTCRtpCodecParameters) -> bool:
    mode = codec.parameters.get("packetization-mode")
    profile = str(codec.parameters.get("profile-level-id", ""))
    is_profile = re.fullmatch(r"[0-9A-Fa-f]{6}", profile) is not None
    return codec.name.lower() == "h264" and str(mode) == "1" and is_profile


def _with_profile(sdp: str, number: int, old: str, new: str) -> str:
    """``sdp`` with another profile of the payload type ``number``; ``old`` is a pattern."""
    return re.sub(rf"(?m)^(a=fmtp:{number} .*\bprofile-level-id=){old}", rf"\g<1>{new}", sdp)
