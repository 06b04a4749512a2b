"""One life of a muxer's child: started, connected, fed, watched, and ended."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from streamer.child import Child, Message
from streamer.clock import Clock
from streamer.errors import StreamerError
from streamer.frame import Packet
from streamer.link import Link, Overflow
from streamer.media import AudioInfo
from streamer.sinks.muxer_protocol import Target, as_head, opening_of

MODULE = "streamer.sinks.muxer_child"

RING_PACKETS = 240
"""Two seconds and more of 60 pictures and 50 sounds: what a peer may lag before it skips."""

START_WITHIN_S = 20.0
"""Loading libav takes 0.3 s on an idle machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a peer may keep a child busy."""

    open_s: float = 10.0
    """For the name, the connection, the handshakes and the header together."""
    take_s: float = 5.0
    """For any one packet."""
    finish_s: float = 3.0
    """For what is still queued, and the trailer."""


class MuxerSession:
    """Feeds one child; made, run once, and thrown away."""

    def __init__(
        self,
        target: Target,
        audio: AudioInfo | None,
        keyframe: Packet,
        *,
        clock: Clock,
        patience: Patience,
        request_keyframe: Callable[[], None],
        locate: Callable[[], Awaitable[Target]] | None,
        opened: Callable[[], None],
        told: Callable[[str], None],
        refused: Callable[[], None],
    ) -> None:
        """``locate`` gives the target to connect to instead, found out just then; ``opened`` is called
        when the peer has taken the header, ``told`` with a remark, ``refused`` for each packet of sound
        that cannot be decoded."""
        self.ring: Link[Packet] = Link(
            "muxer",
            capacity=RING_PACKETS,
            overflow=Overflow.SKIP_TO_KEYFRAME,
            is_keyframe=lambda packet: packet.ends_gap,
            on_overflow=request_keyframe,
        )
        self.is_joined = False
        """Whether packets flow into the ring; they begin with a keyframe."""
        self.is_open = False
        self.given = 0
        self.taken = 0
        self.pictures_taken = 0
        self.overflowed = 0
        self._target = target
        self._audio = audio
        self._keyframe = keyframe
        self._clock = clock
        self._patience = patience
        self._locate = locate
        self._opened = opened
        self._told = told
        self._refused = refused
        self._ready = asyncio.Event()
        self._is_fed = False
        self._keeps_s = 0.0
        """How long the peer keeps what it got, and so has to be held at the end."""
        self._on_the_way: deque[bool] = deque()
        """For each packet that the child has but did not take yet: whether it is a picture."""
        self._progress_ns = clock.now_ns()

    @property
    def finish_s(self) -> float:
        """How long it may take from the close of its ring to its end."""
        start_s = 0.0 if self._ready.is_set() else START_WITHIN_S
        return self._patience.finish_s + start_s + self._keeps_s

    @property
    def unfinished(self) -> str:
        """The reason where it is ended before all was written."""
        return "it did not take the rest in time" if self.is_open else "it did not answer in time"

    @property
    def lost(self) -> int:
        """Packets that were given and went nowhere."""
        return self.given - self.taken

    async def put(self, packet: Packet) -> int:
        """Queue one packet; how many the ring lost by it."""
        self.given += 1
        await self.ring.put(packet)
        before, self.overflowed = self.overflowed, self.ring.dropped
        return self.overflowed - before

    async def run(self) -> str:
        """Why it ended; empty where ``ring.close`` was called and all of it was written."""
        try:
            if self._locate is not None:
                self._target = await self._locate()
                self._progress_ns = self._clock.now_ns()
        except StreamerError as error:
            return str(error)
        try:
            child = await Child.start(MODULE)
        except OSError as error:
            # No descriptor, memory or process is left: that may pass, and the other outputs go on.
            return f"its process could not be started ({error.strerror})"
        listening = asyncio.create_task(self._listen(child), name="muxer answers")
        feeding = asyncio.create_task(self._feed(child), name="muxer packets")
        try:
            while not listening.done() and not feeding.done():
                await asyncio.wait(
                    {listening, feeding},
                    # What is allowed changes on the way, so it is looked at again before it ends.
                    timeout=min(self._left_s(), self._patience.take_s / 2),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if self._left_s() <= 0:
                    return self._complaint()
            if not listening.done():
                # All was handed over, or the child is gone and its last message is on the way.
                ending = asyncio.create_task(child.close(within_s=self.finish_s))
                await asyncio.wait({ending})
                if ending.result() < 0:  # killed
                    return self.unfinished
            with suppress(TimeoutError):
                return await asyncio.wait_for(listening, self._patience.finish_s)
            return self.unfinished
        finally:
            for task in (listening, feeding):
                task.cancel()
            await asyncio.gather(listening, feeding, return_exceptions=True)
            await child.close()

    async def _feed(self, child: Child) -> None:
        target = self._target
        opening = opening_of(target.output, self._keyframe, audio=self._audio, srt=target.srt)
        # A machine that is slow to start it takes nothing from the time it has to finish.
        await self._ready.wait()
        with suppress(OSError):
            await child.send(opening)
            async for packet in self.ring:
                if not self._on_the_way:
                    self._progress_ns = self._clock.now_ns()
                self._on_the_way.append(packet.stream == "video")
                await child.send(Message(as_head(packet), bytes(packet.payload)))
            self._is_fed = True

    async def _listen(self, child: Child) -> str:
        """Hear the child until it ends; gives its reason, empty where it had none."""
        reason = ""
        while (message := await child.receive()) is not None:
            self._progress_ns = self._clock.now_ns()
            reason = self._heard(message.head) or reason
        if not reason and (self._on_the_way or not self._is_fed):
            reason = "the process that writes it ended unexpectedly"
        return reason

    def _heard(self, head: Any) -> str:
        if "took" in head and self._on_the_way:
            self.taken += 1
            self.pictures_taken += self._on_the_way.popleft()
        elif "ready" in head:
            self._ready.set()
        elif "opened" in head and not self.is_open:
            self.is_open = True
            self._keeps_s = float(head["keeps_s"])
            self._opened()
        elif "remark" in head:
            self._told(str(head["remark"]))
        elif "refused" in head:
            self._refused()
        return str(head.get("failed", ""))

    def _left_s(self) -> float:
        """Until the child has been silent for too long."""
        if not self._ready.is_set():
            allowed_s = START_WITHIN_S
        elif not self.is_open:
            allowed_s = self._patience.open_s
        elif self._on_the_way:
            allowed_s = self._patience.take_s
        else:
            return self._patience.take_s
        return allowed_s - (self._clock.now_ns() - self._progress_ns) / 1e9

    def _complaint(self) -> str:
        if not self._ready.is_set():
            return "the process that writes it did not start"
        if not self.is_open:
            return f"it did not answer within {self._patience.open_s:g} s"
        return f"it took nothing for {self._patience.take_s:g} s"
