"""WHIP (RFC 9725): a publisher posts an offer and gets the answer; no trickle, no restarts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Request, Response

from streamer.server.answers import says
from streamer.server.signalling import OFFER, SdpAnswer, begun, session_routes

if TYPE_CHECKING:
    from streamer.sources.whip import WhipDoor


def whip_routes(doors: Mapping[str, WhipDoor]) -> APIRouter:
    """The endpoint of each door, and the resource of each session.

    ``doors`` is looked up anew on each request. GET, HEAD and PUT are answered with 405 by the
    router itself, as section 4.2 asks.
    """
    router = session_routes("whip", partial(_find_door, doors), end="Stop publishing.")

    @router.post(
        "/{name}",
        status_code=201,
        response_class=SdpAnswer,
        responses=says(400, 404, 406, 409, 413, 415, 503),
        openapi_extra=OFFER,
    )
    async def publish(name: str, request: Request) -> Response:
        """Begin to publish: the body is an SDP offer, the answer is one, too."""
        answer = _find_door(doors, name).answer
        return await begun(request, answer, endpoint=f"/whip/{quote(name, safe='')}")

    return router


def _find_door(doors: Mapping[str, WhipDoor], name: str) -> WhipDoor:
    door = doors.get(name)
    if door is None:
        raise HTTPException(404, f"no stream {name!r} takes a publisher here")
    return door
