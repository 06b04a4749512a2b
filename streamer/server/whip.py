"""WHIP (RFC 9725): a publisher posts an offer and gets the answer; no trickle, no restarts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Request, Response

from streamer.errors import StreamerError
from streamer.server.answers import ALWAYS, says
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

if TYPE_CHECKING:
    from streamer.sources.whip import WhipDoor


def whip_routes(doors: Mapping[str, WhipDoor]) -> APIRouter:
    """The endpoint of each door, and the resource of each session.

    ``doors`` is looked up anew on each request. GET, HEAD and PUT are answered with 405 by the
    router itself, as section 4.2 asks.
    """
    router = APIRouter(prefix="/whip", tags=["whip"], responses=ALWAYS)

    @router.options("/{name}", status_code=204, responses=says(404))
    async def describe(name: str) -> Response:
        """What may be posted here."""
        _find_door(doors, name)
        return described()

    @router.post(
        "/{name}",
        status_code=201,
        response_class=SdpAnswer,
        responses=says(400, 404, 406, 409, 413, 415, 503),
        openapi_extra=OFFER,
    )
    async def publish(name: str, request: Request) -> Response:
        """Begin to publish: the body is an SDP offer, the answer is one, too."""
        door = _find_door(doors, name)
        offer_sdp = await read_offer(request)
        try:
            session = await door.answer(offer_sdp)
        except StreamerError as error:
            raise refusal(error) from error
        return created(session, endpoint=f"/whip/{quote(name, safe='')}")

    @router.delete("/{name}/{session_id}", response_class=Response, responses=says(404))
    async def leave(name: str, session_id: str) -> Response:
        """Stop publishing."""
        if not await _find_door(doors, name).hang_up(session_id):
            raise no_such_session()
        return Response(status_code=200)

    @router.patch("/{name}/{session_id}", include_in_schema=False)
    async def patch(name: str, session_id: str) -> Response:
        """Always refused: offers carry all their candidates."""
        _find_door(doors, name)
        raise no_trickle()

    return router


def _find_door(doors: Mapping[str, WhipDoor], name: str) -> WhipDoor:
    door = doors.get(name)
    if door is None:
        raise HTTPException(404, f"no stream {name!r} takes a publisher here")
    return door
