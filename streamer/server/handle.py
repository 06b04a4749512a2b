"""All that the server knows of a running stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol, TypeAlias

from streamer.rtc.session import Session, View

State: TypeAlias = Literal["starting", "live", "lost", "failed", "ended"]


class StreamHandle(Protocol):
    """A running stream, as pages and signalling know it."""

    @property
    def name(self) -> str: ...

    async def answer(self, offer_sdp: str, *, view: View) -> Session:
        """Begin a viewer's session.

        Raises ``OfferInvalid``, ``OfferUnsupported``, ``TooManyViewers``, or another
        ``StreamerError`` where the stream cannot be watched at all.
        """

    async def hang_up(self, session_id: str) -> bool:
        """End a viewer's session; false if there is none of that name."""

    def statistics(self) -> Mapping[str, Any]:
        """The numbers that the page shows, as JSON values; returns at once."""
