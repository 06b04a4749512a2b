"""The address of an RTSP stream, taken apart: what is dialled, what is sent, what may be shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

from streamer.errors import ConfigError

DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322}

_OPTIONS = {"transport": ("tcp", "udp"), "tls": ("verify", "insecure")}
"""What our own query parameters may say; the first is what their absence means."""

_HOST = re.compile(
    r"(\[(?P<six>[0-9A-Fa-f:.%\w]+)\]|(?P<name>[^\s:@/?#\[\]]+))(:(?P<port>\d{0,5}))?"
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks; neither part is ever shown."""

    user: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RtspUrl:
    """Where a stream is. ``request_url`` and ``label`` hold no password."""

    is_tls: bool
    host: str
    """A name or an address; IPv6 without brackets."""
    port: int
    request_url: str = field(repr=False)
    """What requests name: no user, no password, none of our own parameters."""
    label: str
    """What messages show: as ``request_url`` without its query, which may hold a token."""
    credentials: Credentials | None = None
    transport: Literal["tcp", "udp"] | None = None
    """``?transport=`` of our own; ``None`` where it was not given."""
    checks_certificate: bool = True

    @property
    def place(self) -> str:
        """Host and port, for messages; *** where they may be a part of a password."""
        if self.label.endswith("://***"):
            return "***"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def secret_url(self) -> str:
        """``request_url`` with user and password in it, for libav; never for a message."""
        if self.credentials is None:
            return self.request_url
        scheme, _, rest = self.request_url.partition("://")
        user, password = (
            quote(text, safe="") for text in (self.credentials.user, self.credentials.password)
        )
        return f"{scheme}://{user}:{password}@{rest}"


def parse_url(text: str) -> RtspUrl:
    """The parts of ``rtsp://[user[:password]@]host[:port]/path[?query]``.

    Passwords may hold ``@``, ``/``, ``:`` and ``?`` as they are, as far as that is unambiguous, or
    percent-encoded. Our own parameters ``transport`` and ``tls`` are taken out of the query.
    Raises ``ConfigError``, which shows nothing of what may be a password.
    """
    scheme, separator, rest = text.strip().partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in DEFAULT_PORTS:
        raise ConfigError("the address is not an RTSP one; use rtsp://HOST[:PORT]/PATH or rtsps://")
    if re.search(r"[\x00-\x20\x7f-\xa0\ud800-\udfff]", rest):
        raise ConfigError(
            f"the {scheme}:// address holds a space or an unreadable character; percent-encode it "
            "(a space is %20)"
        )
    userinfo, rest = _without_userinfo(rest)
    authority, path = _split_authority(rest)
    found = _HOST.fullmatch(authority)
    port = int((found["port"] if found else "") or DEFAULT_PORTS[scheme])
    if found is None or not 0 < port < 65536:
        raise ConfigError(
            f"the {scheme}:// address names no host and port; use {scheme}://HOST[:PORT]/PATH, and "
            "percent-encode the @, / and : of a password"
        )
    path, options = _without_options(path)
    shown = f"{scheme}://{authority}"
    # An open / or ? of a password that ends at this @: what was taken for the host is its beginning.
    may_be_secret = "@" in path and (userinfo is not None or ":" in authority)
    transport = options.get("transport")
    if scheme == "rtsps" and transport == "udp":
        raise ConfigError(
            "rtsps:// with ?transport=udp would encrypt the talk and send the picture in the open; "
            "leave ?transport=udp out, or use rtsp:// if that is meant"
        )
    return RtspUrl(
        is_tls=scheme == "rtsps",
        host=unquote(found["six"] or found["name"]),
        port=port,
        request_url=shown + path,
        label=f"{scheme}://***" if may_be_secret else shown + _shown_path(path),
        credentials=_credentials(userinfo),
        transport="udp" if transport == "udp" else "tcp" if transport == "tcp" else None,
        checks_certificate=options.get("tls") != "insecure",
    )


def resolve_control(base: str, control: str) -> str:
    """The URL that ``a=control`` names: absolute, relative to ``base``, or ``*`` for ``base``.

    A relative one is appended, as servers and players do, also behind a query; RFC 1808 would cut
    the last part of the path off.
    """
    if control in ("", "*"):
        return base
    if re.match(r"rtsps?://", control, re.IGNORECASE):
        return control
    if control.startswith("?"):
        return base + control
    return f"{base.rstrip('/')}/{control.lstrip('/')}"


def _without_userinfo(rest: str) -> tuple[str | None, str]:
    """``user:password`` and what follows its ``@``."""
    authority, _ = _split_authority(rest)
    userinfo, at, place = authority.rpartition("@")
    if _HOST.fullmatch(place):
        return (userinfo, rest[len(userinfo) + 1 :]) if at else (None, rest)
    # "user:pa" is no host and port: a password with an open / or ? in it goes on to an @.
    for found in re.finditer("@", rest):
        if _HOST.fullmatch(_split_authority(rest[found.end() :])[0]):
            return rest[: found.start()], rest[found.end() :]
    return None, rest


def _split_authority(rest: str) -> tuple[str, str]:
    end = re.search(r"[/?#]", rest)
    return (rest[: end.start()], rest[end.start() :]) if end else (rest, "")


def _credentials(userinfo: str | None) -> Credentials | None:
    if not userinfo:
        return None
    user, _, password = userinfo.partition(":")
    return Credentials(unquote(user), unquote(password))


def _without_options(path: str) -> tuple[str, dict[str, str]]:
    """The path and query to send, and our own parameters."""
    head, question, query = path.partition("?")
    if not question:
        return path, {}
    kept, options = [], {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name not in _OPTIONS:
            kept.append(part)
        elif value in _OPTIONS[name]:
            options[name] = value
        else:
            raise ConfigError(
                f"?{name}= of an RTSP address says neither of its two values; "
                f"use {name}={' or '.join(_OPTIONS[name])}"
            )
    return (f"{head}?{'&'.join(kept)}" if kept else head), options


def _shown_path(path: str) -> str:
    """The path up to where a secret may begin: a query, a ``password=`` or the end of a password."""
    shown = re.split(r"[?#]", path, maxsplit=1)[0]
    first, *parts = shown.split("/")
    for index, part in enumerate(parts):
        # Some cameras want /user=admin_password=x_channel=1.sdp; an @ may end an open password.
        if "=" in part or "@" in "/".join(parts[index:]):
            return "/".join([first, *parts[:index], "***"])
    return shown


def host_of(url: str) -> str:
    """The host that ``url`` names, lower case; empty where it names none."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""
