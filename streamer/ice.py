"""Servers that WebRTC asks how it is seen from outside, and that relay for it (ICE, RFC 8445)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from streamer.errors import ConfigError

EXAMPLE = "['stun:stun.example.org:3478']"
RELAY_EXAMPLE = "{url: 'turn:turn.example.org', username: me, credential: secret}"

# As in RFC 7064 and 7065, of what aioice takes: no stuns:, no addresses of IPv6.
_URL = re.compile(
    r"(?P<scheme>stun|turns?):(?P<host>[A-Za-z0-9._-]{1,253})(:(?P<port>\d{1,5}))?"
    r"(\?transport=(?P<transport>udp|tcp))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IceServer:
    """A STUN server, which tells the address that others see; or a TURN server, which relays."""

    url: str
    username: str | None = None
    credential: str | None = field(default=None, repr=False)


def parse_ice_servers(value: Any) -> tuple[IceServer, ...]:
    """From a list of addresses, or mappings with ``username`` and ``credential``. Raises
    ``ConfigError``."""
    if not isinstance(value, list):
        raise ConfigError(f"it is no list; write it as {EXAMPLE}")
    servers = tuple(map(_server, value))
    for scheme in ("stun", "turn"):
        if sum(server.url.startswith(scheme) for server in servers) > 1:
            raise ConfigError(
                f"there is more than one {scheme} server; only one is asked, keep that"
            )
    return servers


def _server(value: Any) -> IceServer:
    given = {"url": value} if isinstance(value, str) else value
    if not isinstance(given, dict) or not all(isinstance(one, str) for one in given.values()):
        raise ConfigError(
            f"a server is no text, nor of texts; write it as {EXAMPLE} or {RELAY_EXAMPLE}"
        )
    if unknown := given.keys() - {"url", "username", "credential"}:
        raise ConfigError(
            f"a server has an unknown key {min(map(str, unknown))!r}; "
            "the keys are: url, username, credential"
        )
    url = given.get("url", "")
    found = _URL.fullmatch(url)
    if found is None or not 0 < int(found["port"] or 1) < 65_536:
        raise ConfigError(
            f"{url!r} is no server; write it as stun:HOST:PORT, turn:HOST:PORT?transport=tcp or turns:HOST"
        )
    is_relay, transport = found["scheme"] != "stun", found["transport"]
    if (transport and not is_relay) or (transport == "udp" and found["scheme"] == "turns"):
        raise ConfigError(
            f"{url} cannot be asked over {transport}; leave ?transport={transport} out"
        )
    if is_relay != (bool(given.get("username")) and bool(given.get("credential"))):
        what = (
            f"needs a username and a credential, as in {RELAY_EXAMPLE}"
            if is_relay
            else "takes none"
        )
        raise ConfigError(f"{url} {what}")
    return IceServer(**given)
