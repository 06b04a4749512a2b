"""The Transport header: how the packets of one track travel."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """One way for the packets of a track; pairs are (RTP, RTCP)."""

    lower: Literal["tcp", "udp"]
    is_multicast: bool = False
    profile: str = "AVP"
    """``AVP``, or ``AVPF`` where feedback is wanted."""
    interleaved: tuple[int, int] | None = None
    """Channels 0 to 255 of the RTSP connection; only with ``tcp``."""
    client_port: tuple[int, int] | None = None
    server_port: tuple[int, int] | None = None
    source: str | None = None
    ssrc: int | None = None
    mode: str | None = None
    """``PLAY`` or ``RECORD``, upper case; ``None`` where it is not said."""

    def __str__(self) -> str:
        """The header's value."""
        parts = [
            f"RTP/{self.profile}/TCP" if self.lower == "tcp" else f"RTP/{self.profile}",
            "multicast" if self.is_multicast else "unicast",
        ]
        if self.source:
            parts.append(f"source={self.source}")
        for name in ("interleaved", "client_port", "server_port"):
            pair: tuple[int, int] | None = getattr(self, name)
            if pair is not None:
                parts.append(f"{name}={pair[0]}-{pair[1]}")
        if self.ssrc is not None:
            parts.append(f"ssrc={self.ssrc:08X}")
        if self.mode:
            parts.append(f'mode="{self.mode}"')
        return ";".join(parts)


def parse_transports(value: str) -> list[Transport]:
    """The choices of a Transport header, best first; what cannot be understood is left out."""
    choices = (_parse_one(part) for part in value.split(","))
    return [choice for choice in choices if choice is not None]


def _parse_one(text: str) -> Transport | None:
    spec, *parts = (part.strip() for part in text.split(";"))
    found = re.fullmatch(r"RTP/(S?AVPF?)(?:/(TCP|UDP))?", spec, re.IGNORECASE)
    if found is None:
        return None
    values: dict[str, str] = {}
    for part in parts:
        name, _, setting = part.partition("=")
        values.setdefault(name.strip().lower(), setting.strip().strip('"'))
    mode = values.get("mode", "").upper()
    return Transport(
        lower="tcp" if (found[2] or "").upper() == "TCP" else "udp",
        is_multicast="multicast" in values,
        profile=found[1].upper(),
        interleaved=_pair(values.get("interleaved"), 255),
        client_port=_pair(values.get("client_port"), 65535),
        server_port=_pair(values.get("server_port"), 65535),
        source=values.get("source") or None,
        ssrc=_ssrc(values.get("ssrc")),
        mode=mode or None,
    )


def _pair(text: str | None, limit: int) -> tuple[int, int] | None:
    """``a-b``; a lone ``a`` means ``a`` and the next."""
    found = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", text or "")
    if found is None:
        return None
    first = int(found[1])
    second = int(found[2]) if found[2] else first + 1
    return (first, second) if first <= limit and second <= limit else None


def _ssrc(text: str | None) -> int | None:
    """Hexadecimal, as RFC 2326 says; some servers pad it or write 0x."""
    found = re.fullmatch(r"(?:0x)?([0-9A-Fa-f]{1,8})", (text or "").strip())
    return int(found[1], 16) if found else None
