"""Paths that end at the decoded picture: RTSP and WebRTC in, each beside what others use."""

from __future__ import annotations

from functools import partial

from benchmarks.goal import Goal
from benchmarks.latency.crew import Crew, Program
from benchmarks.latency.sightings import Measurement, Sighting
from benchmarks.latency.stage import (
    FLUSH_S,
    Options,
    PathResult,
    joined,
    measured,
    pass_on,
    span,
    start_camera,
    wait_for_picture,
)

RTSP_P50_MS, RTSP_P95_MS = 6.0, 12.0
WHIP_P50_MS, WHIP_P95_MS = 8.0, 15.0
RATES = (30, 10)
TRANSPORTS = ("tcp", "udp")
CLIENTS = ("streamer", "libav")
TURNS = 2
"""How often each client is measured, so that what else the machine does meets both."""


def ingest_rtsp(options: Options) -> PathResult:
    """Ours and libav's client in turn on the same stream."""
    results: list[Measurement] = []
    goals: list[Goal] = []
    for fps in RATES:
        for transport in TRANSPORTS:
            ours, libav = rtsp_in_turn(options, fps=fps, transport=transport)
            results += [ours, libav]
            goals += _limits(ours, RTSP_P50_MS, RTSP_P95_MS)
    return PathResult(
        claim="our RTSP client hands on each picture when its last packet is in; "
        "libav's demuxer waits for the next picture",
        measurements=results,
        goals=goals,
        extra={"turns": TURNS},
    )


def rtsp_in_turn(
    options: Options, *, fps: int, transport: str, turns: int = TURNS
) -> tuple[Measurement, Measurement]:
    """Ours, then libav's; neither runs while the other is measured."""
    part = options.in_turns(turns)
    sightings: dict[str, list[Sighting]] = {client: [] for client in CLIENTS}
    spans: dict[str, list[tuple[int, int]]] = {client: [] for client in CLIENTS}
    with Crew() as crew:
        camera = start_camera(crew, options, fps=fps)
        for client in CLIENTS * turns:
            reader = joined(
                crew, camera, partial(_rtsp_reader, crew, client, camera.url, transport)
            )
            spans[client].append(span(crew, part, reader))
            crew.run_for(FLUSH_S)
            sightings[client] += reader.sightings
            crew.stop(reader)
        ours, libav = (
            measured(
                f"{client}, RTSP {transport} {fps} fps",
                *(sightings[client], camera.server, spans[client]),
                fps=fps,
            )
            for client in CLIENTS
        )
    return ours, libav


def ingest_whip(options: Options) -> PathResult:
    """Our WHIP door, then aiortc as it comes, each with a publisher of its own."""
    ours = whip_alone(options, receiver="streamer")
    stock = whip_alone(options, receiver="aiortc")
    return PathResult(
        claim="our WHIP source hands on each picture when its last packet is in; "
        "aiortc's jitter buffer waits for the next picture",
        measurements=[ours, stock],
        goals=_limits(ours, WHIP_P50_MS, WHIP_P95_MS),
    )


def whip_alone(options: Options, *, receiver: str) -> Measurement:
    """One publisher, one receiver; the session description goes through this process."""
    fps = 30
    with Crew() as crew:
        size = ("--width", options.width, "--height", options.height)
        publisher = crew.start_module(
            *("publisher", "benchmarks.latency.whip_publisher", *size, "--fps", fps), stdin=-1
        )
        reader = crew.start_module(
            f"{receiver} receiver", "benchmarks.latency.whip_receiver", receiver, stdin=-1
        )
        pass_on("offer", publisher, reader)
        pass_on("answer", reader, publisher)
        between_ns = span(crew, options, reader)
        crew.run_for(FLUSH_S)
        name = f"{receiver}, WebRTC {fps} fps"
        return measured(name, reader.sightings, publisher, [between_ns], fps=fps)


def _rtsp_reader(crew: Crew, client: str, url: str, transport: str) -> Program:
    """A reader that has seen a picture."""
    reader = crew.start_module(
        f"{client} reader",
        "benchmarks.latency.rtsp_receiver",
        *(client, url, "--transport", transport),
    )
    wait_for_picture(reader)
    return reader


def _limits(found: Measurement, p50_ms: float, p95_ms: float) -> list[Goal]:
    summary = found.summary if found.seen else None
    return [
        Goal(
            what=f"{found.name}: p50 ms",
            measured=summary.p50 if summary else None,
            at_most=p50_ms,
        ),
        Goal(
            what=f"{found.name}: p95 ms",
            measured=summary.p95 if summary else None,
            at_most=p95_ms,
        ),
    ]
