"""Scenario ``load``: another process takes a core for a while, and goes again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from benchmarks.goal import Goal
from benchmarks.realtime.doubling import DOUBLED, over_time
from benchmarks.realtime.session import (
    FPS,
    INTERVAL_MS,
    RECENT_S,
    Sample,
    Session,
    pooled,
    rounded,
    session,
)
from benchmarks.realtime.settings import Outcome, Settings
from benchmarks.realtime.shown import real_pictures, windows, within
from streamer.metrics import percentile, summary_of
from streamer.tally import MADE

DURATION_S = 60.0
"""A third each before, during and after the load."""

BACK_WITHIN_S = 5.0
BUDGET_MS = 80.0
"""The streamer's own default, which this scenario leaves as it is."""

USUAL, LASTS_S = 0.8, 1.5
"""Of the rate before the load, and for how long: a sample is half a second, in which two frames more
or fewer are no change."""

Span = tuple[int, int]


def load(settings: Settings) -> Outcome:
    """Latency in windows of a second, and how soon the quality is back."""
    options = settings.options(DURATION_S)
    third_s = options.duration_s / 3
    with session(options, *DOUBLED) as running:
        before = running.run_for(third_s)
        busy = running.crew.start_module("load", "benchmarks.realtime.busy", 10 * third_s)
        during = running.run_for(third_s)
        running.crew.stop(busy)
        after = running.run_for(third_s)
        running.finish()
    phases = {"before": before, "during": during, "after": after}
    found = [
        # All three on one line of time.
        replace(
            pooled(
                f"{name} the load",
                [(running, span_ns)],
                window_p95_ms=_window_p95s(running, span_ns),
            ),
            began_ns=before[0],
        )
        for name, span_ns in phases.items()
    ]
    back_s = back_after_s(running.samples, before_ns=before, after_ns=after)
    seen = summary_of([one.latency_ms for one in found[1].seen])
    whole_ns = (before[0], after[1])
    return Outcome(
        claim="under a load that takes a core the stream stays within its budget by cheaper tiers, "
        "and the best one is back soon after",
        baseline="the same run before the load",
        left_out="a load that takes both cores; what camera and viewer, which share the machine and are "
        "slowed as well, add to the budget: as the viewer saw them, real pictures of the load had a "
        f"p95 of {rounded(seen.p95) if seen.n else 'nothing'} ms",
        measurements=found,
        goals=(
            Goal(
                what=f"p95 from arrived to sent in the worst {RECENT_S:g} s of the load, ms",
                measured=worst_p95_ms(running.samples, during),
                at_most=BUDGET_MS,
            ),
            # Without it there is nothing that could come back.
            Goal(
                what="frames made a second before the load",
                measured=_rates(running.samples, before).get("interpolated"),
                at_least=USUAL * FPS,
            ),
            Goal(what="time until the quality is back, s", measured=back_s, at_most=BACK_WITHIN_S),
        ),
        extra={"back_after_s": rounded(back_s), "streamer": running.numbers},
        over_time=over_time(running.samples, whole_ns),
    )


def worst_p95_ms(samples: Sequence[Sample], span_ns: Span) -> float | None:
    """The highest of the samples that know of nothing before the span; ``None`` without any."""
    begin_ns = span_ns[0] + RECENT_S * 1e9
    inside = (one.sent_p95_ms for one in samples if begin_ns <= one.at_ns <= span_ns[1])
    return max((p95_ms for p95_ms in inside if p95_ms is not None), default=None)


def back_after_s(samples: Sequence[Sample], *, before_ns: Span, after_ns: Span) -> float | None:
    """From the end of the load until it is treated and made as before it; ``None`` where never.

    As before: for ``LASTS_S`` the tier that most frames had before the load, and frames in between,
    come at ``USUAL`` of their rate then.
    """
    usual = _rates(samples, before_ns)
    tiers = [name for name in usual if name not in MADE]
    if not tiers:
        return None
    judged = (max(tiers, key=lambda name: usual[name]), "interpolated")
    later = [one for one in samples if after_ns[0] <= one.at_ns <= after_ns[1]]
    back_ns: int | None = None
    for one, other in pairwise(later):
        rates = _rates((one, other), (one.at_ns, other.at_ns))
        if any(rates.get(name, 0.0) < USUAL * usual.get(name, 0.0) for name in judged):
            back_ns = None
            continue
        back_ns = one.at_ns if back_ns is None else back_ns
        if other.at_ns - back_ns >= LASTS_S * 1e9:
            return (back_ns - after_ns[0]) / 1e9
    return None


def _rates(samples: Sequence[Sample], span_ns: Span) -> Mapping[str, float]:
    """Frames a second of each kind between the first and the last sample of a span."""
    kept = [one for one in samples if span_ns[0] <= one.at_ns <= span_ns[1]]
    if len(kept) < 2:
        return {}
    seconds = (kept[-1].at_ns - kept[0].at_ns) / 1e9
    last, first = kept[-1].counts, kept[0].counts
    return {name: (number - first.get(name, 0)) / seconds for name, number in last.items()}


def _window_p95s(running: Session, span_ns: Span) -> list[float | None]:
    """Of each second; ``None`` where no real picture came."""
    seen = real_pictures(within(running.shown, [span_ns]), interval_ms=INTERVAL_MS)
    return [
        rounded(percentile(sorted(values), 0.95)) if values else None
        for values in windows(seen, span_ns)
    ]
