"""The streams' numbers for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, get_args

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from streamer.server.answers import ALWAYS
from streamer.server.handle import State, StreamHandle
from streamer.server.secrecy import metric_label
from streamer.tally import MADE

QUANTILES: Final = {"p50": "0.5", "p95": "0.95", "p99": "0.99"}


def metrics_routes(streams: Mapping[str, StreamHandle]) -> APIRouter:
    """``/metrics``, of the streams that are there when it is asked for."""
    # Its own registry: the library's global one is shared with whatever else is in the process.
    registry = CollectorRegistry()
    registry.register(StreamCollector(streams))
    router = APIRouter(responses=ALWAYS)

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """All numbers of all streams in the text format of Prometheus."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return router


class StreamCollector(Collector):
    """Asks each stream for its statistics at each scrape; counters begin anew with a restart."""

    def __init__(self, streams: Mapping[str, StreamHandle]) -> None:
        self._streams = streams

    def describe(self) -> Iterable[Metric]:
        return ()  # so that nothing is collected while it is being registered

    def collect(self) -> Iterator[Metric]:
        families = _Families()
        for name in self._streams:
            families.add(name, self._streams[name].statistics())
        yield from families.all()


class _Families:
    """One scrape: every metric, filled stream by stream."""

    def __init__(self) -> None:
        self.state = _gauge("state", "1 for the state a stream is in, 0 for the others", "state")
        self.restarts = _counter("restarts", "Times it was opened again after it broke")
        self.reconnects = _counter("reconnects", "Times its source was reached again")
        self.decoded = _counter("frames_in", "Frames decoded")
        self.sent = _counter("frames_out", "Frames sent, by how they came to be", "origin")
        self.dropped = _counter("dropped", "Frames and packets lost, by place and reason", "reason")
        self.sink_dropped = _counter("sink_dropped", "Packets a slow output skipped", "sink")
        self.tiers = _counter("tier_frames", "Frames by the tier that enhanced them", "tier")
        self.steps = _counter("steps", "Steps on the quality ladder, by reason", "reason")
        self.concealed = _counter("concealed", "Frames made up for, by what was wrong", "reason")
        self.gain = _gauge("prediction_gain_db", "Of predicted frames over repeated ones, lately")
        self.fps = _gauge("fps", "Frames per second over the last two seconds", "direction")
        self.latency = _gauge(
            "latency_seconds",
            "Percentiles of the last seconds, by stage; arrived_to_sent is the whole way",
            "stage",
            "quantile",
        )
        self.budget = _gauge("budget_seconds", "Allowed from arrival to the outputs")
        self.bitrate = _gauge("bitrate_bits_per_second", "Of all renditions together")
        self.viewers = _gauge("viewers", "WebRTC viewers")
        self.uptime = _gauge("uptime_seconds", "Since it was opened last")

    def all(self) -> Iterator[Metric]:
        yield from vars(self).values()

    def add(self, name: str, numbers: Mapping[str, Any]) -> None:
        state = numbers.get("state", "live")
        for one in get_args(State):
            self.state.add_metric([name, one], float(state == one))
        self.restarts.add_metric([name], numbers.get("restarts", 0))
        _add(self.reconnects, [name], numbers.get("reconnects"))
        _add(self.budget, [name], numbers.get("budget_ms"), 1e-3)
        _add(self.uptime, [name], numbers.get("uptime_s"))
        _add(self.viewers, [name], numbers.get("viewers"))
        _add(self.bitrate, [name], (numbers.get("output") or {}).get("bitrate_kbps"), 1e3)
        for direction, value in (numbers.get("fps") or {}).items():
            self.fps.add_metric([name, direction], value)
        for tier, count in (numbers.get("tiers") or {}).items():
            self.tiers.add_metric([name, tier], count)
        for reason, count in (numbers.get("stepped") or {}).items():
            self.steps.add_metric([name, reason], count)
        _add(self.gain, [name], numbers.get("prediction_gain_db"))
        for stage, timing in (numbers.get("latency_ms") or {}).items():
            for key, quantile in QUANTILES.items():
                self.latency.add_metric([name, stage, quantile], timing[key] / 1e3)
        self._add_frames(name, numbers.get("frames") or {})

    def _add_frames(self, name: str, frames: Mapping[str, Any]) -> None:
        if not frames:
            return
        made = {origin: frames.get(origin, 0) for origin in MADE}
        self.decoded.add_metric([name], frames.get("decoded", 0))
        self.sent.add_metric([name, "decoded"], frames.get("sent", 0) - sum(made.values()))
        for origin, count in made.items():
            self.sent.add_metric([name, origin], count)
        for reason, count in (frames.get("concealed") or {}).items():
            self.concealed.add_metric([name, reason], count)
        lost: dict[str, int] = {}
        for reason, count in (frames.get("dropped") or {}).items():
            # Two addresses of one scheme become one label.
            label = metric_label(reason)
            lost[label] = lost.get(label, 0) + count
        for label, count in lost.items():
            if label.startswith("sink."):
                self.sink_dropped.add_metric([name, label.removeprefix("sink.")], count)
            else:
                self.dropped.add_metric([name, label], count)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"streamer_{name}", text, labels=["stream", *labels])


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"streamer_{name}", text, labels=["stream", *labels])


def _add(
    family: GaugeMetricFamily | CounterMetricFamily,
    labels: list[str],
    value: float | None,
    factor: float = 1.0,
) -> None:
    if value is not None:
        family.add_metric(labels, value * factor)
