"""One codec's packets into RTP payloads, split once for every receiver."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

MAX_PAYLOAD_BYTES = 1_400
"""With 12 bytes of RTP, 8 of UDP and 40 of IPv6 still under the 1500 of Ethernet, with room for
a tunnel's own header."""


@dataclass(frozen=True, slots=True)
class RtpPiece:
    """What one RTP packet carries beside its header."""

    payload: bytes = field(repr=False)
    is_marked: bool
    """The marker bit: for video and AAC the end of an access unit."""
    ticks_later: int = 0
    """By how much its time stamp lies after that of the whole, on the RTP clock."""


class Packetiser(Protocol):
    """Splits one packet of a codec."""

    def split(self, data: bytes) -> list[RtpPiece]:
        """The RTP packets for ``data``, in order; none where nothing of it can be sent."""
