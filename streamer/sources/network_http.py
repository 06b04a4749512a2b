"""HTTP for libav's demuxers: every address, redirect and segment is opened here and nowhere else.

libav's own HTTP verifies no certificate of an HLS segment and follows redirects to anywhere.
"""

from __future__ import annotations

import base64
import gzip
import http.client
import os
import re
import socket
import ssl
import zlib
from collections.abc import Callable, Mapping
from contextlib import closing
from enum import Enum, auto
from io import BytesIO
from urllib.parse import SplitResult, quote, unquote, urljoin

from streamer.addresses import split
from streamer.errors import ConfigError, SourceError
from streamer.sources.network_dial import first_that_answers

_MAX_REDIRECTS = 5
_PASSED_ON = (301, 302, 303, 307, 308)
_PLAYLIST = b"#EXTM3U"
_PLAYLIST_BYTES = 1 << 22
_URI = re.compile(r'(?<=\bURI=")[^"]*')
_UNQUOTED = re.compile(r" |[^\x00-\x7f]+")
_CHUNK_BYTES = 1 << 16
_AGENT = "streamer"
_UNREADABLE = (OSError, EOFError, zlib.error, http.client.HTTPException)


class Refused(SourceError):
    """The server is there and does not give this file."""


class Kind(Enum):
    """What a file is, by its first bytes and by what was opened before it."""

    WHOLE = auto()
    """All there is: no playlist came before it."""
    PLAYLIST = auto()
    SEGMENT = auto()
    """One of many that a playlist names: players go on with the next."""
    HEADER = auto()
    """Of the segments of fragmented MP4, a short one among them."""

    @property
    def is_listed(self) -> bool:
        """Whether a playlist names it."""
        return self in (Kind.SEGMENT, Kind.HEADER)


class HttpFiles:
    """Opens addresses for ``av.open(io_open=...)``."""

    def __init__(
        self,
        first: str,
        *,
        may_connect: Callable[[str], bool] | None,
        timeout_s: float,
        note: Callable[[str], None],
    ) -> None:
        """The user and password in ``first`` are sent to its own host only; ``note`` is told what is
        left out."""
        parts = split(first)
        self._home = (parts.scheme, parts.hostname, parts.port)
        self._login = _login(parts)
        self._may_connect = may_connect
        self._timeout_s = timeout_s
        self._note = note
        self._trust = ssl.create_default_context()
        self._first = first
        self.has_end = False
        """The server says how long it is, and it is no playlist."""
        self._waiting: HttpFile | None = None
        """The first file, until libav asks for it."""
        self._playlists: set[str] = set()
        self._may_miss_one = False
        """The last segment came."""
        self._tracks: set[bytes] = set()
        """What the headers of fragmented MP4 say of theirs."""
        self.is_begun = False
        """To be set once libav knows all streams: it reads no other header then, see ``_header``."""

    def begin(self) -> bool:
        """Open the first file, for libav to read later; whether it is a playlist. Raises ``SourceError``."""
        file = self._waiting = HttpFile(self, self._first)
        if file.has_late_index and not file.seekable():
            # libav would read all of it, and then find that it is past what it needs.
            raise SourceError(
                "brings an MP4 whose index comes last, and its server knows no ranges of bytes; use "
                "another server, or let ffmpeg copy the file with -movflags +faststart first"
            )
        is_playlist = file.kind is Kind.PLAYLIST
        self.has_end = file.has_end and not is_playlist
        return is_playlist

    def open(self, url: str, flags: int, options: Mapping[str, str]) -> HttpFile | BytesIO:
        """``url`` for reading, of it the bytes from ``offset`` to before ``end_offset``, where libav names
        these. Raises ``SourceError``, to be said after the source's name."""
        if url.startswith("crypto"):
            raise SourceError("sends encrypted HLS; use a playlist without EXT-X-KEY")
        begin, end = int(options.get("offset", 0)), int(options.get("end_offset", 0))
        file, self._waiting = self._waiting, None
        try:
            if file is None or url != self._first or begin or end:
                file = HttpFile(self, url, begin=begin, end=end or None)
        except Refused as error:
            return self._instead_of(url, error)
        if file.kind is not Kind.PLAYLIST:
            self._may_miss_one = file.kind.is_listed
            return self._header(file) if file.kind is Kind.HEADER else file
        self._playlists.add(url)
        if file.url == url:
            return file
        # libav looks for what it names beside the first address.
        with closing(file):
            return BytesIO(_rebased(file.read_all(), file.url))

    def kind_of(self, head: bytes, *, is_short: bool) -> Kind:
        """Of a file with these first bytes, ``is_short``: of no more than ``_CHUNK_BYTES``."""
        if head.startswith(_PLAYLIST):
            return Kind.PLAYLIST
        if not self._playlists:
            return Kind.WHOLE
        return Kind.HEADER if is_short and head[4:8] in (b"ftyp", b"moov") else Kind.SEGMENT

    def _header(self, file: HttpFile) -> BytesIO:
        """All of it. Raises ``SourceError`` where tracks change in the middle: libav passes over that,
        and makes noise of what follows."""
        with closing(file):
            data = file.read_all()
        tracks = _tracks_in(data)
        if self.is_begun and tracks not in self._tracks:
            raise SourceError(
                "goes on with another header (EXT-X-MAP) and has to be opened anew; "
                "give all parts of a film the same one"
            )
        self._tracks.add(tracks)
        return BytesIO(data)

    def _instead_of(self, url: str, error: Refused) -> BytesIO:
        """An empty segment: where one is missing, players go on with the next. Two in a row, a
        playlist and the very first one are raised."""
        if url in self._playlists or not self._may_miss_one:
            raise error
        self._may_miss_one = False
        self._note(f"a segment is left out, the server {error}")
        return BytesIO()

    def get(
        self, url: str, *, begin: int, end: int | None = None
    ) -> tuple[http.client.HTTPResponse, str]:
        """The answer from byte ``begin`` to before ``end``, and the address it came from in the end."""
        for _ in range(_MAX_REDIRECTS + 1):
            response = self._ask(url, begin=begin, end=end)
            if response.status not in _PASSED_ON:
                return response, url
            # The standard library reads headers as Latin-1, whatever they are.
            place = response.getheader("Location", "").encode("latin-1").decode(errors="replace")
            response.close()
            url = _joined(url, place)
        raise SourceError(f"was redirected more than {_MAX_REDIRECTS} times; use the last address")

    def _ask(self, url: str, *, begin: int, end: int | None) -> http.client.HTTPResponse:
        try:
            # Playlists name segments as their files are called.
            parts = split(_UNQUOTED.sub(lambda found: quote(found[0]), url))
        except ConfigError as error:
            raise SourceError(f"leads to an address that is not followed: {error}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SourceError(
                f"leads to {parts.scheme or 'no'}://, which is not followed; use http or https"
            )
        headers = {"User-Agent": _AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
        if begin or end is not None:
            headers["Range"] = f"bytes={begin}-{'' if end is None else end - 1}"
        if self._login and (parts.scheme, parts.hostname, parts.port) == self._home:
            headers["Authorization"] = self._login
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection = self._connect(parts)
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise SourceError(_said(error)) from None
        wanted = (200, 206) if not begin else (206,)
        if response.status not in (*wanted, *_PASSED_ON):
            response.close()
            raise Refused(
                f"answered {response.status} {http.client.responses.get(response.status, '')}"
                f"; {_ADVICE.get(response.status, 'check the address')}"
            )
        return response

    def _connect(self, parts: SplitResult) -> http.client.HTTPConnection:
        """A connection to an address that was looked up once, and that may be reached."""
        host = parts.hostname or ""
        is_secure = parts.scheme == "https"
        port = parts.port or (443 if is_secure else 80)
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if self._may_connect is not None:
            for address in addresses:
                if not self._may_connect(address):
                    raise SourceError(
                        f"leads to {host}, which may not be reached from here; "
                        "list its network under allow_sources in the settings file"
                    )
        plain = first_that_answers(addresses, port, timeout_s=self._timeout_s)
        connection = http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        connection.sock = (
            self._trust.wrap_socket(plain, server_hostname=host) if is_secure else plain
        )
        return connection


class HttpFile:
    """What libav reads: sequential, or by ``seek`` where the server knows ranges."""

    def __init__(
        self, files: HttpFiles, url: str, *, begin: int = 0, end: int | None = None
    ) -> None:
        """The bytes from ``begin`` to before ``end``; such a part is only read through."""
        self._files = files
        response, self.url = files.get(url, begin=begin, end=end)
        self._response: http.client.HTTPResponse | gzip.GzipFile = response
        length = response.getheader("Content-Length", "")
        if "gzip" in response.getheader("Content-Encoding", "").lower():
            # Stores that keep files packed give them so, whatever they are asked for.
            self._response, length = gzip.GzipFile(fileobj=response), ""
        self._end = begin + int(length) if length.isdigit() else None
        is_part = begin > 0 or end is not None
        takes_ranges = response.getheader("Accept-Ranges", "") == "bytes"
        self._can_seek = takes_ranges and self._end is not None and not is_part
        self._at = begin
        is_short = self._end is not None and self._end - begin <= _CHUNK_BYTES
        head = self._head()
        self.kind = files.kind_of(head, is_short=is_short)
        self.has_late_index = _has_late_index(head)
        """It is an MP4 with its pictures first, as far as its first bytes tell."""

    @property
    def has_end(self) -> bool:
        """Whether the server says how long it is."""
        return self._end is not None

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes, as soon as there are any; empty at the end."""
        if self.kind is Kind.PLAYLIST and self._at > _PLAYLIST_BYTES:
            raise SourceError("sends a playlist of more than 4 MiB")
        has_more = self._end is not None and self._at < self._end
        try:
            data = self._read(size)
        except SourceError:
            if not has_more:
                raise
            data = b""
        if not data and has_more:
            # The standard library takes a connection that is cut for the end.
            data = self._read_on(size)
        self._at += len(data)
        return data

    def read_all(self) -> bytes:
        """What is left of it. Raises ``SourceError`` for a playlist beyond 4 MiB."""
        return b"".join(iter(lambda: self.read(_CHUNK_BYTES), b""))

    def seekable(self) -> bool:
        return self._can_seek

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Also to the end, which only libav's question for the length does."""
        assert self._end is not None
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        at = max(0, min(base + offset, self._end))
        if at != self._at:
            self._response.close()
            if at < self._end:
                self._response, self.url = self._files.get(self.url, begin=at)
            self._at = at
        return at

    def _head(self) -> bytes:
        """The first bytes, which stay to be read."""
        if self._end == self._at:
            return b""  # nothing comes, which would be waited for
        try:
            return self._response.peek(8)
        except _UNREADABLE as error:
            raise SourceError(_said(error)) from None

    def _read_on(self, size: int) -> bytes:
        """As ``read``, over another connection; of a segment, what came may be all."""
        self._response.close()
        try:
            self._response, self.url = self._files.get(self.url, begin=self._at, end=self._end)
            data = self._read(size)
        except SourceError as error:
            if self.kind.is_listed:
                return b""
            raise SourceError(f"broke off before its end, and then {error}") from None
        if not data and not self.kind.is_listed:
            raise SourceError("broke off before its end, twice; check the server")
        return data

    def _read(self, size: int) -> bytes:
        try:
            return self._response.read1(size)
        except _UNREADABLE as error:
            raise SourceError(_said(error)) from None

    def close(self) -> None:
        self._response.close()


_ADVICE = {
    # Where a part was asked for.
    200: "use a server that knows ranges of bytes",
    401: "add user:password@ before the host, or check them",
    403: "check the address and its token",
    404: "check the path",
}


def _rebased(playlist: bytes, url: str) -> bytes:
    """``playlist``, the places it names made whole as seen from ``url``."""
    lines = playlist.decode(errors="surrogateescape").split("\n")
    whole = (
        _URI.sub(lambda found: _joined(url, found[0]), line)
        if line.startswith("#") or not line.strip()
        else _joined(url, line.rstrip())
        for line in lines
    )
    return "\n".join(whole).encode(errors="surrogateescape")


def _has_late_index(head: bytes) -> bool:
    """Whether the boxes of an MP4 that begin in ``head`` come to its media before its index."""
    at = 0
    while head[4:8] == b"ftyp" and at + 8 <= len(head):
        size, kind = int.from_bytes(head[at : at + 4], "big"), head[at + 4 : at + 8]
        if kind == b"mdat" or size < 8:
            return kind == b"mdat"
        if kind in (b"moov", b"moof"):
            return False
        at += size
    return False


def _tracks_in(header: bytes) -> bytes:
    """What the header of an MP4 says of the coding of its tracks."""
    places = (found.start() - 4 for found in re.finditer(b"stsd", header))
    return b"".join(
        header[at : at + int.from_bytes(header[at : at + 4], "big")] for at in places if at >= 0
    )


def _joined(base: str, place: str) -> str:
    try:
        return urljoin(base, place)
    except ValueError:
        # Malformed: said, or passed over, where it is opened.
        return place


def _login(parts: SplitResult) -> str:
    if parts.username is None:
        return ""
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(login.encode()).decode()}"


def _said(error: Exception) -> str:
    """What happened, without the address, which may hold a token."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"has a certificate that is not trusted ({error.verify_message}); "
            "name its issuer's file in SSL_CERT_FILE"
        )
    if isinstance(error, socket.gaierror):
        return "has a name that does not resolve; check its spelling"
    if isinstance(error, TimeoutError):
        return "does not answer; check the address, and that it is reachable"
    if isinstance(error, (EOFError, zlib.error, gzip.BadGzipFile)):
        return "sends gzip that cannot be unpacked; check the server"
    if isinstance(error, http.client.HTTPException):
        return f"does not speak HTTP properly ({type(error).__name__}); check the port"
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot be reached ({os.strerror(error.errno)}); check the address"
    return f"cannot be reached ({type(error).__name__}); check the address"
