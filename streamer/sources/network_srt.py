"""SRT through the system's libsrt: what a caller or a listener sends, as bytes of MPEG-TS.

The wheel's libav has no SRT. The ffmpeg program has, but takes the passphrase as an argument that
every user of the machine can read; loaded into the child, the library keeps it inside.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import hmac
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from streamer.errors import SourceError

_NAMES = ("libsrt-gnutls.so.1.5", "libsrt-openssl.so.1.5", "libsrt.so.1.5", "libsrt.so.1")
_OLDEST = 0x010402
_MESSAGE_BYTES = 1456
"""The most that fits into one SRT packet."""

# From srt.h, part of its stable interface: options of a socket, and reasons of a rejection.
_LATENCY, _PASSPHRASE, _PBKEYLEN, _CONNTIMEO, _STREAMID = 23, 26, 27, 36, 46
_REASONS = {
    2: "refused the call; check the address and the streamid",
    3: "is out of resources",
    8: "has the wrong version of SRT",
    10: "has another passphrase; check it on both sides",
    11: "needs a passphrase; add ?passphrase=... to the address, or has none itself",
    16: "did not answer; check the address, and that it listens",
}
_CONNECT_MS = 8000


class Srt:
    """One SRT socket; used from one thread, ``close`` from any."""

    def __init__(self) -> None:
        """Raises ``SourceError`` where there is no libsrt."""
        self._library = _load()
        self._library.srt_startup()
        self._sockets: list[int] = []

    def connect(self, host: str, port: int, **settings: Any) -> int:
        """Call ``host``; gives the socket. Raises ``SourceError``."""
        address = _address(host, port, flags=0)
        handle = self._socket(settings)
        if settings["streamid"]:
            self._set_text(handle, _STREAMID, settings["streamid"])
        if self._library.srt_connect(handle, address, len(address)) < 0:
            raise SourceError(self._reason(handle))
        return handle

    def accept(self, host: str, port: int, *, note: Callable[[str], None], **settings: Any) -> int:
        """Wait for a caller, with the stream id if one is set. Raises ``SourceError``."""
        address = _address(host or "0.0.0.0", port, flags=socket.AI_PASSIVE)
        listener = self._socket(settings)
        if self._library.srt_bind(listener, address, len(address)) < 0 or (
            self._library.srt_listen(listener, 4) < 0
        ):
            raise SourceError(f"cannot listen there ({self._last_error()}); use another port")
        while True:
            handle = int(self._library.srt_accept(listener, None, None))
            if handle < 0:
                raise SourceError(f"stopped listening ({self._last_error()})")
            if (
                hmac.compare_digest(self._streamid(handle), settings["streamid"].encode())
                or not (settings["streamid"])
            ):
                self._sockets.append(handle)
                return handle
            note("a caller with another streamid was refused")
            self._library.srt_close(handle)

    def receive(self, handle: int) -> bytes:
        """The next message; empty when the other side has gone."""
        buffer = ctypes.create_string_buffer(_MESSAGE_BYTES)
        size = int(self._library.srt_recvmsg(handle, buffer, _MESSAGE_BYTES))
        return buffer.raw[:size] if size > 0 else b""

    def close(self) -> None:
        for handle in self._sockets:
            self._library.srt_close(handle)

    def _socket(self, settings: Any) -> int:
        handle = int(self._library.srt_create_socket())
        self._sockets.append(handle)
        self._set_number(handle, _LATENCY, settings["latency_ms"])
        self._set_number(handle, _CONNTIMEO, _CONNECT_MS)
        if settings["passphrase"]:
            self._set_text(handle, _PASSPHRASE, settings["passphrase"])
            if settings["pbkeylen"]:
                self._set_number(handle, _PBKEYLEN, settings["pbkeylen"])
        return handle

    def _set_number(self, handle: int, option: int, value: int) -> None:
        self._set(handle, option, struct.pack("=i", value))

    def _set_text(self, handle: int, option: int, value: str) -> None:
        self._set(handle, option, value.encode())

    def _set(self, handle: int, option: int, value: bytes) -> None:
        if self._library.srt_setsockflag(handle, option, value, len(value)) < 0:
            raise SourceError(f"has a setting that libsrt refuses ({self._last_error()})")

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


def _load() -> Any:
    for name in (*_NAMES, ctypes.util.find_library("srt")):
        if name is None:
            continue
        with suppress(OSError):
            library = ctypes.CDLL(name)
            library.srt_getlasterror_str.restype = ctypes.c_char_p
            if library.srt_getversion() >= _OLDEST:
                return library
    raise SourceError(
        "needs the library libsrt 1.4.2 or newer; install it (apt-get install libsrt1.5-gnutls)"
    )


def _address(host: str, port: int, *, flags: int) -> bytes:
    """The ``sockaddr`` as C has it."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=flags)
    except OSError:
        raise SourceError("has a name that does not resolve; check its spelling") from None
    family, _, _, _, where = found[0]
    packed = socket.inet_pton(family, str(where[0]).partition("%")[0])
    head = struct.pack("=H", family) + struct.pack(">H", port)
    if family == socket.AF_INET:
        return head + packed + bytes(8)
    return head + bytes(4) + packed + bytes(4)
