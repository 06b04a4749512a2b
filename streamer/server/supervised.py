"""One stream of a server: opened, run, and opened again after it broke."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any, Final, Protocol, TypeAlias

from streamer.clock import Clock
from streamer.config import Changes, StreamSettings
from streamer.errors import ConfigError, EngineError, SinkError, StreamerError, deliberate
from streamer.frame import Frame
from streamer.rtc.session import Session, View
from streamer.server.handle import State, StreamHandle
from streamer.server.secrecy import clean, clean_values, secrets_of, shown_source
from streamer.server.still import still

_log = logging.getLogger(__name__)

STATE_OF: Final[Mapping[str, State]] = {
    "connecting": "starting",
    "live": "live",
    "lost": "lost",
    "closed": "ended",
}
"""What a running stream calls its state, and what the server does."""

FIRST_RETRY_S: Final = 1.0
LAST_RETRY_S: Final = 30.0
WAITS_FOR_PUBLISHER: Final = "it waits for a publisher: POST an offer to /whip/ and its name"

STEADY_S: Final = 60.0
"""A stream that ran for so long begins again with the first wait."""


class RunningStream(StreamHandle, Protocol):
    """A stream that was opened; ``run`` it once."""

    @property
    def state(self) -> str: ...

    @property
    def last_frame(self) -> Frame | None: ...

    async def run(self) -> None: ...

    def stop(self) -> None: ...

    def change(self, changes: Changes) -> None: ...

    def report(self) -> dict[str, Any]: ...


Opener: TypeAlias = Callable[[StreamSettings], Awaitable[RunningStream]]


class Supervised:
    """A stream for as long as it is listed, whether or not it runs at the moment.

    What it tells is free of the settings' secrets.
    """

    def __init__(
        self, settings: StreamSettings, open_one: Opener, *, clock: Clock, max_pixels: int
    ) -> None:
        self.settings = settings
        self.reason = WAITS_FOR_PUBLISHER if settings.source == "whip:" else ""
        """Why it does not run, one sentence; empty while it does."""
        self.restarts = 0
        self._open_one = open_one
        self._clock = clock
        self._max_pixels = max_pixels
        self._state: State = "starting"
        self._stream: RunningStream | None = None
        self._changes = Changes()
        self._report: dict[str, Any] | None = None
        self._told = ""
        """What the log was told of its failing."""
        self._stopping = asyncio.Event()
        self.secrets = secrets_of(settings)

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def state(self) -> State:
        return self._state if self._stream is None else STATE_OF[self._stream.state]

    def stop(self) -> None:
        """End it: outputs are finished, nothing is opened again."""
        self._stopping.set()
        if self._stream is not None:
            self._stream.stop()

    async def run(self) -> None:
        """Until it ends by itself, cannot ever run, or ``stop``; no error gets out."""
        failures = 0
        while not self._stopping.is_set():
            began_ns = self._clock.now_ns()
            try:
                await self._run_once()
            except Exception as error:  # noqa: BLE001 - whatever it is, the other streams go on
                if (self._clock.now_ns() - began_ns) / 1e9 >= STEADY_S:
                    failures, self._told = 0, ""
                self._fail(error)
                if any(isinstance(one, (ConfigError, EngineError)) for one in deliberate(error)):
                    return  # would fail in the same way again
            else:
                break
            # Unbounded, the power would leave the range of floats after half a day.
            await self._wait_s(min(FIRST_RETRY_S * 2 ** min(failures, 16), LAST_RETRY_S))
            failures += 1
            self.restarts += not self._stopping.is_set()
        self._state, self.reason = "ended", ""

    async def _run_once(self) -> None:
        stream = await self._opened()
        if stream is None:
            return
        try:
            self._check_size(stream)
            if self._changes != Changes():
                stream.change(self._changes)
        except ConfigError:
            stream.stop()  # it closes what it has opened when it is run
            with suppress(StreamerError):
                await stream.run()
            raise
        self._stream, self.reason = stream, ""
        if self._stopping.is_set():
            stream.stop()
        try:
            await stream.run()
        finally:
            self._stream = None
            self._report = await asyncio.to_thread(stream.report)

    async def _opened(self) -> RunningStream | None:
        """The opened stream, or nothing once it is to stop: opening may take its time."""
        opening = asyncio.ensure_future(self._open_one(self.settings))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return opening.result() if opening.done() else None
        finally:
            for task in (opening, stopping):
                task.cancel()
            await asyncio.gather(opening, stopping, return_exceptions=True)

    def _check_size(self, stream: RunningStream) -> None:
        source = stream.statistics().get("source") or {}
        width, height = source.get("width") or 0, source.get("height") or 0
        pixels = width * height * self.settings.scale**2
        if pixels > self._max_pixels:
            raise ConfigError(
                f"the source is {width}x{height} and its output would have {pixels} pixels, "
                f"{self._max_pixels} are allowed; lower its scale, or raise limits: pixels"
            )

    def _fail(self, error: Exception) -> None:
        known = next(deliberate(error), None)
        reason = self._clean(str(known or f"it broke: {type(error).__name__}: {error}"))
        if reason != self._told:
            if known is None:
                trace = "".join(traceback.format_exception(error))
                _log.error("%s", clean(trace, self.secrets))
            _log.error("the stream %s: %s", self.name, reason)
        self._state, self.reason, self._told = "failed", reason, reason

    async def _wait_s(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def answer(self, offer_sdp: str, *, view: View) -> Session:
        """Begin a viewer's session. Raises ``SinkError`` while the stream does not run."""
        if self._stream is None:
            why = f": {self.reason}" if self.reason else ""
            raise SinkError(f"the stream {self.name} is not running ({self.state}{why})")
        try:
            return await self._stream.answer(offer_sdp, view=view)
        except StreamerError as error:
            raise type(error)(self._clean(str(error))) from None

    async def hang_up(self, session_id: str) -> bool:
        """End a viewer's session; false if there is none of that name."""
        return self._stream is not None and await self._stream.hang_up(session_id)

    async def change(self, changes: Changes) -> None:
        """Change it now, and keep it so when it is opened again.

        Raises ``ConfigError`` for what is not possible; then nothing has changed.
        """
        if self._stream is not None:
            self._stream.change(changes)
        elif changes.tier is not None:
            raise ConfigError(
                f"the stream {self.name} is not running, so its tiers are not known; "
                "choose one once it is live"
            )
        given = {one.name: getattr(changes, one.name) for one in fields(changes)}
        kept = {key: value for key, value in given.items() if value is not None}
        self._changes = replace(self._changes, **kept)

    def statistics(self) -> Mapping[str, Any]:
        """The numbers of now, with ``state``, ``reason`` and what the stream is made of."""
        found = {} if self._stream is None else dict(self._stream.statistics())
        numbers = clean_values(found, self.secrets)
        return {
            **numbers,
            "name": self.name,
            "state": self.state,
            "reason": self.reason or numbers.get("reason", ""),
            "restarts": self.restarts,
            "from": shown_source(self.settings.source),
            "to": [sink.label for sink in self.settings.sinks],
            "scale": self.settings.scale,
            "budget_ms": self._changes.budget_ms or self.settings.budget_ms,
        }

    async def report(self) -> dict[str, Any] | None:
        """The whole run so far, or the last one; ``None`` where it has never run."""
        stream = self._stream
        if stream is None:
            return clean_values(self._report, self.secrets)  # type: ignore[no-any-return]
        found = await asyncio.to_thread(stream.report)
        return clean_values(found, self.secrets)  # type: ignore[no-any-return]

    async def still(self) -> bytes | None:
        """The picture of now as a small JPEG; ``None`` while there is none."""
        frame = None if self._stream is None else self._stream.last_frame
        return None if frame is None else await asyncio.to_thread(still, frame)

    def _clean(self, text: str) -> str:
        """One line of it, without secrets."""
        return " ".join(clean(text, self.secrets).split())
