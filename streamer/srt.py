"""SRT through the system's libsrt: messages that a caller or a listener sends and gets.

The wheel's libav has no SRT. The ffmpeg program has, but takes the passphrase as an argument that
every user of the machine can read; loaded into a child, the library keeps it inside.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import hmac
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import SplitResult

from streamer.errors import StreamerError

_NAMES = ("libsrt-gnutls.so.1.5", "libsrt-openssl.so.1.5", "libsrt.so.1.5", "libsrt.so.1")
_OLDEST = 0x010402
_MESSAGE_BYTES = 1456
"""The most that fits into one SRT packet."""

# From srt.h, part of its stable interface: options of a socket, a state, and reasons of a rejection.
_NUMBERS = {
    "maxbw": (16, "=q"),
    "latency_ms": (23, "=i"),
    "tlpktdrop": (31, "=i"),
    "connect_timeout": (36, "=i"),
    "payload_size": (49, "=i"),
}
_UNACKNOWLEDGED, _PASSPHRASE, _PBKEYLEN, _PEER_LATENCY, _STREAMID = 19, 26, 27, 44, 46
_CONNECTED = 5
_CONNECT_MS = 8000
_REASONS = {
    2: "refused the call; check the address and the streamid",
    3: "is out of resources",
    8: "has the wrong version of SRT",
    10: "has another passphrase; check it on both sides",
    11: "needs a passphrase; add ?passphrase=... to the address, or has none itself",
    16: "did not answer; check the address, and that it listens",
}
_TIMED_OUT = 16
_LOOK_S = 0.01


class Srt:
    """One SRT socket; used from one thread, ``close`` from any."""

    def __init__(self, failure: type[StreamerError]) -> None:
        """``failure`` is what it raises. Does so where there is no libsrt."""
        self._failure = failure
        self._library = load(failure)
        self._library.srt_startup()
        self._sockets: list[int] = []

    def connect(self, host: str, port: int, **settings: Any) -> int:
        """Call ``host``; gives the socket. Raises ``failure``.

        A name may have an address of each family where the other side listens on one only, as
        localhost often has: both are called, and share the time.
        """
        addresses = self._addresses(host, port, flags=0)
        within_ms = settings.get("connect_timeout", _CONNECT_MS) // len(addresses)
        settings = {**settings, "connect_timeout": max(1, within_ms)}
        refusals = []
        for address in addresses:
            handle = self._socket(settings)
            if settings.get("streamid"):
                self._set(handle, _STREAMID, settings["streamid"].encode())
            if self._library.srt_connect(handle, address, len(address)) >= 0:
                return handle
            refusals.append((self._library.srt_getrejectreason(handle), self._reason(handle)))
            self._library.srt_close(handle)
        # Who answers no says more than where nobody does.
        raise self._failure(min(refusals, key=lambda one: one[0] == _TIMED_OUT)[1])

    def accept(self, host: str, port: int, *, note: Callable[[str], None], **settings: Any) -> int:
        """Wait for a caller, with the stream id if one is set. Raises ``failure``.

        Nobody is listened to after that: libsrt would go on to connect callers whom nobody hears.
        """
        address = self._addresses(host or "0.0.0.0", port, flags=socket.AI_PASSIVE)[0]
        listener = self._socket(settings)
        if self._library.srt_bind(listener, address, len(address)) < 0 or (
            self._library.srt_listen(listener, 4) < 0
        ):
            raise self._failure(f"cannot listen there ({self._last_error()}); use another port")
        while True:
            handle = int(self._library.srt_accept(listener, None, None))
            if handle < 0:
                raise self._failure(f"stopped listening ({self._last_error()})")
            wanted = settings["streamid"].encode()
            if not wanted or hmac.compare_digest(self._streamid(handle), wanted):
                self._sockets.append(handle)
                self._library.srt_close(listener)
                return handle
            note("a caller with another streamid was refused")
            self._library.srt_close(handle)

    def receive(self, handle: int) -> bytes:
        """The next message; empty when the other side has gone."""
        buffer = ctypes.create_string_buffer(_MESSAGE_BYTES)
        size = int(self._library.srt_recvmsg(handle, buffer, _MESSAGE_BYTES))
        return buffer.raw[:size] if size > 0 else b""

    def send(self, handle: int, message: bytes) -> None:
        """Hand over one message; waits where many are on the way. Raises ``OSError``."""
        if self._library.srt_send(handle, message, len(message)) < 0:
            raise ConnectionError(0, self._last_error())

    def latency_s(self, handle: int) -> float:
        """How long the other side waits with what it got, as both agreed."""
        return self._number(handle, _PEER_LATENCY) / 1000

    def wait_until_played(self, handle: int, *, within_s: float) -> None:
        """Until the other side has got all and passed it on: it throws away the rest when we close."""
        end_s = time.monotonic() + within_s
        while self._number(handle, _UNACKNOWLEDGED) and time.monotonic() < end_s:
            time.sleep(_LOOK_S)
        # Half a second for the way, and for the timer of who listens.
        end_s = min(end_s, time.monotonic() + self.latency_s(handle) + 0.5)
        while time.monotonic() < end_s and self._library.srt_getsockstate(handle) == _CONNECTED:
            time.sleep(_LOOK_S)

    def close(self) -> None:
        for handle in self._sockets:
            self._library.srt_close(handle)

    def _socket(self, settings: Any) -> int:
        handle = int(self._library.srt_create_socket())
        self._sockets.append(handle)
        numbers = {"connect_timeout": _CONNECT_MS, **settings}
        for name, (option, form) in _NUMBERS.items():
            if name in numbers:
                self._set(handle, option, struct.pack(form, numbers[name]))
        if settings.get("passphrase"):
            self._set(handle, _PASSPHRASE, settings["passphrase"].encode())
            if settings.get("pbkeylen"):
                self._set(handle, _PBKEYLEN, struct.pack("=i", settings["pbkeylen"]))
        return handle

    def _set(self, handle: int, option: int, value: bytes) -> None:
        if self._library.srt_setsockflag(handle, option, value, len(value)) < 0:
            raise self._failure(f"has a setting that libsrt refuses ({self._last_error()})")

    def _number(self, handle: int, option: int) -> int:
        """An option's value; 0 once the connection is gone."""
        value, size = ctypes.c_int(), ctypes.c_int(ctypes.sizeof(ctypes.c_int))
        got = self._library.srt_getsockflag(handle, option, ctypes.byref(value), ctypes.byref(size))
        return value.value if got == 0 else 0

    def _streamid(self, handle: int) -> bytes:
        buffer, size = ctypes.create_string_buffer(513), ctypes.c_int(512)
        if self._library.srt_getsockflag(handle, _STREAMID, buffer, ctypes.byref(size)) < 0:
            return b""
        return buffer.raw[: size.value]

    def _reason(self, handle: int) -> str:
        code = int(self._library.srt_getrejectreason(handle))
        if code in _REASONS:
            return _REASONS[code]
        return f"could not be called ({self._last_error()}); check the address"

    def _last_error(self) -> str:
        return str(self._library.srt_getlasterror_str().decode(errors="replace")).rstrip(".")

    def _addresses(self, host: str, port: int, *, flags: int) -> list[bytes]:
        """The first ``sockaddr`` of each family as C has it, in the resolver's order."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=flags)
        except OSError:
            raise self._failure("has a name that does not resolve; check its spelling") from None
        first: dict[int, str] = {}
        for family, _, _, _, where in found:
            first.setdefault(family, str(where[0]))
        return [_sockaddr(family, numbers, port) for family, numbers in first.items()]


def with_whole_query(parts: SplitResult) -> SplitResult:
    """``parts`` of an srt:// address, where a # ends nothing: it belongs to the query.

    The streamid of SRT's access control begins with #!::, and ffmpeg takes it as it is.
    """
    if not parts.fragment:
        return parts
    return parts._replace(query=f"{parts.query}#{parts.fragment}", fragment="")


def _sockaddr(family: int, numbers: str, port: int) -> bytes:
    packed = socket.inet_pton(family, numbers.partition("%")[0])
    head = struct.pack("=H", family) + struct.pack(">H", port)
    if family == socket.AF_INET:
        return head + packed + bytes(8)
    return head + bytes(4) + packed + bytes(4)


def load(failure: type[StreamerError]) -> Any:
    """The library. Raises ``failure`` where there is none that is new enough."""
    for name in (*_NAMES, ctypes.util.find_library("srt")):
        if name is None:
            continue
        with suppress(OSError):
            library = ctypes.CDLL(name)
            library.srt_getlasterror_str.restype = ctypes.c_char_p
            if library.srt_getversion() >= _OLDEST:
                return library
    raise failure(
        "needs the library libsrt 1.4.2 or newer; install it (apt-get install libsrt1.5-gnutls)"
    )
