"""The receiving side of RTMP: a publisher's bytes in, its answers and an FLV stream out; no I/O.

libav can listen too, but takes any stream key. After Adobe's RTMP specification 1.0 and what
OBS and ffmpeg send.
"""

from __future__ import annotations

import hmac
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from streamer.errors import SourceError
from streamer.sources.network_amf import decode_amf0, encode_amf0, skip_string

_VERSION = 3
_HANDSHAKE_BYTES = 1536
_WINDOW_BYTES = 5_000_000
_MAX_MESSAGE_BYTES = 1 << 24
_MAX_PENDING_BYTES = 1 << 25
_MAX_CHUNK_STREAMS = 64
_MAX_COMMAND_BYTES = 1 << 16
_EXTENDED = 0xFF_FFFF

_SET_CHUNK_SIZE, _ABORT, _ACKNOWLEDGE, _USER_CONTROL, _WINDOW, _BANDWIDTH = range(1, 7)
_AUDIO, _VIDEO, _AMF3_DATA, _AMF3_COMMAND, _AMF0_DATA, _AMF0_COMMAND = 8, 9, 15, 17, 18, 20
_STREAM_BEGIN, _PING, _PONG = 0, 6, 7

# An FLV file that may hold both audio and video.
FLV_HEADER = b"FLV\x01\x05" + struct.pack(">II", 9, 0)


@dataclass(slots=True)
class _ChunkStream:
    """What a chunk header of fewer bytes takes over from the one before."""

    time_ms: int = 0
    delta_ms: int = 0
    length: int = 0
    kind: int = 0
    is_extended: bool = False
    parts: bytearray = field(default_factory=bytearray)


class RtmpSession:
    """One publisher's connection, from the handshake on.

    ``feed`` it what comes; send what ``take_answers`` gives; write what ``take_flv`` gives.
    """

    def __init__(self, *, app: str, key: str) -> None:
        self._path = f"{app}/{key}"
        self._buffer = bytearray()
        self._answers = bytearray()
        self._flv = bytearray()
        self._stage = 0
        self._chunk_bytes = 128
        self._streams: dict[int, _ChunkStream] = {}
        self._window_bytes = 0
        self._received = self._acknowledged = 0
        self._app = ""
        self.is_publishing = False
        self.is_over = False
        """The publisher said so."""

    def feed(self, data: bytes) -> None:
        """Raises ``SourceError`` for what is no RTMP, is too large or has the wrong key; what
        ``take_answers`` then gives should still be sent."""
        self._received += len(data)
        self._buffer += data
        if self._stage < 2:
            self._shake_hands()
        if self._stage == 2:
            for kind, time_ms, payload in self._messages():
                self._take(kind, time_ms, payload)
        if self._window_bytes and self._received - self._acknowledged >= self._window_bytes:
            self._acknowledged = self._received
            self._control(_ACKNOWLEDGE, struct.pack(">I", self._received & 0xFFFF_FFFF))

    def take_answers(self) -> bytes:
        answers, self._answers = bytes(self._answers), bytearray()
        return answers

    def take_flv(self) -> bytes:
        flv, self._flv = bytes(self._flv), bytearray()
        return flv

    def _shake_hands(self) -> None:
        if self._stage == 0 and self._buffer:
            if self._buffer[0] != _VERSION:
                raise SourceError("sent what is no RTMP")
            if len(self._buffer) > _HANDSHAKE_BYTES:
                theirs = bytes(self._buffer[1 : 1 + _HANDSHAKE_BYTES])
                # Eight zeros at the head of ours: no version, so that no digest is expected.
                ours = bytes(8) + os.urandom(_HANDSHAKE_BYTES - 8)
                self._answers += bytes([_VERSION]) + ours + theirs
                del self._buffer[: 1 + _HANDSHAKE_BYTES]
                self._stage = 1
        if self._stage == 1 and len(self._buffer) >= _HANDSHAKE_BYTES:
            del self._buffer[:_HANDSHAKE_BYTES]
            self._stage = 2

    def _messages(self) -> Iterator[tuple[int, int, bytes]]:
        """(type, time in ms, payload) of every message that is complete."""
        while (chunk := self._chunk()) is not None:
            if chunk.length <= len(chunk.parts):
                payload, chunk.parts = bytes(chunk.parts), bytearray()
                yield chunk.kind, chunk.time_ms, payload

    def _chunk(self) -> _ChunkStream | None:
        """The stream of the next chunk, which is taken in; ``None`` until all of it is here."""
        head = self._basic_header()
        if head is None:
            return None
        form, number, at = head
        stream = self._streams.get(number) or _ChunkStream()
        fixed_bytes = (11, 7, 3, 0)[form]
        if len(self._buffer) < at + fixed_bytes:
            return None
        fixed = bytes(self._buffer[at : at + fixed_bytes])
        at += fixed_bytes
        ticks = int.from_bytes(fixed[:3], "big") if fixed else 0
        is_extended = ticks == _EXTENDED if fixed else stream.is_extended
        if is_extended:
            if len(self._buffer) < at + 4:
                return None
            ticks = int.from_bytes(self._buffer[at : at + 4], "big")
            at += 4
        is_first = not stream.parts
        length = int.from_bytes(fixed[3:6], "big") if form < 2 else stream.length
        self._check_sizes(length)
        size = min(self._chunk_bytes, length - (0 if fixed and form < 3 else len(stream.parts)))
        if len(self._buffer) < at + size:
            return None
        if number not in self._streams and len(self._streams) >= _MAX_CHUNK_STREAMS:
            raise SourceError("sent RTMP with too many chunk streams")
        self._streams[number] = stream
        if fixed:
            # A header in the middle of a message begins another one.
            stream.parts.clear()
            stream.length, stream.is_extended = length, is_extended
            stream.kind = fixed[6] if form < 2 else stream.kind
        if form == 0:
            stream.time_ms, stream.delta_ms = ticks, 0
        elif is_first or fixed:
            stream.delta_ms = ticks if fixed else stream.delta_ms
            stream.time_ms = stream.time_ms + stream.delta_ms & 0xFFFF_FFFF
        stream.parts += self._buffer[at : at + size]
        del self._buffer[: at + size]
        return stream

    def _basic_header(self) -> tuple[int, int, int] | None:
        """(format, chunk stream, bytes) of the basic header."""
        if not self._buffer:
            return None
        form, number = self._buffer[0] >> 6, self._buffer[0] & 0x3F
        more = {0: 1, 1: 2}.get(number, 0)
        if len(self._buffer) < 1 + more:
            return None
        if more:
            number = 64 + int.from_bytes(self._buffer[1 : 1 + more], "little")
        return form, number, 1 + more

    def _check_sizes(self, length: int) -> None:
        limit = _MAX_MESSAGE_BYTES if self.is_publishing else _MAX_COMMAND_BYTES
        pending = sum(len(one.parts) for one in self._streams.values())
        if length > limit or pending > _MAX_PENDING_BYTES:
            raise SourceError("sent an RTMP message that is too large")

    def _take(self, kind: int, time_ms: int, payload: bytes) -> None:
        if kind in (_AUDIO, _VIDEO) and self.is_publishing:
            self._tag(kind, time_ms, payload)
        elif kind in (_AMF0_DATA, _AMF3_DATA) and self.is_publishing:
            # Encoders say "@setDataFrame" first, which is for the server.
            body = payload[1:] if kind == _AMF3_DATA else payload
            self._tag(_AMF0_DATA, time_ms, skip_string(body, "@setDataFrame"))
        elif kind in (_AMF0_COMMAND, _AMF3_COMMAND):
            self._obey(decode_amf0(payload[1:] if kind == _AMF3_COMMAND else payload))
        elif kind == _SET_CHUNK_SIZE and len(payload) >= 4:
            wanted = int.from_bytes(payload[:4], "big") & 0x7FFF_FFFF
            self._chunk_bytes = max(1, min(wanted, _MAX_MESSAGE_BYTES))
        elif kind == _ABORT and len(payload) >= 4:
            self._streams.pop(int.from_bytes(payload[:4], "big"), None)
        elif kind == _WINDOW and len(payload) >= 4:
            self._window_bytes = int.from_bytes(payload[:4], "big")
        elif kind == _USER_CONTROL and payload[:2] == struct.pack(">H", _PING):
            self._control(_USER_CONTROL, struct.pack(">H", _PONG) + payload[2:6])

    def _tag(self, kind: int, time_ms: int, payload: bytes) -> None:
        if not payload:
            return
        size = len(payload).to_bytes(3, "big")
        time = (time_ms & 0xFF_FFFF).to_bytes(3, "big") + bytes([time_ms >> 24 & 0xFF])
        self._flv += bytes([kind]) + size + time + bytes(3) + payload
        self._flv += struct.pack(">I", 11 + len(payload))

    def _obey(self, values: list[Any]) -> None:
        name = values[0] if values else None
        number = values[1] if len(values) > 1 and isinstance(values[1], float) else 0.0
        if name == "connect":
            wishes = values[2] if len(values) > 2 and isinstance(values[2], dict) else {}
            self._app = str(wishes.get("app", ""))
            self._accept(number)
        elif name == "createStream":
            self._command(["_result", number, None, 1.0])
        elif name == "publish":
            self._publish(str(values[3]) if len(values) > 3 else "")
        elif name in ("deleteStream", "FCUnpublish", "closeStream"):
            self.is_over = self.is_publishing
        elif name == "play":
            raise SourceError("wanted to play, but this address only takes publishers")

    def _accept(self, number: float) -> None:
        self._control(_WINDOW, struct.pack(">I", _WINDOW_BYTES))
        self._control(_BANDWIDTH, struct.pack(">IB", _WINDOW_BYTES, 2))
        server = {"fmsVer": "FMS/3,5,7,7009", "capabilities": 31.0}
        self._command(
            ["_result", number, server, _status("NetConnection.Connect.Success", "welcome")]
        )

    def _publish(self, name: str) -> None:
        asked = "/".join(part for part in f"{self._app}/{name}".split("/") if part)
        is_right = hmac.compare_digest(asked.encode(), self._path.encode())
        if not is_right:
            refusal = _status("NetStream.Publish.BadName", "wrong stream key", level="error")
            self._command(["onStatus", 0.0, None, refusal], stream=1)
            raise SourceError("sent the wrong stream key")
        self._control(_USER_CONTROL, struct.pack(">HI", _STREAM_BEGIN, 1))
        self._command(
            ["onStatus", 0.0, None, _status("NetStream.Publish.Start", "publishing")], stream=1
        )
        if not self.is_publishing:
            self.is_publishing = True
            self._flv += FLV_HEADER

    def _control(self, kind: int, payload: bytes) -> None:
        self._send(2, kind, payload, stream=0)

    def _command(self, values: list[Any], *, stream: int = 0) -> None:
        self._send(3, _AMF0_COMMAND, encode_amf0(values), stream=stream)

    def _send(self, chunk_stream: int, kind: int, payload: bytes, *, stream: int) -> None:
        self._answers += bytes([chunk_stream]) + bytes(3) + len(payload).to_bytes(3, "big")
        self._answers += bytes([kind]) + stream.to_bytes(4, "little")
        for begin in range(0, len(payload), 128):
            # Every chunk after the first says only whose it is.
            self._answers += bytes([0xC0 | chunk_stream]) if begin else b""
            self._answers += payload[begin : begin + 128]


def _status(code: str, description: str, *, level: str = "status") -> dict[str, Any]:
    return {"level": level, "code": code, "description": description, "objectEncoding": 0.0}
