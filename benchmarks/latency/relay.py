"""Paths through the whole streamer: RTSP in, networks, WebRTC out to a WHEP viewer."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.goal import Goal
from benchmarks.latency.crew import Crew, Program
from benchmarks.latency.mute_peer import MutePeer
from benchmarks.latency.sightings import Measurement, Sighting
from benchmarks.latency.stage import (
    FLUSH_S,
    Camera,
    Options,
    PathResult,
    Streamer,
    are_connected,
    joined,
    measured,
    span,
    start_camera,
    start_viewer,
)

P50_MS, P95_MS = 45.0, 70.0
LIBAV_SLOWER_MS = 25.0
VIEWERS = 10
VIEWERS_RATIO = 1.5
HUNG_P95_MS = 5.0
ROUNDS = 2
"""With and without the hung sink in turn, so that what else the machine does meets both."""
FPS = 30


def relay(options: Options) -> PathResult:
    """Glass to glass with our RTSP client, and with libav's demuxer in its place."""
    ours = through_streamer(options, "streamer, RTSP to WebRTC", module="streamer")
    libav = through_streamer(
        options, "libav's demuxer, RTSP to WebRTC", module="benchmarks.latency.libav_input"
    )
    return PathResult(
        claim="camera to viewer through super-resolution x2, and how much of it our RTSP client "
        "saves; the viewer takes each picture at its marker bit",
        measurements=[ours, libav],
        goals=[
            Goal(what=f"{ours.name}: p50 ms", measured=_p50(ours), at_most=P50_MS),
            Goal(what=f"{ours.name}: p95 ms", measured=_p95(ours), at_most=P95_MS),
            Goal(
                what="with libav's demuxer p50 is higher by ms",
                measured=_difference(_p50(libav), _p50(ours)),
                at_least=LIBAV_SLOWER_MS,
            ),
        ],
    )


def through_streamer(options: Options, name: str, *, module: str) -> Measurement:
    """One camera, one streamer, one viewer."""
    with tempfile.TemporaryDirectory() as folder, Crew() as crew:
        camera = start_camera(crew, options, fps=FPS)
        streamer = _streamer(crew, folder, camera, "--to", "webrtc:", module=module)
        viewer = start_viewer(crew, streamer.whep_url)
        found = _costed(crew, options, streamer, viewer, name=name, camera=camera)
        crew.stop(viewer)
        return replace(found, extra={**found.extra, "streamer": streamer.finish()})


def viewers(options: Options) -> PathResult:
    """What nine more viewers cost, with the networks and without.

    With them the ladder may take a cheaper one under load and so hide a cost; without them
    nothing can be hidden, but then everything that is not a viewer costs little.
    """
    usual = _one_and_ten(options, "")
    plain = _one_and_ten(options, ", no network", "--tier", "plain")
    return PathResult(
        claim=f"{VIEWERS} viewers cost the streamer little more than one: each picture is "
        "enhanced and coded once, then encrypted and sent to each; where the ladder took cheaper "
        "networks for ten (see the tiers), only the pair without networks compares like with like",
        measurements=[*usual.measurements, *plain.measurements],
        # The goal is for a stream as it is used; without networks there is little to compare with.
        goals=usual.goals,
        extra={
            "notes": [f"for comparison, {goal.text}" for goal in plain.goals],
            "with_networks": usual.extra,
            "without_networks": plain.extra,
        },
    )


def _one_and_ten(options: Options, about: str, *arguments: str) -> PathResult:
    """Two spans of the same length in one run: one viewer, then ten."""
    with tempfile.TemporaryDirectory() as folder, Crew() as crew:
        camera = start_camera(crew, options, fps=FPS)
        streamer = _streamer(crew, folder, camera, "--to", "webrtc:", *arguments)
        viewer = start_viewer(crew, streamer.whep_url)
        one = _costed(crew, options, streamer, viewer, name=f"1 viewer{about}", camera=camera)
        audience = start_viewer(crew, streamer.whep_url, silent=VIEWERS - 1)
        ten = _costed(
            crew, options, streamer, viewer, name=f"{VIEWERS} viewers{about}", camera=camera
        )
        received = audience.told("pictures") or {"pictures": []}
        everybody = are_connected(viewer) and are_connected(audience)
        crew.stop(viewer, audience)
        report = streamer.finish()
    ratio = ten.extra["cpu_s"] / one.extra["cpu_s"] if one.extra["cpu_s"] else None
    per_frame = _per_frame(ten) / _per_frame(one) if one.seen and ten.seen else None
    return PathResult(
        claim="",
        measurements=[one, ten],
        goals=[
            Goal(
                what=f"streamer's processor time, {VIEWERS} viewers against 1{about}",
                measured=ratio,
                at_most=VIEWERS_RATIO,
            ),
            Goal(
                what=f"the same for each picture that was seen{about}",
                measured=per_frame,
                at_most=VIEWERS_RATIO,
            ),
        ],
        extra={
            "all_viewers_connected": everybody,
            "pictures_received_by_the_others": received["pictures"],
            "streamer": report,
        },
    )


def hung_sink(options: Options) -> PathResult:
    """The viewer's latency beside an output whose peer accepts and then says nothing."""
    sightings: dict[bool, list[Sighting]] = {False: [], True: []}
    spans: dict[bool, list[tuple[int, int]]] = {False: [], True: []}
    reports: list[Mapping[str, Any]] = []
    part = options.in_turns(ROUNDS)
    connections = 0
    with tempfile.TemporaryDirectory() as folder, Crew() as crew, MutePeer() as peer:
        camera = start_camera(crew, part, fps=FPS)
        for _ in range(ROUNDS):
            for is_hung in (False, True):
                sinks = ["--to", "webrtc:"]
                if is_hung:
                    sinks += ["--to", f"rtmp://127.0.0.1:{peer.port}/live/camera"]
                before = peer.accepted
                streamer = _streamer(crew, folder, camera, *sinks)
                viewer = start_viewer(crew, streamer.whep_url)
                between_ns = span(crew, part, viewer)
                crew.run_for(FLUSH_S)
                sightings[is_hung] += viewer.sightings
                spans[is_hung].append(between_ns)
                connections += peer.accepted - before
                crew.stop(viewer)
                reports.append({"hung_sink": is_hung, **streamer.finish()})
        alone, beside = (
            measured(name, sightings[is_hung], camera.server, spans[is_hung], fps=FPS)
            for name, is_hung in (("without the hung sink", False), ("beside a hung sink", True))
        )
    change = _difference(_p95(beside), _p95(alone))
    return PathResult(
        claim="a sink whose peer hangs changes nothing for the others",
        measurements=[alone, beside],
        goals=[
            Goal(what="change of the viewer's p95 ms", measured=change, at_most=HUNG_P95_MS),
            Goal(
                what="connections that the mute peer accepted",
                measured=float(connections),
                at_least=float(ROUNDS),
            ),
        ],
        extra={"rounds": ROUNDS, "streamer": reports},
    )


def _streamer(
    crew: Crew, folder: str, camera: Camera, *sinks: str, module: str = "streamer"
) -> Streamer:
    """``streamer run`` with this camera, serving."""
    return joined(
        crew,
        camera,
        lambda: Streamer(crew, Path(folder), camera.url, *sinks, module=module),
    )


def _costed(
    crew: Crew,
    options: Options,
    streamer: Streamer,
    viewer: Program,
    *,
    name: str,
    camera: Camera,
) -> Measurement:
    """What the viewer saw in a span, and what the span cost the streamer's process."""
    crew.run_for(options.discard_s)
    tiers, cpu_s = streamer.tiers(), streamer.program.cpu_s()
    between_ns = crew.run_for(options.duration_s)
    cost_s, now = streamer.program.cpu_s() - cpu_s, streamer.tiers()
    crew.run_for(FLUSH_S)
    used = {tier: number - tiers.get(tier, 0) for tier, number in now.items()}
    seconds = (between_ns[1] - between_ns[0]) / 1e9
    return measured(
        *(name, viewer.sightings, camera.server, [between_ns]),
        fps=FPS,
        cpu_s=round(cost_s, 2),
        span_s=round(seconds, 3),
        tiers={tier: number for tier, number in used.items() if number},
    )


def _per_frame(found: Measurement) -> float:
    return float(found.extra["cpu_s"]) / len(found.seen)


def _p50(found: Measurement) -> float | None:
    return found.summary.p50 if found.seen else None


def _p95(found: Measurement) -> float | None:
    return found.summary.p95 if found.seen else None


def _difference(higher: float | None, lower: float | None) -> float | None:
    return None if higher is None or lower is None else higher - lower
