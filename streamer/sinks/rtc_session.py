"""What a viewer's session is, and why an offer may be turned down; loads nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.errors import SinkError


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One viewer, as the signalling side knows it."""

    id: str
    """Unguessable: whoever knows it may end the session."""
    answer_sdp: str


class OfferInvalid(SinkError):
    """The offer is not SDP that can be understood; sending it again will not help."""


class OfferUnsupported(SinkError):
    """The offer is well formed but leaves no way to send it H.264 video."""


class TooManyViewers(SinkError):
    """Every place is taken; a later offer may find a free one."""
