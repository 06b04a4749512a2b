"""WHEP: a viewer posts an offer and gets the answer; no trickle, no renegotiation."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Final, get_args
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Query, Request, Response

from streamer.rtc.session import View
from streamer.server.answers import says
from streamer.server.handle import StreamHandle
from streamer.server.signalling import OFFER, SdpAnswer, begun, session_routes

VIEWS: Final[tuple[View, ...]] = get_args(View)


def find_stream(streams: Mapping[str, StreamHandle], name: str) -> StreamHandle:
    """The stream of that name; answers 404 otherwise."""
    stream = streams.get(name)
    if stream is None:
        raise HTTPException(404, f"there is no stream {name!r}; GET /api/streams lists them")
    return stream


def whep_routes(streams: Mapping[str, StreamHandle]) -> APIRouter:
    """The endpoint of each stream, and the resource of each session."""
    router = session_routes("whep", partial(find_stream, streams), end="Stop watching.")

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
        answer = partial(find_stream(streams, name).answer, view=_view(view))
        return await begun(request, answer, endpoint=f"/whep/{quote(name, safe='')}")

    return router


def _view(text: str) -> View:
    for view in VIEWS:
        if text == view:
            return view
    raise HTTPException(400, f"view is {text!r}; it may be {' or '.join(VIEWS)}")
