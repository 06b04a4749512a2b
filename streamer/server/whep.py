"""WHEP: a viewer posts an offer and gets the answer; no trickle, no renegotiation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final, get_args
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Request, Response

from streamer.errors import StreamerError
from streamer.server.handle import StreamHandle, View
from streamer.sinks.rtc_session import OfferInvalid, OfferUnsupported, TooManyViewers

SDP: Final = "application/sdp"
MAX_OFFER_BYTES: Final = 64 * 1024
RETRY_AFTER_S: Final = 5

STATUS_OF: Final[tuple[tuple[type[StreamerError], int], ...]] = (
    (OfferInvalid, 400),
    (OfferUnsupported, 406),
    (TooManyViewers, 503),
    (StreamerError, 503),
)


def find_stream(streams: Mapping[str, StreamHandle], name: str) -> StreamHandle:
    """The stream of that name; answers 404 otherwise."""
    stream = streams.get(name)
    if stream is None:
        raise HTTPException(404, f"there is no stream {name!r}; GET /api/streams lists them")
    return stream


def whep_routes(streams: Mapping[str, StreamHandle]) -> APIRouter:
    """The endpoint of each stream, and the resource of each session."""
    router = APIRouter(prefix="/whep")

    @router.options("/{name}")
    async def describe(name: str) -> Response:
        find_stream(streams, name)
        return Response(status_code=204, headers={"Accept-Post": SDP, "Allow": "OPTIONS, POST"})

    @router.post("/{name}")
    async def join(name: str, request: Request, view: str = "enhanced") -> Response:
        stream = find_stream(streams, name)
        wanted = _view(view)
        offer_sdp = await _offer(request)
        try:
            session = await stream.answer(offer_sdp, view=wanted)
        except StreamerError as error:
            raise _refusal(error) from error
        tag = hashlib.sha256(session.answer_sdp.encode()).hexdigest()[:16]
        return Response(
            session.answer_sdp,
            status_code=201,
            media_type=SDP,
            headers={
                "Location": f"/whep/{quote(name, safe='')}/{session.id}",
                "ETag": f'"{tag}"',
                "Cache-Control": "no-store",
            },
        )

    @router.delete("/{name}/{session_id}")
    async def leave(name: str, session_id: str) -> Response:
        if not await find_stream(streams, name).hang_up(session_id):
            raise HTTPException(404, "there is no such session; it may have ended by itself")
        return Response(status_code=200)

    @router.patch("/{name}/{session_id}")
    async def patch(name: str, session_id: str) -> Response:
        find_stream(streams, name)
        raise HTTPException(
            405,
            "trickle ICE and ICE restarts are not offered; put all candidates into the offer",
            headers={"Allow": "DELETE"},
        )

    return router


def _view(text: str) -> View:
    for view in get_args(View):
        if text == view:
            return view  # type: ignore[no-any-return]
    raise HTTPException(400, f"view is {text!r}; it may be {' or '.join(get_args(View))}")


async def _offer(request: Request) -> str:
    """The body, read no further than it may be long."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != SDP:
        raise HTTPException(
            415,
            f"the body is {content_type or 'of no stated type'}; send {SDP}",
            headers={"Accept-Post": SDP},
        )
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_OFFER_BYTES:
            raise HTTPException(
                413,
                f"the offer is longer than {MAX_OFFER_BYTES // 1024} KiB",
                headers={"Connection": "close"},
            )
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise HTTPException(400, "the offer is not UTF-8 text") from None


def _refusal(error: StreamerError) -> HTTPException:
    status = next(status for kind, status in STATUS_OF if isinstance(error, kind))
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else None
    return HTTPException(status, str(error), headers=headers)
