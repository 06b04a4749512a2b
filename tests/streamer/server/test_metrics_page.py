"""The metrics as a Prometheus server reads them, from real streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from streamer.server.metrics import StreamCollector
from tests.streamer.server.many import SMALL, becomes, serving_many, settings, until_numbers
from tests.streamer.server.moving_picture import LiveStream
from tests.streamer.server.watcher import run


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Each sample by its name and labels; a sample that is there twice fails."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, key
            found[key] = sample.value
    return found


def own(frames: Mapping[str, Any]) -> int:
    """Frames sent but those that were shown again while the machine stood still."""
    return int(frames.get("sent", 0) - frames.get("repeated", 0))


def test_every_stream_has_its_numbers_in_the_text_format() -> None:
    async def scenario() -> None:
        dead = settings("dead", "/no/such/clip.mp4")
        async with serving_many(settings("yard", SMALL, "webrtc:", "null:"), dead) as many:
            await until_numbers(many.http, "yard", lambda one: own(one.get("frames", {})) > 25)
            await becomes(many.registry, "dead", "failed")
            answer = await many.http.get("/metrics")
            assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
            found = samples(answer.text)

            def value(name: str, stream: str = "yard", **labels: str) -> float:
                labels["stream"] = stream
                return found[(f"streamer_{name}", tuple(sorted(labels.items())))]

            assert value("state", state="live") == 1
            assert value("state", state="failed") == 0
            assert value("state", "dead", state="failed") == 1
            assert value("frames_in_total") >= value("frames_out_total", origin="decoded") > 25
            assert 0 < value("fps", direction="out") < 20
            p50, p95, p99 = (
                value("latency_seconds", stage="arrived_to_sent", quantile=quantile)
                for quantile in ("0.5", "0.95", "0.99")
            )
            assert 0 < p50 <= p95 <= p99
            assert value("tier_frames_total", tier="plain") > 25
            assert value("budget_seconds") == 0.08
            assert value("viewers") == 0
            assert value("bitrate_bits_per_second") > 1000
            assert value("uptime_seconds") > 1
            await many.http.delete("/api/streams/yard")
            assert 'stream="yard"' not in (await many.http.get("/metrics")).text

    run(scenario())


def test_what_an_output_lost_is_told_without_its_address() -> None:
    class Losing(LiveStream):
        def statistics(self) -> Mapping[str, Any]:
            numbers = dict(super().statistics())
            numbers["frames"] = {
                "decoded": 9,
                "sent": 9,
                "interpolated": 4,
                "dropped": {
                    "packet_link.full": 3,
                    "sink.rtmp://203.0.113.9:1935": 5,
                    "sink.rtmp://203.0.113.8:1935": 6,
                    "sink.file:out.ts": 1,
                },
            }
            return {**numbers, "reconnects": 2}

    families = {family.name: family for family in StreamCollector({"a": Losing("a")}).collect()}
    lost = {
        (name, sample.labels.get("reason") or sample.labels.get("sink")): sample.value
        for name in ("streamer_dropped", "streamer_sink_dropped")
        for sample in families[name].samples
    }
    assert lost == {
        ("streamer_dropped", "packet_link.full"): 3,
        ("streamer_sink_dropped", "rtmp"): 11,
        ("streamer_sink_dropped", "file:out.ts"): 1,
    }
    sent = {one.labels["origin"]: one.value for one in families["streamer_frames_out"].samples}
    assert sent == {"decoded": 5, "interpolated": 4, "predicted": 0, "repeated": 0}
    assert families["streamer_reconnects"].samples[0].value == 2
