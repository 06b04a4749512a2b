"""The HTTP API: list, show, add, change and remove streams."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from typing import Any, get_args
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse

from streamer.addresses import AddressRefused
from streamer.config import Changes
from streamer.errors import ConfigError, StreamerError
from streamer.server.admission import Admission
from streamer.server.answers import ALWAYS, OTHERWISE, says
from streamer.server.handle import State, StreamHandle
from streamer.server.registry import Registry, StreamRefused
from streamer.server.schema import (
    ChangedStream,
    Entry,
    Health,
    NewStream,
    Report,
    Statistics,
    StreamList,
)
from streamer.server.secrecy import clean, secrets_in_request
from streamer.server.supervised import Supervised
from streamer.server.whep import find_stream
from streamer.settings_file import parse_stream

_log = logging.getLogger(__name__)


def read_routes(streams: Mapping[str, StreamHandle], *, can_add: bool) -> APIRouter:
    """What can be asked of any streams."""
    router = APIRouter(responses=OTHERWISE)

    @router.get("/healthz")
    async def health() -> Health:
        """Answers while the process lives; needs no token."""
        # Anybody may ask, so a supervised one is not asked for all of its numbers.
        states = {
            name: stream.state if isinstance(stream, Supervised) else _state(stream.statistics())
            for name, stream in streams.items()
        }
        return Health(status="ok", streams=states)

    @router.get("/api/streams", responses=ALWAYS)
    async def list_streams() -> StreamList:
        """All streams, running or not."""
        return StreamList(streams=[_entry(streams[name]) for name in streams], can_add=can_add)

    @router.get(
        "/api/streams/{name}",
        response_model_exclude_unset=True,
        responses={**ALWAYS, **says(404)},
    )
    async def show_stream(name: str) -> Statistics:
        """All numbers of one stream."""
        return Statistics.model_validate(find_stream(streams, name).statistics())

    return router


def control_routes(registry: Registry, admission: Admission) -> APIRouter:
    """What changes the streams of a registry."""
    router = APIRouter(prefix="/api/streams", responses=ALWAYS)

    @router.post("", status_code=201, responses=says(400, 403, 409, 413, 415, 422))
    async def add_stream(wanted: NewStream, response: Response) -> Entry:
        """Add a stream; it is opened in the background, and again whenever it breaks."""
        fields = wanted.model_dump(exclude_none=True, exclude={"name"})
        try:
            fields["to"] = admission.place(wanted.source, wanted.to)
            settings = await asyncio.to_thread(parse_stream, wanted.name, fields)
            await admission.pin(settings)
            stream = await registry.add(settings, admit=admission.pin)
        except StreamerError as error:
            raise _refusal(error, secrets_in_request(wanted.source, *wanted.to)) from None
        _log.info("the stream %s was added over the API", stream.name)
        response.headers["Location"] = _path(stream.name)
        return _entry(stream)

    @router.patch(
        "/{name}",
        response_model_exclude_unset=True,
        responses=says(400, 404, 409, 413, 415, 422),
    )
    async def change_stream(name: str, wanted: ChangedStream) -> Statistics:
        """Change a stream while it runs; the change outlives its restarts."""
        stream = _find(registry, name)
        try:
            await stream.change(Changes(**wanted.model_dump()))
        except StreamerError as error:
            raise _refusal(error, stream.secrets) from None
        return Statistics.model_validate(stream.statistics())

    @router.delete("/{name}", status_code=204, responses=says(404))
    async def remove_stream(name: str) -> Response:
        """End a stream and forget it; answers once its outputs are finished."""
        _find(registry, name)
        await registry.remove(name)
        _log.info("the stream %s was removed over the API", name)
        return Response(status_code=204)

    @router.get(
        "/{name}/report",
        response_model=Report,
        response_model_exclude_unset=True,
        responses=says(404, 409),
    )
    async def report_stream(name: str) -> dict[str, Any]:
        """The whole run since the stream was opened last."""
        report = await _find(registry, name).report()
        if report is None:
            raise HTTPException(409, f"the stream {name} has not run yet; ask again later")
        return report

    @router.get(
        "/{name}/still.jpg",
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}}, **says(404, 409)},
    )
    async def still_of_stream(name: str) -> Response:
        """The picture of now, enhanced and small; costs a viewer nothing to decode."""
        jpeg = await _find(registry, name).still()
        if jpeg is None:
            raise HTTPException(409, f"the stream {name} has no picture yet; ask again later")
        return Response(jpeg, media_type="image/jpeg")

    return router


async def bad_request(request: Request, error: Exception) -> Response:
    """A body that does not fit, in one sentence; never what was in it, which may be a password."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not re.fullmatch(r"application/.+\+json", kind):
        return _plain(415, "the body is not marked as JSON; send it as application/json")
    if first["type"] == "json_invalid":
        return _plain(400, "the body is not JSON; check its brackets and quotes")
    place = ".".join(str(part) for part in first["loc"] if part != "body") or "the body"
    if first["type"] == "extra_forbidden":
        return _plain(422, f"there is no key {place[:64]!r} here; GET /openapi.json lists them")
    return _plain(422, f"{place[:64]}: {first['msg']}; GET /openapi.json says what is allowed")


def _plain(status: int, sentence: str) -> Response:
    return PlainTextResponse(f"{sentence}\n", status_code=status)


def _refusal(error: StreamerError, secrets: frozenset[str]) -> HTTPException:
    status = 400
    if isinstance(error, AddressRefused):
        status = 403
    elif isinstance(error, StreamRefused) or not isinstance(error, ConfigError):
        status = 409
    return HTTPException(status, clean(str(error), secrets))


def _find(registry: Registry, name: str) -> Supervised:
    stream = find_stream(registry, name)
    assert isinstance(stream, Supervised)
    return stream


def _state(numbers: Mapping[str, Any]) -> State:
    """A stream that nobody supervises runs if it has any numbers."""
    state = numbers.get("state", "live")
    known: State = "starting" if state not in get_args(State) else state
    return known


def _entry(stream: StreamHandle) -> Entry:
    numbers = stream.statistics()
    output, fps = numbers.get("output") or {}, numbers.get("fps") or {}
    whole = (numbers.get("latency_ms") or {}).get("arrived_to_sent") or {}
    to = list(numbers.get("to", ()))
    return Entry(
        name=stream.name,
        state=_state(numbers),
        reason=numbers.get("reason", ""),
        source=numbers.get("from", ""),
        outputs=to,
        width=output.get("width"),
        height=output.get("height"),
        fps_in=fps.get("in"),
        fps_out=fps.get("out"),
        latency_p95_ms=whole.get("p95"),
        tier=numbers.get("tier", ""),
        viewers=numbers.get("viewers", 0),
        has_audio=bool(numbers.get("audio")),
        still=f"{_path(stream.name)}/still.jpg" if isinstance(stream, Supervised) else None,
        statistics=_path(stream.name),
        whep=f"/whep/{quote(stream.name, safe='')}" if not to or "webrtc" in to else None,
        hls=_playlist(stream) if isinstance(stream, Supervised) else None,
    )


def _playlist(stream: Supervised) -> str | None:
    has_one = any(sink.kind == "hls" for sink in stream.settings.sinks)
    return f"/hls/{quote(stream.name, safe='')}/index.m3u8" if has_one else None


def _path(name: str) -> str:
    return f"/api/streams/{quote(name, safe='')}"
