"""The HTTP application: the page, the API, metrics, and signalling, behind one gate."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route
from starlette.types import Scope

from streamer.clock import Clock, MonotonicClock
from streamer.server.admission import Admission
from streamer.server.api import bad_request, control_routes, read_routes
from streamer.server.auth import Gate
from streamer.server.bounds import BoundedBodies, HeadAsGet, SafeHeaders
from streamer.server.handle import StreamHandle
from streamer.server.metrics import metrics_routes
from streamer.server.registry import Registry
from streamer.server.whep import whep_routes

STATIC: Final = Path(__file__).parent / "static"

PAGES: Final = {"/": "index.html", "/docs": "api.html"}
ASSETS: Final = (
    "access.js",
    "api.css",
    "api.js",
    "compare.js",
    "down.svg",
    "hls.js",
    "icon.svg",
    "numbers.js",
    "overview.css",
    "overview.js",
    "page.css",
    "page.js",
    "whep.js",
)

PUBLIC_PATHS: Final = frozenset({*PAGES, "/healthz", *(f"/static/{name}" for name in ASSETS)})
"""What needs no token: it tells nothing of the streams but their names and states, and /docs
nothing at all."""

MEDIA_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}

# The page needs nothing from elsewhere, so it may load nothing from elsewhere.
PAGE_HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; "
        "form-action 'none'"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may use the application; without a token only this machine."""

    token: str | None


def build_app(
    streams: Mapping[str, StreamHandle],
    *,
    allowed_origins: Sequence[str] = (),
    access: Access | None = None,
    admission: Admission | None = None,
    routers: Sequence[APIRouter] = (),
    clock: Clock | None = None,
) -> FastAPI:
    """The application over ``streams``, which is looked up anew on each request.

    ``allowed_origins`` may call it from their own pages; by default none may. Without ``access``
    anybody who reaches it may use it. With ``admission`` and a ``Registry``,
    streams can be added, changed and removed. ``routers`` are added to it as they are.
    """
    # FastAPI's own page of the schema loads its parts from elsewhere; ours does not.
    app = FastAPI(title="Streamer", docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    app.include_router(read_routes(streams, can_add=admission is not None), tags=["streams"])
    if admission is not None and isinstance(streams, Registry):
        app.include_router(control_routes(streams, admission), tags=["streams"])
    app.include_router(metrics_routes(streams), tags=["metrics"])
    app.include_router(whep_routes(streams))
    for router in routers:
        app.include_router(router)
    app.add_exception_handler(HTTPException, _one_sentence)
    app.add_exception_handler(RequestValidationError, bad_request)
    for path, name in PAGES.items():
        app.get(path, include_in_schema=False)(_asset(name))
    for name in ASSETS:
        app.get(f"/static/{name}", include_in_schema=False)(_asset(name))
    # The last one added is the first to see a request.
    app.add_middleware(BoundedBodies)
    if access is not None:
        app.add_middleware(
            Gate, token=access.token, public_paths=PUBLIC_PATHS, clock=clock or MonotonicClock()
        )
    if allowed_origins:
        # Outside the gate: a preflight carries no token.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(allowed_origins),
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["authorization", "content-type"],
            expose_headers=["location", "etag", "retry-after", "www-authenticate"],
        )
    app.add_middleware(SafeHeaders)
    app.add_middleware(HeadAsGet)
    return app


def _asset(name: str) -> Callable[[], Awaitable[Response]]:
    """A handler for one file of the page, read in a thread so that the loop never waits."""
    path = STATIC / name

    async def send() -> Response:
        body = await asyncio.to_thread(path.read_bytes)
        return Response(body, media_type=MEDIA_TYPES[path.suffix], headers=PAGE_HEADERS)

    return send


async def _one_sentence(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405 and error.detail == "Method Not Allowed":
        # Of a path with several routes the library names only the first one's methods.
        headers["Allow"] = ", ".join(sorted(_allowed(request.app.router.routes, request.scope)))
    # What the libraries say by themselves tells nobody what to do next.
    said = {
        "Not Found": "there is nothing at this address; GET /openapi.json lists what there is",
        "Method Not Allowed": f"{request.method} is not possible here; use {headers.get('Allow')}",
        "There was an error parsing the body": "the body is not JSON; check its brackets and quotes",
    }
    return Response(
        f"{said.get(error.detail, error.detail)}\n",
        status_code=error.status_code,
        media_type="text/plain; charset=utf-8",
        headers=headers,
    )


def _allowed(routes: Iterable[object], scope: Scope) -> set[str]:
    """The methods of all ``routes`` at the address that was asked for, as far as they are told."""
    here = [one for one in _flat(routes) if one.matches(scope)[0] is not Match.NONE]
    told = [one for one in here if one.include_in_schema]
    return {method for one in told or here for method in one.methods or ()}


def _flat(routes: Iterable[object]) -> Iterator[Route]:
    """FastAPI keeps a router that was included as it is."""
    for one in routes:
        if isinstance(one, Route):
            yield one
        elif isinstance(router := getattr(one, "original_router", None), APIRouter):
            yield from _flat(router.routes)
