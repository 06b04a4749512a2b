"""Streams, and what ``streamer serve`` needs to know, from a YAML file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from streamer.addresses import AddressPolicy, is_loopback, parse_network
from streamer.config import (
    HTTP_PORT,
    RTSP_PORT,
    EncodeSettings,
    StreamSettings,
    check_crf,
    of_tier,
    parse_made_frames,
    parse_sink,
    redacted,
)
from streamer.errors import ConfigError
from streamer.ice import IceServer, parse_ice_servers
from streamer.strict_yaml import load, text_of

Value = TypeVar("Value")

TEXT, WHOLE, FLAG = "a text, if need be in quotes", "a whole number", "true or false"

KINDS: Mapping[str, tuple[tuple[type, ...], str]] = MappingProxyType(
    {
        "source": ((str,), TEXT),
        "to": ((list,), "a list, as in to: ['webrtc:']"),
        "scale": ((int,), WHOLE),
        "budget_ms": ((int, float), "a number"),
        "backend": ((str,), TEXT),
        "tier": ((str,), TEXT),
        "fps": ((str, int, float), "a number or x2 to x8"),
        "between": ((str,), TEXT),
        "conceal": ((bool,), FLAG),
        "denoise": ((str, bool), "auto, on or off"),
        "steady": ((bool,), FLAG),
        "sharpen": ((int, float), "a number"),
        "bitrate_kbps": ((int,), WHOLE),
        "crf": ((int,), WHOLE),
        "preset": ((str,), TEXT),
    }
)
"""What a stream may say, and of which kind each value is."""

ENCODE_KEYS = tuple(one.name for one in fields(EncodeSettings))

EXAMPLE = "streams: {door: {source: clip.mp4, to: ['webrtc:'], scale: 2}}"

_OPTION = re.compile(r"(?<![^\s(])--([a-z-]+)")

TOKEN_VARIABLE = "STREAMER_TOKEN"
MIN_TOKEN = 16
"""Letters: 16 of them from a generator cannot be guessed over a network."""

MAKE_TOKEN = "make one with: openssl rand -hex 16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """An address to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)


@dataclass(frozen=True, slots=True, kw_only=True)
class RtspSettings:
    """The RTSP server for ``rtsp:`` outputs; without ``users`` anybody may watch."""

    listen: Listen = Listen(host="127.0.0.1", port=RTSP_PORT)
    users: Mapping[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one process takes on."""

    streams: int = 16
    pixels: int = 3840 * 2160
    """Of one output picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """All that ``streamer serve`` runs and offers."""

    streams: tuple[StreamSettings, ...] = ()
    listen: Listen = Listen(host="127.0.0.1", port=HTTP_PORT)
    token: str | None = field(default=None, repr=False)
    rtsp: RtspSettings | None = None
    """``None`` where neither the file nor a stream of it asks for RTSP."""
    sources: AddressPolicy = field(default_factory=AddressPolicy)
    """What streams that are added over the API may reach."""
    allow_files: bool = False
    """Whether streams that are added over the API may read files and devices of this machine."""
    hls_folder: Path | None = None
    """Where ``hls:`` outputs that are added over the API are written; ``None`` allows none."""
    allow_origins: tuple[str, ...] = ()
    ice_servers: tuple[IceServer, ...] = ()
    limits: Limits = Limits()

    def listening_on(self, *, host: str | None, port: int | None) -> ServeSettings:
        """The same, on another address. Raises ``ConfigError`` where anybody in the network could then
        use it without a password."""
        listen = Listen(
            host=self.listen.host if host is None else host,
            port=self.listen.port if port is None else port,
        )
        if not listen.is_local and self.token is None:
            raise ConfigError(
                f"it would listen on {listen} for the whole network without a token; {MAKE_TOKEN}, "
                f"put it into {TOKEN_VARIABLE} or a token_file, or listen on 127.0.0.1"
            )
        if self.rtsp and not self.rtsp.listen.is_local and not self.rtsp.users:
            raise ConfigError(
                f"it would serve RTSP on {self.rtsp.listen} for the whole network without a "
                "password; add rtsp: {users: {name: password}}, or listen on 127.0.0.1"
            )
        return replace(self, listen=listen)


def read_settings(path: Path) -> tuple[StreamSettings, ...]:
    """The streams that ``path`` describes. Raises ``ConfigError`` naming the file and the key."""
    streams = read_serve_settings(path).streams
    if not streams:
        raise ConfigError(f"{path} lists no streams; it looks like: {EXAMPLE}")
    return streams


def read_serve_settings(
    path: Path, *, environment: Mapping[str, str] = os.environ
) -> ServeSettings:
    """All of ``path``. Raises ``ConfigError`` naming the file and the key; it may list no streams."""
    raw = load(path, example=EXAMPLE)
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} lists no streams; it looks like: {EXAMPLE}")
    for key in raw:
        if key not in READERS and key not in ("token", "token_file"):
            raise ConfigError(
                f"{path} has an unknown key {str(key)!r}; "
                f"the keys are: {', '.join(('token', 'token_file', *READERS))}"
            )
    values: dict[str, Any] = {}
    for key, (name, read) in READERS.items():
        if key in raw:
            values[name] = _read(path, key, read, raw[key])
    is_served = any(sink.kind == "rtsp" for one in values.get("streams", ()) for sink in one.sinks)
    if is_served:
        values.setdefault("rtsp", RtspSettings())
    return ServeSettings(token=_token(path, raw, environment), **values)


def parse_stream(name: str, fields: Mapping[str, Any]) -> StreamSettings:
    """One stream from the keys of ``KINDS``. Raises ``ConfigError`` naming the stream and the key."""
    if not isinstance(fields, Mapping) or not isinstance(fields.get("source"), str):
        raise ConfigError(f"the stream {name!r} has no source; it looks like: {EXAMPLE}")
    for key, value in fields.items():
        if key not in KINDS:
            raise ConfigError(
                f"the stream {name!r} has an unknown key {str(key)!r}; "
                f"the keys are: {', '.join(KINDS)}"
            )
        kinds, wanted = KINDS[key]
        if type(value) not in kinds:
            raise ConfigError(
                f"the stream {name!r} has {redacted(repr(value))} as its {key!r}; it takes {wanted}"
            )
    if not all(isinstance(output, str) for output in fields.get("to", [])):
        raise ConfigError(
            f"the stream {name!r} has an output that is no text; put it in quotes: to: ['webrtc:']"
        )
    encode = {key: fields[key] for key in ENCODE_KEYS if key in fields}
    renamed = ("to", "fps", "between", "conceal", "tier", *ENCODE_KEYS)
    others = {key: value for key, value in fields.items() if key not in renamed}
    if isinstance(fields.get("denoise"), bool):
        # YAML reads on and off, as they are written everywhere else, as true and false.
        others["denoise"] = "on" if fields["denoise"] else "off"
    fps = str(fields["fps"]) if "fps" in fields else None
    try:
        others |= of_tier(fields.get("tier"), backend=fields.get("backend"))
        rate, between = parse_made_frames(fps, fields.get("between"))
        others |= {"rate": rate, "between": between, "conceals": fields.get("conceal", True)}
        sinks = tuple(parse_sink(output) for output in fields.get("to", []))
        settings = StreamSettings(name=name, sinks=sinks, encode=EncodeSettings(**encode), **others)
        check_crf(fields.get("crf"), settings)
    except ConfigError as error:
        raise ConfigError(f"the stream {name!r}: {_with_keys(str(error))}") from error
    return settings


def _with_keys(message: str) -> str:
    """What the command line's options are called here: ``budget_ms`` for ``--budget-ms``."""
    return _OPTION.sub(lambda option: option[1].replace("-", "_"), message)


def _read(path: Path, key: str, read: Callable[[Any], Value], value: Any) -> Value:
    try:
        return read(value)
    except ConfigError as error:
        where = f"{path}" if key == "streams" else f"{path}: {key}"
        raise ConfigError(f"{where}: {error}") from error


def _token(path: Path, raw: Mapping[Any, Any], environment: Mapping[str, str]) -> str | None:
    """The file's own token, else that of the file it names, else the environment's."""
    if "token" in raw and "token_file" in raw:
        raise ConfigError(f"{path} has a token and a token_file; keep one of them")
    token, where = environment.get(TOKEN_VARIABLE), TOKEN_VARIABLE
    if "token" in raw:
        token, where = raw["token"], f"{path}: token"
    elif "token_file" in raw:
        where = f"{path}: token_file"
        token = _text_of(where, raw["token_file"])
    elif token is None:
        return None
    if not isinstance(token, str) or not re.fullmatch(rf"[!-~]{{{MIN_TOKEN},256}}", token):
        raise ConfigError(
            f"{where} is no token of {MIN_TOKEN} to 256 letters, digits and signs; {MAKE_TOKEN}"
        )
    return token


def _text_of(where: str, name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{where} is no path; write the path of a file that holds the token")
    try:
        return text_of(Path(name)).strip()
    except OSError as error:
        raise ConfigError(
            f"{where}: {name} cannot be read ({error.strerror}); check the path, or {MAKE_TOKEN}"
        ) from error
    except ValueError:
        raise ConfigError(f"{where}: {name} is not text; {MAKE_TOKEN}") from None


def _streams(value: Any) -> tuple[StreamSettings, ...]:
    if not isinstance(value, dict) or not value:
        raise ConfigError(f"it lists no streams; it looks like: {EXAMPLE}")
    for name in value:
        if isinstance(name, bool) or name is None:
            raise ConfigError(
                f"a stream's name is {name}, as YAML reads yes, no, on, off and ~; put it in quotes"
            )
    return tuple(parse_stream(str(name), each) for name, each in value.items())


def _listen(value: Any) -> Listen:
    found = re.fullmatch(r"\[([0-9A-Fa-f:.%]+)\]:(\d{1,5})|([^\s:\[\]]+):(\d{1,5})", str(value))
    if not isinstance(value, str) or found is None:
        raise ConfigError(
            f"{value!r} is no address to listen on; write it as 127.0.0.1:8080, or 0.0.0.0:8080 "
            "for the whole network"
        )
    host, port = found[1] or found[3], int(found[2] or found[4])
    if port > 65_535:
        raise ConfigError(f"{value} has no such port; a port is 0 to 65535")
    return Listen(host=host, port=port)


def _rtsp(value: Any) -> RtspSettings:
    given = _mapping(value, ("listen", "users"), "rtsp: {listen: '127.0.0.1:8554'}")
    settings = RtspSettings()
    if "listen" in given:
        settings = replace(settings, listen=_listen(given["listen"]))
    if "users" not in given:
        return settings
    users = given["users"]
    if not isinstance(users, dict) or not users:
        raise ConfigError("users lists nobody; write it as users: {name: password}")
    for name, password in users.items():
        if not isinstance(name, str) or not re.fullmatch(r"[^\s:\"\\]{1,64}", name):
            raise ConfigError(f"{str(name)!r} is no user; use 1 to 64 letters without : or spaces")
        if not isinstance(password, str) or not re.fullmatch(r"[ -~]{1,128}", password):
            raise ConfigError(
                f"the password of {name} is no text of 1 to 128 letters, digits and signs; "
                "put it in quotes where it is a number"
            )
    return replace(settings, users=MappingProxyType(dict(users)))


def _limits(value: Any) -> Limits:
    names = tuple(one.name for one in fields(Limits))
    given = _mapping(value, names, "limits: {streams: 16, pixels: 8294400}")
    for key, number in given.items():
        if type(number) is not int or number < 1:
            raise ConfigError(f"{key} is {number!r}; it is a whole number from 1 on")
    return Limits(**given)


def _policy(value: Any) -> AddressPolicy:
    return AddressPolicy(allowed=tuple(map(parse_network, _texts(value, "10.0.0.0/8"))))


def _origins(value: Any) -> tuple[str, ...]:
    for origin in _texts(value, "https://studio.example"):
        if not re.fullmatch(
            r"https?://[A-Za-z0-9._-]+(:\d{1,5})?|https?://\[[\da-f:]+\](:\d+)?", origin
        ):
            raise ConfigError(
                f"{origin!r} is no origin; write it as https://studio.example or "
                "http://studio.example:3000, without a path"
            )
    return tuple(value)


def _folder(value: Any) -> Path:
    # An empty name would be the folder where the server was started.
    if not isinstance(value, str) or not value or not Path(value).is_dir():
        raise ConfigError(f"{value!r} is no folder; make it first")
    return Path(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"it is {value!r}; write true or false")
    return value


def _texts(value: Any, example: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ConfigError(f"{value!r} is no list of texts; write it as ['{example}']")
    return value


def _mapping(value: Any, keys: tuple[str, ...], example: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"it is no mapping; it looks like: {example}")
    for key in value:
        if key not in keys:
            raise ConfigError(f"there is no key {str(key)!r}; the keys are: {', '.join(keys)}")
    return value


READERS: Mapping[str, tuple[str, Callable[[Any], Any]]] = MappingProxyType(
    {
        "listen": ("listen", _listen),
        "rtsp": ("rtsp", _rtsp),
        "allow_sources": ("sources", _policy),
        "allow_files": ("allow_files", _flag),
        "allow_origins": ("allow_origins", _origins),
        "hls_folder": ("hls_folder", _folder),
        "ice_servers": ("ice_servers", parse_ice_servers),
        "limits": ("limits", _limits),
        "streams": ("streams", _streams),
    }
)
"""The keys of the file: which setting each is, and what reads it."""
