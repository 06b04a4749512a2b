"""Scenario ``loss``: a camera over UDP whose packets are lost in bursts, with and without concealment.

Note [What a freeze would have been worth]: Two runs lose different pictures, also by the same seed,
since packets and pictures do not begin together; their mean PSNR differs by 1 dB from one ten
seconds to the next of the same run. So what stands in for a lost picture is compared with what a
freeze would have shown at that very moment of the same run: the picture that stood before the first
of those that are lost together.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from benchmarks.goal import Goal
from benchmarks.latency.sightings import Measurement
from benchmarks.latency.stage import Loss
from benchmarks.realtime.doubling import over_time
from benchmarks.realtime.screen import Compared
from benchmarks.realtime.session import INTERVAL_MS, Part, pooled, session
from benchmarks.realtime.settings import Outcome, Settings
from benchmarks.realtime.shown import NEW_CHANGE, Shown, waits_ms
from streamer.metrics import summary_of
from streamer.pace import LONGEST_STAND, MOST_LOST

DURATION_S = 160.0
TURNS = 4
"""Of each way; the n-th turns of both lose by the same seed. A machine that stops for a moment
spoils one."""

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
        "long, and what is shown is nearer to what the camera drew than the last picture again",
        baseline="times: the same stream with --no-conceal, in turn with it, losing by the same "
        "seeds; PSNR: the picture before the loss, at the same moments",
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
                "in intervals, median of the turns",
                measured=_longest_in_reach(concealed),
                at_most=float(LONGEST_STAND),
            ),
            Goal(
                what="PSNR of what stands in for lost pictures, above freezing, median, dB",
                measured=concealed.extra["above_freezing_db"]["p50"],
                at_least=2.0,
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
    compared = [running.compared(span_ns) for running, span_ns in parts]
    gains: list[list[float]] = [[] for _ in range(MOST_LOST)]
    in_reach: list[list[float]] = []
    for (running, span_ns), seen, lost in zip(parts, compared, headless, strict=True):
        in_reach.append(waits_in_reach_ms(running.shown, span_ns, lost=lost))
        for step, found in enumerate(above_freezing_db(seen, lost=lost)):
            gains[step] += found
    return pooled(
        name,
        parts,
        packets=packets,
        same_picture_ms=summary_of(waits).as_dict(),
        same_picture_in_reach_ms={
            **summary_of([wait for turn in in_reach for wait in turn]).as_dict(),
            "longest_of_turns": [round(max(turn, default=0.0), 1) for turn in in_reach],
        },
        frozen_share=share_frozen(waits),
        psnr_db=quality([one.db for seen in compared for one in seen]),
        above_freezing_db=gained(gains),
        turns=[running.numbers for running, _ in parts],
    )


def above_freezing_db(compared: Sequence[Compared], *, lost: Sequence[int]) -> list[list[float]]:
    """By how much what stood for lost pictures was nearer to them than the one before the loss.

    One list for the first of pictures lost in a row, one for the second, up to ``MOST_LOST``. ``lost`` are
    the numbers of the camera's pictures that nobody could decode. Where nothing stood in it is 0.
    """
    by_number = {one.number: one for one in compared}
    gains: list[list[float]] = [[] for _ in range(MOST_LOST)]
    for run in _runs(lost):
        for step, number in enumerate(run[:MOST_LOST]):
            one = by_number.get(number)
            if one is not None and step < len(one.frozen_db):
                gains[step].append(one.db - one.frozen_db[step])
    return gains


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
        one
        for one in shown
        if one.change >= NEW_CHANGE and span_ns[0] <= one.arrived_ns < span_ns[1]
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
            found.append((after.arrived_ns - one.arrived_ns) / 1e6)
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


def quality(values: Sequence[float]) -> dict[str, float | int | None]:
    """Of values in dB; ``p5`` is what the worst 5 % stay under."""
    ordered = sorted(values)
    if not ordered:
        return {"n": 0, "mean": None, "p50": None, "p5": None}
    found = {"mean": sum(ordered) / len(ordered)}
    for name, share in (("p50", 0.5), ("p5", 0.05)):
        found[name] = ordered[int(share * (len(ordered) - 1))]
    return {"n": len(ordered), **{name: round(value, 3) for name, value in found.items()}}


def gained(gains: Sequence[Sequence[float]]) -> dict[str, Any]:
    """What ``above_freezing_db`` found, in short; where nothing stood in, the machine had no time
    for it."""
    together = [gain for step in gains for gain in step]
    worse, nothing = sum(one < 0 for one in together), together.count(0.0)
    return {
        **quality(together),
        "worse_share": round(worse / len(together), 3) if together else None,
        "nothing_stood_in_share": round(nothing / len(together), 3) if together else None,
        "by_step": [quality(step) for step in gains],
    }


def _ratio(concealed: Measurement, frozen: Measurement) -> float | None:
    longest, without = (one.extra["same_picture_ms"]["max"] for one in (concealed, frozen))
    return longest / without if without else None


def _longest_in_reach(concealed: Measurement) -> float | None:
    longest = concealed.extra["same_picture_in_reach_ms"]["longest_of_turns"]
    return median(longest) / INTERVAL_MS if any(longest) else None
