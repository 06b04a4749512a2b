"""The page in a real browser: what is drawn, pixel by pixel, and how it answers the user."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from streamer.server.app import build_app
from streamer.server.run import Server
from tests.end_to_end.browser import (
    Browsers,
    opened,
    page_value,
    pixel_reader,
    wait_for_page,
)
from tests.streamer.server.moving_picture import CLOCK_SIZE, FPS, HEIGHT, WIDTH, LiveStream, running
from tests.streamer.server.watcher import until

WIDE = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}


@asynccontextmanager
async def showing(
    browsers: Browsers,
    *,
    browser: Any = None,
    viewport: dict[str, int] = WIDE,
    has_touch: bool = False,
) -> AsyncIterator[tuple[LiveStream, Any]]:
    """A running stream and a page that shows it, with some frames drawn."""
    async with (
        running(LiveStream("front-door")) as stream,
        Server(build_app({stream.name: stream}), port=0) as server,
        opened(
            browser or await browsers.shared(), server.url, viewport=viewport, has_touch=has_touch
        ) as page,
    ):
        await wait_for_page(page, "page.framesDrawn > 5")
        yield stream, page
        assert page.complaints == []


def is_enhanced(rgb: tuple[int, int, int]) -> bool:
    return rgb[1] > rgb[0] + 40


def is_plain(rgb: tuple[int, int, int]) -> bool:
    return rgb[0] > rgb[1] + 40


async def stop_sweeping_at(page: Any, position: float) -> None:
    """Put the divider there with the mouse, which also ends its own movement."""
    box = await page.locator("#stage").bounding_box()
    picture = await page.locator("#picture").bounding_box()
    x = picture["x"] + position * picture["width"]
    await page.mouse.click(x, box["y"] + box["height"] / 2)
    await wait_for_page(page, f"Math.abs(page.dividerPosition - {position}) < 0.02")


async def plays_without_a_freeze(page: Any) -> bool:
    """Two seconds of it; what a busy machine does to the browser is not the stream's doing."""
    for _ in range(20):
        freezes = await page_value(page, "freezeCount")
        decoded = await page_value(page, "framesDecoded")
        async with standstills() as stood_still_s:
            await wait_for_page(page, f"page.framesDecoded > {decoded} + {2 * FPS}")
        if await page_value(page, "freezeCount") - freezes <= len(stood_still_s):
            return True
    return False


@asynccontextmanager
async def standstills() -> AsyncIterator[list[float]]:
    """How long, each time, the machine let nothing run for as long as a freeze takes."""
    found: list[float] = []

    async def watch() -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(0.02)
            if loop.time() - before > 0.15:
                found.append(loop.time() - before)

    watching = asyncio.create_task(watch())
    try:
        yield found
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def drawn_afresh(page: Any) -> None:
    drawn = await page_value(page, "framesDrawn")
    await wait_for_page(page, f"page.framesDrawn > {drawn}")


def test_the_stream_plays_without_a_freeze_and_its_numbers_are_shown(
    browsers: Browsers, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with showing(browsers) as (stream, page):
            assert await plays_without_a_freeze(page)
            assert await page_value(page, "framesDrawn") > FPS
            assert stream.renditions["compare"].sink.dropped == 0
            assert await page_value(page, "connectionState") == "connected"
            numbers = page.locator(".numbers")
            for shown in (
                f"{WIDTH}×{HEIGHT}",
                "from 160×90",
                "H.264 source",
                "lite",
                "sr-lite-x2-live",
                "1,480",
                "ort-cpu · int8 · cpu",
                "freeze",
            ):
                await numbers.filter(has_text=shown).wait_for()
            path = tmp_path / "page.png"
            await page.screenshot(path=str(path))
            assert path.stat().st_size > 20_000

    browsers.run(scenario())


def test_left_of_the_divider_is_plain_and_right_of_it_enhanced(browsers: Browsers) -> None:
    async def scenario() -> None:
        async with showing(browsers) as (_, page):
            pixel = pixel_reader(page)
            await stop_sweeping_at(page, 0.5)
            await drawn_afresh(page)
            for x in (0.2, 0.48):
                assert is_plain(await pixel(x, 0.35))
            for x in (0.52, 0.8):
                assert is_enhanced(await pixel(x, 0.35))
            size = await page.evaluate(
                "() => { const c = document.getElementById('picture'); return [c.width, c.height] }"
            )
            assert size == [WIDTH, HEIGHT]

    browsers.run(scenario())


def test_both_sides_show_the_same_moment(browsers: Browsers) -> None:
    async def scenario() -> None:
        async with showing(browsers) as (_, page):
            await stop_sweeping_at(page, 0.5)
            y = CLOCK_SIZE / 2 / HEIGHT
            left = CLOCK_SIZE / 2 / WIDTH
            read_both = f"""() => {{
                const canvas = document.getElementById("picture");
                const context = canvas.getContext("2d");
                return [{left}, {1 - left}].map((x) => context.getImageData(
                    Math.round(x * canvas.width), Math.round({y} * canvas.height), 1, 1).data[1]);
            }}"""
            moments = set()
            for _ in range(25):
                await drawn_afresh(page)
                plain, enhanced = await page.evaluate(read_both)
                assert abs(plain - enhanced) <= 5, "a step of the clock is 14 levels of RGB"
                moments.add(plain // 7)
            assert len(moments) > 5, "the clock of the picture moves"

    browsers.run(scenario())


def test_the_keyboard_moves_the_divider_and_the_pixels_with_it(browsers: Browsers) -> None:
    async def scenario() -> None:
        async with showing(browsers) as (_, page):
            pixel = pixel_reader(page)
            await stop_sweeping_at(page, 0.5)
            slider = page.get_by_role("slider")
            await slider.focus()
            await page.keyboard.press("Home")
            await drawn_afresh(page)
            assert is_enhanced(await pixel(0.1, 0.35))
            assert await slider.get_attribute("aria-valuenow") == "0"
            await page.keyboard.press("End")
            await drawn_afresh(page)
            assert is_plain(await pixel(0.9, 0.35))
            for _ in range(5):
                await page.keyboard.press("PageDown")
            await page.keyboard.press("ArrowLeft")
            assert await page_value(page, "dividerPosition") == pytest.approx(0.48)
            await drawn_afresh(page)
            assert is_plain(await pixel(0.45, 0.35))
            assert is_enhanced(await pixel(0.55, 0.35))

    browsers.run(scenario())


def test_the_mouse_drags_the_divider_and_ends_its_own_movement(browsers: Browsers) -> None:
    async def scenario() -> None:
        async with showing(browsers) as (_, page):
            assert await page_value(page, "isSweeping")
            await stop_sweeping_at(page, 0.5)
            assert not await page_value(page, "isSweeping")
            pixel = pixel_reader(page)
            grip = await page.locator(".grip").bounding_box()
            picture = await page.locator("#picture").bounding_box()
            await page.mouse.move(grip["x"] + 20, grip["y"] + 20)
            await page.mouse.down()
            await page.mouse.move(picture["x"] + 0.8 * picture["width"], grip["y"], steps=5)
            await page.mouse.up()
            await page.mouse.move(picture["x"] + 0.3 * picture["width"], grip["y"])
            assert await page_value(page, "dividerPosition") == pytest.approx(0.8, abs=0.02)
            await drawn_afresh(page)
            assert is_plain(await pixel(0.7, 0.35))
            assert is_enhanced(await pixel(0.88, 0.35))

    browsers.run(scenario())


def test_zooming_in_keeps_the_divider_on_the_stage(browsers: Browsers) -> None:
    async def scenario() -> None:
        async with showing(browsers) as (_, page):
            await stop_sweeping_at(page, 0.5)
            fit = await page.locator("#picture").bounding_box()
            await page.get_by_role("button", name="4×").click()
            assert await page_value(page, "zoom") == 4
            large = await page.locator("#picture").bounding_box()
            assert large["width"] == pytest.approx(4 * WIDTH, abs=1)
            assert large["width"] > fit["width"]
            stage = await page.locator("#stage").bounding_box()
            grip = await page.locator(".grip").bounding_box()
            assert grip["x"] + 20 == pytest.approx(stage["x"] + stage["width"] / 2, abs=3)
            middle = stage["x"] + 200, stage["y"] + stage["height"] / 2
            await page.mouse.move(*middle)
            await page.mouse.down()
            await page.mouse.move(middle[0] + 15, middle[1] + 30)
            await page.mouse.up()
            moved = await page.locator("#picture").bounding_box()
            assert moved["y"] > large["y"] + 10, "dragging the enlarged picture pans it"
            await page.get_by_role("button", name="Fit").click()
            again = await page.locator("#picture").bounding_box()
            assert again == pytest.approx(fit)

    browsers.run(scenario())


def test_a_second_page_gets_its_own_keyframe(browsers: Browsers) -> None:
    async def scenario() -> None:
        async with showing(browsers) as (stream, page):
            compare = stream.renditions["compare"]
            keyframes, requests = len(compare.keyframes), compare.keyframe_requests
            async with opened(page.context.browser, page.url, viewport=PHONE) as second:
                await wait_for_page(second, "page.framesDrawn > 5")
                assert compare.keyframe_requests > requests
                assert len(compare.keyframes) > keyframes
                assert compare.sink.viewers == 2
            await until(lambda: compare.sink.viewers == 1, "the second page is still counted")

    browsers.run(scenario())


def test_a_browser_that_hides_its_addresses_is_answered_as_well(browsers: Browsers) -> None:
    async def scenario() -> None:
        async with browsers.own() as browser, showing(browsers, browser=browser) as (stream, _):
            assert stream.viewers == 1

    browsers.run(scenario())


def test_the_page_comes_back_by_itself_when_its_session_is_ended(browsers: Browsers) -> None:
    async def scenario() -> None:
        async with showing(browsers) as (stream, page):
            sink = stream.renditions["compare"].sink
            assert await sink.hang_up(stream.sessions[-1].id)
            await until(lambda: sink.viewers == 1, "the page did not come back")
            drawn = await page_value(page, "framesDrawn")
            await wait_for_page(page, f"page.framesDrawn > {drawn} + 10")
            assert await page.locator("#message").is_hidden()

    browsers.run(scenario())


def test_the_page_says_that_the_server_is_gone(browsers: Browsers) -> None:
    async def scenario() -> None:
        stream = LiveStream("front-door")
        async with opened(await browsers.shared(), "about:blank", viewport=WIDE) as page:
            async with running(stream), Server(build_app({stream.name: stream}), port=0) as server:
                await page.goto(server.url)
                await wait_for_page(page, "page.framesDrawn > 5")
            message = page.locator("#message")
            await message.wait_for(state="visible")
            await page.get_by_text("The server does not answer").wait_for()
            assert await page.locator("#status").get_attribute("data-state") != "live"

    browsers.run(scenario())


def test_several_streams_can_be_chosen_from(browsers: Browsers) -> None:
    async def scenario() -> None:
        front, back = LiveStream("front-door"), LiveStream("back-door")
        async with (
            running(front),
            running(back),
            Server(build_app({one.name: one for one in (front, back)}), port=0) as server,
            opened(
                await browsers.shared(), f"{server.url}?stream=back-door", viewport=WIDE
            ) as page,
        ):
            await wait_for_page(page, "page.framesDrawn > 5")
            assert await page_value(page, "stream") == "back-door"
            await page.locator("#stream-select").select_option("front-door")
            await until(lambda: front.viewers == 1 and back.viewers == 0, "the stream stayed")
            drawn = await page_value(page, "framesDrawn")
            await wait_for_page(page, f"page.framesDrawn > {drawn} + 5")
            assert page.complaints == []

    browsers.run(scenario())


def test_pixels_that_are_not_square_are_shown_in_their_shape(browsers: Browsers) -> None:
    async def scenario() -> None:
        async with showing(browsers) as (stream, page):
            stream.sample_aspect = 4 / 3
            await page.wait_for_function(
                f"""() => {{
                    const box = document.getElementById("picture").getBoundingClientRect();
                    return Math.abs(box.width / box.height - {WIDTH * 4 / 3 / HEIGHT}) < 0.01;
                }}"""
            )

    browsers.run(scenario())


def test_a_finger_moves_the_divider_on_a_phone(browsers: Browsers) -> None:
    async def scenario() -> None:
        async with showing(browsers, viewport=PHONE, has_touch=True) as (_, page):
            box = await page.locator("#picture").bounding_box()
            await page.touchscreen.tap(box["x"] + 0.25 * box["width"], box["y"] + 30)
            await wait_for_page(page, "Math.abs(page.dividerPosition - 0.25) < 0.02")
            assert not await page_value(page, "isSweeping")

    browsers.run(scenario())


def test_the_page_fits_a_phone(browsers: Browsers, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with showing(browsers, viewport=PHONE) as (_, page):
            picture = await page.locator("#picture").bounding_box()
            assert picture["width"] == pytest.approx(PHONE["width"], abs=1)
            assert picture["width"] / picture["height"] == pytest.approx(WIDTH / HEIGHT, rel=0.01)
            overhang = await page.evaluate(
                "() => document.documentElement.scrollWidth - innerWidth"
            )
            assert overhang <= 0
            await page.screenshot(path=str(tmp_path / "phone.png"))

    browsers.run(scenario())
