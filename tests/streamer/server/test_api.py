"""The HTTP API over real streams: list, add, change, remove, and what it never tells."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from streamer.addresses import AddressPolicy, parse_network
from streamer.server.admission import Admission
from streamer.sinks.rtc_feedback import FLOOR_BPS
from tests.streamer.server.many import (
    DEAD,
    SECRETS,
    SMALL,
    becomes,
    serving_many,
    settings,
    until_numbers,
)
from tests.streamer.server.openapi import problems
from tests.streamer.server.watcher import WAIT_S, Watcher, run, until, watching

LOOPBACK = Admission(policy=AddressPolicy(allowed=(parse_network("127.0.0.0/8"),)))


def body(name: str, source: str = SMALL, *to: str, **fields: Any) -> dict[str, Any]:
    cheap = {"scale": 1, "backend": "reference"}
    return {"name": name, "source": source, "to": list(to or ("null:",)), **cheap, **fields}


def test_a_stream_is_added_shown_changed_and_removed_while_others_run() -> None:
    async def scenario() -> None:
        async with serving_many(settings("yard")) as many:
            added = await many.http.post("/api/streams", json=body("door", SMALL, "webrtc:"))
            assert added.status_code == 201, added.text
            assert added.headers["location"] == "/api/streams/door"
            assert added.json()["whep"] == "/whep/door"
            numbers = await until_numbers(
                many.http, "door", lambda one: one.get("frames", {}).get("sent", 0) > 3
            )
            assert numbers["state"] == "live"
            assert (numbers["from"], numbers["to"]) == (SMALL, ["webrtc"])
            assert numbers["latency_ms"]["arrived_to_sent"]["n"] > 3

            changed = await many.http.patch(
                "/api/streams/door", json={"budget_ms": 44, "bitrate_kbps": 700}
            )
            assert changed.status_code == 200, changed.text
            assert changed.json()["budget_ms"] == 44
            report = await many.http.get("/api/streams/door/report")
            assert report.json()["frames"]["sent"] > 3

            listed = (await many.http.get("/api/streams")).json()
            assert [one["name"] for one in listed["streams"]] == ["yard", "door"]
            assert listed["can_add"]
            assert (await many.http.delete("/api/streams/door")).status_code == 204
            assert (await many.http.get("/api/streams/door")).status_code == 404
            assert (await many.http.delete("/api/streams/door")).status_code == 404
            await becomes(many.registry, "yard", "live")
            assert many.registry["yard"].restarts == 0

    run(scenario())


def test_an_added_stream_can_be_watched() -> None:
    async def scenario() -> None:
        async with serving_many() as many:
            await many.http.post("/api/streams", json=body("door", SMALL, "webrtc:"))
            await becomes(many.registry, "door", "live")
            watcher = Watcher()
            answer = await many.http.post(
                "/whep/door",
                content=await watcher.offer(),
                headers={"Content-Type": "application/sdp"},
            )
            assert answer.status_code == 201, answer.text
            await watcher.accept(answer.text)
            await until(lambda: watcher.frames, "no picture")
            still = await many.http.get("/api/streams/door/still.jpg")
            assert still.headers["content-type"] == "image/jpeg"
            assert (await many.http.delete(answer.headers["location"])).status_code == 200
            await watcher.close()

    run(scenario())


def test_a_bitrate_that_was_raised_is_what_viewers_get_and_get_back() -> None:
    async def scenario() -> None:
        async with serving_many(settings("door", SMALL, "webrtc:")) as many:
            await becomes(many.registry, "door", "live")
            door = many.registry["door"]

            def targets() -> dict[str, int]:
                return {one["name"]: one["target_kbps"] for one in door.statistics()["webrtc"]}

            async def answer(offer: str) -> str:
                return (await door.answer(offer, view="enhanced")).answer_sdp

            changed = await many.http.patch("/api/streams/door", json={"bitrate_kbps": 4000})
            assert changed.status_code == 200, changed.text
            assert targets() == {"enhanced": 4000, "compare": 4000}
            async with watching(answer) as watcher:
                await until(lambda: watcher.frames, "no picture")
                async with asyncio.timeout(WAIT_S):
                    while targets()["enhanced"] != FLOOR_BPS / 1000:
                        # It is a limit only while clearly less than it is being sent.
                        await watcher.send_remb(10_000)
                        await asyncio.sleep(0.05)
            await until(lambda: targets()["enhanced"] == 4000, "the limit stays without its viewer")

    run(scenario())


REFUSED: tuple[tuple[Any, int, str], ...] = (
    (body("x y"), 400, "is no name for a stream"),
    (body("x", "ftp://u:hunter2@h/x"), 400, "ftp:// cannot be read"),
    (body("x", SMALL, "nowhere.avi"), 400, "is no output"),
    (body("x", SMALL, "rtsp://93.184.215.14:0/x"), 400, "has port 0, where nothing listens"),
    (body("x", SMALL, "rtmp://93.184.215.14/hunter2"), 400, "lacks a part; write the application"),
    (body("x", SMALL, "srtx://u:hunter2@h/x"), 400, "is no output"),
    (body("x", "rtsp://u:hunter2@no-such-host.invalid/x"), 409, "does not resolve"),
    (body("x", scale=9), 400, "use 1, 2, 3 or 4"),
    (body("x", budget_ms=0.1), 400, "is out of range"),
    (body("x", SMALL, "rtsp:"), 400, "serves no RTSP"),
    (body("x", "clip.mp4"), 403, "may not read a file of the server"),
    (body("x", "/etc/passwd"), 403, "may not read a file of the server"),
    (body("x", "file:///etc/passwd"), 400, "file:// cannot be read"),
    (body("x", "concat:a|b"), 403, "may not read a file of the server"),
    (body("x", "device:/dev/video0"), 403, "may not read a device of the server"),
    (body("x", "rtsp://u:hunter2@127.0.0.1/x"), 403, "this machine itself"),
    (body("x", "http://[::ffff:169.254.169.254]/latest"), 403, "link-local"),
    (body("x", "http://2130706433/x"), 400, "an unusual way to write an address"),
    (body("x", SMALL, "rtsp://u:hunter2@10.0.0.1/x"), 403, "is private"),
    (body("x", SMALL, "out.mp4"), 403, "may not write file:out.mp4"),
    (body("x", SMALL, "y4m:-"), 403, "may not write"),
    (body("x", SMALL, "hls:/tmp/x"), 403, "name a folder for it as hls_folder"),
    (body("yard"), 409, "there is a stream 'yard' already"),
    ({"name": "x", "source": 7}, 422, "source: "),
    ({"name": "x"}, 422, "source: "),
    ({**body("x"), "size": 2, "hunter2": 1}, 422, "there is no key"),
    (body("x", crf=4), 422, "there is no key 'crf' here"),
    (body("x", denoise="maybe"), 422, "denoise: "),
    (body("x", denoise=True), 422, "denoise: "),
    (body("x", sharpen=1.5), 400, "'x': sharpen 1.5 is out of range"),
    (body("x", sharpen="much"), 422, "sharpen: "),
    (body("x", "rtsp://" + "hunter2" * 400), 422, "source: "),
    (["hunter2"], 422, "the body: "),
    (body("x", backend="hunter2" * 100), 422, "backend: "),
)


def test_what_may_not_be_added_is_refused_in_one_sentence_without_its_secrets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        async with serving_many(settings("yard")) as many:
            for wanted, status, said in REFUSED:
                refused = await many.http.post("/api/streams", json=wanted)
                assert refused.status_code == status, (wanted, refused.text)
                assert refused.headers["content-type"] == "text/plain; charset=utf-8"
                assert said in refused.text, wanted
                assert refused.text.count("\n") == 1
                assert "hunter2" not in refused.text + caplog.text
            assert list(many.registry) == ["yard"]

    run(scenario())


def test_a_body_that_is_not_json_is_refused() -> None:
    async def scenario() -> None:
        async with serving_many() as many:
            # Python gives up on the second one, which is nested too deeply.
            for content in ('{"source": "hunter2', "[" * 100_000):
                broken = await many.http.post(
                    "/api/streams",
                    content=content,
                    headers={"Content-Type": "application/json"},
                )
                assert broken.status_code == 400
                assert "the body is not JSON; check its brackets" in broken.text
            # JSON can write half a letter, which no answer can hold.
            half = await many.http.post(
                "/api/streams",
                content=r'{"name": "x", "source": "synthetic:", "fps": "\ud800"}',
                headers={"Content-Type": "application/json"},
            )
            assert (half.status_code, half.text[:4]) == (422, "fps.")
            # What a form of another page could send without asking is never taken for JSON.
            for kind in ("text/plain", "application/x-www-form-urlencoded"):
                typed = await many.http.post(
                    "/api/streams",
                    content='{"name": "x", "source": "synthetic:"}',
                    headers={"Content-Type": kind},
                )
                assert typed.status_code == 415
                assert "send it as application/json" in typed.text
            assert len(many.registry) == 0

    run(scenario())


def test_a_change_that_is_not_possible_changes_nothing() -> None:
    wrong: tuple[tuple[dict[str, Any], int, str], ...] = (
        ({"budget_ms": 0}, 400, "out of range"),
        ({"bitrate_kbps": 1}, 400, "use 100 to 200000"),
        ({"tier": "nonsense"}, 400, "nonsense"),
        ({"source": SMALL}, 422, "there is no key 'source'"),
        ({"budget_ms": "fast"}, 422, "budget_ms: "),
        ({"budget_ms": None}, 422, "budget_ms: null takes nothing back, send the value"),
        ({"budget_ms": 30, "bitrate_kbps": None}, 422, "bitrate_kbps: null takes nothing back"),
        ({"tier": None}, 422, "tier: null takes nothing back"),
        ({"budget_ms": 30, "tier": "nonsense"}, 400, "nonsense"),
    )

    async def scenario() -> None:
        async with serving_many(settings("yard")) as many:
            await becomes(many.registry, "yard", "live")
            for wanted, status, said in wrong:
                refused = await many.http.patch("/api/streams/yard", json=wanted)
                assert refused.status_code == status, (wanted, refused.text)
                assert said in refused.text
                assert many.registry["yard"].statistics()["budget_ms"] == 80.0

    run(scenario())


def test_a_merge_patch_is_answered_as_what_it_is() -> None:
    """There null would remove a key, which none of these can do without."""
    kind = {"Content-Type": "application/merge-patch+json"}

    async def scenario() -> None:
        async with serving_many(settings("yard")) as many:
            await becomes(many.registry, "yard", "live")
            patch = partial(many.http.patch, "/api/streams/yard", headers=kind)
            assert (await patch(content='{"budget_ms": 44}')).json()["budget_ms"] == 44
            refused = await patch(content='{"budget_ms": null}')
            assert (refused.status_code, refused.text.count("\n")) == (422, 1)
            assert "budget_ms: null takes nothing back" in refused.text
            assert many.registry["yard"].statistics()["budget_ms"] == 44

    run(scenario())


def test_what_belongs_to_nobody_is_not_found() -> None:
    async def scenario() -> None:
        async with serving_many() as many:
            for method, path in (
                ("GET", ""),
                ("PATCH", ""),
                ("DELETE", ""),
                ("GET", "/report"),
                ("GET", "/still.jpg"),
            ):
                missing = await many.http.request(
                    method, f"/api/streams/nobody{path}", json={} if method == "PATCH" else None
                )
                assert missing.status_code == 404, (method, path)
                assert "there is no stream 'nobody'" in missing.text

    run(scenario())


def test_hls_goes_into_its_folder_only(tmp_path: Path) -> None:
    admission = Admission(policy=AddressPolicy(), hls_folder=tmp_path)

    async def scenario() -> None:
        async with serving_many(admission=admission) as many:
            for escape in ("hls:../x", "hls:/etc", "hls:a/b", "hls:..", "hls:.hidden"):
                refused = await many.http.post("/api/streams", json=body("x", SMALL, escape))
                assert refused.status_code == 403, escape
                assert "the name of a folder inside hls_folder" in refused.text
            added = await many.http.post("/api/streams", json=body("x", SMALL, "hls:door"))
            assert added.status_code == 201, added.text
            (sink,) = many.registry["x"].settings.sinks
            assert Path(sink.target) == tmp_path / "door"
            assert added.json()["hls"] == "/hls/x/index.m3u8"

    run(scenario())


def test_more_streams_than_allowed_are_refused() -> None:
    async def scenario() -> None:
        async with serving_many(settings("a"), limits={"streams": 1}) as many:
            refused = await many.http.post("/api/streams", json=body("b"))
            assert refused.status_code == 409
            assert "remove one, or raise limits: streams" in refused.text

    run(scenario())


def test_no_answer_no_log_and_no_metric_ever_holds_a_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    push = "rtmp://me:hunter2push@127.0.0.1:1/app/hunter2-stream-key"
    caplog.set_level("DEBUG", logger="streamer")

    async def scenario() -> None:
        async with serving_many(settings("first", DEAD), admission=LOOPBACK) as many:
            added = await many.http.post("/api/streams", json=body("dead", DEAD, "webrtc:"))
            assert added.status_code == 201, added.text
            pushed = await many.http.post("/api/streams", json=body("push", SMALL, "null:", push))
            again = await many.http.post("/api/streams", json=body("dead", DEAD))
            await becomes(many.registry, "first", "failed")
            await becomes(many.registry, "dead", "failed")
            texts = [added.text, pushed.text, again.text]
            texts += [await _everything(many.http)]
            offer = await many.http.post(
                "/whep/dead", content="v=0", headers={"Content-Type": "application/sdp"}
            )
            assert offer.status_code == 503
            texts.append(offer.text)
            changed = await many.http.patch("/api/streams/dead", json={"budget_ms": 50})
            texts.append(changed.text)
            whole = "\n".join(texts)
            assert "rtsp://127.0.0.1:1" in whole, "where it is may be told"
            metrics = (await many.http.get("/metrics")).text
            assert "127.0.0.1" not in metrics
            assert "://" not in metrics
            for secret in (*SECRETS, "hunter2"):
                assert secret not in whole + metrics + caplog.text, secret

    run(scenario())


async def _everything(http: httpx.AsyncClient) -> str:
    """The bodies and headers of all that can be got."""
    schema = (await http.get("/openapi.json")).json()
    texts = []
    for path, methods in schema["paths"].items():
        if "get" not in methods:
            continue
        for name in ("first", "dead", "push", "nobody"):
            response = await http.get(path.replace("{name}", name))
            texts.append(response.text + repr(response.headers))
    return "\n".join(texts)


def test_every_answer_is_as_the_schema_says() -> None:
    async def scenario() -> None:
        dead = settings("dead", "/no/such/clip.mp4")
        async with serving_many(settings("yard", SMALL, "webrtc:"), dead) as many:
            await until_numbers(many.http, "yard", lambda one: one.get("frames", {}).get("sent"))
            await becomes(many.registry, "dead", "failed")
            schema = (await many.http.get("/openapi.json")).json()
            checked = 0
            own = ("/api/", "/healthz", "/metrics")
            for path, methods in schema["paths"].items():
                if not path.startswith(own):
                    continue
                for name in ("yard", "dead", "nobody"):
                    for method, sent in (
                        ("get", None),
                        ("patch", {"budget_ms": 60}),
                        ("post", {"name": "again", "source": 7}),
                        ("delete", None),
                    ):
                        if method not in methods or (method, name) == ("delete", "yard"):
                            continue
                        response = await many.http.request(
                            method, path.replace("{name}", name), json=sent
                        )
                        assert problems(schema, path, method, response) == []
                        checked += 1
            assert checked > 15

    run(scenario())


def test_the_schema_says_what_a_stream_may_be(tmp_path: Path) -> None:
    async def scenario() -> dict[str, Any]:
        async with serving_many() as many:
            return (await many.http.get("/openapi.json")).json()  # type: ignore[no-any-return]

    from streamer.settings_file import KINDS

    schema = run(scenario())
    new = schema["components"]["schemas"]["NewStream"]
    # Streams that are added over the API write no files, which alone are coded by quality.
    assert set(new["properties"]) == {"name", *KINDS} - {"crf"}, (
        "the keys of the file, and its name"
    )
    assert new["additionalProperties"] is False
    changed = schema["components"]["schemas"]["ChangedStream"]["properties"]
    assert {one["type"] for one in changed.values()} == {"number", "integer", "string"}, "no null"
    assert not any("default" in one for one in changed.values())


def test_removing_does_not_wait_for_a_source_that_is_not_there() -> None:
    async def scenario() -> None:
        async with serving_many(settings("dead", "/no/such/clip.mp4")) as many:
            await becomes(many.registry, "dead", "failed")
            async with asyncio.timeout(30):
                assert (await many.http.delete("/api/streams/dead")).status_code == 204

    run(scenario())
