"""Whether what an HLS playlist lists last is on the disk: libav's muxer takes no notice of a full one."""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from pathlib import Path


def check_written(playlist: Path) -> None:
    """Raises ``OSError`` where the playlist, its header or its last segment was cut off.

    Files that are gone are not missed: whoever cleans the folder knows why.
    """
    with suppress(FileNotFoundError):
        # Not of a device: a symbolic link may lead to one that never ends.
        text = playlist.read_text(encoding="utf-8") if playlist.stat().st_size else ""
        listed = re.findall(r'(?m)^#EXT-X-MAP:URI="(.+)"$', text)[-1:]
        listed += re.findall(r"(?m)^[^#\n].*$", text)[-1:]
        if not text or not all(_is_whole(playlist.parent / name) for name in listed):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _is_whole(path: Path) -> bool:
    """Whether the boxes of an MP4 fill it to its end."""
    end = path.stat().st_size
    place = 0
    with path.open("rb") as file:
        while place + 8 <= end:
            file.seek(place)
            # libav writes longer boxes than 4 GB in no segment.
            place += max(8, int.from_bytes(file.read(4), "big"))
    return place == end > 0
