"""WHEP: a viewer posts an offer and gets the answer; no trickle, no renegotiation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, get_args
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Query, Request, Response

from streamer.errors import StreamerError
from streamer.server.answers import ALWAYS, says
from streamer.server.handle import StreamHandle, View
from streamer.server.signalling import (
    OFFER,
    SdpAnswer,
    created,
    described,
    no_such_session,
    no_trickle,
    read_offer,
    refusal,
)

VIEWS: Final[tuple[View, ...]] = get_args(View)


def find_stream(streams: Mapping[str, StreamHandle], name: str) -> StreamHandle:
    """The stream of that name; answers 404 otherwise."""
    stream = streams.get(name)
    if stream is None:
        raise HTTPException(404, f"there is no stream {name!r}; GET /api/streams lists them")
    return stream


def whep_routes(streams: Mapping[str, StreamHandle]) -> APIRouter:
    """The endpoint of each stream, and the resource of each session."""
    router = APIRouter(prefix="/whep", responses=ALWAYS)

    @router.options("/{name}", status_code=204, responses=says(404))
    async def describe(name: str) -> Response:
        """What may be posted here."""
        find_stream(streams, name)
        return described()

    @router.post(
        "/{name}",
        status_code=201,
        response_class=SdpAnswer,
        responses=says(400, 404, 406, 413, 415, 503),
        openapi_extra=OFFER,
    )
    async def join(
        name: str,
        request: Request,
        view: Annotated[str, Query(json_schema_extra={"enum": list(VIEWS)})] = "enhanced",
    ) -> Response:
        """Begin to watch: the body is an SDP offer, the answer is one, too."""
        stream = find_stream(streams, name)
        wanted = _view(view)
        offer_sdp = await read_offer(request)
        try:
            session = await stream.answer(offer_sdp, view=wanted)
        except StreamerError as error:
            raise refusal(error) from error
        return created(session, endpoint=f"/whep/{quote(name, safe='')}")

    @router.delete("/{name}/{session_id}", response_class=Response, responses=says(404))
    async def leave(name: str, session_id: str) -> Response:
        """Stop watching."""
        if not await find_stream(streams, name).hang_up(session_id):
            raise no_such_session()
        return Response(status_code=200)

    @router.patch("/{name}/{session_id}", include_in_schema=False)
    async def patch(name: str, session_id: str) -> Response:
        """Always refused: offers carry all their candidates."""
        find_stream(streams, name)
        raise no_trickle()

    return router


def _view(text: str) -> View:
    for view in VIEWS:
        if text == view:
            return view
    raise HTTPException(400, f"view is {text!r}; it may be {' or '.join(VIEWS)}")
