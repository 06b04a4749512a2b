"""Scenarios ``double`` and ``predict``: twice as many pictures from a camera, seen by a viewer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from benchmarks.goal import Goal
from benchmarks.latency.sightings import Measurement
from benchmarks.realtime.session import INTERVAL_MS, Part, Sample, pooled, session
from benchmarks.realtime.settings import Outcome, Settings
from streamer.metrics import summary_of

LATENCY_P95_MS = INTERVAL_MS / 2 + 40
SLOPE_MS_PER_MINUTE = 1.0
CADENCE_P95_MS = 2.0
ADDED_MS = 2.0
PREDICTED_EACH = 0.5
"""Not one: where predicting was no better than showing the last picture again, it is left out."""
DOUBLE_S, PREDICT_S = 600.0, 120.0
TURNS = 3
"""How often each of two ways is measured, so that what else the machine does meets both."""

DOUBLED = ("--fps", "x2", "--between", "interpolate")
PREDICTED = ("--fps", "x2", "--between", "predict")


def double(settings: Settings) -> Outcome:
    """640x360 at 30 fps to 1280x720 at 60, in one piece."""
    options = settings.options(DOUBLE_S)
    with session(options, *DOUBLED) as running:
        span_ns = running.run_for(options.duration_s)
        running.finish()
    report = running.report
    found = pooled("x2, interpolated", [(running, span_ns)], streamer=running.numbers)
    seen = found.extra
    return Outcome(
        claim="a picture more between each two real ones costs half an interval and what it takes "
        "to make them; they come evenly, and latency does not grow",
        baseline="half an interval, which nobody can save who waits for the second picture; what "
        "the same stream takes without made pictures is in the scenario predict",
        left_out="the network (loopback), and a screen's own wait for its refresh",
        measurements=(found,),
        goals=(
            Goal(
                what="p95 from arrived to sent, real frames, ms",
                measured=timing(report, "arrived_to_sent", "p95"),
                at_most=LATENCY_P95_MS,
            ),
            Goal(
                what="slope of the viewer's latency, ms per minute",
                measured=seen["slope_ms_per_minute"],
                at_most=SLOPE_MS_PER_MINUTE,
            ),
            Goal(
                what="p95 of the cadence error as the viewer sees it, ms",
                measured=seen["cadence_ms"]["p95"] if seen["cadence_ms"]["n"] else None,
                at_most=CADENCE_P95_MS,
            ),
            Goal(
                what="p95 of the cadence error as the streamer sees it, ms",
                measured=timing(report, "cadence_error", "p95"),
                at_most=CADENCE_P95_MS,
            ),
            Goal(
                what="frames lost in the streamer",
                measured=float(sum(report["frames"]["dropped"].values())),
                at_most=0.0,
            ),
            Goal(
                what="pictures a second at the viewer",
                measured=seen["pictures_shown"] * 1e9 / (span_ns[1] - span_ns[0]),
                at_least=59.0,
            ),
        ),
        over_time=over_time(running.samples, span_ns),
    )


def predict(settings: Settings) -> Outcome:
    """Predicted pictures after the real ones, in turn with the same stream without them."""
    options = settings.options(PREDICT_S).in_turns(2 * TURNS)
    ways = {"x2, predicted": PREDICTED, "as it comes": ()}
    parts: dict[str, list[Part]] = {name: [] for name in ways}
    for _ in range(TURNS):
        for name, arguments in ways.items():
            with session(options, *arguments) as running:
                parts[name].append((running, running.run_for(options.duration_s)))
                running.finish()
    predicted, plain = (
        pooled(name, parts[name], turns=[running.numbers for running, _ in parts[name]])
        for name in ways
    )
    return Outcome(
        claim="a predicted picture after each real one adds nothing to the latency of the real ones",
        baseline="the same camera without made pictures, in turn with it",
        left_out="the network (loopback), and how good the predicted pictures are (see quality)",
        measurements=(predicted, plain),
        goals=(
            *(_added(predicted, plain, percentile) for percentile in ("p50", "p95")),
            # Where nothing is predicted, nothing is added.
            Goal(
                what="predicted pictures for each real one",
                measured=_predicted_each(parts[predicted.name]),
                at_least=PREDICTED_EACH,
            ),
        ),
        extra={"turns": TURNS},
        over_time=over_time(parts[predicted.name][0][0].samples),
    )


def timing(report: dict[str, Any], name: str, percentile: str) -> float | None:
    """A percentile of a run's report; ``None`` where nothing was timed."""
    summary = report["latency_ms"].get(name)
    return None if summary is None else float(summary[percentile])


def over_time(
    samples: Sequence[Sample], span_ns: tuple[int, int] | None = None
) -> list[tuple[float, float, dict[str, int]]]:
    """What was treated and made between two samples, with the seconds at both ends."""
    began_ns, ended_ns = span_ns or (samples[0].at_ns, samples[-1].at_ns)
    found = []
    for before, after in pairwise(samples):
        if before.at_ns >= began_ns and after.at_ns <= ended_ns:
            counts = {k: n - before.counts.get(k, 0) for k, n in after.counts.items()}
            begin_s, end_s = ((one.at_ns - began_ns) / 1e9 for one in (before, after))
            found.append((begin_s, end_s, {name: n for name, n in counts.items() if n > 0}))
    return found


def _predicted_each(parts: Sequence[Part]) -> float | None:
    """Predicted frames for each real one that left."""
    frames = [running.report["frames"] for running, _ in parts]
    predicted = sum(int(one["predicted"]) for one in frames)
    real = sum(int(one["sent"]) for one in frames) - predicted
    return predicted / real if real else None


def _added(predicted: Measurement, plain: Measurement, percentile: str) -> Goal:
    """Both must have been seen for there to be a difference."""
    values = [
        getattr(summary_of([s.latency_ms for s in one.seen]), percentile)
        for one in (predicted, plain)
        if one.seen
    ]
    return Goal(
        what=f"added to the {percentile} of real pictures, ms",
        measured=values[0] - values[1] if len(values) == 2 else None,
        at_most=ADDED_MS,
    )
