"""The path of a camera that dies and comes back while somebody watches."""

from __future__ import annotations

import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.goal import Goal
from benchmarks.latency.crew import Crew, Program, ProgramFailed, free_port
from benchmarks.latency.sightings import Measurement, Sighting, measure
from benchmarks.latency.stage import (
    FLUSH_S,
    Camera,
    Options,
    PathResult,
    Streamer,
    are_connected,
    first_after,
    joined,
    start_camera,
    start_viewer,
    wait_for_picture,
)

WITHIN_MS = 1500.0
DOWN_S = (1.0, 3.0, 5.0, 10.0, 2.0)
"""For how long the camera stays away, in turn; its own start comes on top."""
BETWEEN_S = 12.0
"""Each loss is the first one of a camera that was well: with less between them, a streamer that
waits longer after each would be blamed for the losses before."""
GIVE_UP_S = 60.0
FPS = 30


def restart(options: Options) -> PathResult:
    """Kill camera and server, start them anew, and wait for the first new picture; repeatedly."""
    port = free_port()
    returns: list[dict[str, Any]] = []
    seen: list[Sighting] = []
    spans: list[tuple[int, int]] = []
    with tempfile.TemporaryDirectory() as folder, Crew() as crew:
        camera = start_camera(crew, options, fps=FPS, port=port)
        url = camera.url
        streamer = joined(
            crew, camera, lambda: Streamer(crew, Path(folder), url, "--to", "webrtc:")
        )
        viewer = start_viewer(crew, streamer.whep_url)
        wait_for_picture(viewer)
        crew.run_for(options.discard_s)
        for turn in range(options.restarts):
            camera, one = _one_return(
                crew, options, camera, viewer, port=port, down_s=DOWN_S[turn % len(DOWN_S)]
            )
            returns.append(one)
            spans.append(crew.run_for(BETWEEN_S))
        crew.run_for(FLUSH_S)
        seen = viewer.sightings
        is_kept = are_connected(viewer)
        crew.stop(viewer)
        report = streamer.finish()
    return PathResult(
        claim="when a camera is back, its viewers see it again on the same connection",
        measurements=_between(seen, spans),
        goals=[
            Goal(
                what="slowest return, ms from the server accepting to the first new picture seen",
                measured=_slowest(returns),
                at_most=WITHIN_MS,
            ),
            Goal(what="viewers still connected (1 of 1)", measured=float(is_kept), at_least=1.0),
        ],
        extra={"returns": returns, "connection_kept": is_kept, "streamer": report},
    )


def _one_return(
    crew: Crew, options: Options, camera: Camera, viewer: Program, *, port: int, down_s: float
) -> tuple[Camera, dict[str, Any]]:
    killed_ns = time.monotonic_ns()
    crew.stop(camera.server, camera.drawing)
    crew.run_for(down_s)
    camera = start_camera(crew, options, fps=FPS, port=port)

    def first() -> Sighting | None:
        return first_after(viewer.sightings, camera.ready_ns)

    with suppress(ProgramFailed):
        viewer.wait_for(first, within_s=GIVE_UP_S, what="a new picture")
    crew.check()
    found = first()
    back_ms = None if found is None else (found.at_ns - camera.ready_ns) / 1e6
    sent = first_after(camera.server.sightings, camera.ready_ns)
    sent_ms = None if sent is None else (sent.at_ns - camera.ready_ns) / 1e6
    return camera, {
        "down_s": round((camera.ready_ns - killed_ns) / 1e9, 3),
        "back_within_ms": None if back_ms is None else round(back_ms, 1),
        # Nothing leaves a camera before somebody asks it for its stream.
        "camera_sent_after_ms": None if sent_ms is None else round(sent_ms, 1),
        "still_connected": are_connected(viewer),
    }


def _slowest(returns: list[dict[str, Any]]) -> float | None:
    """``None`` where the camera was not seen again after one of them."""
    found = [one["back_within_ms"] for one in returns]
    return None if None in found else float(max(found))


def _between(seen: list[Sighting], spans: list[tuple[int, int]]) -> list[Measurement]:
    """The latency after each return: numbers begin anew with the camera, so each stands alone."""
    return [
        measure(f"after return {turn}", seen, between_ns=[one])
        for turn, one in enumerate(spans, start=1)
    ]
