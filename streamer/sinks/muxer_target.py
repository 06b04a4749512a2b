"""What an output's address says about how libav is to write it; a table by scheme."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from streamer.addresses import (
    RTMP_PATH_BYTES,
    option_shown,
    telling_no_secret,
    trusted_roots,
)
from streamer.config import place_of
from streamer.errors import SinkError
from streamer.sinks.muxer_protocol import Output, Target
from streamer.srt import with_whole_query

IO_TIMEOUT_US = 5_000_000
"""How long libav waits for a peer; the parent's own watch ends the child soon after."""

INTERLEAVE_US = 250_000
"""How long the picture waits for sound that does not come; libav's default is ten seconds."""

TS_PACKETS_BYTES = 1316
"""Seven packets of MPEG-TS, the most that fit one Ethernet frame."""

# Certificates are checked. The file is found once: looking for it touches the disk.
_CA_FILE = trusted_roots()
TLS_OPTIONS = {"tls_verify": "1"} | ({"ca_file": _CA_FILE} if _CA_FILE else {})

RTMP_PORT = 1935

UDP_OPTIONS = frozenset({"pkt_size", "ttl", "localaddr", "localport", "buffer_size", "broadcast"})
SRT_NUMBERS: Mapping[str, Sequence[int]] = {
    "latency": range(16_000_001),
    "pbkeylen": (0, 16, 24, 32),
    "connect_timeout": range(1, 600_001),
    "payload_size": range(188, 1457, 188),
    "maxbw": range(-1, 1 << 62),
    "tlpktdrop": range(2),
}
"""As ffmpeg has them: latency in microseconds, the connect_timeout in milliseconds."""

SRT_LATENCY_US = 120_000
SRT_SECRETS = frozenset({"passphrase", "streamid"})


def target_of(url: str, *, named: str | None = None) -> Target:
    """How to write to ``url``. Raises ``SinkError`` for what can never work.

    ``named`` is the same with the name of its host, where ``url`` has an address in its place: RTMP tells
    the server whom it was to call, and one that serves many names tells them apart by that.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise SinkError("an output's address is malformed; use scheme://host:port/path") from None
    if re.search(r"[\x00-\x20\x7f]", url):
        raise SinkError("an output's address holds a space or a control character; encode it")
    place = place_of(url)
    if parts.scheme == "srt":
        parts = with_whole_query(parts)
    if parts.scheme not in TARGETS:
        raise SinkError(f"{parts.scheme}:// is no output; use {', '.join(TARGETS)}")
    if not parts.hostname:
        raise SinkError(f"the address {place} names no host; use {parts.scheme}://host:port/path")
    if port == 0:
        raise SinkError(f"the address {place} has port 0, where nothing listens; use 1 to 65535")
    with telling_no_secret(url):
        output, srt = TARGETS[parts.scheme](parts, place)
        if parts.scheme == "rtmp" and named is not None:
            output, srt = _rtmp(parts, place, named=urlsplit(named))
    return Target(output=output, place=place, secrets=_secrets(parts), srt=srt)


def _secrets(parts: SplitResult) -> tuple[str, ...]:
    """Userinfo, everything after the host, and its pieces that are long enough to be a key.

    One or two letters are in every other word of a message, and give nothing away; nor does what the
    host's name has as well, which is told.
    """
    told = parts.hostname or ""
    pieces = [parts.username, parts.password, parts.path.strip("/"), parts.query]
    pieces += [piece for piece in parts.path.split("/") if len(piece) > 3]
    pieces += [value for _, value in parse_qsl(parts.query) if len(value) > 3]
    secrets = {piece for piece in pieces if piece and len(piece) > 2 and piece not in told}
    return tuple(sorted(secrets, key=len, reverse=True))


def _rtsp(parts: SplitResult, place: str) -> tuple[Output, None]:
    options = {
        "rtsp_transport": "tcp",
        "timeout": str(IO_TIMEOUT_US),
        "max_interleave_delta": str(INTERLEAVE_US),
        "protocol_whitelist": "rtsp,rtsps,rtp,tcp,tls",
    }
    if parts.scheme == "rtsps":
        options |= TLS_OPTIONS
    return Output(url=parts.geturl(), format="rtsp", options=options), None


def _rtmp(
    parts: SplitResult, place: str, *, named: SplitResult | None = None
) -> tuple[Output, None]:
    if len([piece for piece in parts.path.split("/") if piece]) < 2:
        raise SinkError(
            # Without an example of an address: what is written like a key is blacked out in messages.
            f"the address of {place} lacks a part; write the application and the stream-key behind "
            "the host, as in /live/KEY"
        )
    behind_host = len(parts._replace(scheme="", netloc="").geturl().encode())
    if behind_host > RTMP_PATH_BYTES:
        raise SinkError(
            f"the address of {place} has {behind_host} bytes behind the host; use a stream-key that "
            f"leaves it {RTMP_PATH_BYTES} at most"
        )
    # PyAV opens an output's protocol without options; the tee muxer hands them on.
    inner = {
        "f": "flv",
        "onfail": "abort",
        "rw_timeout": str(IO_TIMEOUT_US),
        "tcp_nodelay": "1",
        "flvflags": "no_duration_filesize",
        "flush_packets": "1",
        "max_interleave_delta": str(INTERLEAVE_US),
        "protocol_whitelist": "rtmp,rtmps,tcp,tls",
    }
    if parts.scheme == "rtmps":
        inner |= TLS_OPTIONS
    if named is not None and named.hostname != parts.hostname:
        port = named.port or RTMP_PORT
        inner["rtmp_tcurl"] = f"rtmp://{named.hostname}:{port}/{_application(named)}"
    listed = ":".join(f"{name}={_escaped(value, ':')}" for name, value in inner.items())
    # Taken apart twice: at the | between its outputs, then at the : between an output's options.
    url = _escaped(f"[{listed}]{parts.geturl()}", "|")
    options = {"max_interleave_delta": str(INTERLEAVE_US)}
    return Output(url=url, format="tee", options=options, holds="flv", begins_at_zero=True), None


def _application(parts: SplitResult) -> str:
    """What libav takes of the path for RTMP's application: its first part, or two of three."""
    first, _, rest = parts._replace(scheme="", netloc="").geturl().lstrip("/").partition("/")
    second, slash, _ = rest.partition("/")
    return f"{first}/{second}" if slash and ":" not in second else first


def _escaped(text: str, also: str) -> str:
    return re.sub(rf"([\\'\[\]{also}])", r"\\\1", text)


def _udp(parts: SplitResult, place: str) -> tuple[Output, None]:
    _needs_port(parts, place)
    asked = _options(parts, place, allowed=UDP_OPTIONS)
    size = asked.setdefault("pkt_size", str(TS_PACKETS_BYTES))
    if not size.isdecimal() or not 188 <= int(size) <= 65_424 or int(size) % 188:
        raise SinkError(f"pkt_size={size} for {place} is out of range; use a multiple of 188")
    url = f"udp://{_netloc(parts)}?{urlencode(asked)}"
    return Output(url=url, format="mpegts", options=TS_OPTIONS, describes_once=False), None


def _srt(parts: SplitResult, place: str) -> tuple[Output, Mapping[str, Any]]:
    _needs_port(parts, place)
    asked = _options(parts, place, allowed=SRT_SECRETS | {"mode", *SRT_NUMBERS})
    passphrase = asked.get("passphrase")
    if passphrase is not None and not 10 <= len(passphrase.encode()) <= 79:
        raise SinkError(f"the passphrase for {place} has the wrong length; use 10 to 79 characters")
    if len(asked.get("streamid", "").encode()) > 512:
        raise SinkError(f"the streamid for {place} is too long; use 512 characters at most")
    if asked.get("mode", "caller") != "caller":
        raise SinkError(f"{place} can only be called; leave mode out, and let the peer listen")
    secrets = {name: value for name, value in asked.items() if name in SRT_SECRETS}
    numbers = {name: _srt_number(asked, name, place) for name in SRT_NUMBERS if name in asked}
    settings = {
        "host": parts.hostname,
        "port": parts.port,
        "payload_size": TS_PACKETS_BYTES,
        **secrets,
        **numbers,
        "latency_ms": numbers.pop("latency", SRT_LATENCY_US) // 1000,
    }
    output = Output(url="", format="mpegts", options=TS_OPTIONS, describes_once=False)
    return output, settings


def _srt_number(asked: Mapping[str, str], name: str, place: str) -> int:
    value, allowed = asked[name], SRT_NUMBERS[name]
    if re.fullmatch(r"-?[0-9]{1,19}", value) and int(value) in allowed:
        return int(value)
    known = f"{allowed[0]} to {allowed[-1]}" if isinstance(allowed, range) else "0, 16, 24 or 32"
    raise SinkError(f"{name}={value[:32]} for {place} is out of range; use {known}")


# Frames of sound that are gathered into one packet come after the clock in the stream says that
# they play, by two frames (43 ms) and more: too late for receivers that go by that clock.
TS_SOUND = {"pes_payload_size": "0"}

TS_OPTIONS = TS_SOUND | {
    # Microseconds that the clock runs behind, for live sound that leaves just after its picture.
    "max_delay": "50000",
    "flush_packets": "1",
    "max_interleave_delta": str(INTERLEAVE_US),
    "mpegts_flags": "+resend_headers",
    "pat_period": "0.2",
}


def _netloc(parts: SplitResult) -> str:
    host = parts.hostname or ""
    return f"[{host}]:{parts.port}" if ":" in host else f"{host}:{parts.port}"


def _needs_port(parts: SplitResult, place: str) -> None:
    if not parts.port:
        raise SinkError(f"the address {place} names no port; use {parts.scheme}://host:port")


def _options(parts: SplitResult, place: str, *, allowed: frozenset[str]) -> dict[str, str]:
    """The address's query; libav would take a misspelt name in silence."""
    asked = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in asked:
        if name not in allowed:
            shown = option_shown(parts.query, name)
            raise SinkError(
                f"{place} has no option {shown}; use one of {', '.join(sorted(allowed))}"
            )
    return asked


TARGETS: Mapping[str, Callable[[SplitResult, str], tuple[Output, Mapping[str, Any] | None]]] = {
    "rtsp": _rtsp,
    "rtsps": _rtsp,
    "rtmp": _rtmp,
    "rtmps": _rtmp,
    "udp": _udp,
    "srt": _srt,
}
