"""``streamer serve`` as an operator starts it: a file of streams, the API, Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.command import RunHere, started
from tests.measure import pictures_of
from tests.programs import needs
from tests.streamer.ice_servers import CREDENTIAL, USER, servers
from tests.streamer.server.many import until_numbers
from tests.streamer.server.openapi import problems
from tests.streamer.server.watcher import Watcher, run, until
from tests.streamer.sources.publishing import publishing

START_WITHIN_S = 60.0
TOKEN = "correct-horse-battery-staple"
SMALL = "synthetic:160x96@10"
DEAD = "rtsp://camera:hunter2hunter2@127.0.0.1:1/live?key=s3cr3t-value"
SECRETS = (TOKEN, "hunter2", "s3cr3t-value", "camera:", "viewers-password")


@asynccontextmanager
async def serve(
    folder: Path, text: str, *arguments: str
) -> AsyncIterator[tuple[subprocess.Popen[bytes], httpx.AsyncClient]]:
    """The command on a free port, and a client of it that knows the token."""
    config = folder / "streams.yaml"
    config.write_text(text, encoding="utf-8")
    process = started("serve", str(config), "--port", "0", *arguments)
    try:
        url = await asyncio.wait_for(asyncio.to_thread(_address, process), START_WITHIN_S)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as http:
            yield process, http
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _address(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    said = b""
    for line in process.stderr:
        said += line
        if found := re.search(rb"http://[\d.]+:\d+/", line):
            return found[0].decode()
    pytest.fail(f"serve said no address: {said.decode()}")


async def ended(process: subprocess.Popen[bytes]) -> str:
    """What it said until it ended well after Ctrl-C."""
    process.send_signal(signal.SIGINT)
    _, said = await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == 0, said
    assert b"Traceback" not in said, said
    return said.decode()


def stream(source: str, *to: str) -> str:
    outputs = ", ".join(f"'{one}'" for one in to)
    return f"{{source: '{source}', to: [{outputs}], scale: 1, backend: reference}}"


@needs("ffmpeg")
def test_streams_run_beside_a_dead_one_and_ctrl_c_finishes_their_files(tmp_path: Path) -> None:
    recording = tmp_path / "door.mp4"
    config = f"""
token: {TOKEN}
rtsp: {{listen: "127.0.0.1:0", users: {{viewer: viewers-password}}}}
streams:
  door: {stream(SMALL, str(recording), "webrtc:")}
  dead: {stream(DEAD, "webrtc:")}
"""

    async def scenario() -> None:
        async with serve(tmp_path, config) as (process, http):
            health = await http.get("/healthz", headers={"Authorization": ""})
            assert health.status_code == 200
            assert set(health.json()["streams"]) == {"door", "dead"}
            await until_numbers(http, "dead", lambda one: one["state"] == "failed")
            await until_numbers(http, "door", lambda one: one.get("frames", {}).get("sent", 0) > 15)
            watcher = Watcher()
            answer = await http.post(
                "/whep/door",
                content=await watcher.offer(),
                headers={"Content-Type": "application/sdp"},
            )
            assert answer.status_code == 201, answer.text
            await watcher.accept(answer.text)
            await until(lambda: watcher.frames, "no picture")
            await watcher.close()
            texts = await _everything(http)
            said = await ended(process)
            for secret in SECRETS:
                assert secret not in texts + said, secret
            assert "the stream dead: " in said

    run(scenario())
    assert len(pictures_of(recording)) > 5, "the file was finished"


async def _everything(http: httpx.AsyncClient) -> str:
    """All that can be got, each answer as the schema says; nothing of it without a token."""
    schema = (await http.get("/openapi.json")).json()
    texts = []
    for path, methods in schema["paths"].items():
        for method in methods:
            blank = await http.request(
                method, path.replace("{name}", "door"), headers={"Authorization": ""}
            )
            assert blank.status_code == (200 if path == "/healthz" else 401), (method, path)
        if "get" not in methods:
            continue
        for name in ("door", "dead"):
            answer = await http.get(path.replace("{name}", name))
            texts.append(answer.text + repr(answer.headers))
            if path.startswith(("/api/", "/healthz", "/metrics")):
                assert problems(schema, path, "get", answer) == []
    assert {"/whip/{name}", "/whep/{name}", "/hls/{name}/{file}"} < set(schema["paths"])
    return "\n".join(texts)


def test_streams_come_and_go_over_the_api_of_a_running_server(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serve(tmp_path, f"token: {TOKEN}") as (process, http):
            assert (await http.get("/api/streams")).json()["streams"] == []
            wanted: dict[str, Any] = {
                "name": "yard",
                "source": SMALL,
                "to": ["null:"],
                "scale": 1,
                "backend": "reference",
            }
            assert (await http.post("/api/streams", json=wanted)).status_code == 201
            publishing = {**wanted, "name": "studio", "source": "whip:"}
            assert (await http.post("/api/streams", json=publishing)).status_code == 201
            await until_numbers(http, "yard", lambda one: one.get("frames", {}).get("sent"))
            studio = await until_numbers(
                http, "studio", lambda one: "waits for a publisher" in one["reason"]
            )
            assert studio["state"] == "starting"
            asked = await http.options("/whip/studio")
            assert asked.status_code == 204
            assert (await http.options("/whip/yard")).status_code == 404
            changed = await http.patch("/api/streams/yard", json={"budget_ms": 55})
            assert changed.json()["budget_ms"] == 55
            for name in ("yard", "studio"):
                assert (await http.delete(f"/api/streams/{name}")).status_code == 204
            assert (await http.options("/whip/studio")).status_code == 404
            assert (await http.get("/healthz")).json()["streams"] == {}
            await ended(process)

    run(scenario())


def test_a_reader_that_takes_nothing_keeps_nobody_from_ending_its_stream(tmp_path: Path) -> None:
    pipes = tmp_path / "removed.y4m", tmp_path / "left.y4m"
    streams = ""
    for pipe in pipes:
        os.mkfifo(pipe)
        streams += f"  {pipe.stem}: {stream('synthetic:640x360@30', f'y4m:{pipe}')}\n"

    async def scenario() -> None:
        async with serve(tmp_path, f"token: {TOKEN}\nstreams:\n{streams}") as (process, http):
            # Somebody has the pipes open, and does not read.
            readers = [os.open(pipe, os.O_RDONLY | os.O_NONBLOCK) for pipe in pipes]
            try:
                for pipe in pipes:
                    await until_numbers(http, pipe.stem, lambda one: dropped(one))
                assert (await http.delete("/api/streams/removed")).status_code == 204
                assert "the stream left: y4m:" in await ended(process)
            finally:
                for reader in readers:
                    os.close(reader)

    def dropped(numbers: dict[str, Any]) -> object:
        return numbers.get("frames", {}).get("dropped")

    run(scenario())


def test_pipes_that_nobody_opens_hold_up_neither_other_streams_nor_the_end(tmp_path: Path) -> None:
    pipes = tmp_path / "raw.y4m", tmp_path / "coded.ts"
    for pipe in pipes:
        os.mkfifo(pipe)
    streams = f"""
  raw: {stream(f"{SMALL}?pace=fast", f"y4m:{pipes[0]}")}
  coded: {stream(SMALL, str(pipes[1]))}
  good: {stream(SMALL, "null:")}
"""

    async def scenario() -> None:
        async with serve(tmp_path, f"token: {TOKEN}\nstreams:{streams}") as (process, http):
            await until_numbers(http, "coded", lambda one: one["state"] == "live")
            await until_numbers(http, "good", lambda one: one.get("frames", {}).get("sent", 0) > 15)
            process.send_signal(signal.SIGTERM)
            _, said = await asyncio.to_thread(process.communicate, timeout=60)
            assert process.returncode == 130, said
            for name in (b"raw", b"coded"):
                assert b"the stream " + name + b" does not end, what it writes to" in said

    run(scenario())


def test_viewers_and_publishers_are_told_how_the_server_is_seen_from_outside(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with servers() as (place, _):
            config = f"""
token: {TOKEN}
ice_servers:
  - stun:{place}
  - {{url: "turn:{place}", username: {USER}, credential: {CREDENTIAL}}}
streams: {{door: {stream(SMALL, "webrtc:")}, desk: {stream("whip:", "null:")}}}
"""
            async with serve(tmp_path, config) as (process, http):

                async def told(path: str, offer_sdp: str) -> str:
                    headers = {"Content-Type": "application/sdp"}
                    answer = await http.post(path, content=offer_sdp, headers=headers)
                    assert answer.status_code == 201, answer.text
                    assert "typ srflx" in answer.text
                    assert "typ relay" in answer.text
                    return answer.text

                watcher = Watcher()
                await until_numbers(http, "door", lambda one: one["state"] == "live")
                await told("/whep/door", await watcher.offer())
                await watcher.close()
                await until_numbers(http, "desk", lambda one: "publisher" in one["reason"])
                async with publishing(lambda offer_sdp: told("/whip/desk", offer_sdp)):
                    texts = [(await http.get(f"/api/streams{one}")).text for one in ("", "/door")]
                assert CREDENTIAL not in await ended(process) + "".join(texts)

    run(scenario())


def test_it_does_not_listen_to_the_whole_network_without_a_token(
    streamer: RunHere, tmp_path: Path
) -> None:
    config = tmp_path / "streams.yaml"
    config.write_text("listen: 127.0.0.1:0\n")
    refused = streamer("serve", config, "--host", "0.0.0.0")
    assert "for the whole network without a token; make one with" in refused.sentence


def test_a_password_of_one_letter_leaves_the_log_readable(tmp_path: Path) -> None:
    async def scenario() -> None:
        users = "rtsp: {listen: '127.0.0.1:0', users: {viewer: a, guest: is}}"
        config = f"{{token: {TOKEN}, {users}, streams: {{door: {stream(DEAD, 'null:')}}}}}"
        async with serve(tmp_path, config) as (process, http):
            await until_numbers(http, "door", lambda numbers: numbers["state"] == "failed")
            said = await ended(process)
        assert "cannot be reached: nothing listens on 127.0.0.1:1" in said

    run(scenario())


def test_a_wrong_file_is_refused_in_one_sentence(streamer: RunHere, tmp_path: Path) -> None:
    config = tmp_path / "streams.yaml"
    config.write_text("listn: 127.0.0.1:0\n")
    assert "has an unknown key 'listn'" in streamer("serve", config).sentence
    assert "cannot be read" in streamer("serve", tmp_path / "none.yaml").sentence


def test_two_streams_with_one_output_are_refused_at_the_start(
    streamer: RunHere, tmp_path: Path
) -> None:
    output = tmp_path / "x.ts"
    config = tmp_path / "streams.yaml"
    config.write_text(
        f"streams: {{a: {stream(SMALL, str(output))}, b: {stream(SMALL, str(output))}}}"
    )
    refused = streamer("serve", config, "--port", "0")
    assert "the stream a writes to file:x.ts already" in refused.sentence
    config.write_text(f"streams: {{a: {stream('whip:', 'y4m:-')}, b: {stream(SMALL, 'y4m:-')}}}")
    refused = streamer("serve", config, "--port", "0")
    assert "the stream a writes to y4m:- already" in refused.sentence


@pytest.mark.parametrize(
    ("source", "output", "said"),
    [
        (SMALL, "udp://127.0.0.1", "the address udp://127.0.0.1 names no port"),
        (SMALL, "rtsp://u:hunter2@127.0.0.1:0/x", "has port 0, where nothing listens"),
        ("rtsp://u:hunter2@127.0.0.1:99999/x", "null:", "names no host and port"),
    ],
)
def test_an_address_that_can_never_work_is_refused_at_the_start(
    streamer: RunHere, tmp_path: Path, source: str, output: str, said: str
) -> None:
    config = tmp_path / "streams.yaml"
    config.write_text(f"streams: {{door: {stream(source, output)}}}")
    refused = streamer("serve", config, "--port", "0")
    assert "the stream 'door': " in refused.sentence
    assert said in refused.sentence
    assert "hunter2" not in refused.sentence
