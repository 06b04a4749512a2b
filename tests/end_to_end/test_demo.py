"""``streamer demo`` as a newcomer starts it: the command, the page, the report."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from streamer.config import HTTP_PORT
from streamer.sources.counter import read
from tests.command import started
from tests.end_to_end.browser import Browsers, opened, page_value, wait_for_page
from tests.streamer.server.watcher import Watcher, run, until

START_WITHIN_S = 60.0


@asynccontextmanager
async def demo(*arguments: str) -> AsyncIterator[tuple[subprocess.Popen[bytes], str]]:
    """The demo on a free port, and its page's address."""
    process = started("demo", "--port", "0", *arguments)
    try:
        yield process, await asyncio.wait_for(asyncio.to_thread(_address, process), START_WITHIN_S)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _address(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(rb"http://[\d.]+:\d+/", line):
            return found[0].decode()
    pytest.fail("the demo said no address")


async def watch(watcher: Watcher, address: str) -> str:
    """Connect by WHEP; gives the session's address."""
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        response = await client.post(
            "/whep/demo",
            content=await watcher.offer(),
            headers={"content-type": "application/sdp"},
        )
    assert response.status_code == 201, response.text
    await watcher.accept(response.text)
    return response.headers["location"]


def luma(frame: Any) -> Any:
    return frame.to_ndarray(format="gray")


def test_the_counter_of_the_synthetic_camera_is_read_back_from_the_enhanced_stream() -> None:
    async def scenario() -> None:
        watcher = Watcher()
        async with demo() as (_, address):
            await watch(watcher, address)
            await until(lambda: len(watcher.frames) > 40, "40 frames")
            frames = list(watcher.frames)
            await watcher.close()
        assert {(frame.width, frame.height) for frame in frames} == {(1280, 720)}
        readings = [reading for frame in frames if (reading := read(luma(frame)))]
        assert len(readings) >= 0.9 * len(frames)
        numbers = [reading.frame_number for reading in readings]
        assert numbers == sorted(numbers)
        # While the machine stands still for a second, the last picture is shown again.
        assert len(set(numbers)) > 10

    run(scenario())


def test_the_page_shows_the_plain_and_the_enhanced_picture_of_the_same_moment(
    browsers: Browsers,
) -> None:

    async def scenario() -> None:
        async with (
            demo() as (_, address),
            opened(
                await browsers.shared(), address, viewport={"width": 1280, "height": 800}
            ) as page,
        ):
            await wait_for_page(page, "page.framesDrawn > 20", within_s=60)
            await page.locator("#picture").click()
            assert await page_value(page, "connectionState") == "connected"
            size = await page.evaluate(
                "[document.getElementById('picture').width, "
                "document.getElementById('picture').height]"
            )
            assert size == [1280, 720]
            sides = [await _reading_at(page, share) for share in (1.0, 0.0)]
            assert None not in sides
            assert page.complaints == []

    browsers.run(scenario())


async def _reading_at(page: Any, divider: float) -> object:
    """The counter as the canvas shows it with the divider at one of its ends."""
    await page.locator("[role=slider]").focus()
    await page.keyboard.press("End" if divider else "Home")
    for _ in range(20):
        drawn = await page_value(page, "framesDrawn")
        await wait_for_page(page, f"page.framesDrawn > {drawn}")
        pixels = await page.evaluate(
            """() => {
                const canvas = document.getElementById("picture");
                const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, 64);
                return Array.from(data.filter((_, i) => i % 4 === 1));
            }"""
        )
        strip = np.array(pixels, np.uint8).reshape(64, -1)
        if (reading := read(strip)) is not None:
            return reading
    return None


async def _sends(address: str, *, frames: int) -> None:
    """Returns once so many frames were sent."""
    async with httpx.AsyncClient(base_url=address, timeout=60) as client, asyncio.timeout(60):
        while True:
            numbers = (await client.get("/api/streams/demo")).json()
            if numbers["frames"]["sent"] >= frames:
                return
            await asyncio.sleep(0.05)


def test_no_page_of_another_name_can_look_in() -> None:
    """A name that leads here makes the demo part of somebody else's site: DNS rebinding."""

    async def scenario() -> None:
        async with (
            demo() as (_, address),
            httpx.AsyncClient(base_url=address, timeout=60) as client,
        ):
            named = await client.get("/api/streams", headers={"host": "evil.example"})
            assert named.status_code == 421
            assert (await client.get("/api/streams")).status_code == 200

    run(scenario())


def test_ctrl_c_ends_the_demo_cleanly_and_the_report_is_written(tmp_path: Path) -> None:
    report = tmp_path / "report.json"

    async def scenario() -> None:
        async with demo("--report", str(report)) as (process, address):
            await _sends(address, frames=10)
            process.send_signal(signal.SIGINT)
            _, said = await asyncio.to_thread(process.communicate, timeout=60)
            assert process.returncode == 0
            assert b"Traceback" not in said

    run(scenario())
    numbers = json.loads(report.read_text())
    assert numbers["frames"]["sent"] >= 10
    assert numbers["latency_ms"]["arrived_to_sent"]["n"] == real(numbers["frames"])
    assert numbers["source"]["codec"] == "synthetic"


def test_a_duration_ends_the_demo_by_itself(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    process = started("demo", "--port", "0", "--duration", "2", "--report", str(report))
    _, said = process.communicate(timeout=180)
    assert process.returncode == 0, said
    frames = json.loads(report.read_text())["frames"]
    # Two seconds at 30 fps; a machine that stands still at the end may let a few more pass.
    assert 0 < real(frames) <= 70
    # What the camera skipped was never decoded; everything else is accounted for.
    lost = {name: n for name, n in frames["dropped"].items() if name != "source.skipped"}
    assert frames["decoded"] == real(frames) + sum(lost.values())


def test_the_page_takes_another_port_where_the_usual_one_is_taken() -> None:
    with socket.socket() as taken:
        # Where somebody has it already, it is taken too.
        with suppress(OSError):
            taken.bind(("127.0.0.1", HTTP_PORT))
            taken.listen()
        process = started("demo", "--duration", "1")
        _, said = process.communicate(timeout=180)
    assert process.returncode == 0, said
    (port,) = re.findall(rb"http://127\.0\.0\.1:(\d+)/", said)
    assert int(port) != HTTP_PORT


def real(frames: dict[str, Any]) -> int:
    """Frames sent but those that were shown again while the machine stood still."""
    return int(frames["sent"] - frames["repeated"])
