"""The streams of one process: added, changed and removed while the others run."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

from streamer.build import check_addresses
from streamer.clock import Clock
from streamer.config import STANDARD, SinkSpec, StreamSettings
from streamer.errors import ConfigError
from streamer.server.supervised import Opener, RunningStream, Supervised
from streamer.settings_file import Limits

_log = logging.getLogger(__name__)

CLOSE_WITHIN_S: Final = 10.0
"""To finish the outputs; what hangs for longer is cut off."""

CUT_OFF_WITHIN_S: Final = 2.0
"""For what is cut off. A thread that waits for a reader, or for a disk, cannot be."""

Admit: TypeAlias = Callable[[StreamSettings], Awaitable[StreamSettings]]
"""Checks settings that came from outside, each time before they are opened."""

Forget: TypeAlias = Callable[[str], Awaitable[None]]


class StreamRefused(ConfigError):
    """The stream may be fine, but there is no place for it beside the others."""


@dataclass(frozen=True, slots=True)
class _Listed:
    """A stream, the task that runs it, and where it writes."""

    stream: Supervised
    task: asyncio.Task[None]
    targets: Mapping[str, str]


class Registry(Mapping[str, Supervised]):
    """All streams by name. ``async with`` it: at the end every output is finished."""

    def __init__(
        self, open_one: Opener, *, limits: Limits, clock: Clock, forget: Forget | None = None
    ) -> None:
        """``forget`` is told the name of each stream that has ended for good."""
        self._open_one = open_one
        self._forget = forget
        self._limits = limits
        self._clock = clock
        self._listed: dict[str, _Listed] = {}
        self._stack = AsyncExitStack()
        self._group: asyncio.TaskGroup | None = None

    def __getitem__(self, name: str) -> Supervised:
        return self._listed[name].stream

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._listed))

    def __len__(self) -> int:
        return len(self._listed)

    async def __aenter__(self) -> Self:
        self._group = await self._stack.enter_async_context(asyncio.TaskGroup())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._group = None  # nothing is added any more
        for one in self._listed.values():
            one.stream.stop()
        await _finish(*(one.task for one in self._listed.values()))
        await self._stack.aclose()

    async def add(self, settings: StreamSettings, *, admit: Admit | None = None) -> Supervised:
        """Begin a stream; it is opened in the background, and again whenever it breaks.

        Raises ``StreamRefused`` where there are too many, or where another has its name or
        writes to one of its outputs, and ``ConfigError`` for an address that can never work.
        """
        try:
            check_addresses(settings)
        except ConfigError as error:
            raise ConfigError(f"the stream {settings.name!r}: {error}") from error
        targets = await asyncio.to_thread(_targets, settings)
        if self._group is None:
            raise StreamRefused("the server is closing; start it again")
        if settings.name in self._listed:
            raise StreamRefused(
                f"there is a stream {settings.name!r} already; remove it first, or use another name"
            )
        if len(self) >= self._limits.streams:
            raise StreamRefused(
                f"{len(self)} streams are listed, which is the most that are allowed; "
                "remove one, or raise limits: streams"
            )
        self._check_outputs(settings, targets)

        async def open_one(wanted: StreamSettings) -> RunningStream:
            return await self._open_one(wanted if admit is None else await admit(wanted))

        stream = Supervised(settings, open_one, clock=self._clock, max_pixels=self._limits.pixels)
        task = self._group.create_task(self._run(stream), name=f"stream {settings.name}")
        self._listed[settings.name] = _Listed(stream, task, targets)
        return stream

    async def _run(self, stream: Supervised) -> None:
        try:
            await stream.run()
        finally:
            if self._forget is not None:
                await self._forget(stream.name)

    async def remove(self, name: str) -> None:
        """End a stream and forget it; returns when its outputs are finished.

        Raises ``KeyError`` where there is none.
        """
        one = self._listed[name]
        one.stream.stop()
        await _finish(one.task)
        # Another request may have removed it meanwhile, and a third one added its name again.
        if self._listed.get(name) is one:
            del self._listed[name]

    def secrets(self) -> frozenset[str]:
        """Of all streams, for the log: asked for by whichever thread has something to say."""
        # A copy, made at once: a stream that is added meanwhile must not break the look through them.
        return frozenset().union(*(one.stream.secrets for one in tuple(self._listed.values())))

    def _check_outputs(self, settings: StreamSettings, targets: Mapping[str, str]) -> None:
        for other, one in self._listed.items():
            if shared := targets.keys() & one.targets.keys():
                raise StreamRefused(
                    f"the stream {other} writes to {targets[shared.pop()]} already; "
                    f"give {settings.name} an output of its own"
                )


def _targets(settings: StreamSettings) -> Mapping[str, str]:
    """Where the stream writes, each place in one form of many, and what to call it."""
    return {_place(sink): sink.label for sink in settings.sinks if sink.target}


def _place(sink: SinkSpec) -> str:
    is_file = sink.kind != "push" and sink.target != STANDARD
    return os.path.realpath(sink.target) if is_file else sink.target


async def _finish(*tasks: asyncio.Task[None]) -> None:
    """Wait for tasks that were told to end; those that do not are cancelled, and left behind where that
    does not help either."""
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=CLOSE_WITHIN_S)
    if not late:
        return
    for task in late:
        task.cancel()
    _, stuck = await asyncio.wait(late, timeout=CUT_OFF_WITHIN_S)
    for task in stuck:
        _log.error(
            "the %s does not end, what it writes to or reads stands still; see who is to read its "
            "pipes, and whether its disks answer",
            task.get_name(),
        )
