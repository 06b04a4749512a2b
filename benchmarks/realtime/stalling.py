"""A network that stalls: passes TCP connections on, and holds what the far end sends back, by a seed.

A burst, which is what comes from when nothing is held until that leaves, is held for 0 to ``--hold-ms``,
each value as likely as any other; now and then all stands for ``--stall-ms`` instead. Nothing is lost
or put in another order.
"""

from __future__ import annotations

import argparse
import asyncio
import random

from benchmarks.latency.observer import say


class Holds:
    """How long each burst is held; the same seed gives the same ones."""

    def __init__(self, *, seed: int, hold_ms: float, stall_ms: float, stall_share: float) -> None:
        """``stall_share`` of the bursts is held for ``stall_ms``."""
        self._random = random.Random(seed)
        self._hold_ms, self._stall_ms, self._stall_share = hold_ms, stall_ms, stall_share

    def next_ms(self) -> float:
        held_ms = self._random.uniform(0, self._hold_ms)
        return self._stall_ms if self._random.random() < self._stall_share else held_ms


class End(asyncio.Protocol):
    """One end of a connection; what comes there leaves by the other end, at once or held."""

    def __init__(self, holds: Holds | None = None) -> None:
        self.other: End | None = None
        self._holds = holds
        self._held = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # Until there is another end.
        transport.pause_reading()

    def join(self, other: End) -> None:
        """From now on what comes here leaves there, and the other way round."""
        self.other, other.other = other, self
        for end in (self, other):
            assert end._transport is not None
            end._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self._holds is None:
            self._pass_on(data)
            return
        if not self._held:
            loop = asyncio.get_running_loop()
            loop.call_later(self._holds.next_ms() / 1000, self._release)
        self._held += data

    def connection_lost(self, error: Exception | None) -> None:
        self._release()
        if self.other is not None and self.other._transport is not None:
            self.other._transport.close()

    def _release(self) -> None:
        data = bytes(self._held)
        self._held.clear()
        self._pass_on(data)

    def _pass_on(self, data: bytes) -> None:
        if self.other is not None and self.other._transport is not None:
            self.other._transport.write(data)


async def serve(target_port: int, holds: Holds) -> None:
    """Pass on until stopped."""
    loop = asyncio.get_running_loop()
    joining: set[asyncio.Task[None]] = set()

    async def join(near: End) -> None:
        _, far = await loop.create_connection(lambda: End(holds), "127.0.0.1", target_port)
        near.join(far)

    def accepted() -> End:
        near = End()
        task = loop.create_task(join(near))
        joining.add(task)
        task.add_done_callback(joining.discard)
        return near

    server = await loop.create_server(accepted, "127.0.0.1", 0)
    say("ready", port=server.sockets[0].getsockname()[1])
    await server.serve_forever()


def main() -> None:
    """Pass on until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target_port", type=int, help="of this machine")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hold-ms", type=float, default=15.0)
    parser.add_argument("--stall-ms", type=float, default=40.0)
    parser.add_argument("--stall-share", type=float, default=1 / 60, help="of the bursts")
    options = parser.parse_args()
    holds = Holds(
        seed=options.seed,
        hold_ms=options.hold_ms,
        stall_ms=options.stall_ms,
        stall_share=options.stall_share,
    )
    asyncio.run(serve(options.target_port, holds))


if __name__ == "__main__":
    main()
