"""A sink in a child process that is started again whenever its peer fails."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from streamer.clock import Clock
from streamer.errors import SinkError
from streamer.frame import Packet
from streamer.media import AudioInfo
from streamer.metrics import Metrics
from streamer.sinks.audio_transcode import AUDIO_REFUSED
from streamer.sinks.muxer_protocol import AT_ONCE, Target
from streamer.sinks.muxer_session import MuxerSession, Patience

_log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0

LASTING_S = 10.0
"""A connection that held this long was a good one: the next pause is the first again."""


class Backoff:
    """Pauses that double from 0.5 s to 30 s, each shortened at random by up to half, so that many
    streams do not come back to a server all at once."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._failures = 0

    def next_s(self) -> float:
        pause_s = min(FIRST_PAUSE_S * 2.0**self._failures, LONGEST_PAUSE_S)
        self._failures = min(self._failures + 1, 16)
        return pause_s * self._dice.uniform(0.5, 1.0)

    def reset(self) -> None:
        self._failures = 0


class MuxerSink:
    """Hands packets to a child and never waits for it.

    What a slow child cannot take is dropped up to the next keyframe, in a ring of this sink's own:
    the fan-out's ring before it stays empty, so its close does not wait for a peer either. While
    nothing is connected everything is dropped. All of it is counted.

    A stream goes on without its peer, so only the end of it tells: a peer that never got a picture is
    an error then. One that was lost after that is none, since it has a part of the stream and nobody
    could have waited for it; how much it got is logged.
    """

    def __init__(
        self,
        label: str,
        prepare: Callable[[], Target],
        *,
        audio: AudioInfo | None,
        clock: Clock,
        metrics: Metrics,
        request_keyframe: Callable[[], None],
        locate: Callable[[], Awaitable[Target]] | None = None,
        patience: Patience | None = None,
        dice: random.Random | None = None,
        needs_end: bool = False,
    ) -> None:
        """``prepare`` runs in a thread before each start and may raise ``SinkError``, which ends
        the sink; ``label`` names it in logs and metrics and holds no secret. ``locate`` is asked after it
        where exactly to connect to, and the ``StreamerError`` that it raises is why that did not
        succeed this time. With ``needs_end`` a stream whose last pictures got nowhere is an error too."""
        self._label = label
        self._prepare = prepare
        self._audio = audio
        self._clock = clock
        self._metrics = metrics
        self._request_keyframe = request_keyframe
        self._locate = locate
        self._patience = patience or Patience()
        self._needs_end = needs_end
        self._backoff = Backoff(dice or random.Random())
        self._keyframe: Packet | None = None
        self._session: MuxerSession | None = None
        self._running: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._has_joined = False
        self._has_opened = False
        self._pictures = 0
        self._pictures_taken = 0
        self._reason = "it did not answer in time"
        """Why the last session ended; empty where it had to end."""
        self._away_since_ns: int | None = None
        """Since when it is not connected, where the log says so."""

    @property
    def is_connected(self) -> bool:
        return self._session is not None and self._session.is_open

    async def send(self, packet: Packet) -> None:
        """Take or drop one packet. Raises ``SinkError`` when trying again is pointless."""
        if packet.stream == "audio" and self._audio is None:
            return
        self._pictures += packet.stream == "video"
        is_keyframe = packet.ends_gap
        if is_keyframe:
            self._keyframe = packet
        if self._running is None:
            if not is_keyframe:
                return
            await self._begin()
        assert self._running is not None
        if self._running.done():
            self._running.result()
        await self._pass_on(packet, is_keyframe=is_keyframe)

    async def close(self) -> None:
        """Finish what is queued and the trailer, in three seconds at most once the child has
        started; then end it. Raises ``SinkError`` where no picture ever got anywhere.

        A peer that was looked for in vain is not waited for.
        """
        self._closing.set()
        running, session = self._running, self._session
        if running is None:
            return
        if running.done():
            running.result()
        if session is not None and session.is_joined and self._may_get_there(session):
            await session.ring.close()
            began_ns = self._clock.now_ns()
            # A peer that answers only now says only now how long it takes.
            while not running.done() and (left_s := session.finish_s - self._since_s(began_ns)) > 0:
                await asyncio.wait({running}, timeout=left_s)
            if not running.done():
                self._reason = session.unfinished
        running.cancel()
        with suppress(asyncio.CancelledError, SinkError):
            await running
        self._conclude()

    def _may_get_there(self, session: MuxerSession) -> bool:
        return session.is_open or self._away_since_ns is None

    async def _begin(self) -> None:
        """Start the first session, so that its keyframe is the first it gets."""
        target = await asyncio.to_thread(self._prepare)
        self._session = self._new_session(target)
        self._running = asyncio.create_task(self._run(target), name=f"sink {self._label}")

    async def _pass_on(self, packet: Packet, *, is_keyframe: bool) -> None:
        session = self._session
        if session is not None and not session.is_joined:
            # The first connection begins with the stream; a later one once the peer has answered,
            # so that a server that is away costs no keyframes.
            may_join = session.is_open or not self._has_joined
            if is_keyframe and may_join:
                session.is_joined = self._has_joined = True
        if session is None or not session.is_joined:
            self._count_lost(1)
            return
        self._count_lost(await session.put(packet))

    def _new_session(self, target: Target) -> MuxerSession:
        assert self._keyframe is not None
        return MuxerSession(
            target,
            self._audio,
            self._keyframe,
            clock=self._clock,
            patience=self._patience,
            request_keyframe=self._request_keyframe,
            locate=self._locate,
            opened=self._on_opened,
            told=lambda remark: _log.warning("%s: %s", self._label, remark),
            refused=partial(self._metrics.count, AUDIO_REFUSED),
        )

    async def _run(self, target: Target) -> None:
        """One session after another until closed."""
        while True:
            session = self._session
            assert session is not None
            began_ns = self._clock.now_ns()
            try:
                reason = await session.run()
            finally:
                self._session = None
                self._count_lost(session.lost - session.overflowed)
                self._pictures_taken += session.pictures_taken
            self._reason = without(target.secrets, reason)
            if self._closing.is_set():
                return
            if session.is_open and self._since_s(began_ns) > LASTING_S:
                self._backoff.reset()
            self._report(session)
            self._metrics.count(f"sink.restarts.{self._label}")
            if reason not in AT_ONCE or not session.is_open:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), self._backoff.next_s())
                    return
            target = await asyncio.to_thread(self._prepare)
            self._session = self._new_session(target)

    def _on_opened(self) -> None:
        self._has_opened = True
        if self._away_since_ns is None:
            _log.info("%s: open", self._label)
        else:
            away_s = self._since_s(self._away_since_ns)
            self._away_since_ns = None
            # As loud as the line before: whoever read that it was lost waits for this one.
            _log.warning("%s: is back after %.1f s", self._label, away_s)
        if self._session is not None and not self._session.is_joined:
            self._request_keyframe()

    def _report(self, session: MuxerSession) -> None:
        reason = self._reason
        if self._away_since_ns is not None:
            _log.debug("%s: still not open (%s)", self._label, reason)
            return
        self._away_since_ns = self._clock.now_ns()
        if session.is_open:
            _log.warning("%s: lost (%s); it is tried again until it is back", self._label, reason)
        else:
            _log.warning(
                "%s: cannot be opened (%s); the stream goes on, and it is tried again until it can "
                "be; check where it goes",
                self._label,
                reason,
            )

    def _conclude(self) -> None:
        """What the end shows: that it got nothing, or not the last of it."""
        given, taken = self._pictures, self._pictures_taken
        if not taken:
            what = "took none" if self._has_opened else "was never reached and got none"
            raise SinkError(
                f"{self._label} {what} of the {given} pictures ({self._reason}); "
                "check where it goes"
            )
        if self._needs_end and self._reason:
            raise SinkError(f"{self._label} lacks its end ({self._reason}); check where it goes")
        if self._away_since_ns is not None or self._reason:
            _log.warning(
                "%s: the stream ended without it (%s); it got %d of the %d pictures",
                self._label,
                self._reason,
                taken,
                given,
            )

    def _since_s(self, then_ns: int) -> float:
        return (self._clock.now_ns() - then_ns) / 1e9

    def _count_lost(self, packets: int) -> None:
        if packets > 0:
            self._metrics.count(f"dropped.sink.{self._label}", packets)


def without(secrets: tuple[str, ...], text: str) -> str:
    """``text`` with stars for each of ``secrets``, which are sorted from long to short."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
