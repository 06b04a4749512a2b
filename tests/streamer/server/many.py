"""Real streams in a real server for the tests: settings, a registry, and a client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI

from streamer.addresses import AddressPolicy
from streamer.build import open_stream
from streamer.clock import MonotonicClock
from streamer.config import StreamSettings
from streamer.server.admission import Admission
from streamer.server.app import Access, build_app
from streamer.server.registry import Registry
from streamer.server.run import Server
from streamer.server.supervised import RunningStream
from streamer.settings_file import Limits, parse_stream
from tests.streamer.server.watcher import until

SMALL = "synthetic:160x96@10"
DEAD = "rtsp://camera:hunter2hunter2@127.0.0.1:1/live?key=s3cr3t-value"
"""Nobody listens on port 1; its user, password and key must never be seen again."""

SECRETS = ("hunter2", "s3cr3t-value", "camera:")
TOKEN = "correct-horse-battery-staple"


def settings(name: str, source: str = SMALL, *to: str, **fields: Any) -> StreamSettings:
    """A stream that costs as little as one can; into ``null:`` where nothing else is said."""
    cheap = {"scale": 1, "backend": "reference"}
    return parse_stream(name, {**cheap, "source": source, "to": list(to or ("null:",)), **fields})


async def open_real(wanted: StreamSettings) -> RunningStream:
    return await open_stream(wanted, clock=MonotonicClock(), doors={}, mounts={})


def new_registry(**limits: int) -> Registry:
    return Registry(open_real, limits=Limits(**limits), clock=MonotonicClock())


@dataclass(frozen=True, slots=True)
class Many:
    """A server over a registry, and a client of it that knows the token."""

    app: FastAPI
    registry: Registry
    http: httpx.AsyncClient
    url: str


@asynccontextmanager
async def serving_many(
    *streams: StreamSettings,
    token: str | None = TOKEN,
    admission: Admission | None = None,
    limits: dict[str, int] | None = None,
    **options: Any,
) -> AsyncIterator[Many]:
    """A server that runs ``streams``; others can be added over its API."""
    admission = admission or Admission(policy=AddressPolicy())
    async with new_registry(**(limits or {})) as registry:
        for one in streams:
            await registry.add(one)
        app = build_app(registry, access=Access(token=token), admission=admission, **options)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with (
            Server(app, port=0) as server,
            httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) as http,
        ):
            yield Many(app, registry, http, server.url)


async def becomes(registry: Registry, name: str, state: str) -> None:
    """Wait until a stream is in that state."""
    await until(lambda: registry[name].state == state, f"{name} never was {state}", within_s=60)


async def until_numbers(
    http: httpx.AsyncClient, name: str, holds: Callable[[dict[str, Any]], object]
) -> dict[str, Any]:
    """The statistics of a stream, once ``holds`` is true of them."""
    async with asyncio.timeout(60):
        while True:
            response = await http.get(f"/api/streams/{name}")
            assert response.status_code == 200, response.text
            found: dict[str, Any] = response.json()
            if holds(found):
                return found
            await asyncio.sleep(0.05)
