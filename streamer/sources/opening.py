"""The table of sources: what SOURCE says, and what opens it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from streamer.addresses import AddressPolicy
from streamer.clock import Clock
from streamer.config import SourceKind, source_kind
from streamer.errors import ConfigError, SourceError
from streamer.sources.base import Source
from streamer.sources.device import DeviceSource
from streamer.sources.file import FileSource
from streamer.sources.network import NetworkSource
from streamer.sources.rtsp import RtspSource
from streamer.sources.synthetic import SyntheticSource

MayConnect: TypeAlias = Callable[[str], bool] | None

log = logging.getLogger(__name__)


async def _file(source: str, *, clock: Clock, paced: bool, may_connect: MayConnect) -> Source:
    return await FileSource.open(source, clock=clock, paced=paced)


async def _device(source: str, *, clock: Clock, paced: bool, may_connect: MayConnect) -> Source:
    return await DeviceSource.open(source, clock=clock)


async def _synthetic(source: str, *, clock: Clock, paced: bool, may_connect: MayConnect) -> Source:
    return await SyntheticSource.open(source, clock=clock)


async def _rtsp(source: str, *, clock: Clock, paced: bool, may_connect: MayConnect) -> Source:
    return await RtspSource.open(source, clock=clock, may_connect=may_connect)


async def _network(source: str, *, clock: Clock, paced: bool, may_connect: MayConnect) -> Source:
    return await NetworkSource.open(source, clock=clock, may_connect=may_connect)


OPENERS: dict[SourceKind, Callable[..., Awaitable[Source]]] = {
    "file": _file,
    "device": _device,
    "synthetic": _synthetic,
    "rtsp": _rtsp,
    "network": _network,
}


async def open_source(
    source: str, *, clock: Clock, paced: bool, may_connect: MayConnect = None
) -> Source:
    """The opened source; ``paced`` files come at their own rate, as if they were live.

    ``may_connect`` says to which hosts a redirect or a playlist may lead; it runs on a thread.
    Raises ``ConfigError`` for what is no source and ``SourceError`` for one that does not open.
    """
    kind = source_kind(source)
    opener = OPENERS.get(kind)
    if opener is None:
        raise ConfigError(
            f"{source} is no source that can be opened, a publisher comes to it; "
            "use it under streamer serve"
        )
    return await opener(source, clock=clock, paced=paced, may_connect=may_connect)


async def open_within(reach: AddressPolicy, source: str, *, clock: Clock) -> Source:
    """The opened live source, for one that a stranger named: nothing else is connected to than what
    ``reach`` allows.

    A name may mean something else each time it is asked for: a camera has another address by now,
    and what was checked is what is opened. Readers that cannot check it themselves get the checked
    addresses in place of the name, in turn until one opens. Raises as ``open_source``, and
    ``AddressRefused``.
    """
    *others, last = await reach.pins(source)
    if source_kind(source) == "rtsp":
        others, last = [], source
    for place in others:
        try:
            return await open_source(place, clock=clock, paced=True, may_connect=reach.may_connect)
        except SourceError as error:
            log.info("%s; its name has another address, which is tried next", error)
    return await open_source(last, clock=clock, paced=True, may_connect=reach.may_connect)
