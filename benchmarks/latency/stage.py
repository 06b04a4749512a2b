"""What a measurement is set up from: the camera, the streamer, its viewers, and a span of time."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.goal import Goal
from benchmarks.latency.crew import Crew, Program, ProgramFailed, accepts, free_port
from benchmarks.latency.sightings import Measurement, Sighting, measure
from streamer.errors import ConfigError
from streamer.metrics import summary_of

Started = TypeVar("Started")

SERVER = Path(__file__).parent / "rtsp_server.py"
INSTALL = (
    "apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base "
    "gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly"
)
STARTS_WITHIN_S = 60.0
FINISHES_WITHIN_S = 60.0
JOIN_TRIES = 3
MUTE_NS = 2_000_000_000
"""Without a picture that left the camera, which reports them twice a second."""
FLUSH_S = 1.2
"""Readers report twice a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How long everything is measured."""

    duration_s: float = 60.0
    discard_s: float = 5.0
    """After every reader has seen a picture; never counted."""
    width: int = 640
    height: int = 360
    restarts: int = 5

    def in_turns(self, turns: int) -> Options:
        """For a measurement that is made in so many parts."""
        return replace(self, duration_s=max(1.0, self.duration_s / turns))

    def __post_init__(self) -> None:
        if not 1 <= self.duration_s <= 86_400 or not 0 <= self.discard_s <= 3600:
            raise ConfigError(
                f"--duration {self.duration_s:g} and --discard {self.discard_s:g} are out of "
                "range; use 1 to 86400 and 0 to 3600 seconds"
            )
        if not 1 <= self.restarts <= 1000:
            raise ConfigError(f"--restarts {self.restarts} is out of range; use 1 to 1000")


@dataclass(frozen=True, slots=True, kw_only=True)
class PathResult:
    """One path, measured."""

    claim: str
    measurements: Sequence[Measurement]
    goals: Sequence[Goal]
    extra: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            "claim": self.claim,
            "measurements": [one.as_dict() for one in self.measurements],
            "goals": [goal.as_dict() for goal in self.goals],
            **self.extra,
        }


@dataclass(frozen=True, slots=True)
class Camera:
    """Drawing and serving, each its own program."""

    drawing: Program
    server: Program
    url: str
    ready_ns: int
    """When its server began to accept."""


def gstreamer_python() -> str:
    """An interpreter that has GStreamer's RTSP server; raises ``ConfigError`` where none has."""
    return _gstreamer()[0]


def gstreamer_version() -> str:
    """As GStreamer says it; raises ``ConfigError`` where it is missing."""
    return _gstreamer()[1]


def _gstreamer() -> tuple[str, str]:
    why = "there is no Python"
    for name in dict.fromkeys(("/usr/bin/python3", shutil.which("python3"), sys.executable)):
        if name is None or not Path(name).exists():
            continue
        done = subprocess.run(
            [name, str(SERVER), "--check"], capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode == 0:
            return name, str(json.loads(done.stdout.splitlines()[-1])["gstreamer"])
        why = (done.stderr.strip().splitlines() or [why])[-1]
    raise ConfigError(
        f"the camera of this benchmark is GStreamer's RTSP server, and parts of it are missing "
        f"({why}); run: {INSTALL}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Packets that the camera's network loses, in bursts; see ``rtsp_server.Bursts``."""

    share: float
    mean_packets: float
    seed: int

    @property
    def arguments(self) -> tuple[str, ...]:
        """For ``rtsp_server``."""
        named = {"--loss": self.share, "--burst": self.mean_packets, "--seed": self.seed}
        return tuple(str(part) for pair in named.items() for part in pair)


def start_camera(
    crew: Crew, options: Options, *, fps: int, port: int = 0, loss: Loss | None = None
) -> Camera:
    """A camera that serves; on ``port``, or on a free one."""
    size = ("--width", str(options.width), "--height", str(options.height))
    drawing = crew.start_module(
        "camera", "benchmarks.latency.camera", *size, "--fps", fps, listens=False
    )
    pictures = drawing.process.stdout
    assert pictures is not None
    server = crew.start(
        "RTSP server",
        *(gstreamer_python(), str(SERVER), *size),
        *("--fps", f"{fps}/1", "--gop", str(fps), "--port", str(port)),
        *(loss.arguments if loss is not None else ()),
        stdin=pictures,
    )
    # Only the server may hold it, or the camera would never notice its end.
    pictures.close()
    ready = server.hear("ready", within_s=STARTS_WITHIN_S, what="serving")
    url = f"rtsp://127.0.0.1:{ready['port']}{ready['path']}"
    return Camera(drawing, server, url, ready_ns=int(ready["at_ns"]))


def joined(crew: Crew, camera: Camera, start: Callable[[], Started]) -> Started:
    """What ``start`` gives, whose programs open the camera's stream; tried again where the camera
    has sent nothing, or nothing any more.

    One time in about a hundred, GStreamer's server (1.22) answers PLAY to the first client of a
    stream and keeps the pipeline blocked, at times behind its first picture. That is no matter of
    the one who reads.
    """
    for turn in range(JOIN_TRIES):
        before, began_ns = crew.programs, time.monotonic_ns()
        try:
            return start()
        except ProgramFailed:
            last_ns = max((one.at_ns for one in camera.server.sightings), default=0)
            is_mute = last_ns < began_ns or time.monotonic_ns() - last_ns > MUTE_NS
            if not is_mute or turn == JOIN_TRIES - 1:
                raise
            crew.stop(*(program for program in crew.programs if program not in before))
    raise AssertionError("the last try returns or raises")


class Streamer:
    """``streamer run`` as a process of its own."""

    def __init__(self, crew: Crew, folder: Path, *arguments: str, module: str = "streamer") -> None:
        """``arguments`` are those of ``streamer run``, without ``--port`` and ``--report``."""
        port = free_port()
        self._crew = crew
        self._report = folder / f"report-{port}.json"
        self._base = f"http://127.0.0.1:{port}"
        self.program = crew.start_module(
            *("streamer", module, "run", *arguments),
            *("--port", port, "--report", self._report),
        )
        self.program.wait_for(
            lambda: accepts(port), within_s=STARTS_WITHIN_S, what="serving its viewers"
        )

    @property
    def whep_url(self) -> str:
        return f"{self._base}/whep/live"

    def statistics(self) -> dict[str, Any]:
        """What it says of now."""
        with urllib.request.urlopen(f"{self._base}/api/streams/live", timeout=20) as response:
            return dict(json.load(response))

    def tiers(self) -> dict[str, int]:
        """How many pictures each step of the ladder has treated so far."""
        return dict(self.statistics().get("tiers", {}))

    def report(self) -> dict[str, Any]:
        """End it as Ctrl-C does; its own report of the run."""
        self._crew.stop(self.program, within_s=FINISHES_WITHIN_S)
        try:
            return dict(json.loads(self._report.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            raise ConfigError(f"the streamer wrote no report: {self.program.last_words}") from None

    def finish(self) -> dict[str, Any]:
        """End it; of its report what the paths of this benchmark compare."""
        report = self.report()
        return {
            "tiers": report["tiers"],
            "dropped": report["frames"]["dropped"],
            "engines": [engine["model"] for engine in report["engines"]],
            "arrived_to_sent_ms": report["latency_ms"].get("arrived_to_sent"),
        }


def start_viewer(crew: Crew, url: str, *, silent: int = 0) -> Program:
    """A WHEP viewer, or so many ``silent`` ones in one process; all connected."""
    name = f"{silent} silent viewers" if silent else "viewer"
    arguments = ("--silent", str(silent)) if silent else ()
    viewer = crew.start_module(name, "benchmarks.latency.viewer", url, *arguments)

    def is_watching() -> bool:
        if not silent:
            return bool(viewer.sightings)
        told = viewer.told("pictures")
        return told is not None and all(told["pictures"])

    viewer.wait_for(is_watching, within_s=STARTS_WITHIN_S, what="seeing a picture")
    return viewer


def are_connected(viewer: Program) -> bool:
    """Whether every viewer of this program has its first and only connection still."""
    told = viewer.told("states")
    return told is not None and all(state == "connected" for state in told["states"])


def pass_on(event: str, teller: Program, listener: Program) -> None:
    """What one program says to the other, as soon as it does."""
    listener.tell(teller.hear(event, within_s=STARTS_WITHIN_S, what=f"its {event}"))


def wait_for_picture(reader: Program) -> None:
    """Until the reader has read a counter."""
    reader.wait_for(
        lambda: any(one.frame_number >= 0 for one in reader.sightings),
        within_s=STARTS_WITHIN_S,
        what="reading a counter",
    )


def span(crew: Crew, options: Options, *readers: Program) -> tuple[int, int]:
    """Wait for the readers, discard the warm-up, and measure; the instants of both ends."""
    for reader in readers:
        wait_for_picture(reader)
    crew.run_for(options.discard_s)
    return crew.run_for(options.duration_s)


def measured(
    name: str,
    reader: Iterable[Sighting],
    sender: Program,
    between_ns: Sequence[tuple[int, int]],
    **extra: Any,
) -> Measurement:
    """What a reader saw within the spans, the last of which ended ``FLUSH_S`` ago or earlier.

    ``wire_ms`` is the sender's share: from drawing until the picture's last packet left its
    packetiser. ``from_wire_ms`` is the rest, picture by picture.
    """
    found = measure(name, reader, between_ns=between_ns)
    sent = sender.sightings
    sent_ns = {one.frame_number: one.at_ns for one in sent}
    rest = [
        (one.at_ns - sent_ns[one.frame_number]) / 1e6
        for one in found.seen
        if one.frame_number in sent_ns
    ]
    shares = {
        "wire_ms": measure("wire", sent, between_ns=between_ns).summary.as_dict(),
        "from_wire_ms": summary_of(rest).as_dict(),
    }
    return replace(found, extra={**extra, **shares})


def first_after(sightings: Sequence[Sighting], instant_ns: int) -> Sighting | None:
    """The first picture that was drawn after this instant."""
    since_ms = instant_ns // 1_000_000
    for one in sightings:
        if one.frame_number >= 0 and 0 < (one.counter_ms - since_ms) % (1 << 32) < 1 << 31:
            return one
    return None
