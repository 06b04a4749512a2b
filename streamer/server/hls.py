"""HLS over HTTP: the playlist and the segments that an HLS output writes into its folder."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, HTTPException, Response

from streamer.server.answers import ALWAYS, says

FILE_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,100}\.(m3u8|mp4|m4s)", re.ASCII)
"""What an HLS output writes; nothing else is served, whatever lies in the folder."""

MEDIA_TYPES: Final = {
    ".m3u8": "application/vnd.apple.mpegurl",
    ".mp4": "video/mp4",
    ".m4s": "video/iso.segment",
}

FILES: Final[dict[str, Any]] = {"content": {kind: {} for kind in MEDIA_TYPES.values()}}

MAX_SEGMENT_BYTES: Final = 64 << 20
"""Two seconds at 250 Mbit/s; a larger file is none of ours."""

RETRY_AFTER_S: Final = 2


def hls_routes(folder_of: Callable[[str], Path | None]) -> APIRouter:
    """``/hls/{name}/{file}``; ``folder_of`` gives a stream's folder, ``None`` where it has none."""
    router = APIRouter(prefix="/hls", tags=["hls"], responses=ALWAYS)

    @router.get("/{name}/{file}", response_class=Response, responses={200: FILES, **says(404)})
    async def send(name: str, file: str) -> Response:
        """A file of the HLS output; a player begins with index.m3u8 and finds the others there."""
        folder = folder_of(name)
        if folder is None:
            raise HTTPException(
                404, f"the stream {name!r} has no HLS output; start it with hls:DIR"
            )
        if not FILE_NAME.fullmatch(file):
            raise HTTPException(404, "there is no such file; begin with index.m3u8")
        path = folder / file
        body = await asyncio.to_thread(_read, path)
        if body is None:
            raise _missing(path)
        # A playlist changes with every segment; the others never do, since each run names its own.
        # Nobody else's cache may keep them: it would ask for no token (RFC 9111, 3.5).
        age = "no-cache" if path.suffix == ".m3u8" else "private, max-age=3600, immutable"
        return Response(body, media_type=MEDIA_TYPES[path.suffix], headers={"Cache-Control": age})

    return router


def _read(path: Path) -> bytes | None:
    """The file's bytes; ``None`` for what is no plain file in its folder, or is gone by now."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_SEGMENT_BYTES:
            return None
        return path.read_bytes()
    except OSError:
        return None


def _missing(path: Path) -> HTTPException:
    if path.suffix == ".m3u8":
        return HTTPException(
            404,
            "nothing is written yet; ask again in a moment",
            headers={"Retry-After": str(RETRY_AFTER_S), "Cache-Control": "no-cache"},
        )
    return HTTPException(
        404,
        "the segment is gone or not there yet; read the playlist again",
        headers={"Cache-Control": "no-cache"},
    )
