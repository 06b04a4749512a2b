"""The page in a browser that cannot receive H.264, as Firefox is without its plugin."""

from __future__ import annotations

from pathlib import Path

from tests.end_to_end.browser import Browsers, opened, wait_for_page
from tests.streamer.server.many import serving_many, settings

FRONT = "synthetic:320x180@10"

# Its offers then list what Firefox' do until its plugin is there.
WITHOUT_H264 = """() => {
    const { addTransceiver } = RTCPeerConnection.prototype;
    RTCPeerConnection.prototype.addTransceiver = function (kind, options) {
        const transceiver = addTransceiver.call(this, kind, options);
        const codecs = RTCRtpReceiver.getCapabilities(kind).codecs;
        transceiver.setCodecPreferences(codecs.filter((one) => one.mimeType !== "video/H264"));
        return transceiver;
    };
}"""


def test_a_browser_without_h264_is_told_what_to_turn_on_and_where_else_it_plays(
    browsers: Browsers, tmp_path: Path
) -> None:
    front = settings("front", FRONT, "webrtc:", f"hls:{tmp_path / 'front'}")

    async def scenario() -> None:
        async with (
            serving_many(front, token=None) as many,
            opened(await browsers.shared(), f"{many.url}docs") as page,
        ):
            await page.add_init_script(f"({WITHOUT_H264})()")
            await page.goto(many.url)
            message = page.locator("#message")
            await message.get_by_text("This browser cannot receive H.264 over WebRTC").wait_for()
            assert "turn on OpenH264" in await message.inner_text()
            assert f"{many.url}hls/front/index.m3u8" in await message.inner_text()
            await page.get_by_text("No H.264", exact=True).wait_for()
            await wait_for_page(page, "page.framesDecoded === 0")

    browsers.run(scenario())
