"""What ``probe`` says a machine can hold is what a stream begins with there."""

from __future__ import annotations

import pytest

from streamer.clock import ManualClock
from streamer.probe import holds
from streamer.schedule import TierLadder

WIDTH, HEIGHT = 640, 360


@pytest.mark.parametrize("fps", [15.0, 30.0, 60.0])
@pytest.mark.parametrize("alone_ms", [1.0, 3.0, 6.0, 11.0, 18.0, 24.0, 40.0])
@pytest.mark.parametrize(
    "tiers", [("medium", "lite", "nano", "plain"), ("medium", "lite", "plain")]
)
def test_what_holds_is_what_a_live_stream_begins_with(
    tiers: tuple[str, ...], alone_ms: float, fps: float
) -> None:
    shares = dict(zip(tiers, (1.0, 0.3, 0.12, 0.0), strict=False))
    costs_ms = {tier: alone_ms * share for tier, share in shares.items() if tier != "plain"}
    pixel_ns = {tier: 1e6 * cost_ms / (WIDTH * HEIGHT) for tier, cost_ms in costs_ms.items()}
    ladder = TierLadder(tiers, ManualClock(), pixel_ns=pixel_ns)
    ladder.choose(10**12, size=(WIDTH, HEIGHT), interval_ms=1000 / fps)
    held = [tier for tier, cost in costs_ms.items() if holds(tier, cost, tiers=tiers, fps=fps)]
    assert ladder.rung.tier == next(iter(held), "plain")
