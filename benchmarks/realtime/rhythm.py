"""Scenario ``rhythm``: how evenly pictures leave that came in bursts, where nothing heavy is computed."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

from benchmarks.goal import Goal
from benchmarks.latency.crew import Crew
from benchmarks.latency.sightings import Measurement
from benchmarks.latency.stage import STARTS_WITHIN_S, Options
from benchmarks.realtime.doubling import CADENCE_P95_MS, DOUBLED, over_time, timing
from benchmarks.realtime.session import Session, Via, pooled, rounded, session
from benchmarks.realtime.settings import Outcome, Settings

DURATION_S = 60.0
"""Of all three ways together."""
WIDTH, HEIGHT = 320, 180
"""Small, so that what is measured is the waiting and not the work."""

STALLS = {"seed": 1, "hold_ms": 15.0, "stall_ms": 40.0, "stall_share": 1 / 60}
"""See ``stalling``: each picture comes up to 15 ms late, and one in two seconds 40 ms."""

NO_NETWORK = ("--tier", "plain")
PICTURES_PER_S = 59.0
"""Evenness is worth nothing where pictures are left out."""


def rhythm(settings: Settings) -> Outcome:
    """A small stream through a network that stalls, with made frames and as it comes; and the first
    straight from the camera, which is as even as this machine lets pictures leave."""
    options = replace(settings.options(DURATION_S).in_turns(3), width=WIDTH, height=HEIGHT)
    paced, running = _measured("x2, paced", options, *DOUBLED, via=stalled)
    straight, _ = _measured("x2, paced, without stalls", options, *DOUBLED)
    raw, _ = _measured("as it comes, not paced", options, via=stalled)
    seen, before = (one.extra["cadence_ms"] for one in (paced, raw))
    added = [one.extra["cadence_ms"] for one in (paced, straight)]
    return Outcome(
        claim="pictures that come in bursts leave evenly, where the machine has time for them",
        baseline="the same camera and network without made frames, which is not paced: as the viewer saw "
        f"it, a cadence error of {rounded(before['p50'])} ms (p50) and {rounded(before['p95'])} ms (p95)",
        left_out="networks, and what a larger picture takes; a screen's own wait for its refresh",
        measurements=(paced, straight, raw),
        goals=(
            Goal(
                what="p95 of the cadence error as the viewer sees it, ms",
                measured=seen["p95"] if seen["n"] else None,
                at_most=CADENCE_P95_MS,
            ),
            Goal(
                what="p95 of the cadence error as the streamer sees it, ms",
                measured=timing(running.report, "cadence_error", "p95"),
                at_most=CADENCE_P95_MS,
            ),
            Goal(
                what="p95 at the viewer above that without stalls, ms",
                measured=added[0]["p95"] - added[1]["p95"] if all(a["n"] for a in added) else None,
                at_most=CADENCE_P95_MS,
            ),
            Goal(
                what="pictures a second at the viewer",
                measured=paced.extra["pictures_shown"] / paced.extra["span_s"],
                at_least=PICTURES_PER_S,
            ),
        ),
        extra={"stalls": STALLS, "picture": f"{WIDTH}x{HEIGHT}"},
        over_time=over_time(running.samples),
    )


def _measured(
    name: str, options: Options, *arguments: str, via: Via | None = None
) -> tuple[Measurement, Session]:
    with session(options, *NO_NETWORK, *arguments, via=via) as running:
        span_ns = running.run_for(options.duration_s)
        running.finish()
    span_s = (span_ns[1] - span_ns[0]) / 1e9
    return pooled(name, [(running, span_ns)], span_s=span_s, streamer=running.numbers), running


def stalled(crew: Crew, url: str) -> str:
    """The address of a network before ``url`` that holds what comes from there."""
    parts = urlsplit(url)
    options = [
        part for name, value in STALLS.items() for part in (f"--{name.replace('_', '-')}", value)
    ]
    network = crew.start_module("network", "benchmarks.realtime.stalling", parts.port, *options)
    ready = network.hear("ready", within_s=STARTS_WITHIN_S, what="passing anything on")
    return urlunsplit(parts._replace(netloc=f"{parts.hostname}:{ready['port']}"))
