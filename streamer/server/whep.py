"""WHEP: a viewer posts an offer and gets the answer; no trickle, no renegotiation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Request, Response

from streamer.errors import StreamerError
from streamer.server.handle import StreamHandle, View
from streamer.server.signalling import (
    created,
    described,
    no_such_session,
    no_trickle,
    read_offer,
    refusal,
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
        """What may be posted here."""
        find_stream(streams, name)
        return described()

    @router.post("/{name}")
    async def join(name: str, request: Request, view: str = "enhanced") -> Response:
        """Begin to watch: the body is an SDP offer, the answer is one, too."""
        stream = find_stream(streams, name)
        wanted = _view(view)
        offer_sdp = await read_offer(request)
        try:
            session = await stream.answer(offer_sdp, view=wanted)
        except StreamerError as error:
            raise refusal(error) from error
        return created(session, endpoint=f"/whep/{quote(name, safe='')}")

    @router.delete("/{name}/{session_id}")
    async def leave(name: str, session_id: str) -> Response:
        """Stop watching."""
        if not await find_stream(streams, name).hang_up(session_id):
            raise no_such_session()
        return Response(status_code=200)

    @router.patch("/{name}/{session_id}")
    async def patch(name: str, session_id: str) -> Response:
        """Always refused: offers carry all their candidates."""
        find_stream(streams, name)
        raise no_trickle()

    return router


def _view(text: str) -> View:
    for view in get_args(View):
        if text == view:
            return view  # type: ignore[no-any-return]
    raise HTTPException(400, f"view is {text!r}; it may be {' or '.join(get_args(View))}")
