"""Which offers a publisher may make."""

from __future__ import annotations

from collections.abc import Sequence

from aiortc.sdp import MediaDescription, SessionDescription

from streamer.rtc.peer import check_transport, codec_names, has_codec, sections
from streamer.rtc.session import OfferUnsupported

VIDEO_CODECS = ("H264", "VP8")
AUDIO_CODECS = ("opus",)


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
