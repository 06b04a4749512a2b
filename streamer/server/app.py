"""The HTTP application: the page, each stream's numbers, WHEP and a health check."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException

from streamer.server.handle import StreamHandle
from streamer.server.whep import find_stream, whep_routes

STATIC: Final = Path(__file__).parent / "static"

PAGE: Final = "index.html"
ASSETS: Final = (
    "compare.js",
    "down.svg",
    "icon.svg",
    "numbers.js",
    "page.css",
    "page.js",
    "whep.js",
)

MEDIA_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}

# The page needs nothing from elsewhere, so it may load nothing from elsewhere.
PAGE_HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def build_app(
    streams: Mapping[str, StreamHandle], *, allowed_origins: Sequence[str] = ()
) -> FastAPI:
    """The application over ``streams``, which is looked up anew on each request.

    ``allowed_origins`` may call it from their own pages; by default none may.
    """
    app = FastAPI(title="Streamer", docs_url=None, redoc_url=None, openapi_url=None)
    if allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(allowed_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["content-type"],
            expose_headers=["location", "etag"],
        )

    @app.get("/healthz")
    async def healthz() -> dict[str, Any]:
        return {"status": "ok", "streams": len(streams)}

    @app.get("/api/streams")
    async def list_streams() -> dict[str, Any]:
        return {"streams": [_entry(name) for name in streams]}

    @app.get("/api/streams/{name}")
    async def show_stream(name: str) -> Mapping[str, Any]:
        return find_stream(streams, name).statistics()

    app.include_router(whep_routes(streams))
    app.add_exception_handler(HTTPException, _one_sentence)
    app.get("/")(_asset(PAGE))
    for name in ASSETS:
        app.get(f"/static/{name}")(_asset(name))
    return app


def _entry(name: str) -> dict[str, str]:
    in_path = quote(name, safe="")
    return {"name": name, "statistics": f"/api/streams/{in_path}", "whep": f"/whep/{in_path}"}


def _asset(name: str) -> Callable[[], Awaitable[Response]]:
    """A handler for one file of the page, read in a thread so that the loop never waits."""
    path = STATIC / name

    async def send() -> Response:
        body = await asyncio.to_thread(path.read_bytes)
        return Response(body, media_type=MEDIA_TYPES[path.suffix], headers=PAGE_HEADERS)

    return send


async def _one_sentence(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return Response(
        f"{error.detail}\n",
        status_code=error.status_code,
        media_type="text/plain; charset=utf-8",
        headers=error.headers,
    )
