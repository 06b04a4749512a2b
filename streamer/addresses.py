"""Which addresses streams that were added from outside may reach, and what messages show of an address."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import SplitResult, unquote_plus, urlsplit

from streamer.errors import ConfigError, SourceError, StreamerError

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

RESOLVE_WITHIN_S = 10

PINNED_SCHEMES = ("rtsp", "rtmp", "udp", "srt")
"""Where the name may be replaced by the address that was checked. TLS needs the name for its
certificate and HTTP for its virtual host. Our readers of HTTP and RTSP take names: each looks its own up
once, and asks ``may_connect`` about every address before it connects."""

NOT_PUBLIC: tuple[Network, ...] = (
    # Public by their number, but a cloud's own services answer there: Azure's and Oracle's.
    ipaddress.ip_network("168.63.129.16/32"),
    ipaddress.ip_network("192.0.0.0/24"),
)

NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
COMPATIBLE = ipaddress.IPv6Network("::/96")

LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
# One dot between two labels, not an optional one: with that there are exponentially many ways to
# cut letters into labels, and each is tried before a text is found to be no host.
NAME = re.compile(rf"(?=.{{1,253}}\.?$){LABEL}(\.{LABEL})*\.?")
LOOKS_NUMERIC = re.compile(r"(0[xX][0-9a-fA-F]*|[0-9]+)(\.(0[xX][0-9a-fA-F]*|[0-9]+))*\.?")
UNSAFE = re.compile(r"[\x00-\x20\x7f\\]|[^\x00-\x7f]")

RTMP_PATH_BYTES = 1023
"""Behind the host of an RTMP address. What follows, as of a long token, libav leaves out without a
word; the server then sees a wrong key."""


class AddressRefused(ConfigError):
    """The address may not be reached from a stream that was added from outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressPolicy:
    """Public addresses are allowed, others only where ``allowed`` lists them: ``allow_sources`` in the
    settings file."""

    allowed: tuple[Network, ...] = ()

    def permits(self, address: Address) -> bool:
        """Whether it may be connected to; what an IPv6 address stands for is judged instead."""
        return self._lists(address) or all(
            self._lists(one) or _is_public(one) for one in _meant_by(address)
        )

    def _lists(self, address: Address) -> bool:
        return any(address in network for network in self.allowed)

    def may_connect(self, host: str) -> bool:
        """Whether all that ``host`` means may be connected to; for readers that find it out as they go.

        It asks the resolver and waits for it: call it in a thread or in a process of its own.
        """
        try:
            self._check(host, _look_up(host))
        except StreamerError:
            return False
        return True

    async def resolve(self, host: str) -> tuple[Address, ...]:
        """The addresses of ``host``, each of them permitted.

        Raises ``AddressRefused`` where one is not, ``SourceError`` where there is none, and
        ``ConfigError`` where ``host`` is none.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RESOLVE_WITHIN_S):
                found = await loop.run_in_executor(None, _look_up, host)
        except TimeoutError:
            raise SourceError(
                f"the name {host} could not be resolved within {RESOLVE_WITHIN_S} s; "
                "check the name, or write its address"
            ) from None
        self._check(host, found)
        return found

    def _check(self, host: str, found: Sequence[Address]) -> None:
        for address in found:
            if self.permits(address):
                continue
            meant = host if _literal(host) is not None else f"{host} means {address}, which"
            raise AddressRefused(
                f"{meant} is {_kind(address)}; a stream added over the API may reach it only where "
                "allow_sources in the settings file lists it, for example: "
                f"allow_sources: [{address}/{address.max_prefixlen}]"
            )

    async def pins(self, url: str) -> list[str]:
        """``url``, checked, once for each address of its host, which stands in its place where the
        protocol allows that; never empty.

        Raises as ``resolve`` does. An empty host, as in ``udp://:5000``, means
        to listen on every address of this machine, and counts as 0.0.0.0.
        """
        parts = split(url)
        host = parts.hostname or "0.0.0.0"
        with telling_no_secret(url):
            found = await self.resolve(host)
        if parts.scheme.lower() not in PINNED_SCHEMES or not parts.hostname:
            return [url]
        return [_with_host(parts, address) for address in found]


def _with_host(parts: SplitResult, address: Address) -> str:
    """The URL with ``address`` as its host."""
    user, at, place = parts.netloc.rpartition("@")
    _, colon, port = place.rpartition("]")[2].partition(":")
    host = f"[{address}]" if address.version == 6 else str(address)
    return parts._replace(netloc=f"{user}{at}{host}{colon}{port}").geturl()


def split(url: str) -> SplitResult:
    """The parts of a URL that all readers understand alike. Raises ``ConfigError`` otherwise.

    What one parser takes for the host and another for the path is how such checks are passed by.
    """
    if UNSAFE.search(url):
        raise ConfigError(
            "the address holds a space, a backslash or a letter outside ASCII; write these as %XX, "
            "and a name in its xn-- form"
        )
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        raise ConfigError(
            "the address is malformed; it looks like rtsp://host:554/path, IPv6 in brackets"
        ) from None
    if parts.netloc.count("@") > 1:
        raise ConfigError("the address holds more than one @; write %40 in a user or a password")
    if host is not None:
        with telling_no_secret(url):
            check_host(host)
    return parts


def has_two_readings(url: str) -> bool:
    """Whether an ``@`` behind the host may be where a password with an open / or ? or # ends.

    Then what stands for the host and the port may be the beginning of that password.
    """
    rest = url.partition("://")[2]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    before, at, _ = rest.rpartition("@")
    return bool(at) and len(before) >= len(authority) and re.search("[:@]", before) is not None


def trusted_roots() -> str | None:
    """The file of authorities that libav, whose own way to it few systems have, checks peers by: as
    ``SSL_CERT_FILE`` says, or where Debian, Fedora and macOS have it. Touches the disk."""
    stated = ssl.get_default_verify_paths()
    known = (
        stated.cafile,
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/cert.pem",
    )
    return next((path for path in known if path and os.path.isfile(path)), None)


SECRET_KEYS = "token|pass(word|phrase|wd)?|pwd|key|secret|auth|sig(n(ature)?)?|streamid"
"""What options are called whose values are nobody's business."""


def option_shown(query: str, name: str) -> str:
    """How a message quotes an option that is not known; stars where it may be what follows an
    unencoded & in a secret."""
    for part in query.split("&"):
        found, has_value, _ = part.partition("=")
        if unquote_plus(found) == name and has_value:
            return repr(name[:32])
        if not has_value or re.fullmatch(SECRET_KEYS, found, re.IGNORECASE):
            break
    return "'***' (an & in a secret is written as %26)"


@contextmanager
def telling_no_secret(url: str) -> Iterator[None]:
    """Errors inside the block show nothing of an address that has two readings."""
    try:
        yield
    except StreamerError as error:
        if not has_two_readings(url):
            raise
        raise type(error)(
            "the address cannot be used as it stands; percent-encode the @, / and : of a password"
        ) from None


def check_host(host: str) -> None:
    """Raises ``ConfigError`` unless ``host`` is a name or an address in its usual form."""
    if _literal(host) is not None:
        return
    if LOOKS_NUMERIC.fullmatch(host):
        # 2130706433, 0x7f.1 and 0177.0.0.1 all are 127.0.0.1 to some readers and not to others.
        raise ConfigError(f"{host} is an unusual way to write an address; write it as 192.0.2.7")
    if not NAME.fullmatch(host):
        raise ConfigError(f"{host!r} is no host; use a name, an IPv4 address or [an IPv6 address]")


def parse_network(text: str) -> Network:
    """A network as in ``10.0.0.0/8``, or one address. Raises ``ConfigError``."""
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ConfigError(f"{text!r} is no network ({error}); write it as 10.0.0.0/8") from None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on ``host``."""
    address = _literal(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def _literal(host: str) -> Address | None:
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    return _plain(address)


def _plain(address: Address) -> Address:
    """An IPv4 address that was written as an IPv6 one, as itself."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _look_up(host: str) -> tuple[Address, ...]:
    """All that ``host`` means, in the resolver's order, without repeats."""
    check_host(host)
    literal = _literal(host)
    if literal is not None:
        return (literal,)
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise SourceError(f"the name {host} does not resolve; check its spelling") from None
    addresses = (_plain(ipaddress.ip_address(str(entry[4][0]))) for entry in found)
    return tuple(dict.fromkeys(addresses))


def _meant_by(address: Address) -> Sequence[Address]:
    """The IPv4 addresses that a tunnel's or a translator's IPv6 address leads to, or itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    is_compatible = address in COMPATIBLE and int(address) > 1
    if is_compatible or any(address in network for network in NAT64):
        return (ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF),)
    return (address,)


def _is_public(address: Address) -> bool:
    if any(address in network for network in NOT_PUBLIC):
        return False
    if isinstance(address, ipaddress.IPv6Address) and (address.is_site_local or address.scope_id):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _kind(address: Address) -> str:
    """What is special about an address that is not public."""
    for kind, name in (
        ("is_unspecified", "every address of this machine"),
        ("is_loopback", "this machine itself"),
        ("is_link_local", "link-local, where cloud machines keep their credentials"),
        ("is_multicast", "a multicast group"),
        ("is_private", "private"),
    ):
        if any(getattr(one, kind) for one in _meant_by(address)):
            return name
    return "not public"
