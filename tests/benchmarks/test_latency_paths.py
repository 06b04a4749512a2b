"""Whole paths for a second each, every part a process of its own; no number is judged."""

from __future__ import annotations

import pytest

from benchmarks.latency.ingest import rtsp_in_turn
from benchmarks.latency.relay import through_streamer
from benchmarks.latency.sightings import Measurement
from benchmarks.latency.stage import Options

pytestmark = pytest.mark.usefixtures("gstreamer")

SHORT = Options(duration_s=1.0, discard_s=0.0)


def check(found: Measurement) -> None:
    """Pictures were seen, each after it was on the wire.

    Those that stood in for others while the machine stood still cannot all be read.
    """
    assert found.seen
    assert found.unreadable <= len(found.seen) / 2
    numbers = [one.frame_number for one in found.seen]
    assert len(numbers) == len(set(numbers))
    wire = found.as_dict()["wire_ms"]
    assert wire["n"] > 0
    assert 0 < wire["p50"] <= found.summary.max
    assert 0 < found.as_dict()["from_wire_ms"]["p50"] <= found.summary.max


def test_rtsp_is_read_by_our_client_and_by_libav_from_the_same_stream() -> None:
    ours, libav = rtsp_in_turn(SHORT, fps=30, transport="udp", turns=1)
    check(ours)
    check(libav)
    assert ours.seen[-1].frame_number < libav.seen[0].frame_number


@pytest.mark.parametrize("module", ["streamer", "benchmarks.latency.libav_input"])
def test_a_camera_is_seen_by_a_viewer_through_the_streamer(module: str) -> None:
    found = through_streamer(SHORT, "camera to viewer", module=module)
    check(found)
    assert found.extra["cpu_s"] > 0
    assert found.extra["streamer"]["arrived_to_sent_ms"]["n"] > 0
