"""What a WebRTC session is, and why an offer may be turned down; loads nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from streamer.errors import StreamerError

View: TypeAlias = Literal["enhanced", "compare"]
"""What a viewer watches. ``compare`` is twice as high: the enhanced picture, and below it the plain
upscale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One viewer or publisher, as the signalling side knows it."""

    id: str
    """Unguessable: whoever knows it may end the session."""
    answer_sdp: str


class OfferRefused(StreamerError):
    """There will be no session; the subclass says whether another offer may do better."""


class OfferInvalid(OfferRefused):
    """The offer is not SDP that can be understood; sending it again will not help."""


class OfferUnsupported(OfferRefused):
    """The offer is well formed but names no way to carry this stream that both sides know."""


class TooManyViewers(OfferRefused):
    """Every place is taken; a later offer may find a free one."""


class PublisherPresent(OfferRefused):
    """The stream has its publisher already; there is only one at a time."""
