"""MPEG-TS in SRT messages, for the muxer's child."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamer.errors import SinkError
from streamer.srt import Srt, load

TS_PACKET_BYTES = 188
ENDS_WITHIN_S = 2.0
"""How long the last messages may be on the way, beside the latency that both sides agreed upon."""


def needs_srt() -> None:
    """Raises ``SinkError`` where there is no libsrt."""
    try:
        load(SinkError)
    except SinkError as error:
        raise SinkError(f"an srt:// output {error}") from None


class SrtFile:
    """What libav writes to as to a file; connected when made. Its calls may block."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Raises ``SinkError`` where nobody answers or both sides do not agree."""
        self._message_bytes = int(settings["payload_size"])
        self._rest = b""
        self._srt = Srt(SinkError)
        try:
            self._handle = self._srt.connect(**settings)
        except SinkError as error:
            self._srt.close()
            raise SinkError(f"it {error}") from None
        self.latency_s = self._srt.latency_s(self._handle)

    def write(self, data: bytes) -> int:
        """Send whole packets of MPEG-TS at once. Raises ``OSError``."""
        whole = self._rest + bytes(data)
        end = len(whole) - len(whole) % TS_PACKET_BYTES
        for start in range(0, end, self._message_bytes):
            self._srt.send(self._handle, whole[start : min(start + self._message_bytes, end)])
        self._rest = whole[end:]
        return len(data)

    def close(self) -> None:
        """Wait until the other side has passed on what it got, then hang up."""
        self._srt.wait_until_played(self._handle, within_s=self.latency_s + ENDS_WITHIN_S)
        self._srt.close()
