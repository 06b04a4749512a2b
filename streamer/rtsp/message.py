"""RTSP messages and the interleaved data between them, out of and into a byte stream (RFC 2326)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

MAX_HEAD_BYTES = 16 << 10
"""A request or status line and all headers; real ones stay below 2 KiB."""
MAX_HEADERS = 100
MAX_BODY_BYTES = 128 << 10
"""The longest session description that cameras send is some KiB."""

_INTERLEAVED_HEAD = 4
_MAX_INTERLEAVED = _INTERLEAVED_HEAD + 0xFFFF
_CAPACITY = 512 << 10
"""Holds the longest item beside a kernel buffer's worth of others, so that it is rarely moved."""

_STATUS = re.compile(r"RTSP/(\d)\.(\d)[ \t]+(\d{3})(?:[ \t]+(.*))?", re.IGNORECASE)
_REQUEST = re.compile(
    r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32})[ \t]+(\S+)[ \t]+RTSP/(\d)\.(\d)", re.IGNORECASE
)

_BEGINNING = re.compile(
    r"(?:R|RT|RTS|RTSP|RTSP/|RTSP/\d.*|[!#$%&'*+.^_`|~0-9A-Z-]{1,32}(?:[ \t]+(?!HTTP/).*)?)$",
    re.IGNORECASE,
)
"""What the first bytes of a first line may look like."""

REASONS = {
    100: "Continue",
    200: "OK",
    301: "Moved Permanently",
    302: "Moved Temporarily",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    451: "Parameter Not Understood",
    453: "Not Enough Bandwidth",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    457: "Invalid Range",
    459: "Aggregate Operation Not Allowed",
    460: "Only Aggregate Operation Allowed",
    461: "Unsupported Transport",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "RTSP Version Not Supported",
    551: "Option Not Supported",
}


class MessageError(ValueError):
    """The bytes are no RTSP, or exceed a limit; the connection cannot be read further."""


class Headers(Mapping[str, str]):
    """Header fields in order; names compare without case, a repeated name keeps all its values."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, str] | tuple[tuple[str, str], ...] = ()) -> None:
        self._fields = tuple(fields.items()) if isinstance(fields, Mapping) else tuple(fields)

    def __getitem__(self, name: str) -> str:
        """The first value of ``name``."""
        values = self.all(name)
        if not values:
            raise KeyError(name)
        return values[0]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name, _ in self._fields))

    def __len__(self) -> int:
        return len({name.lower() for name, _ in self._fields})

    def all(self, name: str) -> list[str]:
        """Every value of ``name``, in order."""
        wanted = name.lower()
        return [value for key, value in self._fields if key.lower() == wanted]

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """All fields as they came."""
        return self._fields

    def __repr__(self) -> str:
        # Authorization is a secret; names say enough.
        return f"Headers({', '.join(name for name, _ in self._fields)})"


@dataclass(frozen=True, slots=True)
class Request:
    """``method`` is upper case; ``url`` as it was sent."""

    method: str
    url: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = field(default=b"", repr=False)

    @property
    def cseq(self) -> str:
        """The number that the answer must carry; empty where the request had none."""
        return self.headers.get("cseq", "")


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Headers = field(default_factory=Headers)
    body: bytes = field(default=b"", repr=False)
    reason: str = ""

    @property
    def cseq(self) -> str:
        return self.headers.get("cseq", "")


@dataclass(frozen=True, slots=True)
class Interleaved:
    """One RTP or RTCP packet between the messages; who owns ``channel`` is said by SETUP."""

    channel: int
    payload: bytes = field(repr=False)


Item: TypeAlias = Request | Response | Interleaved


def request_bytes(request: Request) -> bytes:
    """``request`` as it travels; ``Content-Length`` is added, all else is taken as given."""
    return _as_bytes(f"{request.method} {request.url} RTSP/1.0", request.headers, request.body)


def response_bytes(response: Response) -> bytes:
    """``response`` as it travels; an empty ``reason`` becomes the usual one."""
    reason = response.reason or REASONS.get(response.status, "Error")
    return _as_bytes(f"RTSP/1.0 {response.status} {reason}", response.headers, response.body)


def interleaved_bytes(channel: int, payload: bytes) -> bytes:
    """An RTP or RTCP packet of at most 65535 bytes, framed for ``channel`` (0 to 255)."""
    return b"$" + bytes((channel,)) + len(payload).to_bytes(2, "big") + payload


class MessageParser:
    """Cuts a byte stream into messages and interleaved packets, each as soon as its last byte is in.

    Read the socket straight into ``space()`` and say ``received(count)``, or ``feed`` bytes that
    are already elsewhere. Takes lines that end in LF alone, empty lines between messages, folded
    headers and odd spacing. Memory is fixed; what exceeds a limit raises ``MessageError``, after
    which the parser is of no more use.
    """

    def __init__(self, *, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._max_body = min(max_body_bytes, _CAPACITY - MAX_HEAD_BYTES)
        self._buffer = bytearray(_CAPACITY)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0
        self._searched = 0
        """Up to here no end of a head was found: a slow sender costs linear time."""

    def space(self) -> memoryview:
        """Where the next bytes go; never empty. Valid until ``received``."""
        if self._start == self._end:
            self._start = self._end = self._searched = 0
        elif _CAPACITY - self._end < _MAX_INTERLEAVED:
            waiting = self._end - self._start
            self._buffer[:waiting] = self._buffer[self._start : self._end]
            self._searched = max(0, self._searched - self._start)
            self._start, self._end = 0, waiting
        return self._view[self._end :]

    def received(self, count: int) -> Iterator[Item]:
        """The items that ``count`` more bytes completed. Exhaust it before the next ``space``."""
        self._end += count
        while (item := self._next()) is not None:
            yield item

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Item]:
        """The items that ``data`` completed."""
        rest = memoryview(data)
        while rest:
            room = self.space()
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            rest = rest[count:]
            yield from self.received(count)

    @property
    def pending_bytes(self) -> int:
        """Bytes of an item that is not complete; not 0 at the end of a stream that was cut."""
        return self._end - self._start

    def _next(self) -> Item | None:
        buffer = self._buffer
        while self._start < self._end and buffer[self._start] in b"\r\n":
            self._start += 1
        if self._start == self._end:
            return None
        if buffer[self._start] == 0x24:
            return self._next_interleaved()
        return self._next_message()

    def _next_interleaved(self) -> Interleaved | None:
        start, buffer = self._start, self._buffer
        if self._end - start < _INTERLEAVED_HEAD:
            return None
        stop = start + _INTERLEAVED_HEAD + (buffer[start + 2] << 8 | buffer[start + 3])
        if stop > self._end:
            return None
        self._start = stop
        return Interleaved(buffer[start + 1], bytes(self._view[start + _INTERLEAVED_HEAD : stop]))

    def _next_message(self) -> Request | Response | None:
        self._refuse_foreign()
        head_end = self._head_end()
        if head_end is None:
            return None
        head = bytes(self._view[self._start : head_end]).decode("utf-8", "replace")
        first, fields = _lines(head)
        headers = Headers(tuple(fields))
        length = _content_length(headers)
        if length > self._max_body:
            raise MessageError(f"a body of {length} bytes, above the limit of {self._max_body}")
        if self._end - head_end < length:
            return None
        body = bytes(self._view[head_end : head_end + length])
        self._start = self._searched = head_end + length
        return _message(first, headers, body)

    def _head_end(self) -> int | None:
        """Where the body begins; ``None`` while the head is not complete."""
        begin = max(self._start, self._searched - 3)
        found = _HEAD_END.search(self._buffer, begin, self._end)
        stop = found.end() if found else self._end
        if stop - self._start > MAX_HEAD_BYTES:
            raise MessageError(f"headers of more than {MAX_HEAD_BYTES} bytes")
        if found is None:
            self._searched = self._end
            return None
        # The head stays where it is until its body came; it is then found again at once.
        self._searched = found.start()
        return stop

    def _refuse_foreign(self) -> None:
        """Raises as soon as the first line cannot become RTSP, instead of at 16 KiB of it."""
        window = bytes(self._view[self._start : min(self._end, self._start + 64)])
        line = re.split(rb"[\r\n]", window, maxsplit=1)[0]
        text = line.decode("utf-8", "replace").strip()
        if len(line) < len(window):
            is_possible = bool(_STATUS.fullmatch(text) or _REQUEST.fullmatch(text))
        else:
            is_possible = (
                _BEGINNING.match(text) is not None and text.replace("\t", "").isprintable()
            )
        if not is_possible:
            raise MessageError(f"what came is no RTSP: {shown(line)}")


_HEAD_END = re.compile(rb"\r?\n\r?\n")


def shown(data: bytes) -> str:
    """The first bytes of what a stranger sent, fit for one line of a message."""
    return repr(data[:40].decode("ascii", "backslashreplace"))


def _lines(head: str) -> tuple[str, list[tuple[str, str]]]:
    """The first line and the header fields of ``head``."""
    lines = re.split(r"\r?\n", head.rstrip("\r\n"))
    fields: list[tuple[str, str]] = []
    for line in lines[1:]:
        if line[:1] in (" ", "\t") and fields:
            name, value = fields[-1]
            fields[-1] = (name, f"{value} {line.strip()}")
            continue
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            # Some cameras put stray text between their headers; it says nothing.
            continue
        fields.append((name.strip(), value.strip()))
        if len(fields) > MAX_HEADERS:
            raise MessageError(f"more than {MAX_HEADERS} headers")
    return lines[0].strip(), fields


def _content_length(headers: Headers) -> int:
    text = headers.get("content-length", "0")
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise MessageError(f"a Content-Length of {shown(text.encode())}")
    return int(text)


def _message(first: str, headers: Headers, body: bytes) -> Request | Response:
    if status := _STATUS.fullmatch(first):
        return Response(int(status[3]), headers, body, (status[4] or "").strip())
    if request := _REQUEST.fullmatch(first):
        return Request(request[1].upper(), request[2], headers, body)
    raise MessageError(f"what came is no RTSP: {shown(first.encode())}")


def _as_bytes(first: str, headers: Headers, body: bytes) -> bytes:
    fields = [(name, value) for name, value in headers.fields if name.lower() != "content-length"]
    if body:
        fields.append(("Content-Length", str(len(body))))
    lines = [first, *(f"{name}: {value}" for name, value in fields)]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header may not hold a line break")
    return "\r\n".join([*lines, "", ""]).encode() + body
