"""The page of a server with many streams: the overview, the token, sound, and what is not running."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from streamer.config import StreamSettings
from tests.clips import Clips, h264, moving
from tests.end_to_end.browser import (
    PATIENCE_MS,
    Browsers,
    page_value,
    wait_for_page,
)
from tests.end_to_end.showing import FRONT, showing
from tests.programs import needs
from tests.streamer.server.many import TOKEN, becomes, settings
from tests.streamer.server.watcher import until

PHONE = {"width": 390, "height": 844}


def three() -> tuple[StreamSettings, ...]:
    return (
        settings("front", FRONT, "webrtc:"),
        settings("gone", "/no/such/clip.mp4", "webrtc:"),
        settings("relay", "synthetic:160x120@5", "null:"),
    )


async def tile_says(page: Any, name: str, *shown: str) -> None:
    """Wait for each of these: the picture comes before the numbers of the next second."""
    tile = page.locator(f'.tile[data-stream="{name}"]')
    for one in shown:
        await tile.filter(has_text=one).wait_for()


def test_all_streams_are_shown_with_their_state_picture_and_numbers(
    browsers: Browsers, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with showing(browsers, *three()) as (many, page):
            await becomes(many.registry, "gone", "failed")
            await page.locator('.tile[data-stream="front"].has-still').wait_for()
            await page.locator('.tile[data-stream="relay"].has-still').wait_for()
            await page.get_by_text("2 of 3 live").wait_for()
            await tile_says(page, "front", "Live", "320×180", "fps", "plain", f"{FRONT} → webrtc")
            await tile_says(page, "gone", "Failed", "clip.mp4 does not exist")
            image = page.locator('.tile[data-stream="front"] img')
            size = await image.evaluate("(one) => [one.naturalWidth, one.naturalHeight]")
            assert size == [320, 180]
            assert await page_value(page, "isOverview")
            await page.screenshot(path=str(tmp_path / "overview.png"))
            assert page.complaints == []

    browsers.run(scenario())


def test_a_tile_opens_its_stream_and_the_way_back_closes_it(browsers: Browsers) -> None:
    async def scenario() -> None:
        async with showing(browsers, *three()) as (many, page):
            front = many.registry["front"]
            await becomes(many.registry, "front", "live")
            await page.locator('.tile[data-stream="front"]').click()
            await wait_for_page(page, "page.framesDrawn > 5")
            assert page.url.endswith("?stream=front")
            assert front.statistics()["viewers"] == 1
            await page.go_back()
            await wait_for_page(page, "page.isOverview")
            await until(lambda: front.statistics()["viewers"] == 0, "it is still being watched")
            await page.go_forward()
            await wait_for_page(page, "page.stream === 'front'")
            await until(lambda: front.statistics()["viewers"] == 1, "it is not watched again")
            await page.get_by_role("link", name="Streamer").click()
            await wait_for_page(page, "page.isOverview")
            assert page.complaints == []

    browsers.run(scenario())


def test_a_stream_that_is_added_or_removed_comes_and_goes_on_the_page(browsers: Browsers) -> None:
    async def scenario() -> None:
        async with showing(browsers) as (many, page):
            await page.get_by_text("No stream is running").wait_for()
            for name in ("a", "b"):
                wanted = {"name": name, "source": "synthetic:160x96@5", "to": ["null:"]}
                added = await many.http.post("/api/streams", json={**wanted, "scale": 1})
                assert added.status_code == 201
            await page.locator('.tile[data-stream="b"]').wait_for()
            assert await page_value(page, "streams") == ["a", "b"]
            await many.http.delete("/api/streams/b")
            # A single one is shown itself.
            await wait_for_page(page, "page.stream === 'a'")
            await many.http.delete("/api/streams/a")
            await page.get_by_text("No stream is running").wait_for()

    browsers.run(scenario())


def test_whoever_watches_the_only_stream_stays_with_it_when_another_comes(
    browsers: Browsers,
) -> None:
    other = {"name": "other", "source": "synthetic:160x96@5", "to": ["null:"], "scale": 1}

    async def scenario() -> None:
        async with showing(browsers, settings("front", FRONT, "webrtc:")) as (many, page):
            await wait_for_page(page, "page.framesDrawn > 5")
            assert (await many.http.post("/api/streams", json=other)).status_code == 201
            await wait_for_page(page, "page.streams.length === 2")
            assert await page_value(page, "stream") == "front"
            assert await page_value(page, "connectionState") == "connected"
            await page.get_by_role("link", name="Streamer").click()
            await wait_for_page(page, "page.isOverview")
            # The way back is to where nothing was chosen, and now there are two.
            await page.go_back()
            await wait_for_page(page, "page.isOverview && !location.search")
            assert page.complaints == []
            await many.http.delete("/api/streams/front")
            await wait_for_page(page, "page.stream === 'other'")

    browsers.run(scenario())


DELAYS = """((set) => {
    window.delays = [];
    window.setTimeout = (...given) => { delays.push(given[1]); return set(...given); };
})(window.setTimeout)"""


def test_a_stream_without_a_picture_does_not_hurry_the_others(browsers: Browsers) -> None:
    async def scenario() -> None:
        async with showing(browsers, *three(), address="docs") as (many, page):
            await becomes(many.registry, "gone", "failed")
            await page.add_init_script(DELAYS)
            await page.goto(many.url)
            for name in ("front", "relay"):
                await page.locator(f'.tile[data-stream="{name}"].has-still').wait_for()
            # What overview.js waits in milliseconds when no picture is missing.
            await page.wait_for_function("() => delays.includes(2000)")

    browsers.run(scenario())


SAID = {
    "gone": ("The stream failed", "clip.mp4 does not exist", "Failed"),
    "relay": ("This stream is not sent to browsers", "it has no webrtc: output", "Live"),
    "nobody": ("There is no stream nobody", "as soon as there is one", "Waiting"),
}


def test_a_stream_without_a_picture_says_why(browsers: Browsers) -> None:
    async def scenario() -> None:
        async with showing(browsers, *three(), address="docs") as (many, page):
            await becomes(many.registry, "gone", "failed")
            await becomes(many.registry, "relay", "live")
            for name, (title, detail, status) in SAID.items():
                await page.goto(f"{many.url}?stream={name}")
                await page.locator("#message-title", has_text=title).wait_for()
                await page.locator("#status-text", has_text=status).wait_for()
                said = await page.locator("#message-detail").inner_text()
                assert detail.lower() in said.lower()
                state = await page_value(page, "connectionState")
                assert state == "closed", "nothing is asked for"
                assert page.complaints == []

    browsers.run(scenario())


def test_what_is_said_of_a_stream_fits_a_phone_and_its_numbers_end_with_it(
    browsers: Browsers,
) -> None:
    gone = settings("gone", f"/no/{'x' * 120}.mp4", "webrtc:")

    async def scenario() -> None:
        async with showing(browsers, gone, three()[2], address="?stream=gone", viewport=PHONE) as (
            many,
            page,
        ):
            said = page.locator("#message-detail", has_text="does not exist")
            await said.wait_for()
            box = await said.bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= PHONE["width"]
            await page.goto(f"{many.url}?stream=relay")
            shown = page.locator('[data-field="output-size"]')
            await shown.filter(has_text="160×120").wait_for()
            await many.http.delete("/api/streams/relay")
            await page.get_by_text("There is no stream relay").wait_for()
            assert await shown.inner_text() == "–"

    browsers.run(scenario())


def test_the_token_is_asked_for_once_and_sent_with_everything(browsers: Browsers) -> None:
    async def scenario() -> None:
        async with showing(browsers, settings("front", FRONT, "webrtc:"), token=TOKEN) as (
            many,
            page,
        ):
            dialog = page.locator("#access")
            await dialog.wait_for(state="visible")
            await page.get_by_role("textbox", name="Token").fill("not-the-right-token-at-all")
            await page.keyboard.press("Enter")
            await page.get_by_text("This token is wrong").wait_for()
            await page.get_by_role("textbox", name="Token").fill(TOKEN)
            await page.get_by_role("button", name="Show the streams").click()
            await dialog.wait_for(state="hidden")
            await wait_for_page(page, "page.framesDrawn > 5")
            assert TOKEN not in page.url
            assert await page.evaluate("() => localStorage.length") == 0
            assert await page.evaluate("() => document.cookie") == ""
            await page.reload()
            await wait_for_page(page, "page.framesDrawn > 5")
            assert await dialog.is_hidden(), "the tab still knows it"
            await page.goto("about:blank")
            numbers = many.registry["front"].statistics
            await until(lambda: numbers()["viewers"] == 0, "its good-bye was refused")

    browsers.run(scenario())


CHANNELS = """
async () => {
  const context = new AudioContext();
  const source = context.createMediaStreamSource(document.querySelector("#video").srcObject);
  const splitter = context.createChannelSplitter(2);
  source.connect(splitter);
  window.analysers = [0, 1].map((channel) => {
    const analyser = context.createAnalyser();
    splitter.connect(analyser, channel);
    return analyser;
  });
  await context.resume();
}
"""

LOUDEST = """
() => analysers.map((analyser) => {
  const samples = new Float32Array(analyser.fftSize);
  analyser.getFloatTimeDomainData(samples);
  return Math.max(...samples);
})
"""


@needs("ffmpeg")
def test_what_sounds_on_one_side_is_heard_on_that_side(browsers: Browsers, clips: Clips) -> None:
    clip = clips.made(
        "left.mp4",
        *moving(size="160x96", rate="10")[:4],
        *("-f", "lavfi", "-i", "aevalsrc=0.5*sin(2*PI*440*t)|0:d=60"),
        *h264("-preset", "ultrafast"),
        *("-c:a", "aac", "-t", "60"),
    )

    async def scenario() -> None:
        async with showing(browsers, settings("left", str(clip), "webrtc:")) as (_, page):
            await wait_for_page(page, "page.framesDrawn > 5")
            await page.get_by_role("button", name="Sound").click()
            await wait_for_page(page, "page.soundBytes > 1000")
            await page.evaluate(CHANNELS)
            left = right = 0.0
            async with asyncio.timeout(PATIENCE_MS / 1_000):
                while left < 0.2:
                    left, right = await page.evaluate(LOUDEST)
            assert right < left / 4
            assert page.complaints == []

    browsers.run(scenario())


@needs("ffmpeg")
def test_sound_comes_with_the_picture_and_is_off_until_it_is_asked_for(
    browsers: Browsers, clips: Clips
) -> None:
    tone = ("-f", "lavfi", "-i", "sine=frequency=440:duration=60")
    clip = clips.made(
        "minute.mp4",
        *moving(size="160x96", rate="10")[:4],
        *tone,
        *h264("-preset", "ultrafast"),
        *("-c:a", "aac", "-t", "60"),
    )
    loud = settings("loud", str(clip), "webrtc:")

    async def scenario() -> None:
        async with showing(browsers, loud, settings("silent", FRONT, "webrtc:")) as (many, page):
            await becomes(many.registry, "loud", "live")
            await page.locator('.tile[data-stream="loud"]').get_by_title("with sound").wait_for()
            await page.locator('.tile[data-stream="loud"]').click()
            await wait_for_page(page, "page.framesDrawn > 5")
            assert await page_value(page, "isMuted")
            assert await page_value(page, "soundBytes") == 0, "it would hold back the picture"
            button = page.get_by_role("button", name="Sound")
            await button.click()
            assert not await page_value(page, "isMuted")
            await wait_for_page(page, "page.soundBytes > 1000")
            assert await button.get_attribute("aria-pressed") == "true"
            drawn = await page_value(page, "framesDrawn")
            await wait_for_page(page, f"page.framesDrawn > {drawn} + 5")
            await page.keyboard.press("m")
            assert await page_value(page, "isMuted")
            await page.locator("#stream-select").select_option("silent")
            await wait_for_page(page, "page.stream === 'silent'")
            await button.wait_for(state="hidden")
            assert page.complaints == []

    browsers.run(scenario())


def test_the_overview_fits_a_phone(browsers: Browsers, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with showing(browsers, *three(), viewport=PHONE) as (_, page):
            await page.locator('.tile[data-stream="front"].has-still').wait_for()
            boxes = [await tile.bounding_box() for tile in await page.locator(".tile").all()]
            assert len({box["x"] for box in boxes}) == 1, "one below the other"
            overhang = await page.evaluate(
                "() => document.documentElement.scrollWidth - innerWidth"
            )
            assert overhang <= 0
            await page.screenshot(path=str(tmp_path / "phone.png"))

    browsers.run(scenario())
