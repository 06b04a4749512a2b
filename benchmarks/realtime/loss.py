"""Scenario ``loss``: a camera over UDP whose packets are lost in bursts, with and without concealment."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from benchmarks.latency.sightings import Measurement, summary_of
from benchmarks.latency.stage import Goal, Loss
from benchmarks.realtime.doubling import over_time
from benchmarks.realtime.session import INTERVAL_MS, Part, pooled, session
from benchmarks.realtime.settings import Outcome, Settings
from benchmarks.realtime.shown import NEW_CHANGE, Shown, waits_ms
from streamer.pace import MOST_LOST

DURATION_S = 120.0
TURNS = 2
"""Of each way; the n-th turns of both lose by the same seed."""

SHARE, MEAN_PACKETS = 0.05, 4.0
FROZEN_MS = 2.5 * INTERVAL_MS
"""A picture that stands for longer is seen to stop: the next one is missing, not only late."""

WAYS = {"concealed": "--conceal", "not concealed": "--no-conceal"}


def loss(settings: Settings) -> Outcome:
    """How long a picture stands, and how far what is shown is from what the camera drew."""
    options = settings.options(DURATION_S).in_turns(len(WAYS) * TURNS)
    parts: dict[str, list[Part]] = {name: [] for name in WAYS}
    packets: dict[str, list[Any]] = {name: [] for name in WAYS}
    headless: dict[str, list[Sequence[int]]] = {name: [] for name in WAYS}
    for turn in range(TURNS):
        for name, argument in WAYS.items():
            burst = Loss(share=SHARE, mean_packets=MEAN_PACKETS, seed=1 + turn)
            with session(options, argument, loss=burst, is_judged=True) as running:
                parts[name].append((running, running.run_for(options.duration_s)))
                running.finish()
                sent = running.camera.server.told("packets") or {}
                packets[name].append({key: sent.get(key, 0) for key in ("sent", "lost")})
                headless[name].append(sent.get("headless", ()))
    concealed, frozen = (
        _measured(name, parts[name], packets[name], headless[name]) for name in WAYS
    )
    return Outcome(
        claim="a lost picture is replaced by a predicted one: the viewer's picture stops for less "
        "long, and what is shown is nearer to what the camera drew",
        baseline="the same stream with --no-conceal, in turn with it, losing by the same seeds",
        left_out="retransmission (this camera offers none), and sound",
        measurements=(concealed, frozen),
        goals=(
            Goal(
                what="longest time without a new picture, of that without concealment",
                measured=_ratio(concealed, frozen),
                at_most=1.0,
            ),
            Goal(
                what=f"the same, concealed, where at most {MOST_LOST} pictures in a row were lost, "
                "in intervals",
                measured=_longest_in_reach(concealed),
                at_most=2.0,
            ),
            Goal(
                what="mean PSNR of what is shown, above that without concealment, dB",
                measured=_gain_db(concealed, frozen),
                at_least=0.0,
            ),
        ),
        extra={
            "turns": TURNS,
            "loss": {"share": SHARE, "mean_packets": MEAN_PACKETS, "model": "Gilbert 1960"},
        },
        over_time=over_time(parts["concealed"][0][0].samples),
    )


def _measured(
    name: str, parts: Sequence[Part], packets: Sequence[Any], headless: Sequence[Sequence[int]]
) -> Measurement:
    waits = [wait for running, span_ns in parts for wait in waits_ms(running.shown, span_ns)]
    in_reach = [
        wait
        for (running, span_ns), lost in zip(parts, headless, strict=True)
        for wait in waits_in_reach_ms(running.shown, span_ns, lost=lost)
    ]
    compared = [db for running, span_ns in parts for db in running.compared(span_ns)]
    return pooled(
        name,
        parts,
        packets=packets,
        same_picture_ms=summary_of(waits).as_dict(),
        same_picture_in_reach_ms=summary_of(in_reach).as_dict(),
        frozen_share=share_frozen(waits),
        psnr_db=quality(compared),
        turns=[running.numbers for running, _ in parts],
    )


def waits_in_reach_ms(
    shown: Sequence[Shown], span_ns: tuple[int, int], *, lost: Sequence[int]
) -> list[float]:
    """As ``waits_ms``, without those in which more than ``MOST_LOST`` pictures in a row were lost:
    beyond that the last one is held by design.

    ``lost`` are the numbers of the camera's pictures that nobody could decode. The times before the
    first new picture of the span and after its last one are left out.
    """
    gaps = [gap for gap in _runs(lost) if len(gap) > MOST_LOST]
    fresh = [
        one for one in shown if one.change >= NEW_CHANGE and span_ns[0] <= one.seen_ns < span_ns[1]
    ]
    found: list[float] = []
    before = -1
    for at, (one, after) in enumerate(pairwise(fresh)):
        # Made pictures read as none, or as a neighbour.
        before = max(before, one.frame_number)
        later = (fresh[index].frame_number for index in range(at + 1, len(fresh)))
        following = next((number for number in later if number > before), None)
        if before < 0 or following is None:
            continue
        if not any(before < gap[-1] and gap[0] < following for gap in gaps):
            found.append((after.seen_ns - one.seen_ns) / 1e6)
    return found


def _runs(numbers: Sequence[int]) -> list[list[int]]:
    """Numbers that follow each other, together."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def share_frozen(waits: Sequence[float]) -> float | None:
    """Of the time, the share in which the same picture stood for longer than ``FROZEN_MS``."""
    total = sum(waits)
    return round(sum(one for one in waits if one > FROZEN_MS) / total, 5) if total else None


def quality(compared: Sequence[float]) -> dict[str, float | int | None]:
    """Of what was on the screen at each moment of the camera; ``p5`` is what the worst 5 % stay under."""
    ordered = sorted(compared)
    if not ordered:
        return {"n": 0, "mean": None, "p50": None, "p5": None}
    found = {"mean": sum(ordered) / len(ordered)}
    for name, share in (("p50", 0.5), ("p5", 0.05)):
        found[name] = ordered[int(share * (len(ordered) - 1))]
    return {"n": len(ordered), **{name: round(value, 3) for name, value in found.items()}}


def _ratio(concealed: Measurement, frozen: Measurement) -> float | None:
    longest, without = (one.extra["same_picture_ms"]["max"] for one in (concealed, frozen))
    return longest / without if without else None


def _longest_in_reach(concealed: Measurement) -> float | None:
    longest = concealed.extra["same_picture_in_reach_ms"]["max"]
    return longest / INTERVAL_MS if longest else None


def _gain_db(concealed: Measurement, frozen: Measurement) -> float | None:
    ours, without = (one.extra["psnr_db"]["mean"] for one in (concealed, frozen))
    return None if ours is None or without is None else ours - without
