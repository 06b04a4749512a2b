"""What a network address says, checked: nothing a user wrote reaches a library as an option."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote

from streamer.addresses import RTMP_PATH_BYTES, option_shown, split, telling_no_secret
from streamer.config import place_of
from streamer.errors import ConfigError
from streamer.rtsp.url import RtspUrl, parse_url
from streamer.srt import with_whole_query

OPEN_WITHIN_S = 10.0
PACKET_WITHIN_S = 10.0
"""A peer that sends no packet for so long is gone, whatever its sockets say."""

Reader = Literal["libav", "http", "rtmp_listen", "srt"]

_RTMP_PORT, _SRT_LATENCY_MS = 1935, 120
_MICRO = 1_000_000

# A live stream is described by its headers or its first keyframe: half a second is plenty, and
# fpsprobesize=0 ends the wait once the codecs are known. Not ``fflags=nobuffer``: it throws away
# what was read to find that out, with the first keyframe in it, and the picture then begins a
# whole keyframe interval later.
_PROBE = {"analyzeduration": "500000", "fpsprobesize": "0"}


# Peers prove who they are; the child knows the file of trusted roots.
_TLS: Mapping[str, str] = {"tls_verify": "1"}


_UDP_WHERE = frozenset({"localaddr", "sources"})
"""On which interface, and from which senders to a multicast group: without these another picture comes,
or none."""

_UDP_OURS = frozenset(
    {"buffer_size", "fifo_size", "overrun_nonfatal", "pkt_size", "reuse", "timeout"}
)
"""What addresses for libav's own tools carry, and is settled here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkAddress:
    """One input, taken apart; ``label`` names it in messages and holds no secret."""

    scheme: str
    label: str
    reader: Reader
    """What brings the bytes into the child."""
    url: str = field(repr=False)
    format: str | None
    """libav's name, where only one can come; nothing else is then tried on a stranger's bytes."""
    options: Mapping[str, str] = field(repr=False)
    """libav's, complete."""
    settings: Mapping[str, str | int] = field(default_factory=dict, repr=False)
    """The reader's own."""
    waits_for_peer: bool = False
    """It listens: how long until somebody comes is not ours to know."""


def parse(url: str) -> NetworkAddress:
    """The address in ``url``. Raises ``ConfigError`` for what cannot be read."""
    parts = split(url)
    taker = _TAKERS.get(parts.scheme.lower())
    if taker is None:
        raise ConfigError(
            f"{parts.scheme}:// cannot be read; use one of: {', '.join(sorted(_TAKERS))}"
        )
    with telling_no_secret(url):
        return taker(url, parts, place_of(url))


def _rtmp(url: str, parts: SplitResult, label: str) -> NetworkAddress:
    given = _query(parts.query)
    if given.get("listen", "0") not in ("0", "1"):
        raise ConfigError(f"{label} has listen={given['listen']!r}; use listen=1 to wait for one")
    if given.get("listen") == "1":
        return _rtmp_listener(parts, label)
    if not parts.hostname:
        raise ConfigError(f"{label} names no host; write one behind rtmp://, then the path")
    behind_host = len(parts._replace(scheme="", netloc="").geturl().encode())
    if behind_host > RTMP_PATH_BYTES:
        raise ConfigError(
            f"{label} has {behind_host} bytes behind the host; at most {RTMP_PATH_BYTES} are "
            "sent, so use a shorter stream key or token"
        )
    return NetworkAddress(
        scheme=parts.scheme.lower(),
        label=label,
        reader="libav",
        url=url,
        format="flv",
        options={
            **_PROBE,
            "protocol_whitelist": "rtmp,rtmps,tcp,tls",
            "rw_timeout": _us(PACKET_WITHIN_S),
            "tcp_nodelay": "1",
            "rtmp_live": "live",
            # Servers send so much at once before they pace themselves; libav asks for 3 s.
            "rtmp_buffer": "100",
            **_TLS,
        },
    )


def _rtmp_listener(parts: SplitResult, label: str) -> NetworkAddress:
    if parts.scheme.lower() != "rtmp":
        raise ConfigError(f"{label} cannot listen with TLS; use rtmp:// behind a TLS proxy")
    app, _, key = parts.path.strip("/").rpartition("/")
    if not app or not key:
        # Without an example of an address: what is written like a key is blacked out in messages.
        raise ConfigError(
            f"{label} names no application and key; write both behind the port, as in "
            "/live/KEY?listen=1, and let publishers send to the same path"
        )
    return NetworkAddress(
        scheme="rtmp",
        label=label,
        reader="rtmp_listen",
        url="",
        format="flv",
        options={**_PROBE, "protocol_whitelist": "pipe"},
        settings={
            "host": parts.hostname or "0.0.0.0",
            "port": parts.port or _RTMP_PORT,
            "app": unquote(app),
            "key": unquote(key),
        },
        waits_for_peer=True,
    )


def _http(url: str, parts: SplitResult, label: str) -> NetworkAddress:
    if not parts.hostname:
        raise ConfigError(f"{label} names no host; write it as https://host/path")
    return NetworkAddress(
        scheme=parts.scheme.lower(),
        label=label,
        reader="http",
        url=url,
        format=None,
        options={
            **_PROBE,
            # Every address is fetched by us; libav itself may open none.
            "protocol_whitelist": "http,https",
            "format_whitelist": "hls,mpegts,mov,mp4,matroska,webm,flv,avi,mpeg,aac,webvtt",
            "http_persistent": "0",
            # Segments are called what servers like; of what kind they may be says the whitelist.
            "extension_picky": "0",
            # The newest whole segment. The one after it is there when this one has been shown.
            "live_start_index": "-1",
        },
    )


def _udp(url: str, parts: SplitResult, label: str) -> NetworkAddress:
    if parts.port is None:
        raise ConfigError(f"{label} names no port; write it as udp://:5000 to receive there")
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    options = {
        # libav's receiving thread keeps so many packets of 188 bytes: 1.5 s at 20 Mbit/s.
        "fifo_size": "20000",
        "overrun_nonfatal": "1",
        "buffer_size": "1048576",
        "timeout": _us(PACKET_WITHIN_S),
    }
    given = _query(parts.query)
    for name in given.keys() - _UDP_WHERE - _UDP_OURS:
        shown = option_shown(parts.query, name)
        raise ConfigError(f"{label} has the option {shown}; use {', '.join(sorted(_UDP_WHERE))}")
    for name in _UDP_WHERE & given.keys():
        if not re.fullmatch(r"[0-9A-Fa-f.:]+(,[0-9A-Fa-f.:]+)*", given[name]):
            raise ConfigError(f"{label} has a {name} that is no IP address; write it in numbers")
        options[name] = given[name]
    return NetworkAddress(
        scheme="udp",
        label=label,
        reader="libav",
        url=f"udp://{host}:{parts.port}",
        format="mpegts",
        options={**_PROBE, "protocol_whitelist": "udp", **options},
    )


def _srt(url: str, parts: SplitResult, label: str) -> NetworkAddress:
    if parts.port is None:
        raise ConfigError(f"{label} names no port; write it as srt://host:9000")
    query = with_whole_query(parts).query
    given = _query(query)
    for name in given.keys() - {"mode", "passphrase", "streamid", "latency", "pbkeylen"}:
        shown = option_shown(query, name)
        raise ConfigError(
            f"{label} has the option {shown}; use mode, passphrase, streamid, latency, pbkeylen"
        )
    mode = given.get("mode", "caller" if parts.hostname else "listener")
    passphrase = given.get("passphrase", "")
    if mode not in ("caller", "listener"):
        raise ConfigError(f"{label} has mode={mode!r}; use caller or listener")
    if mode == "caller" and not parts.hostname:
        raise ConfigError(f"{label} names no host to call; use mode=listener to wait for one")
    if passphrase and not 10 <= len(passphrase.encode()) <= 79:
        raise ConfigError(f"{label} has a passphrase of a wrong length; use 10 to 79 letters")
    return NetworkAddress(
        scheme="srt",
        label=label,
        reader="srt",
        url="",
        format="mpegts",
        options={**_PROBE, "protocol_whitelist": "pipe"},
        settings={
            "host": parts.hostname or "",
            "port": parts.port,
            "mode": mode,
            "passphrase": passphrase,
            "streamid": given.get("streamid", ""),
            "latency_ms": _number(given, "latency", _SRT_LATENCY_MS * 1000, label) // 1000,
            "pbkeylen": _number(given, "pbkeylen", 0, label),
        },
        waits_for_peer=mode == "listener",
    )


def _rtsp(url: str, parts: SplitResult, label: str) -> NetworkAddress:
    return of_rtsp(parse_url(url))


def of_rtsp(address: RtspUrl) -> NetworkAddress:
    """An RTSP address for libav, with the transport and the checks that it asks for."""
    ways: dict[str, str] = {"rtsp_transport": address.transport or "tcp"}
    if address.transport is None and not address.is_tls:
        ways = {"rtsp_transport": "udp+tcp", "rtsp_flags": "prefer_tcp"}
    scheme = "rtsps" if address.is_tls else "rtsp"
    return NetworkAddress(
        scheme=scheme,
        label=f"{scheme}://{address.place}",
        reader="libav",
        url=address.secret_url(),
        format="rtsp",
        options={
            **_PROBE,
            "protocol_whitelist": "rtsp,rtsps,rtp,udp,tcp,tls",
            **ways,
            "allowed_media_types": "video+audio",
            "timeout": _us(PACKET_WITHIN_S),
            "max_delay": "100000",
            **(_TLS if address.checks_certificate else {}),
        },
    )


_TAKERS: Mapping[str, Callable[[str, SplitResult, str], NetworkAddress]] = {
    "rtmp": _rtmp,
    "rtmps": _rtmp,
    "http": _http,
    "https": _http,
    "udp": _udp,
    "srt": _srt,
    "rtsp": _rtsp,
    "rtsps": _rtsp,
}


def _query(text: str) -> dict[str, str]:
    return dict(parse_qsl(text, keep_blank_values=True))


def _number(given: Mapping[str, str], name: str, default: int, label: str) -> int:
    text = given.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ConfigError(f"{label} has {name}={text!r}; use a whole number")
    return int(text)


def _us(seconds: float) -> str:
    return str(round(seconds * _MICRO))
