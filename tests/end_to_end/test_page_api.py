"""The page that describes the API."""

from __future__ import annotations

from tests.end_to_end.browser import Browsers, opened
from tests.streamer.server.many import TOKEN, serving_many, settings

WIDE = {"width": 1280, "height": 900}
NARROW = {"width": 320, "height": 640}


def test_the_page_of_the_api_asks_for_the_token_and_lists_every_operation(
    browsers: Browsers,
) -> None:
    async def scenario() -> None:
        still = settings("still", "synthetic:160x120@5", "null:")
        async with (
            serving_many(still, token=TOKEN) as many,
            opened(await browsers.shared(), f"{many.url}docs", viewport=WIDE) as page,
        ):
            await page.locator("#access-token").fill(TOKEN)
            await page.locator("#access button").click()
            added = page.locator("details", has_text="POST").filter(has_text="/api/streams")
            await added.first.wait_for()
            listed = await page.locator(".operation summary").all_inner_texts()
            described = await page.evaluate(
                "fetch('/openapi.json', {headers: {Authorization: 'Bearer ' + "
                "sessionStorage.getItem('streamer-token')}}).then(a => a.json())"
            )
            verbs = {"get", "post", "patch", "put", "delete"}
            operations = [
                (verb, path)
                for path, verbs_of in described["paths"].items()
                for verb in verbs_of
                if verb in verbs
            ]
            assert len(listed) == len(operations) > 8
            for verb, path in operations:
                assert any(verb.upper() in one and path in one for one in listed), (verb, path)
            await added.first.locator("summary").click()
            card = await added.first.inner_text()
            assert "source" in card
            assert "needed" in card
            assert "curl -X POST" in card
            assert TOKEN not in await page.content()

    browsers.run(scenario())


def test_whatever_is_opened_on_it_fits_a_phone(browsers: Browsers) -> None:
    async def scenario() -> None:
        still = settings("still", "synthetic:160x120@5", "null:")
        async with (
            serving_many(still, token=None) as many,
            opened(await browsers.shared(), f"{many.url}docs", viewport=NARROW) as page,
        ):
            cards = page.locator(".operation")
            await cards.first.wait_for()
            for card in await cards.all():
                await card.locator("summary").click()
                edge = (await card.bounding_box())["x"] + (await card.bounding_box())["width"]
                for part in await card.locator("table, pre").all():
                    box = await part.bounding_box()
                    assert box["x"] + box["width"] <= edge, await card.inner_text()
            assert not await page.evaluate(
                "() => document.documentElement.scrollWidth - innerWidth"
            )

    browsers.run(scenario())


BLOCKED = """Object.defineProperty(window, "sessionStorage", {
    get() { throw new DOMException("Access is denied for this document.", "SecurityError"); }
})"""
"""As in a browser that was told to block all cookies."""


def test_a_browser_that_may_keep_nothing_is_shown_the_same(browsers: Browsers) -> None:
    async def scenario() -> None:
        still = settings("still", "synthetic:160x120@5", "null:")
        async with (
            serving_many(still, token=TOKEN) as many,
            opened(await browsers.shared(), "about:blank", viewport=WIDE) as page,
        ):
            await page.add_init_script(BLOCKED)
            for address, shown in (("docs", ".operation"), ("?all", ".tile")):
                await page.goto(f"{many.url}{address}")
                await page.locator("#access-token").fill(TOKEN)
                await page.locator("#access button").click()
                await page.locator(shown).first.wait_for()

    browsers.run(scenario())
