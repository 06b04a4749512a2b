"""A camera, the streamer and a viewer who tells of every picture: what most scenarios begin with.

All three share the machine. The viewer receives and answers as any does, but decodes afterwards.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from subprocess import PIPE
from typing import Any

from benchmarks.latency.crew import Crew, Program
from benchmarks.latency.sightings import Measurement
from benchmarks.latency.stage import (
    FLUSH_S,
    STARTS_WITHIN_S,
    Camera,
    Loss,
    Options,
    Streamer,
    joined,
    measured,
    start_camera,
)
from benchmarks.realtime.screen import Compared
from benchmarks.realtime.shown import (
    Shown,
    cadence_errors_ms,
    from_rows,
    real_pictures,
    slope_ms_per_minute,
    within,
)
from streamer.metrics import summary_of
from streamer.report import RECENT
from streamer.tally import MADE

FPS = 30
INTERVAL_MS = 1000 / FPS
SAMPLE_S = 0.5
RECENT_S = RECENT / FPS
TOLD_WITHIN_S = 1800.0
"""For the viewer to decode everything: ten minutes are 36,000 pictures."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the streamer had treated and made at an instant, since its start."""

    at_ns: int
    counts: Mapping[str, int]
    """Real frames by tier, and made ones by origin."""
    sent_p95_ms: float | None = None
    """From arrived to sent, of the last ``RECENT_S`` of real frames; ``None`` before the first."""


@dataclass(slots=True)
class Session:
    """One run of the streamer."""

    crew: Crew
    camera: Camera
    streamer: Streamer
    watcher: Program
    samples: list[Sample] = field(default_factory=list)
    said: dict[str, Any] = field(default_factory=dict)
    """What the streamer said of itself at the last sample."""
    cores: dict[str, float] = field(default_factory=dict)
    """How many of the machine's cores each program kept busy, over the last ``run_for``."""
    report: dict[str, Any] = field(default_factory=dict)
    """Of the whole run; there when ``finish`` was called."""

    def run_for(self, seconds: float) -> tuple[int, int]:
        """Wait, and note what the streamer does; the instants of the first and last note."""
        if not self.samples or time.monotonic_ns() - self.samples[-1].at_ns > SAMPLE_S * 1e9 / 2:
            self._sample()
        began_ns, used_s = self.samples[-1].at_ns, self._used_s()
        parts = max(1, round(seconds / SAMPLE_S))
        for part in range(1, parts + 1):
            passed_s = (time.monotonic_ns() - began_ns) / 1e9
            self.crew.run_for(max(0.0, seconds * part / parts - passed_s))
            self._sample()
        ended_ns = self.samples[-1].at_ns
        self.cores = {
            name: round((cpu_s - used_s[name]) * 1e9 / (ended_ns - began_ns), 2)
            for name, cpu_s in self._used_s().items()
        }
        return began_ns, ended_ns

    def finish(self) -> None:
        """End the streamer, then have the viewer tell what it got."""
        self.crew.run_for(FLUSH_S)
        self.report = self.streamer.report()
        self.watcher.tell({})
        self.watcher.hear("told", within_s=TOLD_WITHIN_S, what="telling what it got")
        self.crew.stop(self.watcher)

    @property
    def numbers(self) -> dict[str, Any]:
        """What results keep of its report, and of what it said last."""
        kept = ("frames", "latency_ms", "tiers", "engines")
        last = ("steps", "prediction_gain_db")
        said = {key: self.said.get(key) for key in last}
        return {key: self.report[key] for key in kept} | said | {"cores": self.cores}

    @property
    def shown(self) -> list[Shown]:
        """Every picture that the viewer got; there when ``finish`` was called."""
        return from_rows(row for event in self._batches() for row in event["rows"])

    def compared(self, span_ns: tuple[int, int]) -> list[Compared]:
        """What was to be seen within a span; nothing where it was not judged."""
        rows = (row for event in self._batches() for row in event["compared"])
        return [
            Compared(int(number), float(db), tuple(map(float, frozen_db)))
            for at_ns, (number, db, frozen_db) in rows
            if span_ns[0] <= at_ns < span_ns[1]
        ]

    def _used_s(self) -> dict[str, float]:
        return {program.name: program.cpu_s() for program in self.crew.programs}

    def _batches(self) -> Iterator[Mapping[str, Any]]:
        return (event for event in list(self.watcher.events) if event["event"] == "shown")

    def _sample(self) -> None:
        said = self.said = self.streamer.statistics()
        made = {origin: int(said["frames"].get(origin, 0)) for origin in MADE}
        sent = said["latency_ms"].get("arrived_to_sent")
        self.samples.append(
            Sample(
                time.monotonic_ns(),
                {**said.get("tiers", {}), **made},
                None if sent is None else float(sent["p95"]),
            )
        )


Via = Callable[[Crew, str], str]
"""Puts something between the camera at this address and who reads it: the address to read then."""


@contextmanager
def session(
    options: Options,
    *arguments: str,
    loss: Loss | None = None,
    via: Via | None = None,
    is_judged: bool = False,
) -> Iterator[Session]:
    """A camera over RTSP, ``streamer run`` with these arguments, and a viewer who sees pictures.

    With ``loss`` it comes over UDP. The time to settle, ``options.discard_s``, has passed.
    """
    with tempfile.TemporaryDirectory() as folder, Crew() as crew:
        camera = start_camera(crew, options, fps=FPS, loss=loss)
        url = f"{camera.url}?transport=udp" if loss is not None else camera.url
        url = url if via is None else via(crew, url)
        start = partial(Streamer, crew, Path(folder), url, "--to", "webrtc:", *arguments)
        streamer = joined(crew, camera, start)
        size = ("--width", options.width, "--height", options.height, "--fps", FPS)
        judging = ("--judge",) if is_judged else ()
        watcher = crew.start_module(
            "viewer", "benchmarks.realtime.watcher", streamer.whep_url, *size, *judging, stdin=PIPE
        )
        running = Session(crew, camera, streamer, watcher)
        watcher.hear("receives", within_s=STARTS_WITHIN_S, what="a picture")
        crew.run_for(options.discard_s)
        yield running


Part = tuple[Session, tuple[int, int]]
"""A run, and the span of it that counts."""


def pooled(name: str, parts: Sequence[Part], **extra: Any) -> Measurement:
    """The real pictures of these parts together, and the cadence of all, as the viewer saw both."""
    shown = [within(running.shown, [span_ns]) for running, span_ns in parts]
    found = [
        measured(
            name,
            real_pictures(one, interval_ms=INTERVAL_MS),
            running.camera.server,
            [span_ns],
        )
        for one, (running, span_ns) in zip(shown, parts, strict=True)
    ]
    real = [sighting for one in found for sighting in one.seen]
    arrivals = [error for one in shown for error in cadence_errors_ms(one)]
    return replace(
        found[0],
        seen=real,
        missing=sum(one.missing for one in found),
        extra={
            **(_of_one(found[0]) if len(found) == 1 else {}),
            "cadence_ms": summary_of(arrivals).as_dict(),
            "pictures_shown": sum(map(len, shown)),
            **extra,
        },
    )


def _of_one(found: Measurement) -> dict[str, Any]:
    """What only means something in one piece."""
    return {**found.extra, "slope_ms_per_minute": rounded(slope_ms_per_minute(found.seen))}


def rounded(value: float | None) -> float | None:
    """As reports write it."""
    return None if value is None else round(value, 3)
