"""What an HLS folder shows: a playlist of which all is on the disk, whatever libav's muxer lists.

Note [Playlists on a full disk]: libav takes no notice of a full disk. It lists segments that were cut off,
and puts an empty playlist in the place of a good one. So it has a list of its own, from which comes what
players read, once all of it is there. Until a run that goes on after a break has something to show, what
was shown before stays.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PLAYLIST = "index.m3u8"

OURS = re.compile(
    r"(index\.m3u8|list-[0-9a-f]{8}\.m3u8|init-[0-9a-f]{8}\.mp4|seg-[0-9a-f]{8}-\d+\.m4s)(\.tmp)?"
)
"""Names this sink gives; nothing else in the folder is ever touched."""

_END = "#EXT-X-ENDLIST\n"
_APART = "#EXT-X-DISCONTINUITY"
_TARGET = re.compile(r"(?m)^#EXT-X-TARGETDURATION:(\d+)$")
_FIRST = re.compile(r"(?m)^#EXT-X-MEDIA-SEQUENCE:(\d+)$")
_GONE = re.compile(r"(?m)^#EXT-X-DISCONTINUITY-SEQUENCE:(\d+)$")


class Published:
    """What one run shows; its mark is in the names of all its files, as in ``list-1234abcd.m3u8``."""

    def __init__(self, listed: Path) -> None:
        """``listed`` is libav's own list."""
        self._listed = listed
        self._folder = listed.parent
        self._run = listed.stem.removeprefix("list-")
        self._seen: tuple[int, int] | None = None
        """Which list was shown last: its file and when that was written."""
        self._shown = ""
        """What was made of it; before the first one, of the run that this one goes on from."""

    def publish(self) -> None:
        """Show what libav lists by now. Raises ``OSError`` where that was cut off, and changes nothing.

        Files that are gone are not missed: whoever cleans the folder knows why.
        """
        with suppress(FileNotFoundError):
            found = self._listed.stat()
            seen = (found.st_ino, found.st_mtime_ns)
            if seen == self._seen:
                return
            text = self._listed.read_text(encoding="utf-8")
            last = (*_headers(text)[-1:], *_segments(text)[-1:])
            if not text.endswith("\n") or not all(_is_whole(self._folder / one) for one in last):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self._seen is None:
                self._shown = _text(self._folder)
            text = following(text, self._shown)
            written = self._folder / f"{PLAYLIST}.tmp"
            written.write_text(text, encoding="utf-8")
            written.replace(self._folder / PLAYLIST)
            self._shown = text
            if self._seen is None:
                clear(self._folder, keeps=lambda name: name == PLAYLIST or self._run in name)
            self._seen = seen

    def close(self) -> None:
        """Remove libav's list; nothing is shown after this."""
        self._listed.unlink(missing_ok=True)


def shown(folder: Path) -> set[str]:
    """The playlist and all that it names; empty where there is none. Raises ``OSError``."""
    text = _text(folder)
    return {PLAYLIST, *_headers(text), *_segments(text)} if text else set()


def clear(folder: Path, *, keeps: Callable[[str], bool]) -> None:
    """Remove what earlier runs left. Raises ``OSError``."""
    for entry in folder.iterdir():
        if OURS.fullmatch(entry.name) and not keeps(entry.name):
            entry.unlink(missing_ok=True)


def end(folder: Path) -> None:
    """As ``conclude``, and remove what is not shown. Raises ``OSError``."""
    clear(folder, keeps=shown(folder).__contains__)
    conclude(folder)


def conclude(folder: Path) -> None:
    """Tell players that nothing comes after what is shown. Raises ``OSError``."""
    playlist = folder / PLAYLIST
    if playlist.exists() and not playlist.read_text(encoding="utf-8").endswith(_END):
        with playlist.open("a", encoding="utf-8") as file:
            file.write(_END)


def following(text: str, before: str) -> str:
    """libav's list ``text`` as one that players may load after ``before``, which is what they loaded last.

    RFC 8216, 6.2.1 and 6.2.2: the target duration stays, where libav's is that of what is listed, and each
    discontinuity that left the list is counted, where libav's starts at none in each run.
    """
    longest_s = max(_value(_TARGET, text), _value(_TARGET, before))
    text = re.sub(_TARGET, f"#EXT-X-TARGETDURATION:{longest_s}", text)
    names, gone, is_apart = set(_segments(text)), _value(_GONE, before), False
    for line in before.splitlines():
        is_apart |= line == _APART
        if line and not line.startswith("#"):
            gone += is_apart and line not in names
            is_apart = False
    return re.sub(_FIRST, rf"\g<0>\n#EXT-X-DISCONTINUITY-SEQUENCE:{gone}", text) if gone else text


def _value(tag: re.Pattern[str], text: str) -> int:
    found = tag.search(text)
    return int(found[1]) if found else 0


def _text(folder: Path) -> str:
    """The playlist that is shown; empty where there is none. Raises ``OSError``."""
    try:
        return (folder / PLAYLIST).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _headers(text: str) -> list[str]:
    return re.findall(r'(?m)^#EXT-X-MAP:URI="(.+)"$', text)


def _segments(text: str) -> list[str]:
    return re.findall(r"(?m)^[^#\n].*$", text)


def _is_whole(path: Path) -> bool:
    """Whether the boxes of an MP4 fill it to its end."""
    size_bytes = path.stat().st_size
    place = 0
    with path.open("rb") as file:
        while place + 8 <= size_bytes:
            file.seek(place)
            # libav writes longer boxes than 4 GB in no segment.
            place += max(8, int.from_bytes(file.read(4), "big"))
    return place == size_bytes > 0
