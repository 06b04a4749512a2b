"""The page where something is missing or too large: numbers, WebRTC, a token, the server, a viewer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streamer.config import StreamSettings
from streamer.server.app import build_app
from streamer.server.auth import GUESSES
from streamer.server.hls import hls_routes
from streamer.server.run import Server
from tests.end_to_end.browser import (
    Browsers,
    opened,
    page_value,
    wait_for_page,
)
from tests.end_to_end.showing import FRONT, WIDE, showing
from tests.streamer.server.many import TOKEN, serving_many, settings
from tests.streamer.server.moving_picture import LiveStream, running
from tests.streamer.server.watcher import until

LARGE = """{
    source: {codec: "hevc", width: 1920, height: 1080, fps: 29.97},
    output: {width: 3840, height: 2160, fps: 59.94, bitrate_kbps: 112345},
    fps: {in: 29.97, out: 59.94},
    latency_ms: {arrived_to_sent: {p50: 134.2, p95: 1533.5}},
    tier: "medium", tiers: {medium: 33000, nano: 6000, plain: 900},
    steps: [{ago_s: 3, from: "medium", to: "nano", reason: "too_late"}],
    frames: {sent: 120000, interpolated: 60000, cleaned: 33000, dropped: {"decoded_link.full": 12345}},
    engines: [{model: "sr-medium-x2-live-int8", backend: "openvino", precision: "int8", device: "cpu"}],
    viewers: 12,
}"""


def front() -> StreamSettings:
    return settings("front", FRONT, "webrtc:")


def test_no_number_is_cut_however_long_it_is(browsers: Browsers) -> None:
    async def scenario() -> None:
        async with showing(browsers, front()) as (_, page):
            await wait_for_page(page, "page.framesDrawn > 2")
            for width, height in ((1440, 900), (1024, 768), (390, 844), (360, 740)):
                await page.set_viewport_size({"width": width, "height": height})
                # Read at once: the next answer of the server is a second away.
                cut = await page.evaluate(
                    f"""async () => {{
                        (await import("/static/numbers.js")).showStream({LARGE});
                        const holds = (one) => one.scrollWidth <= one.clientWidth + 1;
                        const isClipped = (one) => getComputedStyle(one).overflowX !== "visible";
                        return [...document.querySelectorAll(".numbers *")]
                            .filter((one) => one.offsetParent && isClipped(one) && !holds(one))
                            .map((one) => one.innerText);
                    }}"""
                )
                assert cut == [], width
                overhang = await page.evaluate(
                    "() => document.documentElement.scrollWidth - innerWidth"
                )
                assert overhang <= 0, width

    browsers.run(scenario())


def test_the_engine_that_is_shown_is_that_of_the_tier(browsers: Browsers) -> None:
    async def scenario() -> None:
        async with showing(browsers, front()) as (_, page):
            await wait_for_page(page, "page.framesDrawn > 2")
            shown = await page.evaluate(
                """async () => {
                    const {showStream} = await import("/static/numbers.js");
                    const engines = ["lite", "nano"].map((one) => ({model: `sr-${one}-x2-live-int8`}));
                    return ["nano", "lite", "plain"].map((tier) => {
                        showStream({tier, engines});
                        return document.querySelector("[data-field=engine]").innerText;
                    });
                }"""
            )
            assert shown == ["sr-nano-x2-live-int8", "sr-lite-x2-live-int8", "–"]
            # A picture whose noise is taken away is enhanced, whatever made it larger.
            shown = await page.evaluate(
                """async () => {
                    const {forgetStream, isMostlyPlain, showStream} = await import("/static/numbers.js");
                    forgetStream();
                    return [[30, 0], [60, 30], [90, 60], [120, 60]].map(([plain, cleaned]) => {
                        const numbers = {tier: "plain", tiers: {plain}, frames: {cleaned}};
                        showStream(numbers);
                        const said = document.querySelector("[data-field=engine-detail]").innerText;
                        return [said, isMostlyPlain(numbers)];
                    });
                }"""
            )
            left, cleaned = ["plain upscale", True], ["plain upscale · denoised", False]
            assert shown == [left, cleaned, cleaned, left]

    browsers.run(scenario())


def test_a_phone_on_its_side_shows_the_picture_first(browsers: Browsers) -> None:
    async def scenario() -> None:
        async with showing(browsers, front(), viewport={"width": 844, "height": 390}) as (_, page):
            await wait_for_page(page, "page.framesDrawn > 2")
            picture = await page.locator("#picture").bounding_box()
            assert picture["height"] > 0.75 * 390

    browsers.run(scenario())


def test_the_right_side_says_when_it_is_not_enhanced(browsers: Browsers) -> None:
    async def scenario() -> None:
        # Without a network every frame is only scaled.
        async with showing(browsers, front()) as (_, page):
            await page.get_by_text("not enhanced now", exact=True).wait_for()

    browsers.run(scenario())


def test_what_changes_every_second_is_not_read_out(browsers: Browsers) -> None:
    async def scenario() -> None:
        async with showing(browsers, front()) as (_, page):
            await page.locator("#delay", has_text="ms").wait_for()
            assert await page.get_by_role("status").inner_text() == "Live"

    browsers.run(scenario())


def test_a_stream_with_hls_alone_is_played_or_its_address_is_told(
    browsers: Browsers, tmp_path: Path
) -> None:
    archive = settings("archive", FRONT, f"hls:{tmp_path}")
    routers = [hls_routes({"archive": tmp_path}.get)]

    async def scenario() -> None:
        async with (
            serving_many(archive, token=TOKEN, routers=routers) as many,
            opened(await browsers.shared(), many.url, viewport=WIDE) as page,
        ):
            playlist = f"{many.url}hls/archive/index.m3u8"
            await page.locator("#access-token").fill(TOKEN)
            await page.keyboard.press("Enter")
            player = page.locator("#player")
            if await player.evaluate("(one) => one.canPlayType('application/vnd.apple.mpegurl')"):
                await page.locator("#delay", has_text="HLS").wait_for()
                await page.wait_for_function(
                    "() => document.getElementById('player').currentTime > 1"
                )
                assert await player.evaluate("(one) => one.videoWidth") == 320
                assert await page.locator("#message").is_hidden()
            else:
                await page.locator("#message-detail", has_text=playlist).wait_for()
            await page.get_by_role("button", name="HLS", exact=True).click()
            assert await page.locator("#hls-url").input_value() == playlist
            assert TOKEN not in await page.locator("#hls").inner_text()
            assert "?token=TOKEN" in await page.locator("#hls").inner_text()
            await page.get_by_role("button", name="Copy").click()
            await page.get_by_text("Copied").or_(page.get_by_text("Ctrl-C")).wait_for()
            await page.keyboard.press("Escape")
            await page.locator("#hls").wait_for(state="hidden")

    browsers.run(scenario())


def test_a_browser_without_webrtc_is_told_so(browsers: Browsers) -> None:
    async def scenario() -> None:
        async with showing(browsers, front(), address="docs") as (_, page):
            await page.add_init_script("delete window.RTCPeerConnection")
            await page.goto(page.url.removesuffix("docs"))
            await page.get_by_text("This browser has no WebRTC").wait_for()
            assert page.complaints == []

    browsers.run(scenario())


def test_a_tab_that_nobody_sees_stops_watching_and_asking(browsers: Browsers) -> None:
    set_visibility = """(state) => {
        Object.defineProperty(document, "visibilityState", {value: state, configurable: true});
        document.dispatchEvent(new Event("visibilitychange"));
    }"""

    async def scenario() -> None:
        async with showing(browsers, front()) as (many, page):
            await wait_for_page(page, "page.framesDrawn > 2")
            numbers = many.registry["front"].statistics
            await page.evaluate(set_visibility, "hidden")
            await until(lambda: numbers()["viewers"] == 0, "it still watches")
            await wait_for_page(page, "page.connectionState === 'closed'")
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            await page.evaluate("() => new Promise((resolve) => setTimeout(resolve, 3000))")
            assert [one for one in asked if "/api/" in one] == []
            drawn = await page_value(page, "framesDrawn")
            await page.evaluate(set_visibility, "visible")
            await wait_for_page(page, f"page.framesDrawn > {drawn} + 2")
            await page.locator("#message").wait_for(state="hidden")

    browsers.run(scenario())


def test_the_question_for_the_token_cannot_be_escaped(browsers: Browsers) -> None:
    async def scenario() -> None:
        async with showing(browsers, front(), token=TOKEN) as (_, page):
            field = page.get_by_role("textbox", name="Token")
            await field.wait_for()
            for _ in range(3):
                await page.keyboard.press("Escape")
            await field.fill(TOKEN)
            await page.keyboard.press("Enter")
            await wait_for_page(page, "page.framesDrawn > 2")

    browsers.run(scenario())


def test_too_many_wrong_tokens_are_told_as_what_they_are(browsers: Browsers) -> None:
    async def scenario() -> None:
        async with showing(browsers, front(), token=TOKEN) as (many, page):
            field = page.get_by_role("textbox", name="Token")
            await field.wait_for()
            for number in range(GUESSES):
                guess = {"Authorization": f"Bearer wrong{number}"}
                await many.http.get("/metrics", headers=guess)
            await field.fill(TOKEN)
            await page.keyboard.press("Enter")
            await page.get_by_text("Too many wrong tokens came from this address").wait_for()
            await wait_for_page(page, "page.framesDrawn > 2")

    browsers.run(scenario())


def test_what_a_server_that_is_gone_said_last_is_dimmed(browsers: Browsers) -> None:
    async def scenario() -> None:
        async with opened(await browsers.shared(), "about:blank", viewport=WIDE) as page:
            async with serving_many(token=None) as many:
                await page.goto(many.url)
                await page.get_by_text("No stream is running").wait_for()
            await page.locator("body.is-silent").wait_for()
            await page.get_by_text("Server gone").wait_for()

    browsers.run(scenario())


def test_the_keyboard_moves_an_enlarged_picture(browsers: Browsers) -> None:
    async def scenario() -> None:
        async with showing(browsers, front()) as (_, page):
            await wait_for_page(page, "page.framesDrawn > 2")
            for key in ("s", "4"):
                await page.keyboard.press(key)
            before = await page.locator("#picture").bounding_box()
            divider = await page_value(page, "dividerPosition")
            await page.get_by_role("slider").focus()
            await page.keyboard.press("Shift+ArrowDown")
            after = await page.locator("#picture").bounding_box()
            assert after["y"] < before["y"]
            await page.keyboard.press("Shift+ArrowUp")
            again = await page.locator("#picture").bounding_box()
            assert again["y"] > after["y"]
            assert await page_value(page, "dividerPosition") == divider

    browsers.run(scenario())


class Lost(LiveStream):
    """A stream whose camera is gone: it goes on with its last picture."""

    def statistics(self) -> Mapping[str, Any]:
        return {**super().statistics(), "state": "lost"}


def test_a_lost_source_is_no_live_one(browsers: Browsers) -> None:
    async def scenario() -> None:
        async with (
            running(Lost("front")) as stream,
            Server(build_app({"front": stream}), port=0) as server,
            opened(await browsers.shared(), server.url, viewport=WIDE) as page,
        ):
            await wait_for_page(page, "page.framesDrawn > 5")
            await page.get_by_text("Source lost").wait_for()
            assert await page.locator("#status").get_attribute("data-state") == "waiting"
            assert await page.locator("#delay").inner_text() == ""

    browsers.run(scenario())


def test_dragging_the_divider_leaves_nothing_behind(browsers: Browsers) -> None:
    async def scenario() -> None:
        async with showing(browsers, front()) as (_, page):
            await wait_for_page(page, "page.framesDrawn > 2")
            box = await page.locator("#stage").bounding_box()
            tools = await page.context.new_cdp_session(page)
            await tools.send("Performance.enable")

            async def listeners() -> float:
                await tools.send("HeapProfiler.collectGarbage")
                metrics = (await tools.send("Performance.getMetrics"))["metrics"]
                return float(next(m["value"] for m in metrics if m["name"] == "JSEventListeners"))

            async def drag() -> None:
                await page.mouse.move(box["x"] + 300, box["y"] + 100)
                await page.mouse.down()
                await page.mouse.move(box["x"] + 340, box["y"] + 100)
                await page.mouse.up()

            await drag()
            before = await listeners()
            for _ in range(40):
                await drag()
            assert await listeners() < before + 20

    browsers.run(scenario())
