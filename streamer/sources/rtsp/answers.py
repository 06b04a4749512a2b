"""What a server's answers mean: where to go, how packets come, and why it refuses."""

from __future__ import annotations

import re
from dataclasses import replace

from streamer.config import redacted
from streamer.errors import ConfigError, SourceError
from streamer.rtsp.message import Response
from streamer.rtsp.transport import Transport, parse_transports
from streamer.rtsp.url import RtspUrl, parse_url


def refuse(url: RtspUrl, method: str, answer: Response) -> None:
    """Raises ``SourceError`` with what an answer other than 2xx means, in one sentence."""
    if answer.status < 300:
        return
    label = url.label
    if answer.status == 401:
        raise SourceError(_password_refusal(url, answer))
    if answer.status == 403:
        raise SourceError(
            f"{label} is forbidden for us (403); check the user's rights in the device"
        )
    if answer.status in (404, 410):
        raise SourceError(
            f"{label} has no stream at this path ({answer.status}); "
            "check the path in the device's manual or its ONVIF page"
        )
    if answer.status in (453, 503):
        raise SourceError(
            f"{label} has no room for another viewer ({answer.status}); "
            "close other players, or restart the camera"
        )
    # A stranger's words: no secrets, no control characters.
    reason = "".join(c for c in redacted(answer.reason)[:60] if c.isprintable())
    raise SourceError(
        f"{label} answers {method} with {answer.status} {reason}".rstrip()
        + "; check the path and that the stream plays in another player"
    )


def transport_refusal(url: RtspUrl, lower: str) -> str:
    """The sentence for 461 to ``lower``, ``tcp`` or ``udp``."""
    if lower == "udp" and url.transport is None:
        return (
            f"{url.label} sends to one viewer neither over TCP nor over UDP (461); "
            "switch unicast on in the device"
        )
    if lower == "udp":
        return f"{url.label} does not send over UDP (461); leave ?transport=udp out"
    hint = "use rtsp:// if it may be unencrypted" if url.is_tls else "add ?transport=udp"
    return f"{url.label} does not send over TCP (461); {hint}"


def _password_refusal(url: RtspUrl, answer: Response) -> str:
    if url.credentials is None:
        # Not as a whole address: what is written like a password is blacked out in logs.
        return f"{url.label} asks for a password (401); put USER:PASSWORD@ before the host"
    schemes = ", ".join(
        value.split(" ")[0][:20] for value in answer.headers.all("www-authenticate")
    )
    return (
        f"{url.label} does not take this user and password (401, {schemes or 'no scheme'}); "
        "check them, and percent-encode the @, / and : of a password"
    )


def redirected(url: RtspUrl, location: str, *, may_leave: bool) -> RtspUrl:
    """Where a redirect leads; with ``may_leave`` that may be another host. Raises ``SourceError`` where
    we may not or cannot go.

    The password goes along to the same host only, and never from TLS to plain text.
    """
    try:
        target = parse_url(location)
    except ConfigError as error:
        raise SourceError(
            f"{url.label} redirects to what is no RTSP address; use the final address"
        ) from error
    is_same_host = target.host.lower() == url.host.lower()
    if not is_same_host and not may_leave:
        raise SourceError(
            f"{url.label} redirects to another host, {target.place}, which is not allowed; "
            "use that address itself if you trust it"
        )
    if url.is_tls and not target.is_tls:
        raise SourceError(
            f"{url.label} redirects from TLS to plain text, which is not followed; "
            "use the rtsp:// address itself if that is meant"
        )
    return replace(
        target,
        credentials=target.credentials or (url.credentials if is_same_host else None),
        transport=target.transport or url.transport,
        checks_certificate=url.checks_certificate or not is_same_host,
    )


def granted(answer: Response, wanted: Transport, label: str) -> Transport:
    """How the server will send. Raises ``SourceError`` where that is not what was asked."""
    found = parse_transports(answer.headers.get("transport", ""))
    if not found:
        return wanted  # some leave it out where they agree
    if found[0].lower != wanted.lower or found[0].is_multicast:
        other = "multicast" if found[0].is_multicast else found[0].lower.upper()
        raise SourceError(
            f"{label} was asked to send over {wanted.lower.upper()} and answers {other}; "
            f"add ?transport={'tcp' if wanted.lower == 'udp' else 'udp'}"
        )
    return found[0]


def rtp_info(value: str) -> list[tuple[str, int]]:
    """URL and ``rtptime`` of each track in an ``RTP-Info`` header."""
    found = []
    for part in re.split(r",(?=\s*url\s*=)", value[:8192], flags=re.IGNORECASE):
        url = re.search(r'url\s*=\s*"?([^;,"\s]+)', part, re.IGNORECASE)
        rtptime = re.search(r"rtptime\s*=\s*(\d{1,10})", part, re.IGNORECASE)
        if url and rtptime:
            found.append((url[1], int(rtptime[1]) & 0xFFFFFFFF))
    return found


def is_same_track(said: str, control_url: str) -> bool:
    """``RTP-Info`` may name a track in full, without its host, or by its last part alone."""
    return control_url == said or control_url.endswith("/" + said.lstrip("/"))
