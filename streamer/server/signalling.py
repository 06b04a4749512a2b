"""What WHIP and WHEP have in common: an offer comes in by POST, the answer is a resource."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from fastapi import APIRouter, HTTPException, Request, Response

from streamer.errors import StreamerError
from streamer.rtc.session import (
    OfferInvalid,
    OfferUnsupported,
    PublisherPresent,
    Session,
    TooManyViewers,
)
from streamer.server.answers import ALWAYS, says

SDP: Final = "application/sdp"
MAX_OFFER_BYTES: Final = 64 * 1024
RETRY_AFTER_S: Final = 5

OFFER: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {SDP: {"schema": {"type": "string", "description": "an SDP offer"}}},
    }
}
"""What is posted, for the schema."""

STATUS_OF: Final[tuple[tuple[type[StreamerError], int], ...]] = (
    (OfferInvalid, 400),
    (OfferUnsupported, 406),
    (PublisherPresent, 409),
    (TooManyViewers, 503),
    (StreamerError, 503),
)


class SdpAnswer(Response):
    """The answer to an offer; its session is the resource that ``Location`` names."""

    media_type = SDP


class Ending(Protocol):
    """Whatever sessions are begun with."""

    async def hang_up(self, session_id: str) -> bool:
        """End a session; false if there is none of that name."""


def session_routes(kind: str, find: Callable[[str], Ending], *, end: str) -> APIRouter:
    """What the endpoint ``/kind/NAME`` and its sessions have beside the POST that begins one.

    ``find`` answers 404 to a name that is none; ``end`` says in the schema what DELETE does.
    """
    router = APIRouter(prefix=f"/{kind}", tags=[kind], responses=ALWAYS)

    @router.options("/{name}", status_code=204, responses=says(404))
    async def describe(name: str) -> Response:
        """What may be posted here."""
        find(name)
        return Response(status_code=204, headers={"Accept-Post": SDP, "Allow": "OPTIONS, POST"})

    @router.delete(
        "/{name}/{session_id}", response_class=Response, responses=says(404), description=end
    )
    async def leave(name: str, session_id: str) -> Response:
        if not await find(name).hang_up(session_id):
            raise HTTPException(404, "there is no such session; it may have ended by itself")
        return Response(status_code=200)

    # As RFC 9725, section 4.3 has it for servers with neither of its uses.
    @router.patch("/{name}/{session_id}", include_in_schema=False)
    async def patch(name: str) -> Response:
        find(name)
        raise HTTPException(
            405,
            "trickle ICE and ICE restarts are not offered; put all candidates into the offer",
            headers={"Allow": "DELETE"},
        )

    return router


async def begun(
    request: Request, answer: Callable[[str], Awaitable[Session]], *, endpoint: str
) -> Response:
    """What to send back to the offer in ``request``, which ``answer`` takes."""
    offer_sdp = await read_offer(request)
    try:
        return created(await answer(offer_sdp), endpoint=endpoint)
    except StreamerError as error:
        raise _refusal(error) from error


async def read_offer(request: Request) -> str:
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


def created(session: Session, *, endpoint: str) -> Response:
    """201 with the answer, and where the session's resource is."""
    tag = hashlib.sha256(session.answer_sdp.encode()).hexdigest()[:16]
    return SdpAnswer(
        session.answer_sdp,
        status_code=201,
        headers={
            "Location": f"{endpoint}/{session.id}",
            "ETag": f'"{tag}"',
            "Cache-Control": "no-store",
        },
    )


def _refusal(error: StreamerError) -> HTTPException:
    status = next(status for kind, status in STATUS_OF if isinstance(error, kind))
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else None
    return HTTPException(status, str(error), headers=headers)
